"""The slices of a series as they come in, in any order, kept ordered along their normal.

`add` finds out at once what no later slice can cure; `judge` decides whether they form a regular stack.
"""

from __future__ import annotations

from bisect import bisect_left, insort

from neuroscan_core.config import SeriesConfig
from neuroscan_core.domain.errors import RejectionCode, SeriesRejection
from neuroscan_core.domain.geometry import PARALLEL_TOLERANCE, SliceGeometry, StackGeometry
from neuroscan_core.domain.volume import FrameKey

SAME_POSITION_MM = 1e-3
CURABLE = frozenset({RejectionCode.MISSING_SLICES, RejectionCode.UNEQUAL_SPACING, RejectionCode.TOO_FEW_SLICES})
"""Rejections that slices still to come may cure."""


class SliceStack:
    """Slices ordered along their normal.

    Parameters
    ----------
    config : SeriesConfig
    """

    def __init__(self, config: SeriesConfig) -> None:
        self._config = config
        self._geometries: dict[FrameKey, SliceGeometry] = {}
        self._offsets: list[tuple[float, FrameKey]] = []
        self._first: SliceGeometry | None = None
        self._normal = (0.0, 0.0, 0.0)

    def __len__(self) -> int:
        return len(self._geometries)

    def __contains__(self, key: FrameKey) -> bool:
        return key in self._geometries

    def add(self, key: FrameKey, geometry: SliceGeometry) -> None:
        """Take a slice; nothing happens if it is there already.

        Raises
        ------
        SeriesRejection
            It does not fit the others: another orientation, grid or frame of reference, or an occupied position. It
            is not kept.
        """
        if key in self._geometries:
            return
        if self._first is None:
            x, y, z = geometry.normal
            self._first, self._normal = geometry, (float(x), float(y), float(z))
        if not _is_same_grid(self._first, geometry):
            StackGeometry.from_slices([self._first, geometry])
        offset_mm = sum(n * p for n, p in zip(self._normal, geometry.position_mm, strict=True))
        at = bisect_left(self._offsets, (offset_mm - SAME_POSITION_MM, FrameKey("")))
        if at < len(self._offsets) and self._offsets[at][0] <= offset_mm + SAME_POSITION_MM:
            raise SeriesRejection(
                RejectionCode.DUPLICATE_POSITIONS,
                "Several images lie at one position: the series holds more than one volume.",
                remedy="Send one contrast or time point per series.",
            )
        insort(self._offsets, (offset_mm, key))
        self._geometries[key] = geometry

    def judge(self) -> tuple[StackGeometry, tuple[FrameKey, ...]]:
        """The regular stack that the slices form, and their keys along the normal.

        Raises
        ------
        SeriesRejection
            They do not form one; codes in `CURABLE` may vanish with more slices.
        """
        manifest = tuple(key for _, key in self._offsets)
        geometry = StackGeometry.from_slices(
            [self._geometries[key] for key in manifest],
            min_slices=self._config.min_slices,
            max_spacing_deviation=self._config.max_spacing_deviation,
        )
        return geometry, manifest


def _is_same_grid(first: SliceGeometry, other: SliceGeometry) -> bool:
    """A quick look that answers no where the thorough one must decide."""
    return (
        first.shape == other.shape
        and first.frame_of_reference_uid == other.frame_of_reference_uid
        and all(abs(a - b) <= PARALLEL_TOLERANCE for a, b in zip(first.orientation, other.orientation, strict=True))
        and all(abs(a - b) <= 1e-4 * a for a, b in zip(first.spacing_mm, other.spacing_mm, strict=True))
    )
