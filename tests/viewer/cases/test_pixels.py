"""Voxels as uint16: whole numbers stay exact, others are close, and what does not fit widens the scale."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from neuroscan_core.domain.volume import FrameKey
from neuroscan_core.viewer.cases.pixels import Histogram, Scale
from neuroscan_core.viewer.cases.slices import SliceStore
from tests.viewer.test_board import geometry


@given(arrays.arrays(np.int32, (4, 5), elements=st.integers(0, 65535)))
def test_whole_numbers_of_scanners_are_exact(values: np.ndarray) -> None:
    scale = Scale.for_values(values)
    assert scale == Scale(1.0, 0.0)
    np.testing.assert_array_equal(scale.restore(scale.store(values)), values)


@given(arrays.arrays(np.int32, (4, 5), elements=st.integers(-32768, 32767)))
def test_signed_whole_numbers_are_exact(values: np.ndarray) -> None:
    scale = Scale.for_values(values)
    np.testing.assert_array_equal(scale.restore(scale.store(values)), values)


@given(arrays.arrays(np.float32, (4, 5), elements=st.floats(-1e6, 1e6, width=32)))
def test_any_numbers_are_within_half_a_level(values: np.ndarray) -> None:
    scale = Scale.for_values(values, is_complete=True)
    error = np.abs(scale.restore(scale.store(values)).astype(np.float64) - values)
    # Half a level, and the precision of float32 at this size.
    assert error.max() <= 0.5 * scale.slope + 4e-7 * max(1.0, float(np.abs(values).max()))


def test_what_is_no_number_is_stored_as_something() -> None:
    values = np.array([[np.nan, np.inf, -np.inf, 7.0]], np.float32)
    scale = Scale.for_values(values)
    assert scale.restore(scale.store(values))[0, 3] == 7.0


def test_window_lies_between_the_percentiles() -> None:
    histogram, scale = Histogram(), Scale()
    values = np.tile(np.arange(1000, dtype=np.uint16), (1000, 1))
    histogram.add(values)
    window = histogram.window(scale)
    # Every other pixel is counted.
    assert window["low"] == pytest.approx(5, abs=3) and window["high"] == pytest.approx(995, abs=3)


@pytest.mark.parametrize("value", [0, 17, 65535])
def test_window_of_one_value_is_not_empty(value: int) -> None:
    histogram = Histogram()
    histogram.add(np.full((4, 4), value, np.uint16))
    window = histogram.window(Scale())
    assert window["high"] > window["low"]


def test_slice_that_does_not_fit_widens_the_scale_and_says_that_all_are_other_bytes() -> None:
    store = SliceStore()
    store.add(FrameKey("1"), geometry(0), np.full((4, 4), 100.0, np.float32))
    assert (store.pixels_revision, store.scale) == (0, Scale())
    store.add(FrameKey("2"), geometry(1), np.full((4, 4), 0.25, np.float32))
    first = store.pixels_revision
    assert first != 0
    values = store.values_kji([0, 1])
    assert values[0, 0, 0] == pytest.approx(100, abs=store.scale.slope)
    assert values[1, 0, 0] == pytest.approx(0.25, abs=store.scale.slope)
    store.add(FrameKey("3"), geometry(2), np.full((4, 4), 1e5, np.float32))
    assert store.pixels_revision not in (0, first)
    assert store.values_kji([2])[0, 0, 0] == pytest.approx(1e5, rel=1e-4)


def test_slices_of_another_size_and_repeated_ones_are_not_taken() -> None:
    store = SliceStore()
    assert store.add(FrameKey("1"), geometry(0), np.zeros((4, 4), np.float32))
    assert not store.add(FrameKey("1"), geometry(0), np.ones((4, 4), np.float32))
    other = type(geometry(1))(**{**vars(geometry(1)), "shape": (5, 4)})
    assert not store.add(FrameKey("2"), other, np.zeros((5, 4), np.float32))
    assert (len(store), store.num_refused) == (1, 1)


def test_block_has_what_is_there_and_no_more() -> None:
    store = SliceStore()
    for k in range(3):
        store.add(FrameKey(str(k)), geometry(k), np.full((4, 4), k, np.float32))
    block = store.block(1, 10)
    assert block.num_slices == 2
    np.testing.assert_array_equal(np.frombuffer(block.content, "<u2").reshape(2, 4, 4)[:, 0, 0], [1, 2])
    assert store.block(3, 5).content == b"" and store.block(0, 0).num_slices == 0
    assert store.block(-5, 1).num_slices == 1
