"""Intensity normalisation `foreground-median-v1` of 2.5D windows.

The very same functions serve training and the node. A window depends on its
own three slices only, so a slice can be segmented while the series is still
arriving and the result cannot differ from that of the complete series. What
the network sees in space (spacing, orientation, padding) is in `grid`.

Shape legend: C = 3 slices (z-1, z, z+1), H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

NORMALISATION = "foreground-median-v1"
NUM_WINDOW_SLICES = 3
MAX_NORMALISED = 4.0
# The median hardly moves when only every second row and column is looked at.
STATISTIC_STRIDE = 2


def slice_scale(slice_HW: npt.NDArray[np.generic]) -> float:
    """Return the typical tissue intensity of a slice.

    Foreground is what exceeds the mean of the slice (air below 0 counts as
    0); the scale is the median of the foreground. To be computed once per
    slice and kept, as each slice is part of three windows.

    Parameters
    ----------
    slice_HW : numpy.ndarray
        Intensities, shape (H, W), any real dtype, finite.

    Returns
    -------
    float
        Positive scale; 0.0 for a slice without foreground (constant or air).
    """
    sample = slice_HW[::STATISTIC_STRIDE, ::STATISTIC_STRIDE].astype(np.float32)
    np.maximum(sample, 0.0, out=sample)
    foreground = sample[sample > sample.mean(dtype=np.float64)]
    if foreground.size == 0:
        return 0.0
    middle = foreground.size // 2
    return float(np.partition(foreground, middle)[middle])


def normalise_window(
    slices: Sequence[npt.NDArray[np.generic]], scales: Sequence[float] | None = None
) -> npt.NDArray[np.float32]:
    """Scale three neighbouring slices by their common tissue intensity.

    Parameters
    ----------
    slices : sequence of numpy.ndarray
        Slices z-1, z, z+1, each (H, W).
    scales : sequence of float, optional
        `slice_scale` of each, where already known.

    Returns
    -------
    numpy.ndarray
        Window (3, H, W) float32 in [0, 4]; zeros when no slice has foreground.

    Raises
    ------
    ValueError
        If there are not three slices, or not one scale for each.
    """
    if len(slices) != NUM_WINDOW_SLICES:
        raise ValueError(f"a window has {NUM_WINDOW_SLICES} slices, not {len(slices)}")
    if scales is None:
        scales = [slice_scale(slice_HW) for slice_HW in slices]
    if len(scales) != NUM_WINDOW_SLICES:
        raise ValueError(f"a window has {NUM_WINDOW_SLICES} scales, not {len(scales)}")
    window_CHW = np.empty((NUM_WINDOW_SLICES, *slices[0].shape), dtype=np.float32)
    scale = max(scales)
    if scale <= 0.0:
        window_CHW.fill(0.0)
        return window_CHW
    inverse = np.float32(1.0 / scale)
    for channel, slice_HW in enumerate(slices):
        np.multiply(slice_HW, inverse, out=window_CHW[channel], casting="unsafe")
    return np.clip(window_CHW, 0.0, MAX_NORMALISED, out=window_CHW)
