"""Normalisation `foreground-median-v1`: invariances, limits, cost."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from neuroscan_core.pipeline.normalise import (
    MAX_NORMALISED,
    normalise_window,
    slice_scale,
)

intensities = hnp.arrays(np.int16, (3, 16, 16), elements=st.integers(-200, 4000))


@given(intensities)
def test_result_is_bounded_finite_and_float32(window_CHW):
    result = normalise_window(list(window_CHW))
    assert result.dtype == np.float32
    assert result.shape == window_CHW.shape
    assert np.isfinite(result).all()
    assert result.min() >= 0.0
    assert result.max() <= MAX_NORMALISED


@given(intensities, st.sampled_from([0.25, 0.5, 2.0, 8.0, 1024.0]))
def test_result_does_not_depend_on_the_gain_of_the_receiver(window_CHW, gain):
    window = window_CHW.astype(np.float32)
    # Powers of two scale float32 exactly, so only the reciprocal rounds.
    scaled = normalise_window(list(window * np.float32(gain)))
    np.testing.assert_allclose(normalise_window(list(window)), scaled, rtol=1e-6)


@given(intensities)
def test_cached_scales_give_the_same_window(window_CHW):
    scales = [slice_scale(slice_HW) for slice_HW in window_CHW]
    expected = normalise_window(list(window_CHW))
    np.testing.assert_array_equal(normalise_window(list(window_CHW), scales), expected)


@given(intensities)
def test_result_does_not_depend_on_the_dtype(window_CHW):
    expected = normalise_window(list(window_CHW))
    result = normalise_window(list(window_CHW.astype(np.float32)))
    np.testing.assert_array_equal(result, expected)


@settings(max_examples=20)
@given(intensities)
def test_input_is_left_alone(window_CHW):
    before = window_CHW.copy()
    normalise_window(list(window_CHW))
    np.testing.assert_array_equal(window_CHW, before)


@pytest.mark.parametrize("value", [0, -5, 700])
def test_slice_without_foreground_has_no_scale(value):
    assert slice_scale(np.full((32, 32), value, dtype=np.int16)) == 0.0


def test_window_of_air_becomes_zeros():
    assert not normalise_window([np.zeros((8, 8))] * 3).any()


def test_tissue_becomes_one():
    slice_HW = np.zeros((64, 64), dtype=np.uint16)
    slice_HW[16:48, 16:48] = 730
    assert normalise_window([slice_HW] * 3)[1, 32, 32] == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("num_slices", [1, 2, 4])
def test_refuses_a_window_of_another_number_of_slices(num_slices):
    with pytest.raises(ValueError, match="3 slices"):
        normalise_window([np.zeros((8, 8))] * num_slices)


def test_refuses_another_number_of_scales():
    with pytest.raises(ValueError, match="3 scales"):
        normalise_window([np.zeros((8, 8))] * 3, [1.0])


def test_costs_little():
    """Budget 0.3 ms; the bound is loose because test machines are shared."""
    slices = list(np.random.default_rng(0).integers(0, 900, (3, 256, 256)).astype(np.float32))
    scales = [slice_scale(slice_HW) for slice_HW in slices]
    durations = []
    for _ in range(50):
        start = time.perf_counter()
        slice_scale(slices[0])
        normalise_window(slices, scales)
        durations.append(time.perf_counter() - start)
    assert min(durations) < 3e-3
