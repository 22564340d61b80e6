"""Intensity normalisation: `foreground-median-v1` of 2.5D windows, `foreground-zscore-v1` of volumes.

The very same functions serve training and the node. A window depends on its
own three slices only, so a slice can be segmented while the series is still
arriving and the result cannot differ from that of the complete series. A
volume is normalised when all of it is there. What the network sees in space
(spacing, orientation, padding) is in `grid`.

Shape legend: C = 3 slices (z-1, z, z+1), D slices, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

NORMALISATION = "foreground-median-v1"
VOLUME_NORMALISATION = "foreground-zscore-v1"
NUM_WINDOW_SLICES = 3
MAX_NORMALISED = 4.0
# The median hardly moves when only every second row and column is looked at.
STATISTIC_STRIDE = 2
# A voxel is tissue where it exceeds this share of the volume's bright end.
TISSUE_SHARE = 0.1
BRIGHT_PERCENTILE = 99.0
MAX_ZSCORE = 5.0


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


def tissue_level(sample: npt.NDArray[np.float32]) -> float:
    """Return the intensity above which voxels are tissue; infinite where none is positive."""
    positive = sample[sample > 0]
    return float(TISSUE_SHARE * np.percentile(positive, BRIGHT_PERCENTILE)) if positive.size else np.inf


def volume_statistics(volume_DHW: npt.NDArray[np.generic]) -> tuple[float, float]:
    """Return mean and standard deviation of a volume's tissue.

    Tissue is what exceeds a tenth of the 99th percentile of the positive
    voxels, so that air, zero or noisy, does not count.

    Parameters
    ----------
    volume_DHW : numpy.ndarray
        Intensities of one channel, any real dtype, finite.

    Returns
    -------
    tuple of float
        Mean and standard deviation; (0.0, 0.0) for a volume without tissue or of one value.
    """
    sample = volume_DHW[:, ::STATISTIC_STRIDE, ::STATISTIC_STRIDE].astype(np.float32)
    tissue = sample[sample > tissue_level(sample)]
    if tissue.size == 0:
        return 0.0, 0.0
    mean, deviation = float(tissue.mean(dtype=np.float64)), float(tissue.std(dtype=np.float64))
    return (mean, deviation) if deviation > 0 else (0.0, 0.0)


def normalise_volume(
    volume_DHW: npt.NDArray[np.generic], statistics: tuple[float, float] | None = None
) -> npt.NDArray[np.float32]:
    """Return z-scores over the tissue of a volume, in [-5, 5].

    Parameters
    ----------
    volume_DHW : numpy.ndarray
        One channel: a volume, or slices of it with the statistics of the whole.
    statistics : tuple of float, optional
        `volume_statistics` of the whole volume, where already known.

    Returns
    -------
    numpy.ndarray
        float32, the shape of the input; zeros where there is no tissue at all.
    """
    mean, deviation = volume_statistics(volume_DHW) if statistics is None else statistics
    if deviation <= 0:
        return np.zeros(volume_DHW.shape, dtype=np.float32)
    scores = (volume_DHW.astype(np.float32) - np.float32(mean)) / np.float32(deviation)
    return np.asarray(np.clip(scores, -MAX_ZSCORE, MAX_ZSCORE, out=scores))
