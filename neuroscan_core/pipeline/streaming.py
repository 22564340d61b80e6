"""Segmentation of a series while its slices arrive, in any order.

`StreamingSegmenter` decides which slices are neighbours, which windows are due and when all is done. It has no thread,
no bus and no engine: slices go in, windows come out, label maps go in, masks come out. When the series is complete
every window has been computed from its true neighbours, so the result equals that of the complete volume bit for bit.

Before completion neighbours are known from positions and spacing. A slice at an end of the stack or at a gap stands in
for its missing neighbour; that is decided at completion, but for the end from which the slices come.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.errors import RejectionCode, SeriesRejection
from neuroscan_core.domain.geometry import StackGeometry
from neuroscan_core.domain.model_card import ModelCard
from neuroscan_core.domain.segmentation import Segmentation
from neuroscan_core.domain.volume import FrameKey, Slice
from neuroscan_core.pipeline.brainlike import require_brain
from neuroscan_core.pipeline.measure import finish_segmentation
from neuroscan_core.pipeline.reformat import AxialReformat
from neuroscan_core.pipeline.window25d import (
    PreparedSlice,
    empty_labels,
    is_axial,
    labels_from_logits,
    labels_on_source,
    prepare_slice,
    stack_window,
)
from neuroscan_core.ports import InferenceEngine

SAME_SPACING = 0.25  # a gap up to this fraction above the spacing has no slice missing in it
HINT_TOLERANCE = 0.1  # deviation of the smallest gap within which it confirms the header's spacing
HINT_PATIENCE = 32  # slices after which a spacing that no gap has confirmed is not waited for any more
END_PATIENCE = 12  # slices after which the first one, if it lies at an end of them, is taken for the end of the stack
MAX_GAP_MM = 12.0  # no head protocol leaves more between neighbours; wider gaps are slices still to come

Neighbours = tuple[FrameKey, FrameKey]
Check = Callable[[Sequence[PreparedSlice]], None]


@dataclass(frozen=True, eq=False)
class Window:
    """A slice and its neighbours, due for the network."""

    before: PreparedSlice
    centre: PreparedSlice
    after: PreparedSlice

    @property
    def neighbours(self) -> Neighbours:
        """Keys of the slices before and after."""
        return (self.before.key, self.after.key)

    @property
    def is_air(self) -> bool:
        """Whether nothing can be found: the slice holds no tissue."""
        return self.centre.scale <= 0.0


@dataclass(frozen=True, eq=False)
class SliceMask:
    """Label map of one slice on its source pixels, before volume postprocessing.

    Parameters
    ----------
    labels_ji : ndarray of uint8, shape (rows, columns)
    revision : int
        0, and one more for each replacement.
    """

    key: FrameKey
    labels_ji: npt.NDArray[np.uint8]
    revision: int


def segment_windows(engine: InferenceEngine, windows: Sequence[Window]) -> list[npt.NDArray[np.uint8]]:
    """Return the label map (j, i) of each window's centre slice; air is not shown to the network."""
    shown = [window for window in windows if not window.is_air]
    found: dict[int, npt.NDArray[np.uint8]] = {}
    if shown:
        images_CHW = [stack_window(window.before, window.centre, window.after) for window in shown]
        image_NCHW = images_CHW[0][None] if len(shown) == 1 else np.stack(images_CHW)
        for window, logits_LHW in zip(shown, engine.run(image_NCHW), strict=True):
            found[id(window)] = labels_on_source(labels_from_logits(logits_LHW, engine.card), window.centre)
    return [found[id(window)] if id(window) in found else empty_labels(window.centre) for window in windows]


class StreamingSegmenter:
    """One series on its way through the network.

    Parameters
    ----------
    card : ModelCard
    slice_spacing_mm : float, optional
        From the header; used while positions agree with it.
    check : callable
        Judges the complete stack; raises `SeriesRejection`.
    """

    def __init__(self, card: ModelCard, *, slice_spacing_mm: float | None = None, check: Check = require_brain) -> None:
        self._card = card
        self._hint_mm = slice_spacing_mm if slice_spacing_mm and slice_spacing_mm > 0 else None
        self._check = check
        self._prepared: dict[FrameKey, PreparedSlice] = {}
        self._other_plane: dict[FrameKey, Slice] = {}
        self._order: list[tuple[float, FrameKey]] = []
        self._first: FrameKey | None = None
        self._smallest_gap_mm: float | None = None
        self._wanted: dict[FrameKey, Neighbours] = {}
        self._due: dict[FrameKey, Neighbours] = {}
        self._done: dict[FrameKey, Neighbours] = {}
        self._masks: dict[FrameKey, SliceMask] = {}
        self._manifest: tuple[FrameKey, ...] | None = None
        self._geometry: StackGeometry | None = None
        self._reformat: AxialReformat | None = None
        self._axial: StreamingSegmenter | None = None

    def add(self, arrived: Slice) -> None:
        """Take a slice; one that is there already is ignored. After `complete` this reopens the series."""
        if self._keep(arrived):
            self._want_provisional()

    def add_all(self, slices: Iterable[Slice]) -> None:
        """Take all slices of a series that is there as a whole: no window is due before `complete`."""
        for arrived in slices:
            self._keep(arrived)

    def _keep(self, arrived: Slice) -> bool:
        key = arrived.key
        if key in self._prepared or key in self._other_plane:
            return False
        self._manifest = self._geometry = self._reformat = self._axial = None
        if not is_axial(arrived.geometry):
            self._other_plane[key] = arrived
            return False
        prepared = prepare_slice(arrived, self._card)
        self._first = self._first or key
        self._prepared[key] = prepared
        self._insert(prepared)
        return True

    def complete(self, manifest: Sequence[FrameKey], geometry: StackGeometry) -> None:
        """Fix the neighbours for good.

        Parameters
        ----------
        manifest : sequence of FrameKey
            Every slice, ordered along the normal.
        geometry : StackGeometry

        Raises
        ------
        SeriesRejection
            The stack cannot be segmented: a plane that does not suit, or no head in it.
        """
        missing = [key for key in manifest if key not in self._prepared and key not in self._other_plane]
        assert not missing, f"{len(missing)} slices of the manifest never arrived"
        if not self._other_plane:
            self._complete_axial(manifest, geometry)
        elif self._prepared:
            raise SeriesRejection(RejectionCode.MIXED_ORIENTATION, "Some slices of the series are axial, others not.")
        else:
            self._complete_reformatted(manifest, geometry)
        self._manifest, self._geometry = tuple(manifest), geometry

    def ready(self, limit: int | None = None) -> list[Window]:
        """Hand out windows that are due, oldest first; each is handed out once."""
        if self._axial is not None:
            return self._axial.ready(limit)
        keys = list(self._due)[:limit]
        return [self._window(key, self._due.pop(key)) for key in keys]

    @property
    def num_due(self) -> int:
        """Windows that `ready` would hand out."""
        return self._axial.num_due if self._axial is not None else len(self._due)

    def accept(self, window: Window, labels_ji: npt.NDArray[np.uint8]) -> list[SliceMask]:
        """Take the labels of a window.

        Returns
        -------
        list of SliceMask
            Masks that are new or changed: at most one for an axial series, all at once when the last window of a
            reformatted series is done.
        """
        if self._axial is not None:
            return self._accept_reformatted(self._axial, window, labels_ji)
        key = window.centre.key
        if self._wanted.get(key) != window.neighbours:
            return []
        self._done[key] = window.neighbours
        return self._replace(key, labels_ji)

    @property
    def is_done(self) -> bool:
        """Whether the series is complete and every window is accepted."""
        if self._manifest is None:
            return False
        if self._axial is not None:
            return self._axial.is_done
        return all(self._done.get(key) == self._wanted[key] for key in self._manifest)

    @property
    def labels_kji(self) -> npt.NDArray[np.uint8]:
        """Label map of the done series before volume postprocessing."""
        assert self.is_done and self._manifest is not None
        return np.stack([self._masks[key].labels_ji for key in self._manifest])

    def result(self) -> Segmentation:
        """Postprocessed and measured label map of the done series."""
        assert self._manifest is not None and self._geometry is not None
        return finish_segmentation(self.labels_kji, self._geometry, self._manifest, self._card)

    # ------------------------------------------------------------------------------------------------ neighbours

    def _insert(self, prepared: PreparedSlice) -> None:
        entry = (prepared.offset_mm, prepared.key)
        at = bisect_left(self._order, entry)
        for neighbour in self._order[max(0, at - 1) : at + 1]:
            gap_mm = abs(neighbour[0] - prepared.offset_mm)
            if gap_mm > 1e-3 and (self._smallest_gap_mm is None or gap_mm < self._smallest_gap_mm):
                self._smallest_gap_mm = gap_mm
        self._order.insert(at, entry)

    def _spacing_mm(self) -> float | None:
        gap_mm, hint_mm = self._smallest_gap_mm, self._hint_mm
        if gap_mm is None or hint_mm is None:
            return gap_mm
        ratio = gap_mm / hint_mm
        may_come_between = ratio > 1 + HINT_TOLERANCE and abs(ratio - round(ratio)) <= HINT_TOLERANCE
        return hint_mm if may_come_between and len(self._order) <= HINT_PATIENCE else gap_mm

    def _want_provisional(self) -> None:
        spacing_mm = self._spacing_mm()
        if spacing_mm is None:
            return
        widest_mm = min(spacing_mm * (1 + SAME_SPACING), MAX_GAP_MM)
        for before, centre, after in zip(self._order, self._order[1:], self._order[2:], strict=False):
            if centre[0] - before[0] <= widest_mm and after[0] - centre[0] <= widest_mm:
                self._want(centre[1], (before[1], after[1]))
        self._want_first_end(widest_mm)

    def _want_first_end(self, widest_mm: float) -> None:
        """A scanner sends from one end: where the first slice still lies at an end, it will not get a neighbour there.

        Should one come all the same, the window is computed again.
        """
        if len(self._order) < END_PATIENCE:
            return
        (lowest_mm, lowest), (second_mm, second) = self._order[0], self._order[1]
        (highest_mm, highest), (last_mm, last) = self._order[-1], self._order[-2]
        if self._first == lowest and second_mm - lowest_mm <= widest_mm:
            self._want(lowest, (lowest, second))
        elif self._first == highest and highest_mm - last_mm <= widest_mm:
            self._want(highest, (last, highest))

    def _want(self, key: FrameKey, neighbours: Neighbours) -> None:
        if self._wanted.get(key) != neighbours:
            self._wanted[key] = self._due[key] = neighbours

    def _window(self, key: FrameKey, neighbours: Neighbours) -> Window:
        before, after = (self._prepared[neighbour] for neighbour in neighbours)
        return Window(before, self._prepared[key], after)

    # ------------------------------------------------------------------------------------------------ completion

    def _complete_axial(self, manifest: Sequence[FrameKey], geometry: StackGeometry) -> None:
        stack = [self._prepared[key] for key in manifest]
        self._check(stack)
        widest_mm = 1.5 * geometry.spacing_mm
        for n, centre in enumerate(stack):
            before, after = stack[max(n - 1, 0)], stack[min(n + 1, len(stack) - 1)]
            if centre.offset_mm - before.offset_mm > widest_mm:
                before = centre
            if after.offset_mm - centre.offset_mm > widest_mm:
                after = centre
            self._want(centre.key, (before.key, after.key))

    def _complete_reformatted(self, manifest: Sequence[FrameKey], geometry: StackGeometry) -> None:
        reformat = AxialReformat.of(geometry)
        voxels_kji = np.stack([self._other_plane[key].pixels_ji for key in manifest])
        axial = StreamingSegmenter(self._card, check=self._check)
        axial.add_all(reformat.slices(voxels_kji))
        axial.complete(reformat.keys, reformat.axial)
        self._reformat, self._axial = reformat, axial

    def _accept_reformatted(
        self, axial: StreamingSegmenter, window: Window, labels_ji: npt.NDArray[np.uint8]
    ) -> list[SliceMask]:
        axial.accept(window, labels_ji)
        if not axial.is_done:
            return []
        assert self._reformat is not None and self._manifest is not None
        labels_kji = self._reformat.to_source(axial.labels_kji)
        return [
            mask for key, labels in zip(self._manifest, labels_kji, strict=True) for mask in self._replace(key, labels)
        ]

    def _replace(self, key: FrameKey, labels_ji: npt.NDArray[np.uint8]) -> list[SliceMask]:
        last = self._masks.get(key)
        if last is not None and np.array_equal(last.labels_ji, labels_ji):
            return []
        self._masks[key] = SliceMask(key, labels_ji, 0 if last is None else last.revision + 1)
        return [self._masks[key]]
