"""Batches of all four kinds: shapes, units, repeatability, resumption."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the `training` extra is not installed", exc_type=ImportError)
pytest.importorskip("lightning", reason="the `training` extra is not installed", exc_type=ImportError)

from training.data.cache import ArrayCache, CachedCase  # noqa: E402
from training.data.errors import DataError  # noqa: E402
from training.data.module import VIEW_OF_KIND, NeuroScanData  # noqa: E402
from training.data.splits import Split  # noqa: E402

NUM_CASES, NUM_SLICES, SIDE = 4, 12, 32
OPTIONS = {"volume3d": {"patch_size": (8, 16, 16)}, "classifier": {"patch_size": 24}}


def cache_of(view: str) -> ArrayCache:
    """Four cases in which intensity tells the label; two datasets in turn."""
    rng = np.random.default_rng(1)
    is_pictures = view == "pictures"
    num_slices = 1 if is_pictures else NUM_SLICES
    num, channels = NUM_CASES * num_slices, 4 if view == "multimodal" else 1
    labels = np.zeros((num, SIDE, SIDE), np.uint8)
    labels[:, 10:20, 10:20], labels[:, 12:18, 12:18], labels[:, 14:16, 14:16] = 2, 3, 1
    labels[::3] = 0
    images = (100 + 50 * labels[:, None] + rng.integers(0, 9, (num, channels, SIDE, SIDE))).astype(np.uint16)
    images[:, :, :4] = 0
    cases = tuple(
        CachedCase(f"c{n}", "lgg" if n % 2 else "brats", n * num_slices, num_slices, f"p{n}", (1.0, 1.0, 1.0),
                   (120.0,) * channels, (30.0,) * channels)
        for n in range(NUM_CASES)
    )  # fmt: skip
    return ArrayCache(
        view,
        images.astype(np.uint8) if is_pictures else images,
        np.zeros((0, 0, 0), np.uint8) if is_pictures else labels,
        cases,
        scales_S=np.full(num, 100.0, np.float32),
        foreground_S=np.count_nonzero(images[:, 0], axis=(1, 2)).astype(np.int32),
        label_counts_SL=np.stack([np.bincount(plane.ravel(), minlength=4) for plane in labels]).astype(np.int32),
        classes_S=np.arange(num, dtype=np.uint8) % 4,
    )


def data_of(kind: str, **options) -> NeuroScanData:
    split = Split("s", {"train": ("c0", "c1", "c2"), "val": ("c3",), "test": ()})
    return NeuroScanData(
        kind, cache_of(VIEW_OF_KIND[kind]), split, **{"batch_size": 2, **OPTIONS.get(kind, {}), **options}
    )


SHAPES = {
    "slice25d": ((2, 3, SIDE, SIDE), (2, 1, SIDE, SIDE), torch.float32),
    "multimodal2d": ((2, 4, SIDE, SIDE), (2, SIDE, SIDE), torch.int64),
    "volume3d": ((2, 4, 8, 16, 16), (2, 3, 8, 16, 16), torch.float32),
    "classifier": ((2, 1, 24, 24), (2,), torch.int64),
}


@pytest.mark.parametrize("kind", VIEW_OF_KIND)
def test_batches_have_the_agreed_shapes_and_types(kind):
    image_shape, target_shape, target_dtype = SHAPES[kind]
    for batch in data_of(kind).train_dataloader():
        assert tuple(batch["image"].shape) == image_shape and batch["image"].dtype == torch.float32
        assert tuple(batch["target"].shape) == target_shape and batch["target"].dtype == target_dtype


@pytest.mark.parametrize("kind", VIEW_OF_KIND)
def test_a_resumed_loader_goes_on_with_the_very_batches(kind):
    options = {"epoch_length": 5}
    whole = data_of(kind, **options).train_dataloader()
    whole.set_epoch(3)
    expected = list(whole)
    first = data_of(kind, **options).train_dataloader()
    first.set_epoch(3)
    iterator = iter(first)
    for _ in range(2):
        next(iterator)
    state = first.state_dict()
    iterator.close()
    second = data_of(kind, **options).train_dataloader()
    second.load_state_dict(state)
    second.set_epoch(3)
    rest = list(second)
    assert len(rest) == 3
    for batch, wanted in zip(rest, expected[2:], strict=True):
        assert torch.equal(batch["image"], wanted["image"]) and torch.equal(batch["target"], wanted["target"])


def test_epochs_differ_and_an_ended_epoch_starts_over():
    loader = data_of("multimodal2d", epoch_length=3).train_dataloader()
    first, again = list(loader), list(loader)
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(first, again, strict=True))
    loader.set_epoch(1)
    assert not torch.equal(next(iter(loader))["image"], first[0]["image"])


def test_worker_processes_give_the_batches_of_no_workers():
    alone = list(data_of("slice25d", epoch_length=3).train_dataloader())
    helped = list(data_of("slice25d", epoch_length=3, num_workers=1).train_dataloader())
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(alone, helped, strict=True))


def test_windows_are_in_units_of_tissue_and_not_clipped():
    batch = next(iter(data_of("slice25d").train_dataloader()))
    assert float(batch["image"].max()) == pytest.approx(2.5, abs=0.15)  # labels up to 3: 250 of 100
    assert set(batch["target"].unique().tolist()) <= {0.0, 1.0}


def test_slices_are_z_scores_of_their_volume():
    batch = next(iter(data_of("multimodal2d").train_dataloader()))
    expected = (100 + 50 * batch["target"] - 120) / 30
    inside = slice(4, None)
    difference = batch["image"][:, 0, inside] - expected[:, inside]
    assert float(difference.abs().max()) < 9 / 30 + 1e-5


def test_regions_of_a_patch_are_nested():
    for batch in data_of("volume3d", epoch_length=4).train_dataloader():
        whole, core, enhancing = batch["target"].unbind(1)
        assert (core <= whole).all() and (enhancing <= core).all()


def test_a_patch_at_2_mm_holds_the_means_of_eight_voxels():
    fine = next(iter(data_of("volume3d", patch_size=(8, 16, 16)).train_dataloader()))
    coarse = next(iter(data_of("volume3d", patch_size=(4, 8, 8), spacing_mm=2.0).train_dataloader()))
    means = torch.nn.functional.avg_pool3d(fine["image"], 2)
    torch.testing.assert_close(coarse["image"], means, atol=1e-5, rtol=1e-5)


def test_a_patch_beyond_the_volume_is_padded_with_what_air_becomes():
    data = data_of("volume3d", patch_size=(16, 16, 16))
    image = next(iter(data.train_dataloader()))["image"]
    air = (0 - 120) / 30
    torch.testing.assert_close(image[:, :, :2], torch.full_like(image[:, :, :2], air))


@pytest.mark.parametrize("kind", VIEW_OF_KIND)
def test_a_split_without_training_cases_is_refused(kind):
    split = Split("empty", {"train": (), "val": ("c3",), "test": ()})
    data = NeuroScanData(kind, cache_of(VIEW_OF_KIND[kind]), split, **{"batch_size": 2, **OPTIONS.get(kind, {})})
    with pytest.raises(DataError, match="empty has no training cases"):
        data.train_dataloader()


@pytest.mark.parametrize(("spacing_mm", "is_taken"), [(0.0, True), (1.05, True), (3.0, False)])
def test_volumes_of_other_spacings_are_not_taken_for_1_mm(spacing_mm, is_taken):
    data = data_of("volume3d")
    data.train_cases[1] = dataclasses.replace(data.train_cases[1], spacing_mm=(spacing_mm, 1.0, 1.0))
    if is_taken:
        assert len(data.train_dataloader())
        return
    with pytest.raises(DataError, match="not cached at 1 mm: c1"):
        data.train_dataloader()


def test_validation_cases_are_never_drawn():
    data = data_of("multimodal2d")
    (val,) = data.val_cases
    drawn = {index for epoch in range(5) for batch in data.train_dataloader()._batches.epoch(epoch) for index in batch}
    assert drawn and not drawn & set(range(val.start, val.stop))


def test_kind_and_view_must_belong_together():
    with pytest.raises(DataError, match="multimodal2d is not trained from view flair"):
        NeuroScanData("multimodal2d", cache_of("flair"), Split("s", {"train": (), "val": (), "test": ()}))


def test_a_split_of_other_data_is_said_with_the_missing_cases():
    with pytest.raises(DataError, match="Brats18_X"):
        cache_of("flair").select(["c0", "Brats18_X"])
