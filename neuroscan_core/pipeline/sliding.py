"""Networks of fixed input size on volumes: overlapping patches, blended with Gaussian weights.

The plan of patches and the weights are those of MONAI's `sliding_window_inference` in its mode ``gaussian``, with which
networks are evaluated in training; the node does without PyTorch. What a volume is and what the blended logits mean
is `volume3d`'s work.

Shape legend: C channels, L outputs, D, H, W slices, rows and columns.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

OVERLAP = 0.5
SIGMA_SHARE = 0.125  # standard deviation of the weights, of the patch's length
MIN_WEIGHT = 1e-3
Patch = tuple[slice, slice, slice]
Predict = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]
Progress = Callable[[int, int], None]  # steps done, steps in all; may raise to stop


def no_progress(done: int, of: int) -> None:
    """Tell nobody."""


def slide(
    volume_CDHW: npt.NDArray[np.float32],
    predict: Predict,
    patch_size: tuple[int, int, int],
    num_outputs: int,
    *,
    overlap: float = OVERLAP,
    progress: Progress = no_progress,
) -> npt.NDArray[np.float32]:
    """Return logits (L, D, H, W) of a volume, one patch at a time.

    Parameters
    ----------
    volume_CDHW : ndarray of float32
        Where it is smaller than a patch its border is repeated: zero would be the mean of tissue.
    predict : callable
        Patches (1, C, D, H, W) to logits (1, L, D, H, W).
    patch_size : tuple of 3 int
    num_outputs : int
    overlap : float
        Share of a patch that its neighbour covers as well.
    progress : callable
        Called after each patch with patches done and patches in all.
    """
    shape = volume_CDHW.shape[1:]
    before = [max(0, size - length) // 2 for size, length in zip(patch_size, shape, strict=True)]
    after = [max(0, size - length) - low for size, length, low in zip(patch_size, shape, before, strict=True)]
    if any(before) or any(after):
        volume_CDHW = np.pad(volume_CDHW, [(0, 0), *zip(before, after, strict=True)], mode="edge")
    patches = patches_of(volume_CDHW.shape[1:], patch_size, overlap)
    weights_DHW = gaussian_weights(patch_size)
    total_LDHW = np.zeros((num_outputs, *volume_CDHW.shape[1:]), dtype=np.float32)
    covered_DHW = np.zeros(volume_CDHW.shape[1:], dtype=np.float32)
    for done, patch in enumerate(patches, 1):
        at = (slice(None), *patch)
        logits_LDHW = predict(np.ascontiguousarray(volume_CDHW[at])[None])[0]
        total_LDHW[at] += logits_LDHW * weights_DHW
        covered_DHW[patch] += weights_DHW
        progress(done, len(patches))
    total_LDHW /= covered_DHW
    inner = (slice(None), *(slice(low, low + length) for low, length in zip(before, shape, strict=True)))
    return np.asarray(total_LDHW[inner])


def patches_of(shape: Sequence[int], patch_size: Sequence[int], overlap: float = OVERLAP) -> list[Patch]:
    """Patches that cover a volume at least as large as a patch; the last of each axis ends with it."""
    starts = []
    for length, size in zip(shape, patch_size, strict=True):
        step = max(1, int(size * (1.0 - overlap)))
        num = 1 + max(0, -(-(length - size) // step))
        starts.append([min(n * step, length - size) for n in range(num)])
    depth, height, width = patch_size
    return [(slice(d, d + depth), slice(h, h + height), slice(w, w + width)) for d, h, w in itertools.product(*starts)]


def gaussian_weights(patch_size: Sequence[int]) -> npt.NDArray[np.float32]:
    """Weights of a patch's voxels, greatest in its centre and nowhere zero."""
    axes = [np.arange(size, dtype=np.float32) - np.float32((size - 1) / 2) for size in patch_size]
    bells = [np.exp(-0.5 * (x / np.float32(SIGMA_SHARE * len(x))) ** 2) for x in axes]
    weights_DHW = bells[0][:, None, None] * bells[1][None, :, None] * bells[2][None, None, :]
    return np.asarray(np.maximum(weights_DHW, max(float(weights_DHW.min()), MIN_WEIGHT)), dtype=np.float32)
