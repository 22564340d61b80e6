"""What the bus told of a series of the node, or of the segmentation of a study: put together, however it comes.

Nothing is asked for here; `loader` does that. Nothing of HTTP or of files either; that is `series`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from neuroscan_core.domain.errors import CaseNotFound
from neuroscan_core.domain.events import (
    MaskReady,
    SegmentationFailed,
    SegmentationReady,
    SeriesCompleted,
    SeriesEvent,
    SeriesOpened,
    SeriesProgress,
    SeriesRejected,
    SliceReceived,
    StudyReady,
)
from neuroscan_core.domain.geometry import StackGeometry
from neuroscan_core.domain.requests import StoredResult
from neuroscan_core.viewer.cases.masks import FINAL, MaskSet
from neuroscan_core.viewer.cases.slices import SliceStore
from neuroscan_core.viewer.label_volume import places


class ToldSeries:
    """Events, slices and masks so far. Thread-safe: whoever reads several things that belong together holds `lock`.

    Parameters
    ----------
    uid : str
        SeriesInstanceUID, or the UID of a study's segmentation.
    next_revision : callable
        Hands out growing numbers.
    """

    def __init__(self, uid: str, next_revision: Callable[[], int]) -> None:
        self.uid, self._next_revision = uid, next_revision
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self._revision = next_revision()
        self.progress: SeriesProgress | None = None
        self.opened: SeriesOpened | None = None
        self.completed: SeriesCompleted | None = None
        self.study: StudyReady | None = None
        self.rejected: SeriesRejected | None = None
        self.failed: SegmentationFailed | None = None
        self.is_reopened = False
        self.slice_store = SliceStore()
        self.sets: dict[str, MaskSet] = {}
        self.results: tuple[StoredResult, ...] = ()
        self.note = ""

    @property
    def revision(self) -> int:
        """Grows with every change."""
        return self._revision

    @property
    def num_bytes(self) -> int:
        """Memory that it takes."""
        with self.lock:
            return self.slice_store.num_bytes + sum(masks.num_bytes for masks in self.sets.values())

    @property
    def pixel_uid(self) -> str:
        """The series that its slices are of: its own UID, but for a study."""
        return self.study.reference_source.series_instance_uid if self.study else self.uid

    @property
    def version(self) -> int:
        """Of the result that is being made, or was made last."""
        if self.study is not None:
            return self.study.version
        last = self.completed.version if self.completed else 0
        return last + 1 if self.completed is None or self.is_reopened else last

    def bump(self) -> None:
        """Something that `meta` tells has changed."""
        with self.lock:
            self._revision = self._next_revision()
            self.changed.notify_all()

    # -------------------------------------------------------------------------------------------- what the bus tells

    def take(self, event: SeriesEvent) -> None:
        """Take in an event of the gateway about this case, in order of their numbers."""
        with self.lock:
            if isinstance(event, SliceReceived):
                self.is_reopened = self.completed is not None
                self.take_slice(event)
            elif isinstance(event, SeriesOpened):
                self.opened = event
            elif isinstance(event, SeriesCompleted):
                self.completed, self.is_reopened = event, False
            elif isinstance(event, SeriesRejected):
                self.rejected = event
            elif isinstance(event, StudyReady):
                self._take_study(event)
            self.bump()

    def take_slice(self, event: SliceReceived) -> None:
        """Take in a slice, of this series or of the reference of this study."""
        with self.lock:
            if self.slice_store.add(event.key, event.geometry, event.pixels_ji):
                for masks in self.sets.values():
                    masks.touch(event.key)
            self.bump()

    def _take_study(self, event: StudyReady) -> None:
        source = event.reference_source
        if self.study is None or self.study.reference_source.manifest != source.manifest:
            self.slice_store = SliceStore(source.manifest, name=source.series_instance_uid)
        self.study = event
        self.completed = SeriesCompleted(
            self.uid, event.sequence, source.manifest, source.geometry, event.version, "study"
        )

    def take_mask(self, mask: MaskReady) -> None:
        """Take in a streamed mask; those that come after the final label map are no news."""
        with self.lock:
            masks = self._streaming_set()
            if masks.state == FINAL:
                return
            masks.model = mask.model
            masks.latencies_ms.append(mask.latency_ms)
            if masks.put(mask.key, mask.labels_ji):
                self.bump()

    def _streaming_set(self) -> MaskSet:
        name, former = f"v{self.version}", self.sets.get(f"v{self.version - 1}")
        if name not in self.sets:
            masks = former.copied(name) if former else MaskSet(name, self._next_revision)
            masks.version = self.version
            self.sets[name] = masks
        return self.sets[name]

    def take_result(self, result: SegmentationReady) -> None:
        """Take in a final label map."""
        with self.lock:
            name = f"v{result.version}"
            masks = self.sets.setdefault(name, MaskSet(name, self._next_revision))
            masks.version = result.version
            if masks.state != FINAL:
                masks.finish(result.segmentation, result.model)
                self.bump()

    def take_failure(self, failure: SegmentationFailed) -> None:
        """Take in that there will be no result."""
        with self.lock:
            self.failed = failure
            self.bump()

    def take_progress(self, progress: SeriesProgress) -> None:
        """Take in what the gateway's list says."""
        with self.lock:
            if progress != self.progress:
                self.progress = progress
                self.bump()

    def take_results(self, results: tuple[StoredResult, ...]) -> None:
        """Take in which objects are kept."""
        with self.lock:
            if [one.sop_instance_uid for one in results] != [one.sop_instance_uid for one in self.results]:
                self.results = results
                self.bump()

    def say(self, note: str) -> None:
        """What a person must know of what cannot be shown; empty for nothing."""
        with self.lock:
            if note != self.note:
                self.note = note
                self.bump()

    # ------------------------------------------------------------------------------------------- what follows from it

    def mask_set(self, segmentation_id: str | None) -> MaskSet:
        """A segmentation; the newest for None.

        Raises
        ------
        CaseNotFound
        """
        with self.lock:
            if segmentation_id is None and self.sets:
                return max(self.sets.values(), key=lambda masks: masks.version)
            if segmentation_id not in self.sets:
                raise CaseNotFound("There is no such segmentation.", remedy="Load the case again.")
            return self.sets[segmentation_id]

    def stack(self) -> tuple[StackGeometry, list[int | None]]:
        """Where the slices lie, and the number of each along the normal, None for gaps.

        Raises
        ------
        CaseNotFound
            There is no slice yet, or they form no stack.
        """
        with self.lock:
            store = self.slice_store
            if not len(store):
                raise CaseNotFound("There are no images (yet).")
            if self.completed is not None and not self.is_reopened:
                return self.completed.geometry, [store.number_of.get(key) for key in self.completed.manifest]
            hint_mm = self.opened.slice_spacing_mm if self.opened else None
            placed = places(dict(zip(store.keys, store.geometries, strict=True)), hint_mm)
            if placed is None:
                raise CaseNotFound("There are no images that lie in a stack (yet).")
            geometry, indices = placed
            order: list[int | None] = [None] * geometry.num_slices
            for key, k in indices.items():
                order[k] = store.number_of[key]
            return geometry, order
