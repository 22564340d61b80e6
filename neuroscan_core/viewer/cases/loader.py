"""Brings what a case lacks: asks gateway and segmenter for a little at a time, and takes what is published meanwhile.

Events of a series are numbered; each goes into the case once and in order, whether it was published or replayed. What
comes before its turn is only taken note of and asked for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from neuroscan_core.domain.errors import BusError, RequestRefused
from neuroscan_core.domain.events import (
    Event,
    MaskReady,
    SegmentationFailed,
    SegmentationReady,
    SeriesEvent,
    SeriesProgress,
    SliceReceived,
)
from neuroscan_core.domain.requests import GetSegmentation, ListResults, ReplayMasks, ReplaySeries
from neuroscan_core.log import get_logger
from neuroscan_core.ports import MessageBus
from neuroscan_core.viewer.cases.masks import FINAL
from neuroscan_core.viewer.cases.series import SeriesCase

log = get_logger(__name__)

REQUEST_TIMEOUT_S = 5.0
FIRST_LIMIT = 4  # the first picture shall not wait for many slices
SLICE_LIMIT = 16
MASK_LIMIT = 64
FIRST_BACKOFF_S, MAX_BACKOFF_S = 0.5, 10.0
_MADE_OF_RESULTS = ("SEG", "SR")
_NO_RESULT_YET = frozenset({"receiving", "rejected", "ignored", "collected", "waiting"})


@dataclass
class _Stream:
    """Numbered events of one series, or masks of one."""

    uid: str
    next_sequence: int = 0
    num_announced: int = 0
    is_probed: bool = False

    @property
    def is_behind(self) -> bool:
        return not self.is_probed or self.num_announced > self.next_sequence

    def announce(self, num_events: int) -> None:
        self.num_announced = max(self.num_announced, num_events)

    def admits(self, sequence: int) -> bool:
        """Whether it is the turn of an event; if so, the next one's is next."""
        self.announce(sequence + 1)
        if sequence != self.next_sequence:
            return False
        self.next_sequence += 1
        return True


class SeriesLoader:
    """Keeps one case up to date.

    Parameters
    ----------
    case : SeriesCase
    bus : MessageBus
    clock : callable
        Seconds that never go back.
    has_room : callable
        Whether the case may take more slices.
    """

    def __init__(
        self, case: SeriesCase, bus: MessageBus, *, clock: Callable[[], float], has_room: Callable[[], bool]
    ) -> None:
        self.case, self._bus, self._clock, self._has_room = case, bus, clock, has_room
        self._lock = threading.RLock()
        self._events = _Stream(case.uid)
        self._images: _Stream | None = None  # of a study: those of its reference
        self._masks = _Stream(case.uid)
        self._listed_for: object = None
        self._tried: set[int] = set()
        self._retry_at_s, self._backoff_s = 0.0, FIRST_BACKOFF_S

    @property
    def has_begun(self) -> bool:
        """Whether there is something to show, or it is known that there is nothing."""
        return len(self.case.slice_store) > 0 or (self._events.is_probed and not self._slices().is_behind)

    # -------------------------------------------------------------------------------------------------- what is told

    def offer(self, event: Event, *, is_watched: bool) -> None:
        """Take in what was published; voxels and masks only while somebody looks at the case."""
        with self._lock:
            if isinstance(event, SegmentationReady):
                if event.series_instance_uid == self.case.uid:
                    self.case.take_result(event)
            elif isinstance(event, SegmentationFailed):
                if event.series_instance_uid == self.case.uid:
                    self.case.take_failure(event)
            elif isinstance(event, MaskReady):
                if event.series_instance_uid == self.case.uid:
                    self._offer_mask(event, is_watched=is_watched)
            elif isinstance(event, SeriesEvent):
                self._offer_event(event, is_watched=is_watched)

    def _offer_event(self, event: SeriesEvent, *, is_watched: bool) -> None:
        for stream in (self._events, self._images):
            if stream is not None and stream.uid == event.series_instance_uid:
                if is_watched and self._has_room():
                    self._take(stream, event)
                else:
                    stream.announce(event.sequence + 1)

    def _offer_mask(self, mask: MaskReady, *, is_watched: bool) -> None:
        if is_watched and self._masks.is_probed:
            if self._masks.admits(mask.sequence):
                self.case.take_mask(mask)
        else:
            self._masks.announce(mask.sequence + 1)

    def note_progress(self, progress: SeriesProgress) -> None:
        """Take in an entry of the gateway's list."""
        with self._lock:
            if progress.series_instance_uid == self.case.uid:
                self._events.announce(progress.num_events)
                self.case.take_progress(progress)
            elif self._images is not None and progress.series_instance_uid == self._images.uid:
                self._images.announce(progress.num_events)

    def _take(self, stream: _Stream, event: SeriesEvent) -> None:
        if not stream.admits(event.sequence):
            return
        if stream is self._events:
            self.case.take(event)
            self._look_for_images()
        elif isinstance(event, SliceReceived):
            self.case.take_slice(event)

    def _look_for_images(self) -> None:
        """A study has no slices of its own: those of its reference are shown."""
        uid = self.case.pixel_uid
        if uid != self.case.uid and (self._images is None or self._images.uid != uid):
            self._images = _Stream(uid)

    def _slices(self) -> _Stream:
        return self._images or self._events

    # ------------------------------------------------------------------------------------------------ what is lacking

    @property
    def is_behind(self) -> bool:
        """Whether `step` would ask for something now."""
        if self._clock() < self._retry_at_s:
            return False
        with self._lock:
            return self._next_step() is not None

    def step(self) -> None:
        """Ask for one thing that is lacking."""
        with self._lock:
            ask = self._next_step()
        if ask is None:
            return
        try:
            ask()
        except RequestRefused as refusal:
            self.case.say(refusal.message)
            self._wait()
        except BusError as error:
            log.debug("a case cannot be loaded yet", error=str(error))
            self._wait()
        else:
            self._backoff_s = FIRST_BACKOFF_S

    def _wait(self) -> None:
        self._retry_at_s = self._clock() + self._backoff_s
        self._backoff_s = min(2 * self._backoff_s, MAX_BACKOFF_S)

    def _next_step(self) -> Callable[[], None] | None:
        """First something to look at, then its masks, then the rest of it."""
        if not self._events.is_probed:
            return self._ask_events
        slices = self._slices()
        if not slices.is_probed and self._has_room():
            return self._ask_slices
        if self.case.progress is not None and self._listed_for != self._list_key():
            return self._ask_results
        if self._missing_version() is not None:
            return self._ask_segmentation
        if self._masks.is_behind and self._wants_masks():
            return self._ask_masks
        if self._events.is_behind and (self._has_room() or slices is not self._events):
            return self._ask_events
        if slices.is_behind and self._has_room():
            return self._ask_slices
        return None

    def _list_key(self) -> object:
        progress = self.case.progress
        return (progress.state, progress.version) if progress else None

    def _wants_masks(self) -> bool:
        masks = self.case.sets.get(f"v{self.case.version}")
        return masks is None or masks.state != FINAL

    def _missing_version(self) -> int | None:
        """The newest version with a result that is kept but not here."""
        versions = {one.version for one in self.case.results if one.modality in _MADE_OF_RESULTS}
        here = {masks.version for masks in self.case.sets.values() if masks.state == FINAL}
        return max(versions - here - self._tried, default=None)

    def _ask_events(self) -> None:
        self._replay(self._events)

    def _ask_slices(self) -> None:
        self._replay(self._slices())

    def _replay(self, stream: _Stream) -> None:
        limit = SLICE_LIMIT if stream.is_probed else FIRST_LIMIT
        request, num_announced = ReplaySeries(stream.uid, stream.next_sequence, limit), stream.num_announced
        events = self._bus.request(request, timeout_s=REQUEST_TIMEOUT_S).in_order
        with self._lock:
            stream.is_probed = True
            for event in events:
                self._take(stream, event)
            if not events and stream.num_announced == num_announced:  # nothing was told of meanwhile
                stream.num_announced = stream.next_sequence
            elif len(events) >= limit:
                stream.announce(stream.next_sequence + 1)  # there may be more
        with self.case.lock:
            self.case.changed.notify_all()

    def _ask_results(self) -> None:
        key = self._list_key()
        results = self._bus.request(ListResults(self.case.uid), timeout_s=REQUEST_TIMEOUT_S).results
        with self._lock:
            self._listed_for = key
            self._tried.clear()
        self.case.take_results(results)

    def _ask_segmentation(self) -> None:
        version = self._missing_version()
        if version is None:
            return
        try:
            stored = self._bus.request(GetSegmentation(self.case.uid, version), timeout_s=REQUEST_TIMEOUT_S)
        except RequestRefused as refusal:
            # Nothing to be shown of this version: not wanted as SEG, or purged in the meantime.
            self._tried.add(version)
            log.debug("a segmentation cannot be had again", version=version, reason=refusal.message)
            return
        self.case.take_result(stored.result)

    def _ask_masks(self) -> None:
        stream = self._masks
        request, num_announced = ReplayMasks(self.case.uid, stream.next_sequence, MASK_LIMIT), stream.num_announced
        try:
            masks = self._bus.request(request, timeout_s=REQUEST_TIMEOUT_S).masks
        except BusError:
            masks = ()  # without a segmenter there are slices all the same; its masks come when it does
            self._wait()
        with self._lock:
            stream.is_probed = True
            for mask in masks:
                if stream.admits(mask.sequence):
                    self.case.take_mask(mask)
            if not masks:  # forgotten by the segmenter; the result has them all
                stream.next_sequence = max(stream.next_sequence, num_announced)
            elif len(masks) >= MASK_LIMIT:
                stream.announce(stream.next_sequence + 1)
