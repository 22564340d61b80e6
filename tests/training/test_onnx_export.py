"""Export: what is in the file, parity, and what stops it."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the `training` extra is not installed", exc_type=ImportError)
onnx = pytest.importorskip("onnx", reason="the `training` extra is not installed", exc_type=ImportError)
pytest.importorskip("onnxscript", reason="the `training` extra is not installed", exc_type=ImportError)
yaml = pytest.importorskip("yaml")

from training.bundle import write_bundle  # noqa: E402
from training.checkpoint import save_checkpoint  # noqa: E402
from training.export import ExportError, check_parity, fold_batch_norm  # noqa: E402
from training.fit import BEST, FitConfig, Trainer  # noqa: E402
from training.inference import onnx_predictor  # noqa: E402
from training.networks import build_network  # noqa: E402
from training.phantom import reference_windows  # noqa: E402
from training.schedule import Schedule  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    # torch.onnx warns about its own insides.
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning"),
]


@pytest.fixture(scope="module")
def bundle(small_cache, tmp_path_factory):
    """Bundle of a run of three steps."""
    run = tmp_path_factory.mktemp("run")
    config = FitConfig(Schedule(max_steps=3, crop_size=64, full_size=64), batch_size=4)
    Trainer(config, small_cache, list(small_cache.cases[:3]), [small_cache.cases[3]], run).run()
    folder = tmp_path_factory.mktemp("bundle")
    write_bundle(run / BEST, folder, "0.0.1")
    return folder


def test_file_is_what_the_node_expects(bundle):
    model = onnx.load(bundle / "model.onnx", load_external_data=False)
    assert {o.domain: o.version for o in model.opset_import}[""] == 20
    assert [i.name for i in model.graph.input] == ["image"]
    assert [o.name for o in model.graph.output] == ["logits"]
    assert not any(node.op_type == "BatchNormalization" for node in model.graph.node)
    assert (bundle / "model.onnx").stat().st_size < 12 * 2**20
    names = sorted(path.name for path in bundle.iterdir())
    assert names == ["README.md", "model.onnx", "model.yaml", "reference.npz"]


def test_file_tells_nothing_of_the_machine_that_made_it(bundle):
    assert b'File "' not in (bundle / "model.onnx").read_bytes()


def test_card_names_the_hash_of_the_file(bundle):
    card = yaml.safe_load((bundle / "model.yaml").read_text(encoding="utf-8"))
    digest = hashlib.sha256((bundle / "model.onnx").read_bytes()).hexdigest()
    assert card["onnx"] == {
        "file": "model.onnx", "sha256": digest, "opset": 20, "parameters": 2_614_513,
    }  # fmt: skip
    assert card["input"]["normalisation"] == "foreground-median-v1"
    assert "non-commercial" in card["licence"]


def test_reference_agrees_with_onnx_runtime(bundle):
    reference = np.load(bundle / "reference.npz")
    logits = onnx_predictor(bundle / "model.onnx")(reference["image"])
    # 1e-4 for the export, half of 1e-4 for the rounding of the reference.
    np.testing.assert_allclose(logits, reference["logits"], atol=2e-4)


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_batch_size_is_free(bundle, batch_size):
    windows = np.repeat(reference_windows()[:1], batch_size, axis=0)
    assert onnx_predictor(bundle / "model.onnx")(windows).shape == (batch_size, 1, 256, 256)


def test_difference_stops_the_export(bundle):
    windows = reference_windows()
    wrong = onnx_predictor(bundle / "model.onnx")(windows) + np.float32(1e-3)
    with pytest.raises(ExportError, match="differ"):
        check_parity(bundle / "model.onnx", windows, wrong)


def test_folding_keeps_the_function():
    torch.manual_seed(0)
    network = build_network("mobilenetv2-unet")
    windows = torch.from_numpy(reference_windows())
    network.train()
    with torch.no_grad():
        network(windows)
        folded = fold_batch_norm(network)
        difference = (folded(windows) - network.eval()(windows)).abs().max()
    assert difference < 1e-4
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in folded.modules())


def test_failed_export_leaves_no_file(tmp_path):
    """Weights that are not numbers give logits that agree with nothing."""
    weights = build_network("mobilenetv2-unet").state_dict()
    weights["head.bias"] = torch.full((1,), float("nan"))
    path = tmp_path / "best.pt"
    save_checkpoint({"network": "mobilenetv2-unet", "weights": weights, "step": 0}, path)
    with pytest.raises(ExportError):
        write_bundle(path, tmp_path / "bundle", "0.0.1")
    assert list((tmp_path / "bundle").iterdir()) == []
