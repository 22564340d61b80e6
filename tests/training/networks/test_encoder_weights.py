"""Weights of an encoder from files: forms that are taken, and what is refused."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the `training` extra is not installed", exc_type=ImportError)

from training.networks import build_network  # noqa: E402 - after the skip
from training.networks.encoder_weights import EncoderMismatch, read_encoder_weights  # noqa: E402
from training.networks.mobilenetv2_unet import MobileNetV2UNet  # noqa: E402

WIDTHS = (4, 8, 8)


@pytest.fixture(scope="module")
def imagenet():
    """A state dict with torchvision's names, its last convolution and its classifier included."""
    state = {k: v for k, v in MobileNetV2UNet().state_dict().items() if k.startswith("features.")}
    return {
        **state,
        "features.18.0.weight": torch.zeros(1280, 320, 1, 1),
        "classifier.1.weight": torch.zeros(1000, 1280),
    }


@pytest.mark.parametrize("name", ["mobilenet_v2-b0353104.pth", "imagenet.pt"])
def test_torchvision_file_loads(name, imagenet, tmp_path):
    torch.save(imagenet, tmp_path / name)
    network = MobileNetV2UNet()
    network.load_encoder(read_encoder_weights(tmp_path / name))
    assert torch.equal(network.features[17].conv[2].weight, imagenet["features.17.conv.2.weight"])


def test_file_of_an_old_version_without_counters_loads(imagenet):
    old = {k: v for k, v in imagenet.items() if not k.endswith("num_batches_tracked")}
    network = MobileNetV2UNet()
    network.load_encoder(old)
    assert torch.equal(network.features[0][0].weight, imagenet["features.0.0.weight"])


def test_file_of_a_parallel_run_loads(imagenet, tmp_path):
    wrapped = {"state_dict": {f"module.{k}": v for k, v in imagenet.items()}, "epoch": 3}
    torch.save(wrapped, tmp_path / "checkpoint.pth")
    assert read_encoder_weights(tmp_path / "checkpoint.pth").keys() == imagenet.keys()


def test_checkpoint_of_a_run_is_a_source_too(tmp_path):
    source = build_network("unet", widths=WIDTHS)
    torch.save({"network": "unet", "weights": source.state_dict(), "step": 1}, tmp_path / "best.pt")
    target = build_network("unet", widths=WIDTHS)
    target.load_encoder(read_encoder_weights(tmp_path / "best.pt"))
    for own, other in zip(target.encoder_parameters(), source.encoder_parameters(), strict=True):
        assert torch.equal(own, other)
    assert not torch.equal(target.decoder[0][0].weight, source.decoder[0][0].weight)


@pytest.mark.parametrize("name", ["drunet", "drunet-v2", "unet"])
def test_weights_of_another_width_change_nothing(name):
    network = build_network(name, widths=(4, 8, 8, 8, 8))
    before = [p.clone() for p in network.parameters()]
    with pytest.raises(EncoderMismatch, match="of shape"):
        network.load_encoder(build_network(name, widths=(8, 8, 8, 8, 8)).state_dict())
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_code_in_a_file_is_not_run(tmp_path):
    class Harmful:
        def __reduce__(self):
            return (print, ("executed",))

    torch.save({"features.0.0.weight": Harmful()}, tmp_path / "evil.pth")
    with pytest.raises(EncoderMismatch, match="more than tensors"):
        read_encoder_weights(tmp_path / "evil.pth")


@pytest.mark.parametrize("content", [b"", b"PK not a zip", b"hello"])
def test_damaged_file_is_refused(content, tmp_path):
    (tmp_path / "damaged.pth").write_bytes(content)
    with pytest.raises(EncoderMismatch, match="not a file of weights"):
        read_encoder_weights(tmp_path / "damaged.pth")


def test_missing_file_and_empty_file_are_told_apart(tmp_path):
    with pytest.raises(EncoderMismatch, match="Cannot read"):
        read_encoder_weights(tmp_path / "nothing.pth")
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    with pytest.raises(EncoderMismatch, match="no weights by name"):
        read_encoder_weights(tmp_path / "empty.pth")
