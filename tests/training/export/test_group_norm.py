"""Group norm spelt out: the same function, and exact on volumes where ONNX Runtime's own operator is not."""

from __future__ import annotations

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the `training` extra is not installed", exc_type=ImportError)
onnx = pytest.importorskip("onnx", reason="the `training` extra is not installed", exc_type=ImportError)
pytest.importorskip("onnxscript", reason="the `training` extra is not installed", exc_type=ImportError)

from torch import nn  # noqa: E402 - after the skips

from training.export.group_norm import spell_group_norm  # noqa: E402
from training.export.onnx_file import export_onnx  # noqa: E402
from training.inference import onnx_predictor  # noqa: E402
from training.networks import build_network  # noqa: E402


@pytest.mark.parametrize("shape", [(2, 8, 6, 10), (1, 8, 4, 6, 10)])
@pytest.mark.parametrize("affine", [True, False])
def test_spelling_keeps_the_function(shape, affine):
    torch.manual_seed(0)
    network = nn.Sequential(nn.GroupNorm(4, 8, affine=affine))
    if affine:
        nn.init.normal_(network[0].weight)
        nn.init.normal_(network[0].bias)
    values = 3.0 + 2.0 * torch.randn(shape)
    spelt = spell_group_norm(network)
    assert not any(isinstance(module, nn.GroupNorm) for module in spelt.modules())
    # float32 rounding of values of some units
    assert torch.allclose(spelt(values), network(values), atol=1e-5)
    assert isinstance(network[0], nn.GroupNorm)


def test_every_group_norm_of_segresnet_is_spelt():
    spelt = spell_group_norm(build_network("segresnet", init_filters=8, blocks_down=[1, 1], blocks_up=[1]))
    assert not any(isinstance(module, nn.GroupNorm) for module in spelt.modules())


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")  # of the exporter, about itself
def test_exported_norm_is_exact_on_a_volume(tmp_path):
    """Half of the volume is air of one value, as in a head: the case in which naive sums go astray."""
    values = np.random.default_rng(0).standard_normal((1, 8, 32, 64, 64)).astype(np.float32)
    values[:, :, :, :32] = -2.5
    network = nn.Sequential(nn.GroupNorm(4, 8)).eval()
    export_onnx(network, tmp_path / "model.onnx", values)
    with torch.inference_mode():
        exact = copy.deepcopy(network).double()(torch.from_numpy(values).double()).numpy()
    assert np.abs(onnx_predictor(tmp_path / "model.onnx")(values) - exact).max() < 3e-6
    operators = {node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node}
    assert "InstanceNormalization" not in operators
