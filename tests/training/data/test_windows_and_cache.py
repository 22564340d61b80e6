"""Sampling of windows, reading of cases, and the cache."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="the `training` extra is not installed", exc_type=ImportError)
nibabel = pytest.importorskip("nibabel", reason="the `training` extra is not installed", exc_type=ImportError)

from training.data.cache import CachedCase, cache_key, open_cache  # noqa: E402
from training.data.cases import BRATS, Case, find_cases  # noqa: E402
from training.data.readers import read_case  # noqa: E402
from training.data.sampling import EpochSampler, Window, load_batch, window_at  # noqa: E402

# i towards patient left, j towards posterior, k towards the head (NIfTI is RAS).
LPS_AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])


@pytest.fixture
def nifti_case(tmp_path):
    """Factory of a small case; a voxel marks right, front, bottom."""

    def make(affine=LPS_AFFINE, shape=(24, 20, 6)):
        folder = tmp_path / "brats_volumes" / "Brats18_X_A_1"
        folder.mkdir(parents=True, exist_ok=True)
        image = np.zeros(shape, dtype=np.int16)
        image[0, 0, 0], image[1, 0, 0], image[0, 1, 0] = 900, 500, 300
        seg = np.zeros(shape, dtype=np.uint8)
        seg[0, 0, 0] = 4
        for kind, data in (("flair", image), ("seg", seg)):
            path = folder / f"{folder.name}_{kind}.nii.gz"
            nibabel.save(nibabel.Nifti1Image(data, affine), path)
        return Case(BRATS, folder.name, folder)

    return make


def test_neighbours_beyond_the_stack_are_replaced_by_the_slice():
    case = CachedCase("x", "lgg", 100, 10)
    assert window_at(case, 0) == Window(100, 100, 101)
    assert window_at(case, 9) == Window(108, 109, 109)
    assert window_at(case, 4, distance=5) == Window(104, 104, 109)


def test_epoch_holds_every_tumour_slice_and_as_many_others(small_cache):
    sampler = EpochSampler(small_cache, [small_cache.cases[0]], batch_size=1, seed=42)
    centres = [batch[0].centre for batch in sampler.epoch(0)]
    assert {2, 3, 4, 5} <= set(centres)
    assert len(centres) == len(set(centres)) == 8


def test_epochs_differ_and_repeat_with_the_seed(small_cache):
    def epoch(number):
        return EpochSampler(small_cache, small_cache.cases, 4, 42).epoch(number)

    assert epoch(3) == epoch(3)
    assert epoch(3) != epoch(4)


def test_batch_holds_the_mask_of_the_centre_slice(small_cache):
    images, masks = load_batch(small_cache, [Window(1, 2, 3), Window(0, 0, 1)])
    assert images.shape == (2, 3, 256, 256)
    np.testing.assert_array_equal(masks[0, 0], small_cache.labels_SHW[2])
    np.testing.assert_array_equal(images[0, 2], small_cache.images_SCHW[3, 0])


@pytest.mark.parametrize("flips", [(1, 1), (-1, 1), (1, -1), (-1, -1)])
def test_nifti_is_brought_to_the_radiological_frame(nifti_case, flips):
    affine = LPS_AFFINE @ np.diag([*flips, 1.0, 1.0])
    volume = read_case(nifti_case(affine))
    images, masks = volume.images_SCHW[:, 0], volume.labels_SHW
    assert images.shape == masks.shape == (6, 256, 256)
    rows, columns = np.nonzero(images[0])
    marked = np.argwhere(images[0] == 900)[0]
    along_i = np.argwhere(images[0] == 500)[0] - marked
    along_j = np.argwhere(images[0] == 300)[0] - marked
    assert len(rows) == len(columns) == 3
    assert along_i.tolist() == [0, flips[0]]
    assert along_j.tolist() == [flips[1], 0]
    assert np.argwhere(masks[0])[0].tolist() == marked.tolist()


def test_slices_that_run_towards_the_feet_are_turned_round(nifti_case):
    volume = read_case(nifti_case(np.diag([-1.0, -1.0, -1.0, 1.0])))
    assert volume.images_SCHW[:, 0].any(axis=(1, 2)).tolist() == [False] * 5 + [True]
    assert volume.labels_SHW.any(axis=(1, 2)).tolist() == [False] * 5 + [True]


def test_cache_is_made_once_and_follows_the_content(nifti_case, tmp_path):
    cases = [nifti_case()]
    read = []
    cache = open_cache("flair", cases, tmp_path / "cache", lambda name, done, total: read.append(name))
    assert len(cache.images_SCHW) == 6
    open_cache("flair", cases, tmp_path / "cache", lambda name, done, total: read.append(name))
    assert read == ["Brats18_X_A_1", ""]
    before = cache_key("flair", cases)
    nifti_case(shape=(24, 20, 7))
    assert cache_key("flair", cases) != before
    assert len(open_cache("flair", cases, tmp_path / "cache").images_SCHW) == 7


def test_missing_data_is_said_with_the_known_layouts(tmp_path):
    with pytest.raises(FileNotFoundError, match="BraTS folders"):
        find_cases(tmp_path)


def test_real_cases_read_as_documented(data_root):
    cases = find_cases(data_root)
    lgg = next(c for c in cases if c.name == "TCGA_CS_4941_19960909")
    volume = read_case(lgg)
    images, masks = volume.images_SCHW[:, 0], volume.labels_SHW
    assert images.shape == (23, 256, 256)
    assert masks.any(axis=(1, 2)).sum() == 8
    brats = next(c for c in cases if c.name == "Brats18_2013_11_1")
    volume = read_case(brats)
    images, masks = volume.images_SCHW[:, 0], volume.labels_SHW
    assert images.shape == (155, 256, 256)
    assert (masks > 0).sum() == pytest.approx(139_300, abs=100)
