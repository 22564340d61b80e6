"""What a display of one series shows: its newest slice with mask, and the label map as far as it is known.

Pure bookkeeping, without bus and drawing: whoever shows a series in space (rviz) hands in events and draws what comes
back. One series is shown at a time, the one that was opened last, so that the tumour of the last patient leaves the
screen when the next one's images arrive.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.events import (
    Event,
    MaskReady,
    SegmentationFailed,
    SegmentationReady,
    SeriesCompleted,
    SeriesOpened,
    SeriesRejected,
    SliceReceived,
    StudyReady,
)
from neuroscan_core.domain.geometry import SliceGeometry, StackGeometry
from neuroscan_core.domain.segmentation import ModelIdentity
from neuroscan_core.domain.volume import FrameKey
from neuroscan_core.viewer.label_volume import CutMask, LabelVolume, places, put_together
from neuroscan_core.viewer.picture import grey_levels

MAX_HELD_BYTES = 128 << 20  # grey pictures of slices: 2000 of 256x256
MAX_REMEMBERED = 1024  # series of which it is remembered when they were opened


@dataclass(frozen=True)
class Cleared:
    """Nothing of what was shown so far is true any more."""


@dataclass(frozen=True, eq=False)
class SlicePicture:
    """A slice and its mask.

    Parameters
    ----------
    grey_ji, labels_ji : ndarray of uint8, shape (rows, columns)
        Grey levels, and values of the label map.
    model : ModelIdentity
        Says what the labels mean.
    received_at_s : float
        Unix time at which the slice was durable.
    """

    series_instance_uid: str
    key: FrameKey
    geometry: SliceGeometry
    grey_ji: npt.NDArray[np.uint8]
    labels_ji: npt.NDArray[np.uint8]
    model: ModelIdentity
    received_at_s: float


Change = Cleared | SlicePicture


@dataclass
class SceneStatistics:
    """Counts since the scene was made.

    Parameters
    ----------
    num_masks, num_replaced : int
        Masks of the series shown; those of them that took the place of another.
    num_pictures : int
        Masks that were handed out with their slice; the rest waits for its slice, or came without one.
    num_elsewhere : int
        Masks of series that were not shown, or not yet.
    num_without_slice : int
        Masks whose slice was forgotten because there was no more room.
    """

    num_masks: int = 0
    num_replaced: int = 0
    num_pictures: int = 0
    num_elsewhere: int = 0
    num_without_slice: int = 0


@dataclass(frozen=True, eq=False)
class _HeldSlice:
    geometry: SliceGeometry
    grey_ji: npt.NDArray[np.uint8]
    received_at_s: float


@dataclass
class _Shown:
    uid: str
    opened_at_s: float
    spacing_hint_mm: float | None = None
    geometries: dict[FrameKey, SliceGeometry] = field(default_factory=dict)
    masks: dict[FrameKey, CutMask] = field(default_factory=dict)
    waiting: dict[FrameKey, MaskReady] = field(default_factory=dict)
    stack: StackGeometry | None = None
    manifest: tuple[FrameKey, ...] = ()
    model: ModelIdentity | None = None
    result: SegmentationReady | None = None
    last_picture: SlicePicture | None = None

    @property
    def frame_of_reference_uid(self) -> str:
        """Of its images; empty where it is not known."""
        if self.result is not None:
            return self.result.segmentation.geometry.first.frame_of_reference_uid
        return next((geometry.frame_of_reference_uid for geometry in self.geometries.values()), "")


class Scene:
    """Chooses the series to show and keeps what of it is needed. For one thread at a time.

    Parameters
    ----------
    chosen_uid : str
        SeriesInstanceUID of the only series to show; empty: the one that was opened last.
    max_held_bytes : int
        For grey pictures; the oldest are forgotten beyond it.
    """

    def __init__(self, chosen_uid: str = "", *, max_held_bytes: int = MAX_HELD_BYTES) -> None:
        self.statistics = SceneStatistics()
        self._chosen_uid, self._max_held_bytes = chosen_uid, max_held_bytes
        self._opened: OrderedDict[str, float] = OrderedDict()
        self._missed: OrderedDict[str, None] = OrderedDict()
        self._held: OrderedDict[FrameKey, _HeldSlice] = OrderedDict()
        self._held_bytes = 0
        self._shown: _Shown | None = None
        self._revision = 0

    @property
    def shown_uid(self) -> str:
        """Series, or study, that is shown; empty for none."""
        return self._shown.uid if self._shown else ""

    @property
    def revision(self) -> int:
        """Changes whenever `label_volume` or `settled_picture` may have changed."""
        return self._revision

    @property
    def num_waiting(self) -> int:
        """Masks that wait for their slice."""
        return len(self._shown.waiting) if self._shown else 0

    def apply(self, event: Event) -> list[Change]:
        """Take in an event of a feed; returns what has to be drawn, in order."""
        if isinstance(event, SeriesOpened):
            return self._open(event)
        if isinstance(event, SliceReceived):
            return self._take_slice(event)
        if isinstance(event, MaskReady):
            return self._take_mask(event)
        if isinstance(event, StudyReady):
            times_s = [self._opened.get(source.series_instance_uid, 0.0) for source in event.sources]
            self._remember(event.series_instance_uid, max(times_s))
        elif isinstance(event, SeriesCompleted) and event.series_instance_uid == self.shown_uid:
            assert self._shown is not None
            self._shown.stack, self._shown.manifest = event.geometry, event.manifest
        elif isinstance(event, (SeriesRejected, SegmentationFailed)):
            return self._give_up(event.series_instance_uid)
        return []

    def apply_result(self, result: SegmentationReady, published_at_s: float) -> list[Change]:
        """Take in the label map of a whole series or study.

        Parameters
        ----------
        published_at_s : float
            Unix time; stands in for the time of opening where that is not known, as after a restart of the viewer.
        """
        uid = result.series_instance_uid
        changes: list[Change] = []
        if uid != self.shown_uid:
            opened_at_s = self._opened.get(uid, published_at_s)
            if not self._goes_first(uid, opened_at_s):
                return []
            changes = self._show(uid, opened_at_s)
        shown = self._shown
        assert shown is not None
        if shown.result is not None and shown.result.version > result.version:
            return changes
        shown.result, shown.model = result, result.model
        self._revision += 1
        return changes

    def was_opened(self, series_instance_uid: str) -> bool:
        """Whether the opening of a series, or a study, was told of."""
        return series_instance_uid in self._opened

    def has_missed_masks(self) -> bool:
        """Whether masks of the series that is shown came before it was: masks and openings come from two processes."""
        return self.shown_uid in self._missed

    def has_slices_of(self, keys: tuple[FrameKey, ...]) -> bool:
        """Whether pictures of all of these slices are held."""
        return all(key in self._held for key in keys)

    def label_volume(self) -> LabelVolume | None:
        """The label map so far; None while no mask came."""
        shown = self._shown
        if shown is None or shown.model is None:
            return None
        if shown.result is not None:
            segmentation = shown.result.segmentation
            return LabelVolume.of(segmentation.geometry, segmentation.labels_kji, shown.result.model)
        if shown.stack is not None:
            return put_together(shown.stack, {key: k for k, key in enumerate(shown.manifest)}, shown.masks, shown.model)
        masked = {key: geometry for key, geometry in shown.geometries.items() if key in shown.masks}
        placed = places(masked, shown.spacing_hint_mm)
        return put_together(*placed, shown.masks, shown.model) if placed else None

    def settled_picture(self) -> SlicePicture | None:
        """The slice of a finished series with the largest labelled area.

        None before there is a result, where that is empty, where the slice is not held, and where this very picture
        was the last one.
        """
        shown = self._shown
        if shown is None or shown.result is None or shown.result.segmentation.is_empty:
            return None
        segmentation = shown.result.segmentation
        k = int(np.argmax(np.count_nonzero(segmentation.labels_kji, axis=(1, 2))))
        key, labels_ji = segmentation.keys[k], segmentation.labels_kji[k]
        held, last = self._held.get(key), shown.last_picture
        if held is None or held.grey_ji.shape != labels_ji.shape:
            return None
        if last is not None and last.key == key and np.array_equal(last.labels_ji, labels_ji):
            return None
        shown.last_picture = SlicePicture(
            shown.uid, key, held.geometry, held.grey_ji, labels_ji, shown.result.model, held.received_at_s
        )
        return shown.last_picture

    # ------------------------------------------------------------------------------------------- the series to show

    def _open(self, event: SeriesOpened) -> list[Change]:
        uid = event.series_instance_uid
        self._remember(uid, event.opened_at_s)
        changes: list[Change] = []
        if uid != self.shown_uid:
            # A series without a model is only kept for a study, which is shown when its result is there.
            if not event.model or not self._goes_first(uid, event.opened_at_s):
                return []
            changes = self._show(uid, event.opened_at_s)
        assert self._shown is not None
        self._shown.opened_at_s, self._shown.spacing_hint_mm = event.opened_at_s, event.slice_spacing_mm
        return changes

    def _goes_first(self, uid: str, opened_at_s: float) -> bool:
        if self._chosen_uid:
            return uid == self._chosen_uid
        return self._shown is None or opened_at_s >= self._shown.opened_at_s

    def _show(self, uid: str, opened_at_s: float) -> list[Change]:
        self._shown = _Shown(uid, opened_at_s)
        self._revision += 1
        return [Cleared()]

    def _give_up(self, uid: str) -> list[Change]:
        """Masks of a series that was refused, or failed, are no result."""
        if self._shown is None or uid != self._shown.uid:
            return []
        return self._show(uid, self._shown.opened_at_s)

    def _remember(self, uid: str, opened_at_s: float) -> None:
        self._opened[uid] = opened_at_s
        if len(self._opened) > MAX_REMEMBERED:
            self._opened.popitem(last=False)

    # --------------------------------------------------------------------------------------------- slices and masks

    def _take_slice(self, event: SliceReceived) -> list[Change]:
        self._hold(event)
        if event.series_instance_uid != self.shown_uid:
            return self._clear_for_another_patient(event)
        shown = self._shown
        assert shown is not None
        shown.geometries[event.key] = event.geometry
        self._revision += shown.result is not None
        mask = shown.waiting.pop(event.key, None)
        return self._draw(mask) if mask is not None else []

    def _clear_for_another_patient(self, event: SliceReceived) -> list[Change]:
        """A later series in another frame of reference: what is shown lies elsewhere, maybe in somebody else."""
        shown, frame = self._shown, event.geometry.frame_of_reference_uid
        if shown is None or self._chosen_uid or shown.frame_of_reference_uid in ("", frame):
            return []
        if self._opened.get(event.series_instance_uid, 0.0) <= shown.opened_at_s:
            return []
        self._shown = None
        self._revision += 1
        return [Cleared()]

    def _hold(self, event: SliceReceived) -> None:
        if event.key in self._held:
            self._held.move_to_end(event.key)
            return
        held = _HeldSlice(event.geometry, grey_levels(event.pixels_ji), event.received_at_s)
        self._held[event.key] = held
        self._held_bytes += held.grey_ji.nbytes
        while self._held_bytes > self._max_held_bytes and len(self._held) > 1:
            _, dropped = self._held.popitem(last=False)
            self._held_bytes -= dropped.grey_ji.nbytes

    def _take_mask(self, mask: MaskReady) -> list[Change]:
        shown = self._shown
        if shown is None or mask.series_instance_uid != shown.uid:
            self.statistics.num_elsewhere += 1
            self._missed[mask.series_instance_uid] = None
            if len(self._missed) > MAX_REMEMBERED:
                self._missed.popitem(last=False)
            return []
        former = shown.masks.get(mask.key)
        if former is not None and former.revision >= mask.revision:
            return []
        self.statistics.num_masks += 1
        self.statistics.num_replaced += former is not None
        shown.masks[mask.key] = CutMask.of(mask)
        shown.model = mask.model if shown.result is None else shown.model
        self._revision += 1
        if mask.key not in shown.geometries:  # its slice comes from another process and may be later
            shown.waiting[mask.key] = mask
            return []
        return self._draw(mask)

    def _draw(self, mask: MaskReady) -> list[Change]:
        held, shown = self._held.get(mask.key), self._shown
        assert shown is not None
        if held is None or held.grey_ji.shape != mask.labels_ji.shape:
            self.statistics.num_without_slice += 1
            return []
        self.statistics.num_pictures += 1
        self._revision += 1
        shown.last_picture = SlicePicture(
            shown.uid, mask.key, held.geometry, held.grey_ji, mask.labels_ji, mask.model, held.received_at_s
        )
        return [shown.last_picture]
