"""What is in an exported file, and what stops an export."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the `training` extra is not installed", exc_type=ImportError)
onnx = pytest.importorskip("onnx", reason="the `training` extra is not installed", exc_type=ImportError)
pytest.importorskip("onnxscript", reason="the `training` extra is not installed", exc_type=ImportError)

from torch import nn  # noqa: E402 - after the skips

from training.export.errors import ExportError  # noqa: E402
from training.export.folding import fold_batch_norm  # noqa: E402
from training.export.onnx_file import check_file, check_parity, export_onnx  # noqa: E402
from training.inference import onnx_predictor  # noqa: E402
from training.networks import build_network  # noqa: E402

WIDTHS = (4, 8)


@pytest.fixture(scope="module")
def windows():
    return np.random.default_rng(0).standard_normal((2, 4, 16, 16)).astype(np.float32)


@pytest.fixture(scope="module")
def network(windows):
    torch.manual_seed(0)
    network = build_network("unet", widths=WIDTHS)
    with torch.no_grad():
        network.train()(torch.from_numpy(windows))
    return network.eval()


@pytest.fixture(scope="module")
def good(network, windows, tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "model.onnx"
    export_onnx(network, path, windows)
    return path


@pytest.fixture
def damaged(good, tmp_path):
    """A function that changes the graph of a copy."""

    def change(edit):
        model = onnx.load(good)
        edit(model)
        onnx.save(model, tmp_path / "model.onnx")
        return tmp_path / "model.onnx"

    return change


def test_logits_are_those_of_the_network(network, windows, good):
    with torch.inference_mode():
        expected = network(torch.from_numpy(windows)).numpy()
    np.testing.assert_allclose(onnx_predictor(good)(windows), expected, atol=1e-4)


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_batch_size_is_free(good, windows, batch_size):
    batch = np.repeat(windows[:1], batch_size, axis=0)
    assert onnx_predictor(good)(batch).shape == (batch_size, 4, 16, 16)


def test_good_file_passes(good):
    check_file(good)


def test_unknown_opset_is_refused(network, windows, tmp_path):
    with pytest.raises(ExportError, match="Opset 17 is not offered"):
        export_onnx(network, tmp_path / "model.onnx", windows, opset=17)


def test_raised_opset_is_noticed(good):
    with pytest.raises(ExportError, match="opset 20 instead of 13"):
        check_file(good, opset=13)


def test_weights_outside_the_file_are_noticed(good, tmp_path):
    model = onnx.load(good)
    onnx.save(model, tmp_path / "model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    with pytest.raises(ExportError, match="another file"):
        check_file(tmp_path / "model.onnx")


def test_other_names_are_noticed(damaged):
    def rename(model):
        old, model.graph.input[0].name = model.graph.input[0].name, "x"
        for node in model.graph.node:
            node.input[:] = ["x" if name == old else name for name in node.input]

    with pytest.raises(ExportError, match=r"\['x'\]"):
        check_file(damaged(rename))


def test_fixed_batch_is_noticed(damaged):
    def fix(model):
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1

    with pytest.raises(ExportError, match="fixed batch"):
        check_file(damaged(fix))


def test_batch_norm_is_noticed(damaged):
    def rename(model):
        model.graph.node[0].op_type = "BatchNormalization"

    with pytest.raises(ExportError, match="batch norm"):
        check_file(damaged(rename))


def test_traces_of_the_machine_are_noticed(damaged):
    def comment(model):
        model.graph.node[0].doc_string = 'File "/somewhere/site-packages/torch/x.py", line 3'

    with pytest.raises(ExportError, match="trace of this machine"):
        check_file(damaged(comment))


def test_broken_graph_is_noticed(damaged):
    def cut(model):
        model.graph.node[1].input[0] = "nothing"

    with pytest.raises(ExportError, match="no valid ONNX file"):
        check_file(damaged(cut))


@pytest.mark.parametrize("content", [b"\xff\xfe not an onnx file", b""])
def test_other_files_are_noticed(content, tmp_path):
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(ExportError, match=r"no ONNX file|opset"):
        check_file(tmp_path / "model.onnx")


def test_size_is_limited(good):
    with pytest.raises(ExportError, match="more than 100"):
        check_file(good, max_bytes=100)


@pytest.mark.parametrize("wrong_by", [1e-3, float("nan")])
def test_difference_stops_the_export(good, windows, wrong_by):
    wrong = onnx_predictor(good)(windows) + np.float32(wrong_by)
    with pytest.raises(ExportError, match="differ"):
        check_parity(good, windows, wrong)


def test_failed_export_leaves_the_former_file(network, windows, tmp_path):
    class Unfaithful(nn.Module):
        """Computes something else each time."""

        def __init__(self):
            super().__init__()
            self.network, self.calls = network, 0

        def forward(self, image_NCHW):
            self.calls += 1
            return self.network(image_NCHW) + 0.01 * self.calls

    path = tmp_path / "model.onnx"
    path.write_bytes(b"former")
    with pytest.raises(ExportError, match="differ"):
        export_onnx(Unfaithful(), path, windows)
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]
    assert path.read_bytes() == b"former"


@pytest.mark.parametrize(
    ("name", "options", "shape"),
    [
        ("mobilenetv2-unet", {}, (2, 3, 64, 64)),
        ("drunet-v2", {"widths": (4, 8, 8, 8, 8)}, (2, 3, 32, 32)),
        ("classifier", {"widths": (8, 8, 8, 8)}, (2, 1, 64, 64)),
        ("classifier-small", {"size": 16}, (2, 1, 16, 16)),
    ],
)
def test_folding_keeps_the_function(name, options, shape):
    torch.manual_seed(0)
    network, image = build_network(name, **options), torch.randn(shape)
    network.train()
    with torch.no_grad():
        network(image)
        folded = fold_batch_norm(network)
        difference = (folded(image) - network.eval()(image)).abs().max()
    # float32, some dozens of layers
    assert difference < 1e-4
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
