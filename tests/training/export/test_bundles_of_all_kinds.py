"""From the checkpoint of a run to a bundle that the node loads and executes, for each kind of network."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the `training` extra is not installed", exc_type=ImportError)
onnx = pytest.importorskip("onnx", reason="the `training` extra is not installed", exc_type=ImportError)
pytest.importorskip("onnxscript", reason="the `training` extra is not installed", exc_type=ImportError)

from neuroscan_core.config import SegmenterConfig  # noqa: E402 - after the skips
from neuroscan_core.domain.model_card import ModelKind  # noqa: E402
from neuroscan_core.inference.bundle import load_bundle  # noqa: E402
from tests.training.export.runs import SMALL, SPLITS, write_run  # noqa: E402
from training.bundle import Extras, write_bundle  # noqa: E402
from training.bundle.variants import add_fp16  # noqa: E402
from training.data.splits import SPLITS_FOLDER  # noqa: E402
from training.export import ExportError  # noqa: E402
from training.export.reference import reference_inputs  # noqa: E402


@pytest.fixture(
    scope="module", params=["slice25d", "multimodal2d", "classifier", pytest.param("volume3d", marks=pytest.mark.slow)]
)
def exported(request, tmp_path_factory):
    """Kind, folder of the run, folder of its bundle."""
    kind = request.param
    if not (SPLITS_FOLDER / f"{SPLITS[kind]}.json").exists():
        pytest.skip(f"the split {SPLITS[kind]} is not made")
    run = write_run(kind, tmp_path_factory.mktemp(f"run-{kind}"))
    folder = tmp_path_factory.mktemp(f"bundle-{kind}")
    write_bundle(run, folder, "0.0.1")
    return kind, run, folder


def test_node_loads_the_bundle_and_its_engine_agrees(exported):
    kind, _, folder = exported
    bundle = load_bundle(folder)
    assert bundle.card.kind is ModelKind(kind)
    # Opening an engine compares it with the reference and refuses it when it differs.
    with bundle.open_engine(SegmenterConfig(engine="onnxruntime", threads=1)) as engine:
        logits = engine.run(bundle.reference.image_NCHW)
    np.testing.assert_allclose(logits, bundle.reference.logits_NLHW, atol=2e-4)


def test_reference_is_small_and_of_no_patient(exported):
    kind, _, folder = exported
    bundle = load_bundle(folder)
    assert (folder / "reference.npz").stat().st_size < 3e6
    again = reference_inputs(ModelKind(kind), bundle.card.size, bundle.card.spacing_mm)
    np.testing.assert_array_equal(bundle.reference.image_NCHW, again)
    assert np.ptp(again) > 1


def test_file_has_its_weights_a_free_batch_and_no_batch_norm(exported):
    _, _, folder = exported
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    assert {entry.domain: entry.version for entry in model.opset_import}[""] == 20
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    assert not any(node.op_type == "BatchNormalization" for node in model.graph.node)
    assert sum(tensor.ByteSize() for tensor in model.graph.initializer) > 1000


def test_file_tells_nothing_of_the_machine_that_made_it(exported):
    _, run, folder = exported
    for path in folder.iterdir():
        content = path.read_bytes()
        assert b'File "' not in content
        assert b"site-packages" not in content
        assert str(run).encode() not in content


def test_card_tells_the_terms_the_split_and_the_run(exported):
    kind, _, folder = exported
    raw = load_bundle(folder).card.raw
    assert "Not a medical device" in raw["licence"]
    assert raw["training"] == {
        "split": SPLITS[kind], "experiment": SMALL[kind][0], "network": SMALL[kind][1], "step": 7,
        "validation_score": 0.8123,
    }  # fmt: skip
    assert len(raw["limits"]) >= 3
    page = (folder / "README.md").read_text(encoding="utf-8")
    assert raw["intended_use"] in page
    assert all(limit in page for limit in raw["limits"])
    assert "Not evaluated yet." in page


def test_export_leaves_nothing_beside_the_bundle(exported):
    _, _, folder = exported
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["README.md", "model.onnx", "model.yaml", "reference.npz"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(SMALL))
def test_opset_13_for_tensorrt_8(kind, tmp_path):
    run = write_run(kind, tmp_path / "run")
    write_bundle(run, tmp_path / "bundle", "0.0.1", extras=Extras(opset=13))
    model = onnx.load(tmp_path / "bundle" / "model.onnx")
    assert {entry.domain: entry.version for entry in model.opset_import} == {"": 13}
    assert load_bundle(tmp_path / "bundle").card.raw["onnx"]["opset"] == 13
    assert b"site-packages" not in (tmp_path / "bundle" / "model.onnx").read_bytes()


@pytest.mark.filterwarnings("ignore:`torch.jit.load` is deprecated:DeprecationWarning")  # all of TorchScript is
def test_torchscript_of_a_classifier_computes_the_same(tmp_path):
    run = write_run(
        "classifier", tmp_path / "run", config={"data": {"options": {"patch_size": 64}, "split": "brats-v1"}}
    )
    write_bundle(run, tmp_path / "bundle", "0.0.1", extras=Extras(torchscript=True))
    bundle = load_bundle(tmp_path / "bundle")
    script = torch.jit.load(tmp_path / "bundle" / bundle.card.raw["torchscript"]["file"])
    with torch.inference_mode():
        logits = script(torch.from_numpy(bundle.reference.image_NCHW)).numpy()
    np.testing.assert_allclose(logits, bundle.reference.logits_NLHW, atol=2e-4)


def test_torchscript_of_another_kind_is_refused(tmp_path):
    run = write_run("multimodal2d", tmp_path / "run")
    with pytest.raises(ExportError, match="classifiers only"):
        write_bundle(run, tmp_path / "bundle", "0.0.1", extras=Extras(torchscript=True))


def test_fp16_files_of_every_kind_agree(exported, tmp_path):
    _, _, folder = exported
    copy = shutil.copytree(folder, tmp_path / "copy")
    names = add_fp16(copy)
    assert names[0] == "model.fp16.onnx"
    assert [variant.file for variant in load_bundle(copy).card.variants] == names


@pytest.mark.parametrize(("min_component_ml", "num_warnings"), [(1.0, 0), (0.0, 1)])
def test_figures_that_were_measured_otherwise_are_told(min_component_ml, num_warnings, tmp_path, caplog):
    run = write_run("multimodal2d", tmp_path / "run")
    chosen, metrics = tmp_path / "postprocessing.json", tmp_path / "test.json"
    chosen.write_text('{"threshold": 0.5, "min_component_ml": 1.0}')
    measured = {"threshold": 0.5, "min_component_ml": min_component_ml}
    content = {"kind": "multimodal2d", "part": "test", "protocol": "", "sets": {}, "postprocessing": measured}
    metrics.write_text(json.dumps(content))
    write_bundle(run, tmp_path / "bundle", "0.0.1", chosen, metrics)
    assert sum("were measured with" in record.message for record in caplog.records) == num_warnings


def test_figures_of_another_kind_are_refused(tmp_path):
    run = write_run("multimodal2d", tmp_path / "run")
    metrics = tmp_path / "test.json"
    metrics.write_text('{"kind": "classifier", "part": "test", "protocol": "", "sets": {}}')
    with pytest.raises(ExportError, match="figures of a classifier network; unet is a multimodal2d"):
        write_bundle(run, tmp_path / "bundle", "0.0.1", metrics=metrics)
    assert not (tmp_path / "bundle").exists()
