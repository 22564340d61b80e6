# ruff: noqa: B905 - Python 3.6 has no zip(strict=)
"""From intensities to what the network sees, and from its frame back; the same arithmetic as in the node.

Inputs are axial slices in radiological order: row 0 anterior, column 0 patient right, slices towards the head.

Shape legend: C channels, D slices, H, W rows and columns.
"""

import itertools

import cv2
import numpy as np

MAX_NORMALISED, MAX_ZSCORE = 4.0, 5.0
STATISTIC_STRIDE = 2
TISSUE_SHARE, BRIGHT_PERCENTILE = 0.1, 99.0
WINDOW_PERCENTILES = (0.5, 99.5)
OVERLAP, SIGMA_SHARE, MIN_WEIGHT = 0.5, 0.125, 1e-3
MARGIN_MM = 8.0


class Grid:
    """Way of one slice onto the network's rows and columns, and back.

    Parameters
    ----------
    shape, size : tuple of 2 int
        Rows and columns of the slice, and of the network.
    spacing_mm : tuple of 2 float
        Between rows, between columns of the slice.
    working_spacing_mm, tolerance : float
        What the network was trained for; nearer slices that fit are padded instead of resampled.
    """

    def __init__(self, shape, spacing_mm, size, working_spacing_mm, tolerance):
        self.shape, self.size = tuple(shape), tuple(size)
        ratios = [spacing / working_spacing_mm for spacing in spacing_mm]
        fits = self.shape[0] <= size[0] and self.shape[1] <= size[1]
        self.resized = self.shape
        if not (fits and all(abs(ratio - 1.0) <= tolerance for ratio in ratios)):
            self.resized = tuple(max(1, round(length * ratio)) for length, ratio in zip(self.shape, ratios))
        self.model, self.source = [], []
        for have, want in zip(self.resized, self.size):
            pad, crop, extent = max(0, (want - have) // 2), max(0, (have - want) // 2), min(have, want)
            self.model.append(slice(pad, pad + extent))
            self.source.append(slice(crop, crop + extent))

    def to_model(self, slice_HW):
        """Return a slice in the network's frame, float32, 0 outside the source."""
        image = np.ascontiguousarray(slice_HW, dtype=np.float32)
        if self.resized != self.shape:
            shrinks = self.resized[0] < self.shape[0] or self.resized[1] < self.shape[1]
            mode = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            image = cv2.resize(image, (self.resized[1], self.resized[0]), interpolation=mode)
        out = np.zeros(self.size, dtype=np.float32)
        out[tuple(self.model)] = image[tuple(self.source)]
        return out

    def from_model(self, mask_HW):
        """Return a label map on the source's pixels, by nearest neighbour."""
        image = np.zeros(self.resized, dtype=mask_HW.dtype)
        image[tuple(self.source)] = mask_HW[tuple(self.model)]
        if self.resized != self.shape:
            rows, columns = (
                np.minimum(((np.arange(have) + 0.5) * (resized / have)).astype(np.intp), resized - 1)
                for have, resized in zip(self.shape, self.resized)
            )
            image = image[rows][:, columns]
        return image


def slice_scale(slice_HW):
    """Return the median of what exceeds the mean: the brightness of tissue; 0.0 without foreground."""
    sample = slice_HW[::STATISTIC_STRIDE, ::STATISTIC_STRIDE].astype(np.float32)
    np.maximum(sample, 0.0, out=sample)
    foreground = sample[sample > sample.mean(dtype=np.float64)]
    if foreground.size == 0:
        return 0.0
    middle = foreground.size // 2
    return float(np.partition(foreground, middle)[middle])


def normalise_window(slices, scales):
    """Return slices z-1, z, z+1 as (3, H, W), scaled by their common tissue brightness to 0..4."""
    window_CHW = np.empty((3, *slices[0].shape), dtype=np.float32)
    scale = max(scales)
    if scale <= 0.0:
        window_CHW.fill(0.0)
        return window_CHW
    inverse = np.float32(1.0 / scale)
    for channel, slice_HW in enumerate(slices):
        np.multiply(slice_HW, inverse, out=window_CHW[channel], casting="unsafe")
    return np.clip(window_CHW, 0.0, MAX_NORMALISED, out=window_CHW)


def tissue_threshold(volume_DHW):
    """Return the intensity above which a voxel is tissue; infinity where there is none."""
    sample = volume_DHW[:, ::STATISTIC_STRIDE, ::STATISTIC_STRIDE].astype(np.float32)
    positive = sample[sample > 0]
    return TISSUE_SHARE * np.percentile(positive, BRIGHT_PERCENTILE) if positive.size else np.inf


def volume_statistics(volume_DHW):
    """Return mean and standard deviation of a volume's tissue; (0.0, 0.0) without tissue."""
    sample = volume_DHW[:, ::STATISTIC_STRIDE, ::STATISTIC_STRIDE].astype(np.float32)
    tissue = sample[(sample > 0) & (sample > tissue_threshold(volume_DHW))]
    if tissue.size == 0:
        return 0.0, 0.0
    mean, deviation = float(tissue.mean(dtype=np.float64)), float(tissue.std(dtype=np.float64))
    return (mean, deviation) if deviation > 0 else (0.0, 0.0)


def normalise_volume(volume, statistics):
    """Return z-scores over the tissue of the whole volume, within -5..5."""
    mean, deviation = statistics
    if deviation <= 0:
        return np.zeros(volume.shape, dtype=np.float32)
    scores = (volume.astype(np.float32) - np.float32(mean)) / np.float32(deviation)
    return np.clip(scores, -MAX_ZSCORE, MAX_ZSCORE, out=scores)


def picture_from_slice(slice_HW, size):
    """Return a slice as a grey picture (1, H, W) in -1..1, padded to a square."""
    image = slice_HW.astype(np.float32)
    is_finite = np.isfinite(image)
    if not is_finite.all():
        image[~is_finite] = image[is_finite].min() if is_finite.any() else 0.0
    low, high = (np.float32(value) for value in np.percentile(image, WINDOW_PERCENTILES))
    if not high > low:
        low, high = image.min(), image.max()
    grey = np.clip((image - low) / (high - low), 0.0, 1.0) if high > low else np.zeros_like(image)
    side = max(grey.shape)
    top, left = (side - grey.shape[0]) // 2, (side - grey.shape[1]) // 2
    square = np.zeros((side, side), dtype=np.float32)
    square[top : top + grey.shape[0], left : left + grey.shape[1]] = grey
    shrinks = size[0] < side or size[1] < side
    mode = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized = cv2.resize(square, (size[1], size[0]), interpolation=mode)
    return (resized * np.float32(2) - np.float32(1)).astype(np.float32)[None]


def head_box(volume_CDHW, spacing_mm):
    """Return the box of all tissue with some air around it; None where there is no tissue."""
    low, high = [], []
    for volume_DHW in volume_CDHW:
        places = np.nonzero(volume_DHW > tissue_threshold(volume_DHW))
        if places[0].size:
            low.append([axis.min() for axis in places])
            high.append([axis.max() + 1 for axis in places])
    if not low:
        return None
    margin = int(np.ceil(MARGIN_MM / spacing_mm))
    lengths = volume_CDHW.shape[1:]
    bounds = zip(np.min(low, axis=0), np.max(high, axis=0), lengths)
    return tuple(slice(max(0, int(a) - margin), min(length, int(b) + margin)) for a, b, length in bounds)


def patches_of(shape, size):
    """Return boxes that cover a volume at least as large as a patch; the last of each axis ends with it."""
    starts = []
    for length, extent in zip(shape, size):
        step = max(1, int(extent * (1.0 - OVERLAP)))
        num = 1 + max(0, -(-(length - extent) // step))
        starts.append([min(n * step, length - extent) for n in range(num)])
    return [tuple(slice(s, s + extent) for s, extent in zip(corner, size)) for corner in itertools.product(*starts)]


def gaussian_weights(size):
    """Return weights of a patch's voxels, greatest in its centre and nowhere zero."""
    axes = [np.arange(length, dtype=np.float32) - np.float32((length - 1) / 2) for length in size]
    bells = [np.exp(np.float32(-0.5) * (x / np.float32(SIGMA_SHARE * len(x))) ** 2) for x in axes]
    weights = bells[0][:, None, None] * bells[1][None, :, None] * bells[2][None, None, :]
    return np.maximum(weights, max(float(weights.min()), MIN_WEIGHT)).astype(np.float32)


def slide(volume_CDHW, predict, size, num_outputs):
    """Return logits (L, D, H, W) of a volume: overlapping patches, blended with Gaussian weights."""
    shape = volume_CDHW.shape[1:]
    before = [max(0, extent - length) // 2 for extent, length in zip(size, shape)]
    after = [max(0, extent - length) - low for extent, length, low in zip(size, shape, before)]
    if any(before) or any(after):
        volume_CDHW = np.pad(volume_CDHW, [(0, 0), *list(zip(before, after))], mode="edge")
    weights = gaussian_weights(size)
    total = np.zeros((num_outputs, *volume_CDHW.shape[1:]), dtype=np.float32)
    covered = np.zeros(volume_CDHW.shape[1:], dtype=np.float32)
    for patch in patches_of(volume_CDHW.shape[1:], size):
        where = (slice(None), *patch)
        total[where] += predict(np.ascontiguousarray(volume_CDHW[where])[None])[0] * weights
        covered[patch] += weights
    total /= covered
    return total[(slice(None), *tuple(slice(low, low + length) for low, length in zip(before, shape)))]
