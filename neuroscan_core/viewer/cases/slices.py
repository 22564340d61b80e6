"""The slices of one series as they arrived: stored as uint16, numbered from 0."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.geometry import SliceGeometry
from neuroscan_core.domain.volume import FrameKey
from neuroscan_core.viewer.cases.case import SliceBlock
from neuroscan_core.viewer.cases.pixels import Histogram, Scale


class SliceStore:
    """Slices of one size in the order of their arrival. For one thread at a time.

    Parameters
    ----------
    wanted : sequence of FrameKey, optional
        Take no others.
    name : str
        Tells slices of one series from those of another that took its place.
    """

    def __init__(self, wanted: Sequence[FrameKey] | None = None, name: str = "") -> None:
        self.keys: list[FrameKey] = []
        self.geometries: list[SliceGeometry] = []
        self.number_of: dict[FrameKey, int] = {}
        self.scale = Scale()
        self.num_refused = 0
        self._wanted = None if wanted is None else frozenset(wanted)
        self._name = name
        self._stored: list[npt.NDArray[np.uint16]] = []
        self._histogram = Histogram()

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def num_bytes(self) -> int:
        """Memory that the voxels take."""
        return sum(stored_ji.nbytes for stored_ji in self._stored)

    @property
    def shape_ji(self) -> tuple[int, int]:
        """Rows and columns; (0, 0) before the first slice."""
        return self.geometries[0].shape if self.geometries else (0, 0)

    @property
    def pixels_revision(self) -> int:
        """Another number where everything that was handed out is stored in another way now."""
        if self.scale == Scale() and not self._name:
            return 0
        return zlib.crc32(f"{self._name} {self.scale.slope!r} {self.scale.intercept!r}".encode()) & 0x7FFFFFFF

    @property
    def window(self) -> dict[str, float]:
        """Values between which most voxels lie."""
        return self._histogram.window(self.scale)

    def add(self, key: FrameKey, geometry: SliceGeometry, pixels_ji: npt.NDArray[np.float32]) -> bool:
        """Take a slice; False for one that is there, is not wanted, or has another size than the first."""
        if key in self.number_of or (self._wanted is not None and key not in self._wanted):
            return False
        if self.geometries and geometry.shape != self.shape_ji:
            self.num_refused += 1
            return False
        if not self._stored:
            self.scale = Scale.for_values(pixels_ji)
        elif not self.scale.holds(pixels_ji):
            self._widen(pixels_ji)
        self.number_of[key] = len(self.keys)
        self.keys.append(key)
        self.geometries.append(geometry)
        self._stored.append(self.scale.store(pixels_ji))
        self._histogram.add(self._stored[-1])
        return True

    def _widen(self, pixels_ji: npt.NDArray[np.float32]) -> None:
        """Another scale for all; values that were rounded before are rounded once more."""
        former = [self.scale.restore(stored_ji) for stored_ji in self._stored]
        self.scale = Scale.for_values(*former, pixels_ji)
        self._histogram = Histogram()
        self._stored = [self.scale.store(values_ji) for values_ji in former]
        for stored_ji in self._stored:
            self._histogram.add(stored_ji)

    def block(self, start: int, count: int) -> SliceBlock:
        """At most `count` slices from a number on."""
        return SliceBlock.of(self._stored, start, count, self.pixels_revision)

    def values_kji(self, order: Sequence[int | None]) -> npt.NDArray[np.float32]:
        """Values of slices by number; None is a gap, which is darkest."""
        values_kji = np.zeros((len(order), *self.shape_ji), np.float32)
        for k, number in enumerate(order):
            if number is not None:
                values_kji[k] = self.scale.restore(self._stored[number])
        return values_kji
