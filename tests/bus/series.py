"""Events of made-up series, and a stand-in for the gateway that keeps and replays them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np

from neuroscan_core.domain.events import (
    GatewayHeartbeat,
    MaskReady,
    SeriesCompleted,
    SeriesEvent,
    SeriesOpened,
    SeriesProgress,
    SliceReceived,
)
from neuroscan_core.domain.geometry import SliceGeometry, StackGeometry
from neuroscan_core.domain.requests import ListSeries, ReplayedEvents, ReplaySeries, SeriesList
from neuroscan_core.domain.segmentation import ModelIdentity
from neuroscan_core.domain.volume import FrameKey
from neuroscan_core.ports import MessageBus

PATIENCE_S = 20.0
SHAPE = (4, 4)


def geometry(k: int, shape: tuple[int, int] = SHAPE) -> SliceGeometry:
    """Axial slices, 2 mm apart."""
    return SliceGeometry((0.0, 0.0, 2.0 * k), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), (1.0, 1.0), shape, "1.2.3")


def slice_received(uid: str, sequence: int, shape: tuple[int, int] = SHAPE) -> SliceReceived:
    """A slice whose pixels are its sequence number."""
    pixels_ji = np.full(shape, sequence, np.float32)
    return SliceReceived(uid, sequence, FrameKey(f"{uid}.{sequence}"), geometry(sequence, shape), pixels_ji, 1.5)


def whole_series(uid: str, num_slices: int, *, priority: int = 0) -> list[SeriesEvent]:
    """Opened, slices, completed."""
    slices = [slice_received(uid, 1 + k) for k in range(num_slices)]
    manifest = tuple(event.key for event in slices)
    stack = StackGeometry(geometry(1), 2.0, num_slices)
    completed = SeriesCompleted(uid, num_slices + 1, manifest, stack, 1, "count")
    return [SeriesOpened(uid, 0, "model", priority), *slices, completed]


def mask_ready(uid: str, sequence: int) -> MaskReady:
    """A mask of made-up content."""
    labels_ji = np.full(SHAPE, sequence % 2, np.uint8)
    return MaskReady(uid, sequence, FrameKey(f"{uid}.{sequence}"), labels_ji, 1.0, ModelIdentity("m", "1", "0" * 64))


class FakeGateway:
    """Keeps events as the journal does, publishes, replays and beats on demand."""

    def __init__(self, bus: MessageBus) -> None:
        self.bus = bus
        self.replays: list[ReplaySeries] = []
        self.closed: set[str] = set()
        self._events: dict[str, list[SeriesEvent]] = {}
        self._lock = threading.Lock()

    def keep(self, *events: SeriesEvent) -> None:
        """Journal events without publishing them: what a subscriber has missed."""
        with self._lock:
            for event in events:
                kept = self._events.setdefault(event.series_instance_uid, [])
                assert event.sequence == len(kept)
                kept.append(event)

    def tell(self, *events: SeriesEvent) -> None:
        """Journal events and publish them."""
        for event in events:
            self.keep(event)
            self.bus.publish(event)

    def beat(self) -> None:
        """Publish the heartbeat."""
        self.bus.publish(GatewayHeartbeat(tuple(p for p in self._progress() if p.is_open)))

    def _progress(self) -> tuple[SeriesProgress, ...]:
        with self._lock:
            return tuple(_progress(events, uid not in self.closed) for uid, events in self._events.items())

    def replay(self, request: ReplaySeries) -> ReplayedEvents:
        """Answer `ReplaySeries`."""
        with self._lock:
            self.replays.append(request)
            kept = self._events.get(request.series_instance_uid, [])
            return ReplayedEvents.of(kept[request.from_sequence : request.from_sequence + request.limit])

    @contextmanager
    def serving(self) -> Iterator[FakeGateway]:
        """Answer replays and lists until the context ends."""
        with ExitStack() as stack:
            stack.enter_context(self.bus.serve(ReplaySeries, self.replay))
            stack.enter_context(self.bus.serve(ListSeries, lambda _: SeriesList(self._progress())))
            yield self


def _progress(events: list[SeriesEvent], is_open: bool) -> SeriesProgress:
    opened = events[0]
    priority = opened.priority if isinstance(opened, SeriesOpened) else 0
    uid = opened.series_instance_uid
    return SeriesProgress(uid, "receiving", len(events), 0, 0, is_open, priority=priority)
