"""Which slices, pictures and patches an epoch shows.

Everything follows from (seed, epoch), never from state, so a resumed run sees
what an uninterrupted one would have seen. Reading them is in `batches`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from training.data.cache import ArrayCache, CachedCase
from training.data.cases import LGG

# BraTS slices are 1 mm apart; clinical FLAIR has 1 to 5 mm.
MAX_NEIGHBOUR_DISTANCE = 5
BRATS_STRIDE = 3
EMPTY_SHARE = 0.02
MIN_FOREGROUND_PIXELS = 100
#: Share of patches around a voxel of tumour (nnU-Net takes a third, MONAI's example half).
TUMOUR_PATCH_SHARE = 0.6
PATCHES_PER_CASE = 2


@dataclass(frozen=True)
class Window:
    """Indices of the slices z-1, z, z+1 in the cache."""

    below: int
    centre: int
    above: int


@dataclass(frozen=True)
class Patch:
    """A box in a case: its lowest corner in slices, rows, columns of the cache; it may reach beyond the case."""

    case: CachedCase
    corner_SHW: tuple[int, int, int]  # noqa: N815 - shape suffix


def window_at(case: CachedCase, offset: int, distance: int = 1) -> Window:
    """Return the window around a slice; a missing neighbour repeats it."""
    below, above = offset - distance, offset + distance
    return Window(
        case.start + (below if below >= 0 else offset),
        case.start + offset,
        case.start + (above if above < case.num_slices else offset),
    )


class Sampler(Protocol):
    """Draws the items of each epoch."""

    def epoch(self, number: int) -> list[list]:  # type: ignore[type-arg]  # windows, indices or patches
        """Return the batches of an epoch."""


def batched(items: Sequence, order: npt.NDArray[np.intp], size: int, num_batches: int | None) -> list[list]:  # type: ignore[type-arg]
    """Cut items into batches in the given order; a remainder is dropped, a short epoch starts over."""
    if num_batches is not None:
        order = np.resize(order, num_batches * size)
    elif len(order) < size:
        order = np.resize(order, size)
    return [[items[n] for n in order[start : start + size]] for start in range(0, len(order) - size + 1, size)]


class ShuffledSampler:
    """Draws the items of each epoch and shuffles them into batches.

    Parameters
    ----------
    cache : ArrayCache
        Slices of all cases.
    cases : sequence of CachedCase
        Cases to draw from.
    batch_size : int
        Items per batch; an epoch's remainder is dropped.
    seed : int
        Same seed, same epochs.
    num_batches : int, optional
        Length of an epoch, where it is not what the cases make.
    """

    def __init__(
        self,
        cache: ArrayCache,
        cases: Sequence[CachedCase],
        batch_size: int,
        seed: int,
        num_batches: int | None = None,
    ) -> None:
        self._cache, self._cases = cache, list(cases)
        self._batch_size, self._seed, self._num_batches = batch_size, seed, num_batches

    def epoch(self, number: int) -> list[list]:  # type: ignore[type-arg]  # windows or indices
        """Return the batches of an epoch."""
        rng = np.random.default_rng((self._seed, number))
        items = self._items(rng)
        return batched(items, rng.permutation(len(items)), self._batch_size, self._num_batches)

    def _items(self, rng: np.random.Generator) -> list:  # type: ignore[type-arg]
        """Return what an epoch shows, case by case."""
        raise NotImplementedError


class EpochSampler(ShuffledSampler):
    """Draws the windows of each epoch for 2.5D networks.

    LGG: every tumour slice and as many others. Volumes of thin slices: every
    third slice from a random offset, with neighbours 1 to 5 slices away;
    slices without brain only now and then.
    """

    def _items(self, rng: np.random.Generator) -> list[Window]:
        windows: list[Window] = []
        for case in self._cases:
            draw = self._draw_thick if self._is_thick(case) else self._draw_thin
            windows += draw(case, rng)
        return windows

    @staticmethod
    def _is_thick(case: CachedCase) -> bool:
        """Whether neighbours are slices apart as a clinical scanner makes them."""
        return case.dataset == LGG or case.spacing_mm[0] > 2.0

    def _draw_thick(self, case: CachedCase, rng: np.random.Generator) -> list[Window]:
        has_tumour = self._cache.label_counts_SL[case.start : case.stop, 1:].any(axis=1)
        tumour, other = np.flatnonzero(has_tumour), np.flatnonzero(~has_tumour)
        others = rng.choice(other, min(len(tumour), len(other)), replace=False)
        return [window_at(case, int(offset)) for offset in (*tumour, *others)]

    def _draw_thin(self, case: CachedCase, rng: np.random.Generator) -> list[Window]:
        has_brain = self._cache.foreground_S[case.start : case.stop] > MIN_FOREGROUND_PIXELS
        windows = []
        for offset in range(int(rng.integers(BRATS_STRIDE)), case.num_slices, BRATS_STRIDE):
            if has_brain[offset] or rng.random() < EMPTY_SHARE:
                distance = int(rng.integers(1, MAX_NEIGHBOUR_DISTANCE + 1))
                windows.append(window_at(case, offset, distance))
        return windows


class SliceSampler(ShuffledSampler):
    """Draws slices with several channels: of each case as many with tumour core as others.

    From every case every third slice with brain, from a random offset, and
    the same number among the slices that hold core or enhancing tumour, which
    are rarer than oedema and decide two of the three regions.
    """

    def _items(self, rng: np.random.Generator) -> list[int]:
        has_brain_S = self._cache.foreground_S > MIN_FOREGROUND_PIXELS
        has_core_S = self._cache.label_counts_SL[:, [1, 3]].any(axis=1)
        indices: list[int] = []
        for case in self._cases:
            brain, core = (
                case.start + np.flatnonzero(has[case.start : case.stop]) for has in (has_brain_S, has_core_S)
            )
            regular = brain[int(rng.integers(BRATS_STRIDE)) :: BRATS_STRIDE]
            chosen = rng.choice(core, min(len(regular), len(core)), replace=False)
            indices += [*regular.tolist(), *chosen.tolist()]
        return indices


class PatchSampler:
    """Draws boxes out of volumes: most around a voxel of tumour, the others around a voxel of brain.

    The voxel's label is drawn first, so that small regions are seen as often
    as large ones; the box is then moved at random so that the voxel is not
    always in its middle.

    Parameters
    ----------
    size_SHW : sequence of int
        Slices, rows, columns of a box, in voxels of the cache.
    """

    def __init__(
        self,
        cache: ArrayCache,
        cases: Sequence[CachedCase],
        batch_size: int,
        seed: int,
        num_batches: int | None,
        size_SHW: Sequence[int],
    ) -> None:
        self._cache, self._cases = cache, list(cases)
        self._batch_size, self._seed, self._num_batches = batch_size, seed, num_batches
        self._size = tuple(size_SHW)

    def epoch(self, number: int) -> list[list[Patch]]:
        """Return the batches of an epoch."""
        rng = np.random.default_rng((self._seed, number))
        num_patches = PATCHES_PER_CASE * len(self._cases)
        if self._num_batches is not None:
            num_patches = self._num_batches * self._batch_size
        rounds = -(-num_patches // len(self._cases))
        order = np.concatenate([rng.permutation(len(self._cases)) for _ in range(rounds)])[:num_patches]
        patches = [self._draw(self._cases[n], rng) for n in order]
        return batched(patches, np.arange(len(patches)), self._batch_size, self._num_batches)

    def _draw(self, case: CachedCase, rng: np.random.Generator) -> Patch:
        counts_SL = self._cache.label_counts_SL[case.start : case.stop]
        present = 1 + np.flatnonzero(counts_SL[:, 1:].any(axis=0))
        if len(present) and rng.random() < TUMOUR_PATCH_SHARE:
            label = int(rng.choice(present))
            weights = counts_SL[:, label].astype(np.float64)
            offset = int(rng.choice(case.num_slices, p=weights / weights.sum()))
            candidates = np.argwhere(self._cache.labels_SHW[case.start + offset] == label)
        else:
            weights = self._cache.foreground_S[case.start : case.stop].astype(np.float64) + 1e-9
            offset = int(rng.choice(case.num_slices, p=weights / weights.sum()))
            candidates = np.argwhere(self._cache.images_SCHW[case.start + offset, 0] > 0)
        row, column = candidates[rng.integers(len(candidates))] if len(candidates) else (128, 128)
        extent = (case.num_slices, *self._cache.labels_SHW.shape[1:])
        corner = tuple(
            _corner(int(voxel), size, length, rng)
            for voxel, size, length in zip((offset, row, column), self._size, extent, strict=True)
        )
        return Patch(case, corner)  # type: ignore[arg-type]


def _corner(voxel: int, size: int, length: int, rng: np.random.Generator) -> int:
    """Place a box of `size` around a voxel, moved by up to a quarter, inside 0..length where it fits."""
    corner = voxel - size // 2 + int(rng.integers(-(size // 4), size // 4 + 1))
    if size >= length:
        return (length - size) // 2
    return min(max(corner, 0), length - size)


class PictureSampler(ShuffledSampler):
    """Draws every picture once per epoch, in a new order."""

    def _items(self, rng: np.random.Generator) -> list[int]:
        return [case.start for case in self._cases]


def load_batch(cache: ArrayCache, windows: Sequence[Window]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Read windows from the cache.

    Returns
    -------
    images_NCHW : numpy.ndarray
        float32 intensities as stored, C = 3.
    masks_NCHW : numpy.ndarray
        float32, 0 or 1, C = 1, of the centre slices.
    """
    num, size = len(windows), cache.images_SCHW.shape[2:]
    images = np.empty((num, 3, *size), dtype=np.float32)
    masks = np.empty((num, 1, *size), dtype=np.float32)
    for row, window in enumerate(windows):
        for channel, index in enumerate((window.below, window.centre, window.above)):
            images[row, channel] = cache.images_SCHW[index, 0]
        np.greater(cache.labels_SHW[window.centre], 0, out=masks[row, 0])
    return images, masks
