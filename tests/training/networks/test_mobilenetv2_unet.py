"""The network: size, names, shapes, encoder weights."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the `training` extra is not installed", exc_type=ImportError)

from training.networks import build_network  # noqa: E402 - after the skip
from training.networks.mobilenetv2_unet import MobileNetV2UNet  # noqa: E402


def test_has_exactly_the_published_number_of_parameters():
    assert sum(p.numel() for p in MobileNetV2UNet().parameters()) == 2_614_513


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("features.0.0.weight", (32, 3, 3, 3)),
        ("features.0.1.running_mean", (32,)),
        ("features.1.conv.0.0.weight", (32, 1, 3, 3)),
        ("features.1.conv.1.weight", (16, 32, 1, 1)),
        ("features.2.conv.1.0.weight", (96, 1, 3, 3)),
        ("features.17.conv.2.weight", (320, 960, 1, 1)),
        ("features.17.conv.3.bias", (320,)),
    ],
)
def test_encoder_carries_torchvision_names(name, shape):
    assert tuple(MobileNetV2UNet().state_dict()[name].shape) == shape


@pytest.mark.parametrize("size", [192, 256])
def test_gives_one_logit_per_pixel(size):
    network = MobileNetV2UNet().eval()
    with torch.no_grad():
        assert network(torch.zeros(2, 3, size, size)).shape == (2, 1, size, size)


def test_loads_encoder_weights_in_torchvision_format():
    source, target = MobileNetV2UNet(), MobileNetV2UNet()
    state = {k: v for k, v in source.state_dict().items() if k.startswith("features.")}
    state["classifier.1.weight"] = torch.zeros(1000, 1280)
    target.load_encoder(state)
    for name, value in target.features.state_dict().items():
        assert torch.equal(value, state["features." + name]), name


def test_refuses_encoder_weights_that_lack_a_layer():
    state = MobileNetV2UNet().state_dict()
    del state["features.5.conv.0.0.weight"]
    with pytest.raises(ValueError, match=r"features\.5"):
        MobileNetV2UNet().load_encoder(state)


def test_unknown_network_is_named_in_the_error():
    with pytest.raises(ValueError, match="resnet-900"):
        build_network("resnet-900")
