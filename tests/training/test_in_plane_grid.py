"""In-plane geometry: exact ways back, orientations, resampling."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroscan_core.pipeline.grid import InPlaneGrid

AXIAL = (1, 0, 0, 0, 1, 0)
ORIENTATIONS = [
    (sx * np.array(x), sy * np.array(y))
    for x, y in (((1, 0, 0), (0, 1, 0)), ((0, 1, 0), (1, 0, 0)))
    for sx in (1, -1)
    for sy in (1, -1)
]


@st.composite
def exact_grids(draw):
    spacing = st.floats(0.86, 1.14)
    along_i, along_j = draw(st.sampled_from(ORIENTATIONS))
    return InPlaneGrid.from_orientation(
        draw(st.integers(1, 256)),
        draw(st.integers(1, 256)),
        (draw(spacing), draw(spacing)),
        (*along_i, *along_j),
    )


@given(exact_grids(), st.integers(0, 2**32 - 1))
def test_round_trip_is_exact_where_nothing_is_resampled(grid, seed):
    labels = np.random.default_rng(seed).integers(0, 5, (grid.rows, grid.columns), dtype=np.uint8)
    assert not grid.is_resampled
    model_HW = grid.to_model(labels)
    assert model_HW.shape == (256, 256)
    assert model_HW.dtype == np.float32
    assert model_HW.sum() == labels.sum()
    back = grid.from_model(model_HW.astype(np.uint8))
    np.testing.assert_array_equal(back, labels)
    assert back.flags.c_contiguous


@pytest.mark.parametrize(("along_i", "along_j"), ORIENTATIONS)
def test_every_orientation_of_a_slice_gives_the_same_input(along_i, along_j):
    """A mark at the patient's right front lands in the first quadrant."""
    canonical = np.zeros((100, 80), dtype=np.float32)
    canonical[:30, :20] = 1.0
    canonical[0, 0] = 7.0
    is_transposed = along_i[0] == 0
    towards_left, towards_posterior = (along_j, along_i) if is_transposed else (along_i, along_j)
    source = canonical[:: towards_posterior[1], :: towards_left[0]]
    source = source.T if is_transposed else source
    grid = InPlaneGrid.from_orientation(*source.shape, (1.0, 1.0), (*along_i, *along_j))
    expected = InPlaneGrid(100, 80).to_model(canonical)
    np.testing.assert_array_equal(grid.to_model(source), expected)


def test_resampled_mask_returns_to_its_place():
    """Half-millimetre pixels: borders may move by half a network pixel."""
    source = np.zeros((512, 448), dtype=np.uint8)
    source[100:240, 90:300] = 1
    grid = InPlaneGrid.from_orientation(512, 448, (0.45, 0.5), AXIAL)
    assert grid.is_resampled
    back = grid.from_model((grid.to_model(source) > 0.5).astype(np.uint8))
    assert back.shape == source.shape
    overlap = 2.0 * (back & source).sum() / (back.sum() + source.sum())
    assert overlap > 0.98


def test_resampling_of_a_transposed_slice_uses_the_right_spacings():
    grid = InPlaneGrid.from_orientation(200, 400, (1.0, 0.5), (0, 1, 0, 1, 0, 0))
    source = np.ones((200, 400), dtype=np.float32)
    model_HW = grid.to_model(source)
    rows, columns = np.nonzero(model_HW)
    assert np.ptp(rows) + 1 == 200
    assert np.ptp(columns) + 1 == 200
    assert grid.from_model((model_HW > 0).astype(np.uint8)).all()


def test_coarse_image_is_enlarged():
    grid = InPlaneGrid.from_orientation(64, 64, (3.0, 3.0), AXIAL)
    model_HW = grid.to_model(np.ones((64, 64)))
    assert (model_HW > 0.5).sum() == 192 * 192


def test_image_larger_than_the_input_is_cropped_and_padded_with_zero():
    grid = InPlaneGrid.from_orientation(320, 300, (1.0, 1.0), AXIAL)
    source = np.ones((320, 300), dtype=np.uint8)
    back = grid.from_model(grid.to_model(source).astype(np.uint8))
    assert back.sum() == 256 * 256
    assert back[32:288, 22:278].all()


def test_refuses_a_sagittal_slice():
    with pytest.raises(ValueError, match="not an axial slice"):
        InPlaneGrid.from_orientation(256, 256, (1.0, 1.0), (0, 1, 0, 0, 0, -1))


def test_accepts_a_tilted_axial_slice():
    cos, sin = np.cos(0.35), np.sin(0.35)
    grid = InPlaneGrid.from_orientation(256, 256, (1.0, 1.0), (1, 0, 0, 0, cos, -sin))
    assert not (grid.transpose or grid.flip_rows or grid.flip_columns)


@pytest.mark.parametrize("spacing", [(0.0, 1.0), (1.0, -1.0), (float("nan"), 1.0)])
def test_refuses_impossible_spacing(spacing):
    with pytest.raises(ValueError, match="positive"):
        InPlaneGrid(256, 256, spacing)


def test_refuses_slices_and_masks_of_another_shape():
    grid = InPlaneGrid(240, 240)
    with pytest.raises(ValueError, match="grid"):
        grid.to_model(np.zeros((256, 256)))
    with pytest.raises(ValueError, match="mask"):
        grid.from_model(np.zeros((240, 240)))
