"""The order of one series' events: what was handed on, what waits behind a gap, what is missing.

Pure bookkeeping; `feed` does the talking.
"""

from __future__ import annotations

from neuroscan_core.domain.events import SeriesEvent


class SeriesSequence:
    """Puts events of a series in order, each exactly once.

    Parameters
    ----------
    series_instance_uid : str
    max_held : int
        Events kept behind a gap; what does not fit is asked for again.

    Attributes
    ----------
    next_sequence, num_announced : int
        Number of the next event to hand on; how many events are known to exist.
    is_open : bool
        Whether the last heartbeat named the series.
    should_check, is_settled : bool
        Whether to ask though nothing is known to be missing; whether that was done since the series is no longer open.
    retry_at_s, backoff_s, asked_at_turn
        When to ask again, and whose turn it is.
    """

    def __init__(self, series_instance_uid: str, max_held: int) -> None:
        self.series_instance_uid = series_instance_uid
        self.next_sequence = 0
        self.num_announced = 0
        self.priority = 0
        self.should_check = False
        self.is_open = False
        self.is_settled = False
        self.retry_at_s = 0.0
        self.backoff_s = 0.0
        self.asked_at_turn = 0
        self._max_held = max_held
        self._held: dict[int, SeriesEvent] = {}

    def announce(self, num_events: int) -> None:
        """Take note that so many events exist."""
        self.num_announced = max(self.num_announced, num_events)

    def offer(self, event: SeriesEvent) -> list[SeriesEvent]:
        """Take an event; returns those that are now in order, which is none for a duplicate or behind a gap."""
        self.announce(event.sequence + 1)
        if event.sequence < self.next_sequence:
            return []
        self.is_settled = False
        if event.sequence > self.next_sequence:
            self._hold(event)
            return []
        in_order = [event]
        while (follower := self._held.pop(event.sequence + len(in_order), None)) is not None:
            in_order.append(follower)
        self.next_sequence += len(in_order)
        return in_order

    def _hold(self, event: SeriesEvent) -> None:
        if len(self._held) >= self._max_held:
            last = max(self._held)
            if event.sequence > last:
                return
            del self._held[last]
        self._held[event.sequence] = event

    @property
    def is_behind(self) -> bool:
        """Whether events exist that did not come."""
        return self.num_announced > self.next_sequence

    @property
    def num_missing(self) -> int:
        """Length of the first gap, as far as it is known; 0 where its end is not."""
        return min(self._held, default=max(self.num_announced, self.next_sequence)) - self.next_sequence
