"""Repositories of all kinds of models: valid by Triton's own schema, and served by a real server."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the `training` extra is not installed")

from neuroscan_core.config import SegmenterConfig
from neuroscan_core.inference.bundle import Bundle
from tests.inference.triton_server import config_of, serving
from tests.training.triton.kinds import KINDS, write_bundle
from training.cli import main
from training.triton.repository import RepositoryError, RepositoryOptions, output_names, write_repository


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    folder = tmp_path_factory.mktemp("bundles")
    return {kind: write_bundle(kind, folder / kind) for kind in KINDS}


def parse(folder: Path):
    """Read `config.pbtxt` by Triton's schema; unknown keys are errors."""
    pytest.importorskip("tritonclient.grpc", reason="pip install 'neuroscan[triton]'")
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    return text_format.Parse((folder / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gets_a_configuration_that_the_schema_knows(
    kind: str, bundles: dict[str, Bundle], tmp_path: Path
) -> None:
    bundle = bundles[kind]
    options = RepositoryOptions(num_instances=2, max_batch=8, queue_delay_us=500)
    (folder,) = write_repository([bundle], tmp_path, options)
    config = parse(folder)
    limit = 2 if kind == "volume3d" else 8
    assert (config.name, config.platform, config.max_batch_size) == (kind, "onnxruntime_onnx", limit)
    assert tuple(config.input[0].dims) == bundle.card.input_shape
    assert tuple(config.output[0].dims) == bundle.card.output_shape
    assert config.dynamic_batching.max_queue_delay_microseconds == 500
    assert max(config.dynamic_batching.preferred_batch_size) == limit
    assert (config.instance_group[0].count, config.version_policy.latest.num_versions) == (2, 1)
    assert [sample.batch_size for sample in config.model_warmup] == [1, limit]
    assert config.parameters["neuroscan_onnx_sha256"].string_value == bundle.card.onnx_sha256
    labels = (folder / config.output[0].label_filename).read_text().splitlines()
    assert labels == output_names(bundle.card) and len(labels) == bundle.card.output_shape[0]
    assert (folder / "1" / "model.onnx").read_bytes() == bundle.onnx_path.read_bytes()


@pytest.mark.parametrize(("device", "kind"), [("auto", 0), ("gpu", 1), ("cpu", 2)])
def test_the_device_is_that_of_the_instances(
    device: str, kind: int, bundles: dict[str, Bundle], tmp_path: Path
) -> None:
    (folder,) = write_repository([bundles["slice25d"]], tmp_path, RepositoryOptions(device=device))
    assert parse(folder).instance_group[0].kind == kind


def test_a_batch_of_one_has_no_batching_on_the_server(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    (folder,) = write_repository([bundles["slice25d"]], tmp_path, RepositoryOptions(max_batch=1))
    config = parse(folder)
    assert config.max_batch_size == 1 and not config.HasField("dynamic_batching")


def test_plans_are_built_by_a_script_that_knows_every_model(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    chosen = [bundles["slice25d"], bundles["volume3d"]]
    folder, _ = write_repository(chosen, tmp_path, RepositoryOptions("tensorrt", "gpu", max_batch=8))
    config = parse(folder)
    assert (config.platform, config.max_batch_size) == ("tensorrt_plan", 8)
    assert (folder / "model.onnx").is_file() and list((folder / "1").iterdir()) == []
    script = (tmp_path / "build_plans.sh").read_text()
    assert "slice25d --minShapes=image:1x3x32x32 --optShapes=image:4x3x32x32 --maxShapes=image:8x3x32x32" in script
    assert "--maxShapes=image:2x4x16x16x16" in script


@pytest.mark.parametrize(("knows_half", "wanted"), [(True, "--fp16"), (False, "")])
def test_the_build_script_runs_and_asks_for_half_precision_where_trtexec_knows_it(
    knows_half: bool, wanted: str, bundles: dict[str, Bundle], tmp_path: Path
) -> None:
    write_repository([bundles["slice25d"]], tmp_path, RepositoryOptions("tensorrt"))
    tools = tmp_path / "tools"
    tools.mkdir()
    trtexec = tools / "trtexec"
    known = "--fp16" if knows_half else "--strongly-typed"
    # What it is asked for is the plan that it writes.
    trtexec.write_text(f"""#!/bin/sh
if [ "$1" = --help ]; then echo '{known}'; exit 0; fi
for word in "$@"; do case $word in --saveEngine=*) echo "$@" > "${{word#--saveEngine=}}";; esac; done
""")
    trtexec.chmod(0o755)
    script = tmp_path / "build_plans.sh"
    subprocess.run(["sh", str(script)], check=True, env={"PATH": f"{tools}:/usr/bin:/bin"}, cwd="/", timeout=30)
    plan = (tmp_path / "slice25d" / "1" / "model.plan").read_text()
    assert "--onnx=slice25d/model.onnx" in plan and ("--fp16" in plan) == bool(wanted)


@pytest.mark.parametrize(
    "options",
    [{"platform": "pytorch"}, {"device": "npu"}, {"num_instances": 0}, {"max_batch": 0}, {"queue_delay_us": -1},
     {"platform": "tensorrt", "device": "cpu"}],
)  # fmt: skip
def test_options_that_no_server_has_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(RepositoryError):
        RepositoryOptions(**options)  # type: ignore[arg-type]


def test_two_bundles_of_one_name_are_refused(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="different names"):
        write_repository([bundles["slice25d"]] * 2, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_real_server_serves_all_kinds_as_onnx_runtime_computes_them(
    protocol: str, bundles: dict[str, Bundle], tmp_path: Path
) -> None:
    write_repository(list(bundles.values()), tmp_path / "repository", RepositoryOptions(max_batch=4))
    with serving(tmp_path / "repository") as server:
        for bundle in bundles.values():
            image = np.concatenate([bundle.reference.image_NCHW] * 3)
            remote = bundle.open_engine(SegmenterConfig(engine="triton", triton=config_of(server, protocol)))
            local = bundle.open_engine(SegmenterConfig(engine="onnxruntime", threads=1))
            assert np.array_equal(remote.run(image), local.run(image)), bundle.card.kind
            remote.close()
            local.close()


def test_the_command_writes_a_repository_and_says_what_is_in_it(
    bundles: dict[str, Bundle], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [str(bundle.folder) for bundle in bundles.values()]
    assert main(["triton", "--bundles", *folders, "--out", str(tmp_path), "--max-batch", "4"]) == 0
    assert sorted(path.parent.name for path in tmp_path.glob("*/config.pbtxt")) == sorted(KINDS)
    assert "3x32x32" in capsys.readouterr().out


def test_the_command_says_what_is_wrong_with_a_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["triton", "--bundles", str(tmp_path / "absent"), "--out", str(tmp_path)]) == 1
    assert "Cannot read" in capsys.readouterr().err


def test_the_command_asks_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["triton", "--out", str(tmp_path)]) == 1
    assert "Give --bundles to write them, --serve to serve" in capsys.readouterr().err
