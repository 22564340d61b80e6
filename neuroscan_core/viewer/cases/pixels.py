"""Voxels as the browser gets them: uint16 with one slope and intercept per case.

Values that are whole numbers, as scanners make them, stay exact. Others are rounded to one of 65536 levels; where a
later slice does not fit, the scale widens and what was stored before is to be stored again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

LEVELS = 65535
HEADROOM = 4.0  # of the range of the slices so far, for those still to come
WINDOW_PERCENTILES = (0.5, 99.5)


@dataclass(frozen=True)
class Scale:
    """``value = stored * slope + intercept``.

    Parameters
    ----------
    slope : float
        Positive.
    intercept : float
    """

    slope: float = 1.0
    intercept: float = 0.0

    @classmethod
    def for_values(cls, *arrays_ji: npt.NDArray[np.generic], is_complete: bool = False) -> Scale:
        """A scale that holds these values, and more of the kind unless they are all there will be."""
        lows, highs, is_whole = [], [], True
        for array in arrays_ji:  # one after the other: of a volume there is not another copy in memory
            finite = np.nan_to_num(np.asarray(array, dtype=np.float32), posinf=0, neginf=0)
            if finite.size:
                lows.append(float(finite.min()))
                highs.append(float(finite.max()))
            is_whole = is_whole and np.array_equal(finite, np.rint(finite))
        low, high = min(lows, default=0.0), max(highs, default=0.0)
        if is_whole:
            for intercept in (0.0, -32768.0):
                if low >= intercept and high <= LEVELS + intercept:
                    return cls(1.0, intercept)
        low, high = min(low, 0.0), max(high, low + 1e-6)
        room = 1.0 if is_complete else HEADROOM
        return cls(room * (high - low) / LEVELS, room * low)

    def holds(self, pixels_ji: npt.NDArray[np.float32]) -> bool:
        """Whether no value would be cut off or, on a scale of whole numbers, rounded."""
        stored = (pixels_ji - self.intercept) / self.slope
        if stored.size and (float(stored.min()) < -0.5 or float(stored.max()) > LEVELS + 0.5):
            return False
        return self.slope != 1.0 or bool(np.array_equal(stored, np.rint(stored)))

    def store(self, pixels: npt.NDArray[np.generic]) -> npt.NDArray[np.uint16]:
        """Values as they are stored; what lies outside of the scale is cut off, what is no number becomes 0."""
        values = np.nan_to_num(np.asarray(pixels, dtype=np.float32), posinf=0, neginf=0)
        stored = np.rint((values - np.float32(self.intercept)) / np.float32(self.slope))
        return np.asarray(np.clip(stored, 0, LEVELS), dtype=np.uint16)

    def restore(self, stored: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
        """Values of what was stored."""
        values = stored.astype(np.float32)
        if self.slope != 1.0 or self.intercept != 0.0:
            values = values * np.float32(self.slope) + np.float32(self.intercept)
        return values

    def as_json(self) -> dict[str, float]:
        """As the browser has it."""
        return {"slope": self.slope, "intercept": self.intercept}


class Histogram:
    """Where the percentiles of all slices so far lie; 512 kB whatever they are."""

    def __init__(self) -> None:
        self._counts = np.zeros(LEVELS + 1, np.int64)

    def add(self, stored_ji: npt.NDArray[np.uint16]) -> None:
        """Count the values of a slice; every other pixel in both directions is enough."""
        sample = stored_ji[::2, ::2].reshape(-1)
        self._counts[: int(sample.max(initial=0)) + 1] += np.bincount(sample)

    def window(self, scale: Scale) -> dict[str, float]:
        """Values between which most pixels lie: ``low`` and ``high``."""
        total = int(self._counts.sum())
        if total == 0:
            return {"low": 0.0, "high": 1.0}
        ranks = np.array(WINDOW_PERCENTILES) / 100 * (total - 1)
        low, high = (float(level) for level in np.searchsorted(np.cumsum(self._counts), ranks, side="right"))
        if not high > low:
            high = float(np.flatnonzero(self._counts)[-1])
        if not high > low:
            high = low + 1.0
        return {"low": low * scale.slope + scale.intercept, "high": high * scale.slope + scale.intercept}


@dataclass(frozen=True, eq=False)
class StoredVolume:
    """All voxels of a volume as they are stored.

    Parameters
    ----------
    stored_kji : ndarray of uint16, shape (slices, rows, columns)
    scale : Scale
    window : dict
        Values between which most voxels lie: ``low`` and ``high``.
    """

    stored_kji: npt.NDArray[np.uint16]
    scale: Scale
    window: dict[str, float]

    @classmethod
    def of(cls, voxels_kji: npt.NDArray[np.float32]) -> StoredVolume:
        """Store a volume that is whole."""
        scale, histogram = Scale.for_values(*voxels_kji, is_complete=True), Histogram()
        stored_kji = np.empty(voxels_kji.shape, np.uint16)
        for k, voxels_ji in enumerate(voxels_kji):
            stored_kji[k] = scale.store(voxels_ji)
            histogram.add(stored_kji[k])
        return cls(stored_kji, scale, histogram.window(scale))
