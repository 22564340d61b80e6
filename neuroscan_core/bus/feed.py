"""Reliable events over any bus: every numbered event of every series exactly once, per series in order.

A subscription may miss events: the subscriber started late, was slow, or one side was restarted. A feed sees that by
the sequence numbers and by the heartbeat of the gateway, and asks for what is missing, a few events at a time and only
as fast as they are taken: nothing is dropped, and memory stays bounded (the "clone" pattern of the ZeroMQ guide).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import cast

from neuroscan_core.bus.numbered import NumberedFeed
from neuroscan_core.bus.sequence import SeriesSequence
from neuroscan_core.domain.events import (
    Event,
    GatewayHeartbeat,
    MaskReady,
    SeriesCompleted,
    SeriesEvent,
    SeriesOpened,
    SeriesRejected,
    SliceReceived,
    StudyReady,
)
from neuroscan_core.domain.requests import ListSeries, ReplayMasks, ReplaySeries, SeriesList
from neuroscan_core.ports import MessageBus

REQUEST_TIMEOUT_S = 3.0


class SeriesFeed(NumberedFeed):
    """What the gateway tells of every series, complete and in order.

    Parameters
    ----------
    bus : MessageBus
    capacity, clock, replay_limit, extra_types
        See `NumberedFeed`.
    only_open : bool
        False: also series that were finished before this feed began.
    """

    def __init__(
        self,
        bus: MessageBus,
        *,
        capacity: int = 256,
        clock: Callable[[], float] = time.monotonic,
        only_open: bool = True,
        replay_limit: int = 16,
        extra_types: Sequence[type[Event]] = (),
    ) -> None:
        numbered = (SeriesOpened, SliceReceived, SeriesCompleted, SeriesRejected, StudyReady)
        super().__init__(
            bus,
            numbered,
            tuple(extra_types),
            capacity=capacity,
            clock=clock,
            replay_limit=replay_limit,
            lists_all=not only_open,
        )

    def receive(self, timeout_s: float | None = None) -> Event | None:
        """Wait for the next numbered event, or one of the extra types; None after `timeout_s` or after close."""
        return self.receive_any(timeout_s)

    def _replay(self, series_instance_uid: str, from_sequence: int, limit: int) -> Sequence[SeriesEvent]:
        request = ReplaySeries(series_instance_uid, from_sequence, limit)
        return self._bus.request(request, timeout_s=REQUEST_TIMEOUT_S).in_order

    def _list(self) -> Sequence[SeriesEvent]:
        listed = self._bus.request(ListSeries(), timeout_s=REQUEST_TIMEOUT_S)
        with self._lock:
            self._announce(listed)
        return ()

    def _announce(self, progress: SeriesList | GatewayHeartbeat) -> set[str]:
        entries = progress.series if isinstance(progress, SeriesList) else progress.open_series
        for entry in entries:
            series = self._known(entry.series_instance_uid, entry.num_events)
            if series is not None:
                series.priority, series.is_open = entry.priority, entry.is_open
        return {entry.series_instance_uid for entry in entries}

    def _hear_heartbeat(self, heartbeat: GatewayHeartbeat) -> None:
        self._retry_at_s = 0.0
        still_open = self._announce(heartbeat)
        self._check_closed(still_open)


class MaskFeed(NumberedFeed):
    """The masks that the segmenter makes of every series, complete and in order.

    The segmenter has no heartbeat: at every one of the gateway, and once more when a series is no longer open, this
    feed asks whether there are masks that it missed. A series may be over before a heartbeat names it, so it is known
    from its opening on. For a series that was finished before, call `restart`.

    Parameters
    ----------
    bus : MessageBus
    capacity, clock, replay_limit, extra_types
        See `NumberedFeed`.
    """

    def __init__(
        self,
        bus: MessageBus,
        *,
        capacity: int = 256,
        clock: Callable[[], float] = time.monotonic,
        replay_limit: int = 64,
    ) -> None:
        super().__init__(
            bus, (MaskReady,), (), (SeriesOpened,), capacity=capacity, clock=clock, replay_limit=replay_limit
        )

    def receive(self, timeout_s: float | None = None) -> MaskReady | None:
        """Wait for the next mask; None after `timeout_s` without one, or after close."""
        return cast("MaskReady | None", self.receive_any(timeout_s))

    def _replay(self, series_instance_uid: str, from_sequence: int, limit: int) -> Sequence[SeriesEvent]:
        request = ReplayMasks(series_instance_uid, from_sequence, limit)
        return self._bus.request(request, timeout_s=REQUEST_TIMEOUT_S).masks

    def _hear(self, event: Event) -> None:
        if isinstance(event, SeriesOpened):
            self._look_out_for(event.series_instance_uid)
        super()._hear(event)

    def _hear_heartbeat(self, heartbeat: GatewayHeartbeat) -> None:
        still_open = {entry.series_instance_uid for entry in heartbeat.open_series}
        for uid in still_open:
            series = self._look_out_for(uid)
            if series is not None:
                series.should_check = True
        self._check_closed(still_open)

    def _look_out_for(self, uid: str) -> SeriesSequence | None:
        """Have the series looked at once more when it is no longer open."""
        series = self._known(uid, 0, wakes=True)
        if series is not None:
            series.is_open, series.is_settled = True, False
        return series
