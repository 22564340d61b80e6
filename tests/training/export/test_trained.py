"""Checkpoints: both forms are read, damaged ones are refused with what to do."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the `training` extra is not installed", exc_type=ImportError)

from neuroscan_core.domain.model_card import ModelKind  # noqa: E402 - after the skip
from tests.training.export.runs import write_run  # noqa: E402
from training.bundle.feed import feed_of  # noqa: E402
from training.export import ExportError  # noqa: E402
from training.export.trained import read_trained  # noqa: E402
from training.networks import build_network  # noqa: E402


def test_checkpoint_says_how_the_network_is_fed(tmp_path):
    trained = read_trained(write_run("volume3d", tmp_path))
    assert (trained.name, trained.kind, trained.experiment) == ("segresnet", ModelKind.VOLUME3D, "segresnet-2mm")
    assert not trained.network.training
    feed = feed_of(trained)
    assert (feed.size, feed.spacing_mm, feed.skull) == ((16, 24, 32), 2.0, "stripped")


def test_former_checkpoints_are_read(tmp_path):
    weights = build_network("mobilenetv2-unet").state_dict()
    torch.save({"network": "mobilenetv2-unet", "weights": weights, "score": 0.8, "step": 5}, tmp_path / "best.pt")
    trained = read_trained(tmp_path / "best.pt")
    assert (trained.kind, trained.step, trained.experiment) == (ModelKind.SLICE25D, 5, "")
    assert feed_of(trained).channels == ("z-1", "z", "z+1")


def test_picture_size_comes_from_the_network_or_the_data(tmp_path):
    assert feed_of(read_trained(write_run("classifier", tmp_path / "a"))).size == (64, 64)
    small = build_network("classifier-small", size=20)
    state = {"network": "classifier-small", "options": {"size": 20}, "weights": small.state_dict()}
    torch.save(state, tmp_path / "best.pt")
    assert feed_of(read_trained(tmp_path)).size == (20, 20)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 cut"])
def test_damaged_checkpoint_is_refused(content, tmp_path):
    (tmp_path / "best.pt").write_bytes(content)
    with pytest.raises(ExportError, match="damaged"):
        read_trained(tmp_path)


def test_cut_checkpoint_is_refused(tmp_path):
    path = write_run("multimodal2d", tmp_path) / "best.pt"
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ExportError, match="damaged"):
        read_trained(tmp_path)


def test_folder_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(ExportError, match=r"Cannot read .*best\.pt"):
        read_trained(tmp_path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"network": "resnet-900"}, "resnet-900"),
        ({"options": {"widths": [4, 4, 4]}}, "do not fit the network unet"),
        ({"options": {"depth": 3}}, "no option depth"),
        ({"weights": None}, "weights"),
        ({"network": None}, "network"),
        ({"kind": "video"}, "video"),
        ({"weights": [1, 2, 3]}, "do not fit"),
    ],
)
def test_checkpoint_that_contradicts_itself_is_refused(changes, reason, tmp_path):
    write_run("multimodal2d", tmp_path, **changes)
    with pytest.raises(ExportError, match=reason):
        read_trained(tmp_path)


def test_something_else_saved_by_torch_is_refused(tmp_path):
    torch.save([1, 2], tmp_path / "best.pt")
    with pytest.raises(ExportError, match="no checkpoint"):
        read_trained(tmp_path)


def test_patch_with_too_few_lengths_is_refused(tmp_path):
    write_run("volume3d", tmp_path, config={"data": {"options": {"patch_size": [16, 16]}}})
    with pytest.raises(ExportError, match="3 lengths"):
        feed_of(read_trained(tmp_path))
