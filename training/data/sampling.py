"""Which windows an epoch shows, and batches of them.

Everything follows from (seed, epoch) or (seed, step), never from state, so a
resumed run sees what an uninterrupted one would have seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.data.cache import CachedCase, SliceCache
from training.data.cases import LGG

# BraTS slices are 1 mm apart; clinical FLAIR has 1 to 5 mm.
MAX_NEIGHBOUR_DISTANCE = 5
BRATS_STRIDE = 3
EMPTY_SHARE = 0.02
MIN_FOREGROUND_PIXELS = 100


@dataclass(frozen=True)
class Window:
    """Indices of the slices z-1, z, z+1 in the cache."""

    below: int
    centre: int
    above: int


def window_at(case: CachedCase, offset: int, distance: int = 1) -> Window:
    """Return the window around a slice; a missing neighbour repeats it."""
    below, above = offset - distance, offset + distance
    return Window(
        case.start + (below if below >= 0 else offset),
        case.start + offset,
        case.start + (above if above < case.num_slices else offset),
    )


class EpochSampler:
    """Draws the windows of each epoch.

    LGG: every tumour slice and as many others. BraTS: every third slice from
    a random offset, with neighbours 1 to 5 slices away; slices without brain
    only now and then.

    Parameters
    ----------
    cache : SliceCache
        Slices of all cases.
    cases : sequence of CachedCase
        Cases to draw from.
    batch_size : int
        Windows per batch; an epoch's remainder is dropped.
    seed : int
        Same seed, same epochs.
    """

    def __init__(self, cache: SliceCache, cases: Sequence[CachedCase], batch_size: int, seed: int) -> None:
        self._cases = list(cases)
        self._batch_size = batch_size
        self._seed = seed
        self._has_tumour: dict[str, npt.NDArray[np.bool_]] = {}
        self._has_brain: dict[str, npt.NDArray[np.bool_]] = {}
        for case in cases:
            masks = cache.masks_SHW[case.start : case.stop]
            images = cache.images_SHW[case.start : case.stop]
            self._has_tumour[case.name] = masks.any(axis=(1, 2))
            self._has_brain[case.name] = (images > 0).sum(axis=(1, 2)) > MIN_FOREGROUND_PIXELS

    def epoch(self, number: int) -> list[list[Window]]:
        """Return the batches of an epoch."""
        rng = np.random.default_rng((self._seed, number))
        windows: list[Window] = []
        for case in self._cases:
            draw = self._draw_lgg if case.dataset == LGG else self._draw_brats
            windows += draw(case, rng)
        order = rng.permutation(len(windows))
        size = self._batch_size
        return [[windows[n] for n in order[start : start + size]] for start in range(0, len(windows) - size + 1, size)]

    def _draw_lgg(self, case: CachedCase, rng: np.random.Generator) -> list[Window]:
        has_tumour = self._has_tumour[case.name]
        tumour, other = np.flatnonzero(has_tumour), np.flatnonzero(~has_tumour)
        others = rng.choice(other, min(len(tumour), len(other)), replace=False)
        return [window_at(case, int(offset)) for offset in (*tumour, *others)]

    def _draw_brats(self, case: CachedCase, rng: np.random.Generator) -> list[Window]:
        has_brain = self._has_brain[case.name]
        windows = []
        for offset in range(int(rng.integers(BRATS_STRIDE)), case.num_slices, BRATS_STRIDE):
            if has_brain[offset] or rng.random() < EMPTY_SHARE:
                distance = int(rng.integers(1, MAX_NEIGHBOUR_DISTANCE + 1))
                windows.append(window_at(case, offset, distance))
        return windows


def load_batch(cache: SliceCache, windows: Sequence[Window]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Read windows from the cache.

    Returns
    -------
    images_NCHW : numpy.ndarray
        float32 intensities as stored, C = 3.
    masks_NCHW : numpy.ndarray
        float32, 0 or 1, C = 1, of the centre slices.
    """
    indices = [[w.below, w.centre, w.above] for w in windows]
    images = np.stack([cache.images_SHW[index] for index in indices]).astype(np.float32)
    masks = np.stack([cache.masks_SHW[w.centre] for w in windows]).astype(np.float32)
    return images, masks[:, None]
