"""Reading the items of a batch out of the cache: normalised, not yet augmented.

A batch is `{"image": ..., "target": ...}` of torch tensors:

=============  ==========================================  =======================
kind           image, float32                              target
=============  ==========================================  =======================
slice25d       [N, 3, H, W], units of tissue, not clipped  float32 [N, 1, H, W]
multimodal2d   [N, 4, H, W], z-scores of the volume        int64 [N, H, W], 0 to 3
volume3d       [N, 4, D, H, W], z-scores of the volume     float32 [N, 3, D, H, W]
classifier     [N, 1, H, W], -1 to 1                       int64 [N]
=============  ==========================================  =======================

Shape legend: N batch, C channels, D slices, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from neuroscan_core.pipeline.normalise import normalise_volume
from neuroscan_core.pipeline.picture import picture_from_slice
from training.data.cache import ArrayCache, CachedCase
from training.data.sampling import Patch, Window, load_batch
from training.regions import REGIONS

Batch = dict[str, Tensor]
#: In the order of the output channels.
_REGION_TABLES = [np.isin(np.arange(4), labels).astype(np.float32) for labels in REGIONS.values()]


class BatchReader(Protocol):
    """Reads the items that its sampler draws."""

    def __call__(self, items: Sequence) -> Batch:  # type: ignore[type-arg]
        """Return a batch."""


class WindowReader:
    """Batches for `slice25d`; `items` are windows."""

    def __init__(self, cache: ArrayCache) -> None:
        self._cache = cache

    def __call__(self, items: Sequence[Window]) -> Batch:
        """Return windows divided by the largest tissue scale of their slices."""
        images_NCHW, masks_NCHW = load_batch(self._cache, items)
        scales_N = self._cache.scales_S[[[w.below, w.centre, w.above] for w in items]].max(axis=1)
        inverse_N = np.where(scales_N > 0, 1.0 / np.maximum(scales_N, 1e-6), 0.0).astype(np.float32)
        images_NCHW *= inverse_N[:, None, None, None]
        return {"image": torch.from_numpy(images_NCHW), "target": torch.from_numpy(masks_NCHW)}


class SliceReader:
    """Batches for `multimodal2d`; `items` are indices of slices."""

    def __init__(self, cache: ArrayCache, cases: Sequence[CachedCase]) -> None:
        self._cache = cache
        self._cases = {index: case for case in cases for index in range(case.start, case.stop)}

    def __call__(self, items: Sequence[int]) -> Batch:
        """Return slices as z-scores of their volumes, and their labels."""
        shape = self._cache.images_SCHW.shape[1:]
        images_NCHW = np.empty((len(items), *shape), dtype=np.float32)
        for row, index in enumerate(items):
            case = self._cases[index]
            for channel in range(shape[0]):
                moments = (case.mean[channel], case.std[channel])
                images_NCHW[row, channel] = normalise_volume(self._cache.images_SCHW[index, channel], moments)
        labels_NHW = np.stack([self._cache.labels_SHW[index] for index in items]).astype(np.int64)
        return {"image": torch.from_numpy(images_NCHW), "target": torch.from_numpy(labels_NHW)}


class PatchReader:
    """Batches for `volume3d`; `items` are boxes.

    Parameters
    ----------
    size_SHW : tuple of int
        Of a box, in voxels of the cache (1 mm).
    step : int
        1: as it is; 2: brought to 2 mm, images and labels by the mean of 2 x 2 x 2 voxels.
    """

    def __init__(self, cache: ArrayCache, size_SHW: tuple[int, int, int], step: int = 1) -> None:
        self._cache, self._size, self._step = cache, size_SHW, step

    def __call__(self, items: Sequence[Patch]) -> Batch:
        """Return boxes as z-scores of their volumes, and the three regions."""
        boxes = [self._read(patch) for patch in items]
        images_NCDHW, regions_NLDHW = (np.stack(arrays) for arrays in zip(*boxes, strict=True))
        return {"image": torch.from_numpy(images_NCDHW), "target": torch.from_numpy(regions_NLDHW)}

    def _read(self, patch: Patch) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        case, cache = patch.case, self._cache
        images_SCHW = cache.images_SCHW[case.start : case.stop]
        labels_SHW = cache.labels_SHW[case.start : case.stop]
        inside, place = _overlap(patch.corner_SHW, self._size, labels_SHW.shape)
        labels = np.zeros(self._size, dtype=np.uint8)
        labels[place] = labels_SHW[inside]
        images = np.zeros((images_SCHW.shape[1], *self._size), dtype=np.uint16)
        for channel in range(len(images)):
            images[channel][place] = images_SCHW[inside[0], channel, inside[1], inside[2]]
        planes = [
            _coarser(normalise_volume(images[c], (case.mean[c], case.std[c])), self._step) for c in range(len(images))
        ]
        regions = [_coarser(table[labels], self._step) for table in _REGION_TABLES]
        return np.stack(planes), (np.stack(regions) >= 0.5).astype(np.float32)


def _overlap(
    corner: Sequence[int], size: Sequence[int], extent: Sequence[int]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return where a box meets the volume: slices of the volume, slices of the box."""
    inside, place = [], []
    for low, length, limit in zip(corner, size, extent, strict=True):
        first, last = max(low, 0), min(low + length, limit)
        inside.append(slice(first, last))
        place.append(slice(first - low, last - low))
    return tuple(inside), tuple(place)


def _coarser(volume_DHW: npt.NDArray[np.float32], step: int) -> npt.NDArray[np.float32]:
    """Return means over cubes of `step` voxels."""
    if step == 1:
        return volume_DHW
    for axis in range(3):
        parts = [volume_DHW[(slice(None),) * axis + (slice(first, None, step),)] for first in range(step)]
        volume_DHW = sum(parts[1:], start=parts[0])
    return volume_DHW * np.float32(1.0 / step**3)


class PictureReader:
    """Batches for `classifier`; `items` are indices of pictures.

    Parameters
    ----------
    size : int
        Rows and columns that the network sees.
    """

    def __init__(self, cache: ArrayCache, size: int) -> None:
        self._cache, self._size = cache, size

    def __call__(self, items: Sequence[int]) -> Batch:
        """Return pictures as the node would make them, and their classes."""
        pictures = [picture_from_slice(self._cache.images_SCHW[index, 0], self._size) for index in items]
        classes_N = self._cache.classes_S[list(items)].astype(np.int64)
        return {"image": torch.from_numpy(np.stack(pictures)), "target": torch.from_numpy(classes_N)}
