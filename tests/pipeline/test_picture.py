"""Pictures for classifiers: the same function in training and in the node."""

from __future__ import annotations

import numpy as np
import pytest

from neuroscan_core.pipeline.picture import picture_from_slice


def disc(shape: tuple[int, int], radius: float) -> np.ndarray:
    rows, columns = np.indices(shape)
    return np.hypot(rows - (shape[0] - 1) / 2, columns - (shape[1] - 1) / 2) < radius


def test_a_picture_is_float_between_minus_one_and_one() -> None:
    slice_HW = np.random.default_rng(0).gamma(2.0, 300.0, (60, 80))
    picture = picture_from_slice(slice_HW, 32)
    assert picture.shape == (1, 32, 32) and picture.dtype == np.float32
    assert -1 <= picture.min() < -0.5 and 0 < picture.max() <= 1


def test_the_aspect_is_kept_with_black_beside() -> None:
    slice_HW = disc((40, 80), 18).astype(np.float32) * 500 + 1
    picture = picture_from_slice(slice_HW, 80)[0]
    assert (picture[:20] == -1).all() and (picture[60:] == -1).all()
    bright = np.argwhere(picture > 0)
    height, width = bright.max(axis=0) - bright.min(axis=0)
    assert height == width


def test_scale_and_offset_of_intensities_do_not_matter() -> None:
    slice_HW = np.random.default_rng(1).gamma(2.0, 1.0, (50, 50))
    same = picture_from_slice(slice_HW * 137 + 12, 24)
    np.testing.assert_allclose(same, picture_from_slice(slice_HW, 24), atol=1e-5)  # float32 rounding


def test_bytes_of_a_picture_file_and_floats_of_a_slice_give_the_same() -> None:
    picture = np.random.default_rng(2).integers(0, 256, (90, 70)).astype(np.uint8)
    assert np.array_equal(picture_from_slice(picture, 32), picture_from_slice(picture.astype(np.float32), 32))


def test_a_uniform_slice_is_black() -> None:
    assert (picture_from_slice(np.full((9, 9), 7), 4) == -1).all()


def test_a_slice_with_one_small_bright_part_is_not_black() -> None:
    slice_HW = np.zeros((100, 100))
    slice_HW[50, 50] = 3
    assert picture_from_slice(slice_HW, 100).max() == 1


def test_values_that_are_no_numbers_are_dark() -> None:
    slice_HW = np.random.default_rng(3).gamma(2.0, 1.0, (20, 20))
    slice_HW[0, :3] = (np.nan, np.inf, -np.inf)
    picture = picture_from_slice(slice_HW, 20)[0]
    assert np.isfinite(picture).all() and (picture[0, :3] == picture.min()).all()


@pytest.mark.parametrize("shape", [(3, 4, 5), (0, 4), (4,)])
def test_what_is_no_picture_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="rows and columns"):
        picture_from_slice(np.zeros(shape), 8)
