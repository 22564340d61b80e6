"""Threads that bring what the bus tells of to the scene, and what the scene shows to the screen.

Every mask is shown with its slice as it comes. The tumour, which takes tens of milliseconds to draw, and the slice in
its place follow about once a second in a thread of their own, and at once when there is a result.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from neuroscan_msgs.msg import Segmentation

from neuroscan_core.bus.feed import MaskFeed, SeriesFeed
from neuroscan_core.domain.errors import WireFormatError
from neuroscan_core.domain.events import Event, MaskReady, SegmentationFailed, SegmentationReady, StudyReady
from neuroscan_core.log import get_logger
from neuroscan_core.ports import MessageBus
from neuroscan_core.viewer.label_volume import LabelVolume
from neuroscan_core.viewer.scene import Change, Scene, SlicePicture
from neuroscan_ros.conversions import segmentation_from_msg, time_from_msg
from neuroscan_ros.mask_relay import MaskRelay
from neuroscan_ros.screen import Screen

log = get_logger(__name__)

REFRESH_S = 1.0
WAIT_S = 0.5  # how soon the threads notice that the display stops
JOIN_S = 5.0
MAX_RESULTS = 16  # not yet taken; the oldest give way


class Display:
    """Shows one series at a time, the one that was opened last or one that was chosen.

    Parameters
    ----------
    bus : MessageBus
        The caller closes it after `stop`.
    screen : Screen
    scene : Scene
    relay : MaskRelay or None
        Gets every mask, too.
    refresh_s : float
        Shortest time between two drawings of the tumour while its series arrives.
    """

    def __init__(
        self,
        bus: MessageBus,
        screen: Screen,
        scene: Scene,
        *,
        relay: MaskRelay | None = None,
        refresh_s: float = REFRESH_S,
    ) -> None:
        self._screen, self._scene, self._relay, self._refresh_s = screen, scene, relay, refresh_s
        self._lock = threading.Lock()  # of the scene and, as pictures must not overtake each other, of publishing
        self._stopping = threading.Event()
        self._has_result = threading.Event()
        self._results: deque[Segmentation] = deque(maxlen=MAX_RESULTS)
        self._picture: SlicePicture | None = None
        self._plane: SlicePicture | None = None
        self._volume: LabelVolume | None = None
        self._drawn_revision = -1
        self._num_cleared = self._num_drawn = self._num_triangles = 0
        self._draw_ms = 0.0
        self._series = SeriesFeed(bus, extra_types=(SegmentationFailed,))
        self._masks = MaskFeed(bus)
        self._threads = [
            threading.Thread(target=self._watch, args=(self._series.receive, self._take), name="display-series"),
            threading.Thread(target=self._watch, args=(self._masks.receive, self._take_mask), name="display-masks"),
            threading.Thread(target=self._refresh, name="display-refresh"),
        ]

    def start(self) -> None:
        """Begin to watch and to show."""
        for thread in self._threads:
            thread.daemon = True
            thread.start()

    def stop(self) -> None:
        """End the threads; what was shown last stays on the screen."""
        self._stopping.set()
        self._has_result.set()
        self._series.close()
        self._masks.close()
        if self._relay is not None:
            self._relay.close()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(JOIN_S)

    def take_result(self, message: Segmentation) -> None:
        """Take the label map of a whole series; never blocks."""
        self._results.append(message)
        self._has_result.set()

    def problems(self) -> tuple[str, ...]:
        """What a person should know, as sentences."""
        num = self._scene.statistics.num_without_slice
        if not num:
            return ()
        return (f"{num} masks could not be shown: there was no more room for the pictures of their slices.",)

    def figures(self) -> Mapping[str, str]:
        """What was shown and what was missed, by name."""
        with self._lock:
            counts: dict[str, Any] = asdict(self._scene.statistics)
            shown, num_waiting = self._scene.shown_uid, self._scene.num_waiting
        feeds = (self._series.statistics, self._masks.statistics)
        counts |= {
            "num_masks_waiting": num_waiting,
            "num_replayed": sum(feed.num_replayed for feed in feeds),
            "num_failed_replays": sum(feed.num_failed_replays for feed in feeds),
            "num_tumours_drawn": self._num_drawn,
            "num_triangles": self._num_triangles,
            "last_drawing_ms": round(self._draw_ms, 1),
        }
        return {"series": shown or "none", **{name: str(count) for name, count in counts.items()}}

    # -------------------------------------------------------------------------------------------------- the threads

    def _watch(self, receive: Callable[[float], Event | None], take: Callable[[Any], None]) -> None:
        while not self._stopping.is_set():
            event = receive(WAIT_S)
            if event is None:
                continue
            try:
                take(event)
            except Exception:  # the loop of a service: one event that cannot be shown does not end the display
                log.exception("an event cannot be shown; the display goes on", type=type(event).__name__)

    def _take(self, event: Event) -> None:
        with self._lock:
            former_uid = self._scene.shown_uid
            self._show(self._scene.apply(event))
            uid, has_missed = self._scene.shown_uid, self._scene.has_missed_masks()
        if uid != former_uid and has_missed:
            self._masks.restart(uid)
        if isinstance(event, StudyReady) and event.series_instance_uid == uid:
            self._fetch_slices(event.reference_source.series_instance_uid, event.reference_source.manifest)

    def _take_mask(self, mask: MaskReady) -> None:
        try:
            self._take(mask)
        finally:
            if self._relay is not None:
                self._relay.put(mask)

    def _refresh(self) -> None:
        while not self._stopping.is_set():
            started_s = time.monotonic()
            try:
                while self._results:
                    self._take_segmentation(self._results.popleft())
                self._draw()
            except WireFormatError as error:
                log.warning("result dropped, it cannot be read", error=str(error))
            except Exception:  # the loop of a service, as above
                log.exception("the tumour cannot be drawn; the display goes on")
            self._has_result.wait(max(0.0, self._refresh_s - (time.monotonic() - started_s)))
            self._has_result.clear()

    def _take_segmentation(self, message: Segmentation) -> None:
        result: SegmentationReady = segmentation_from_msg(message)
        uid = result.series_instance_uid
        with self._lock:
            was_opened = self._scene.was_opened(uid)
            self._show(self._scene.apply_result(result, time_from_msg(message.header.stamp)))
            is_shown = self._scene.shown_uid == uid
        if is_shown and not was_opened:  # it was finished before this display began
            self._fetch_slices(uid, result.segmentation.keys)

    def _fetch_slices(self, uid: str, keys: Iterable[Any]) -> None:
        with self._lock:
            is_there = self._scene.has_slices_of(tuple(keys))
        if not is_there:
            self._series.restart(uid)

    # ------------------------------------------------------------------------------------------------------ showing

    def _show(self, changes: Iterable[Change]) -> None:
        for change in changes:
            if isinstance(change, SlicePicture):
                self._picture = change
                self._screen.show_picture(change)
            else:
                self._num_cleared += 1
                self._picture = self._plane = self._volume = None
                self._screen.clear()

    def _draw(self) -> None:
        with self._lock:
            if self._scene.revision == self._drawn_revision:
                return
            self._drawn_revision = self._scene.revision
            settled = self._scene.settled_picture()
            if settled is not None:
                self._show([settled])
            picture, volume, num_cleared = self._picture, self._scene.label_volume(), self._num_cleared
        started_s = time.monotonic()
        tumour = None if volume is None or _are_same(volume, self._volume) else self._screen.draw(volume)
        with self._lock:
            if num_cleared != self._num_cleared:  # this belongs to a series that is no longer shown
                return
            if picture is not None and picture is not self._plane:
                self._plane = picture
                self._screen.show_plane(picture)
            if tumour is not None:
                self._volume = volume
                self._screen.show_tumour(tumour)
                self._num_drawn += 1
                self._num_triangles = tumour.num_triangles
                self._draw_ms = 1000.0 * (time.monotonic() - started_s)


def _are_same(volume: LabelVolume, former: LabelVolume | None) -> bool:
    return (
        former is not None
        and volume.model == former.model
        and np.array_equal(volume.labels_kji, former.labels_kji)
        and np.array_equal(volume.affine_lps, former.affine_lps)
    )
