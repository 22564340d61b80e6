"""Sizes, operations and shapes of all networks; the figures of the documentation stand here."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the `training` extra is not installed", exc_type=ImportError)

from torch.utils.flop_counter import FlopCounterMode  # noqa: E402 - after the skip

from training.networks import NETWORKS, UnknownNetwork, build_network, num_parameters  # noqa: E402

# name, options, input, parameters, 10^9 multiplications with addition
PUBLISHED = [
    ("drunet", {"in_channels": 1}, (1, 1, 256, 256), 31_036_481, 48.1),
    ("drunet", {}, (1, 3, 256, 256), 31_037_633, 48.2),
    ("drunet-v2", {}, (1, 3, 256, 256), 33_004_073, 51.9),
    ("mobilenetv2-unet", {}, (1, 3, 256, 256), 2_614_513, 1.1),
    ("unet", {}, (1, 4, 256, 256), 1_942_772, 3.0),
    ("classifier-small", {}, (1, 1, 150, 150), 728_400, 0.05),
    ("segresnet", {}, (1, 4, 128, 128, 128), 4_702_227, 148.0),
    ("segresnet", {"init_filters": 8}, (1, 4, 64, 64, 64), 1_176_843, 4.7),
]
# Tiny networks of each kind, with an input each.
TINY = [
    ("drunet", {"widths": (4, 8, 8, 8, 8)}, (2, 3, 32, 48), (2, 1, 32, 48)),
    ("drunet-v2", {"widths": (4, 8, 8, 8, 8)}, (2, 3, 32, 48), (2, 1, 32, 48)),
    ("unet", {"widths": (4, 8, 8)}, (2, 4, 16, 24), (2, 4, 16, 24)),
    ("classifier-small", {"size": 16}, (2, 1, 16, 16), (2, 4)),
    ("classifier", {"widths": (8, 8, 8, 8)}, (2, 1, 64, 48), (2, 4)),
    ("segresnet", {"init_filters": 8}, (1, 4, 16, 16, 24), (1, 3, 16, 16, 24)),
]


def operations(network, shape):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.empty(shape, device="meta"))
    return counter.get_total_flops() / 2e9  # two floating-point operations each


@pytest.mark.parametrize(("name", "options", "shape", "parameters", "gmac"), PUBLISHED)
def test_has_the_published_size_and_operations(name, options, shape, parameters, gmac):
    with torch.device("meta"):
        network = build_network(name, **options).eval()
    assert num_parameters(network) == parameters
    # The published figures are rounded to one or two decimals.
    assert operations(network, shape) == pytest.approx(gmac, rel=0.005, abs=0.051 if gmac > 1 else 0.005)


def test_drunet_v2_has_thirty_three_million_parameters():
    with torch.device("meta"):
        assert round(num_parameters(build_network("drunet-v2")) / 1e6, 2) == 33.00


@pytest.mark.parametrize("size", [128, 160, 192])
def test_classifier_is_light_enough_for_a_processor(size):
    with torch.device("meta"):
        network = build_network("classifier").eval()
    assert operations(network, (1, 1, size, size)) <= 0.15


@pytest.mark.parametrize(("name", "options", "shape", "expected"), TINY)
def test_shapes_and_gradients(name, options, shape, expected):
    torch.manual_seed(0)
    network = build_network(name, **options)
    logits = network(torch.randn(shape))
    assert logits.shape == expected
    logits.square().mean().backward()
    without = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert without == []


@pytest.mark.parametrize(("name", "options", "shape", "expected"), TINY)
def test_same_seed_makes_the_same_network(name, options, shape, expected):
    states = []
    for _ in range(2):
        torch.manual_seed(7)
        states.append(build_network(name, **options).state_dict())
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


def test_every_network_is_tested_here():
    assert set(NETWORKS) == {entry[0] for entry in TINY} | {"mobilenetv2-unet"}


def test_segmentation_starts_from_the_share_of_tumour():
    network = build_network("drunet-v2", widths=(4, 8, 8, 8, 8)).eval()
    with torch.no_grad():
        assert network(torch.randn(1, 3, 32, 32)).sigmoid().mean() == pytest.approx(0.05, abs=0.03)


def test_dilation_of_the_bottleneck_widens_the_view():
    convolutions = [m for m in build_network("drunet-v2").encoder[-1].modules() if isinstance(m, torch.nn.Conv2d)]
    assert [c.dilation for c in convolutions if c.kernel_size == (3, 3)] == [(2, 2), (2, 2)]


def test_unknown_options_are_named():
    with pytest.raises(UnknownNetwork, match=r"no option depth.*in_channels"):
        build_network("unet", depth=9)
