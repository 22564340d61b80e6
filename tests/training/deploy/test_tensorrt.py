"""The TensorRT side of a deploy folder, over every generation as NVIDIA's bindings have it, and a driver in memory."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from neuroscan_core.inference.bundle import Bundle
from tests.inference.tensorrt.fake_gpu import Gpu
from tests.inference.tensorrt.fake_tensorrt import GENERATIONS, Faults, fake_tensorrt
from tests.training.deploy.fake_driver import FakeDriver

Load = Callable[[Path], SimpleNamespace]
TYPED = ("10.12.0.36", "10.16.1.11", "11.2.1.2", "11.4.0.106")


class Device:
    """A device with a deploy folder of its own."""

    def __init__(self, folder: Path, load: Load, version: str, gpu: str = "Orin") -> None:
        self.folder, self.programs = folder, load(folder)
        self.gpu, self.faults = Gpu(gpu), Faults()
        self.driver = FakeDriver(self.gpu)
        self.cuda = self.programs.cuda.Cuda(self.driver)
        self.tensorrt = fake_tensorrt(version, self.gpu, self.faults)

    def convert(self, **options: object) -> dict[str, str]:
        note: dict[str, str] = self.programs.convert.convert(self.tensorrt, self.cuda.name, **options)
        return note

    def engine(self) -> object:
        card = self.programs.card.load_card()
        return self.programs.engines.TensorRtEngine(card, self.tensorrt, self.cuda)


@pytest.fixture
def device_with(folders: dict[str, Path], load_programs: Load, tmp_path: Path) -> Callable[..., Device]:
    def make(version: str, kind: str = "slice25d", **options: str) -> Device:
        folder = tmp_path / "device"
        if not folder.exists():
            shutil.copytree(folders[kind], folder)
        return Device(folder, load_programs, version, **options)

    return make


@pytest.mark.parametrize("version", GENERATIONS)
@pytest.mark.parametrize("kind", ["slice25d", "multimodal2d", "volume3d", "classifier"])
def test_a_plan_is_built_verified_and_run_on_every_generation(
    device_with: Callable[..., Device], bundles: dict[str, Bundle], version: str, kind: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    device = device_with(version, kind)
    note = device.convert()
    assert note["tensorrt"] == version and note["gpu"] == "Orin"
    engine = device.engine()
    assert device.programs.verify.verify(engine, device.programs.card.load_card())
    assert "PASSED" in capsys.readouterr().out
    reference = bundles[kind].reference
    assert np.allclose(engine.infer(reference.image_NCHW[1:2]), reference.logits_NLHW[1:2], atol=1e-5)
    assert np.allclose(engine.infer(reference.image_NCHW[:1]), reference.logits_NLHW[:1], atol=1e-5)


@pytest.mark.parametrize("version", GENERATIONS)
def test_half_precision_is_asked_for_as_each_generation_wants_it(
    device_with: Callable[..., Device], version: str
) -> None:
    device = device_with(version)
    note = device.convert()
    [build] = device.faults.builds
    has_flag = not version.startswith("11.")
    assert note["precision"] == ("fp16" if has_flag else "fp32")
    assert ("FP16" in build.flags) == has_flag
    assert build.network_flags == (
        {"EXPLICIT_BATCH"} if version.startswith("8.") else set() if has_flag else {"STRONGLY_TYPED"}
    )
    assert build.shapes == [[1, 3, 32, 32]] * 3 and build.workspace == 512 << 20


@pytest.mark.parametrize("version", TYPED)
def test_an_fp16_file_is_what_newer_generations_are_given(device_with: Callable[..., Device], version: str) -> None:
    device = device_with(version)
    content = (device.folder / "model.onnx").read_bytes() + b"\x32\x04half"
    (device.folder / "model-fp16.onnx").write_bytes(content)
    assert device.convert()["precision"] == "fp16"
    [build] = device.faults.builds
    assert build.network_flags == {"STRONGLY_TYPED"} and "FP16" not in build.flags
    assert build.sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("version", GENERATIONS)
def test_full_precision_is_full(device_with: Callable[..., Device], version: str) -> None:
    device = device_with(version)
    assert device.convert(half=False)["precision"] == "fp32"
    assert not device.faults.builds[0].flags & {"FP16", "TF32"}


def test_the_second_build_knows_what_the_first_measured(device_with: Callable[..., Device]) -> None:
    device = device_with("8.2.1.9")
    device.convert()
    device.convert()
    assert device.faults.timing_known == [b"", b"timing Orin"]


@pytest.mark.parametrize(("version", "gpu"), [("10.3.0", "Xavier"), ("8.6.1", "Orin")])
def test_a_plan_of_another_gpu_or_version_is_not_loaded(
    device_with: Callable[..., Device], version: str, gpu: str
) -> None:
    device_with("10.3.0").convert()
    other = device_with(version, gpu=gpu)
    with pytest.raises(other.programs.card.CannotRun, match=r"Run convert\.py again"):
        other.engine()


def test_a_plan_of_another_model_is_not_loaded(device_with: Callable[..., Device]) -> None:
    device = device_with("10.3.0")
    device.convert()
    note = json.loads((device.folder / "model.plan.json").read_text())
    (device.folder / "model.plan.json").write_text(json.dumps(note | {"model": "0" * 64}))
    with pytest.raises(device.programs.card.CannotRun, match="model: 0000"):
        device.engine()


def test_a_build_that_fails_leaves_no_plan_that_would_be_loaded(
    device_with: Callable[..., Device], capsys: pytest.CaptureFixture[str]
) -> None:
    device = device_with("10.3.0")
    first = device.convert()
    device.faults.no_kernel_for.add(device.faults.builds[0].sha256)
    with pytest.raises(device.programs.card.CannotRun, match="cannot build"):
        device.convert()
    assert first["precision"] == "fp16" and "Could not find any implementation" in capsys.readouterr().err
    with pytest.raises(device.programs.card.CannotRun, match=r"Run convert\.py first"):
        device.engine()


def test_an_onnx_file_that_cannot_be_read_is_named(device_with: Callable[..., Device]) -> None:
    device = device_with("8.2.1.9")
    device.faults.cannot_parse = True
    with pytest.raises(device.programs.card.CannotRun, match=r"model\.onnx: Unsupported ONNX opset.*opset 13"):
        device.convert()


@pytest.mark.parametrize(("version", "wanted"), [("8.2.1.9", "old"), ("8.6.1", "old"), ("10.3.0", "new")])
def test_tensorrt_8_is_given_the_older_opset(device_with: Callable[..., Device], version: str, wanted: str) -> None:
    device = device_with(version)
    new = (device.folder / "model.onnx").read_bytes()
    old = new + b"\x32\x03old"
    (device.folder / "model-opset13.onnx").write_bytes(old)
    device.convert()
    expected = hashlib.sha256(old if wanted == "old" else new).hexdigest()
    assert device.faults.builds[0].sha256 == expected


def test_tensorrt_before_8_2_is_too_old(device_with: Callable[..., Device]) -> None:
    device = device_with("8.2.1.9")
    device.tensorrt.__version__ = "7.1.3.0"
    with pytest.raises(device.programs.card.CannotRun, match=r"7\.1 is too old"):
        device.convert()


def test_an_engine_that_computes_something_else_fails_the_verification(
    device_with: Callable[..., Device], capsys: pytest.CaptureFixture[str]
) -> None:
    device = device_with("10.3.0")
    device.convert()
    device.faults.noise = 0.1
    assert not device.programs.verify.verify(device.engine(), device.programs.card.load_card())
    assert "FAILED" in capsys.readouterr().out


@pytest.mark.parametrize("call", ["cuInit", "cuDevicePrimaryCtxRetain", "cuStreamCreate"])
def test_a_driver_that_fails_is_named(load_programs: Load, folders: dict[str, Path], call: str) -> None:
    programs = load_programs(folders["slice25d"])
    with pytest.raises(programs.card.CannotRun, match=f"{call} with error 719"):
        programs.cuda.Cuda(FakeDriver(Gpu(), fails=call))


def test_a_copy_that_fails_is_named(device_with: Callable[..., Device]) -> None:
    device = device_with("10.3.0")
    device.convert()
    engine = device.engine()
    device.driver.fails = "cuStreamSynchronize"
    with pytest.raises(device.programs.card.CannotRun, match="cuStreamSynchronize"):
        engine.infer(np.zeros((1, 3, 32, 32), np.float32))
