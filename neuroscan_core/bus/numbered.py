"""What all feeds share: put numbered events in order, and ask for those that did not come.

Which events those are, and who is asked, is up to the kinds of feed in `feed`; the order of one series is kept by
`sequence`.
"""

from __future__ import annotations

import math
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from neuroscan_core.bus.sequence import SeriesSequence
from neuroscan_core.domain.errors import BusError, RequestRefused, WireFormatError
from neuroscan_core.domain.events import (
    Event,
    GatewayHeartbeat,
    SeriesEvent,
    SeriesOpened,
)
from neuroscan_core.lifetime import Closes
from neuroscan_core.log import get_logger
from neuroscan_core.ports import MessageBus

log = get_logger(__name__)

FIRST_BACKOFF_S, MAX_BACKOFF_S = 0.1, 5.0
POLL_S, LONG_POLL_S = 0.002, 0.02  # how soon the end of a replay is noticed, and of one that takes long
LONG_S = 0.1
MAX_WAIT_S = 0.2  # how soon the receiver notices what another thread changed
MAX_DRAINED = 64
MAX_REMEMBERED = 4096


@dataclass
class FeedStatistics:
    """Counts since the feed was made.

    Parameters
    ----------
    num_delivered, num_replayed, num_duplicates : int
        Numbered events handed out; those of them that a replay brought; those that came again.
    num_failed_replays : int
        Requests that were refused or not answered.
    """

    num_delivered: int = 0
    num_replayed: int = 0
    num_duplicates: int = 0
    num_failed_replays: int = 0


@dataclass(frozen=True)
class _Asked:
    """A request under way; `series` is None where it asks for the list.

    `was_open` is how the series was then: while it is open, an empty answer settles nothing.
    """

    series: SeriesSequence | None
    from_sequence: int
    was_open: bool
    answer: Future[Sequence[SeriesEvent]]
    asked_at_s: float = field(default_factory=time.monotonic)


class NumberedFeed(Closes, ABC):
    """What all feeds share; a kind of feed says what it listens to and how it asks for missing events.

    One thread receives; any thread may forget, restart or close.

    Parameters
    ----------
    bus : MessageBus
    numbered_types : tuple of type
        Events that are put in order.
    extra_types : tuple of type
        Events that are handed on as they come, and may be missed.
    heard_types : tuple of type
        Events that are only heard of, by `_hear`.
    capacity : int
        Unread events that the subscription keeps.
    clock : callable
        Seconds that never go back; paces repeated requests.
    replay_limit : int
        Most events that are asked for at once.
    lists_all : bool
        Ask for the list of all series at the start and after every outage.
    """

    def __init__(
        self,
        bus: MessageBus,
        numbered_types: tuple[type[SeriesEvent], ...],
        extra_types: tuple[type[Event], ...],
        heard_types: tuple[type[Event], ...] = (),
        *,
        capacity: int,
        clock: Callable[[], float],
        replay_limit: int,
        lists_all: bool = False,
    ) -> None:
        self.statistics = FeedStatistics()
        self._bus, self._clock, self._limit = bus, clock, replay_limit
        self._numbered_types, self._extra_types = numbered_types, extra_types
        self._lock = threading.RLock()
        self._series: dict[str, SeriesSequence] = {}
        self._forgotten: dict[str, int] = {}  # series -> number of events that are no news
        self._resting: dict[str, int] = {}  # finished series -> next sequence number
        self._ready: deque[Event] = deque()
        self._asked: _Asked | None = None
        self._should_list = self._lists_all = lists_all
        self._turn = 0
        self._retry_at_s = self._backoff_s = 0.0
        self._is_closed = False
        self._asker = ThreadPoolExecutor(1, thread_name_prefix=f"{type(self).__name__}-replay")
        wanted = dict.fromkeys((*numbered_types, GatewayHeartbeat, *extra_types, *heard_types))
        self._subscription = bus.subscribe(*wanted, capacity=capacity)

    @abstractmethod
    def _replay(self, series_instance_uid: str, from_sequence: int, limit: int) -> Sequence[SeriesEvent]:
        """Ask for events again; runs in the thread of the asker."""

    @abstractmethod
    def _hear_heartbeat(self, heartbeat: GatewayHeartbeat) -> None:
        """Announce or check what the heartbeat tells of."""

    def _list(self) -> Sequence[SeriesEvent]:
        """Learn of all series there are; runs in the thread of the asker."""
        return ()

    def receive_any(self, timeout_s: float | None = None) -> Event | None:
        """Wait for the next event; None after `timeout_s` without one, or after close."""
        deadline_s = math.inf if timeout_s is None else time.monotonic() + timeout_s
        while not self.is_closed:
            with self._lock:
                if self._is_closed:
                    return None
                self._collect()
                self._drain()
                self._ask()
                if self._ready:
                    self.statistics.num_delivered += isinstance(self._ready[0], self._numbered_types)
                    return self._ready.popleft()
                wait_s = min(deadline_s - time.monotonic(), self._quiet_s())
            if deadline_s <= time.monotonic():
                return None
            event = self._subscription.receive(max(0.0, wait_s))
            if event is not None:
                with self._lock:
                    self._hear(event)
        return None

    def _quiet_s(self) -> float:
        """How long there is nothing to do unless an event comes."""
        if self._asked is not None:
            return POLL_S if time.monotonic() - self._asked.asked_at_s < LONG_S else LONG_POLL_S
        due = [series.retry_at_s for series in self._series.values() if series.is_behind or series.should_check]
        if self._should_list:
            due.append(0.0)
        wait_s = max(self._retry_at_s, min(due)) - self._clock() if due else MAX_WAIT_S
        return min(MAX_WAIT_S, max(POLL_S, wait_s))

    def _drain(self) -> None:
        for _ in range(MAX_DRAINED):
            if len(self._ready) >= self._limit:
                return
            event = self._subscription.receive(0.0)
            if event is None:
                return
            self._hear(event)

    def _hear(self, event: Event) -> None:
        if isinstance(event, GatewayHeartbeat):
            self._hear_heartbeat(event)
        elif isinstance(event, self._numbered_types):
            self._offer(event)
        if isinstance(event, self._extra_types):
            self._ready.append(event)

    def _offer(self, event: SeriesEvent) -> int:
        series = self._known(event.series_instance_uid, event.sequence + 1)
        if series is None or event.sequence < series.next_sequence:
            self.statistics.num_duplicates += 1
            return 0
        in_order = series.offer(event)
        for ready in in_order:
            if isinstance(ready, SeriesOpened):
                series.priority = ready.priority
        self._ready.extend(in_order)
        return len(in_order)

    def _known(self, uid: str, num_events: int, *, wakes: bool = False) -> SeriesSequence | None:
        """Find or begin the sequence of a series; None where it is finished or forgotten and has nothing new."""
        series = self._series.get(uid)
        if series is None:
            is_resting = num_events <= self._resting.get(uid, -1) and not wakes
            if is_resting or num_events <= self._forgotten.get(uid, -1):
                return None
            self._forgotten.pop(uid, None)
            series = self._series[uid] = SeriesSequence(uid, self._limit)
            series.next_sequence = self._resting.pop(uid, 0)
        series.announce(num_events)
        return series

    def _ask(self) -> None:
        """Begin the next replay: the highest priority first, in turn among equals."""
        now_s = self._clock()
        if self._asked is not None or len(self._ready) >= self._limit or now_s < self._retry_at_s:
            return
        if self._should_list:
            self._should_list = False
            self._asked = _Asked(None, 0, True, self._asker.submit(self._list))
            return
        due = [s for s in self._series.values() if (s.is_behind or s.should_check) and now_s >= s.retry_at_s]
        if not due:
            return
        series = min(due, key=lambda s: (-s.priority, s.asked_at_turn))
        self._turn += 1
        series.asked_at_turn = self._turn
        limit = min(self._limit, series.num_missing or self._limit)
        answer = self._asker.submit(self._replay, series.series_instance_uid, series.next_sequence, limit)
        self._asked = _Asked(series, series.next_sequence, series.is_open, answer)

    def _collect(self) -> None:
        asked = self._asked
        if asked is None or not asked.answer.done():
            return
        self._asked = None
        try:
            events = asked.answer.result()
        except (RequestRefused, WireFormatError) as error:
            self._take_refusal(asked.series, error)
            return
        except BusError:
            self._wait_for_server(asked.series)
            return
        self._should_list |= self._lists_all and asked.series is not None and self._backoff_s > 0
        self._backoff_s = self._retry_at_s = 0.0
        if asked.series is not None and self._series.get(asked.series.series_instance_uid) is asked.series:
            self._take_replay(asked.series, asked, events)

    def _take_replay(self, series: SeriesSequence, asked: _Asked, events: Sequence[SeriesEvent]) -> None:
        for event in events:
            if event.series_instance_uid == series.series_instance_uid:
                self.statistics.num_replayed += self._offer(event)
        if series.next_sequence > asked.from_sequence:
            series.backoff_s = series.retry_at_s = 0.0
            return
        series.should_check = False
        series.is_settled = not asked.was_open
        if series.is_behind:
            self._postpone(series)
        else:
            series.backoff_s = 0.0

    def _take_refusal(self, series: SeriesSequence | None, error: BusError) -> None:
        self.statistics.num_failed_replays += 1
        if series is None:
            return
        if not series.backoff_s:
            log.warning("replay refused", series=series.series_instance_uid, error=str(error))
        if series.backoff_s >= MAX_BACKOFF_S:  # what is known to be missing is asked for for ever, a guess is not
            series.should_check = False
            series.is_settled = True
        self._postpone(series)

    def _postpone(self, series: SeriesSequence) -> None:
        series.backoff_s = min(MAX_BACKOFF_S, max(FIRST_BACKOFF_S, 2 * series.backoff_s))
        series.retry_at_s = self._clock() + series.backoff_s

    def _check_closed(self, still_open: set[str]) -> None:
        """Look once more at series that are no longer open: their last events may be what was missed."""
        for uid, series in [item for item in self._series.items() if item[0] not in still_open]:
            series.is_open = False
            if not series.is_settled:
                series.should_check = True
            elif not series.is_behind:
                _remember(self._resting, uid, series.next_sequence)
                del self._series[uid]

    def _wait_for_server(self, series: SeriesSequence | None) -> None:
        self.statistics.num_failed_replays += 1
        self._should_list |= series is None
        if not self._backoff_s:
            log.info("replay not answered, will go on asking")
        self._backoff_s = min(MAX_BACKOFF_S, max(FIRST_BACKOFF_S, 2 * self._backoff_s))
        self._retry_at_s = self._clock() + self._backoff_s

    def is_outdated(self, event: SeriesEvent) -> bool:
        """Whether later events of the same series are known to exist."""
        with self._lock:
            series = self._series.get(event.series_instance_uid)
            return series is not None and max(series.num_announced, series.next_sequence) > event.sequence + 1

    def forget(self, series_instance_uid: str) -> None:
        """Drop all that is kept of a series; should it get a new event, the whole series comes again from 0."""
        with self._lock:
            series = self._series.pop(series_instance_uid, None)
            num_known = self._resting.pop(series_instance_uid, 0)
            if series is not None:
                num_known = max(series.num_announced, series.next_sequence)
            if num_known:
                _remember(self._forgotten, series_instance_uid, num_known)
            self._drop_ready(series_instance_uid)

    def restart(self, series_instance_uid: str) -> None:
        """Hand out all events of a series again, or for the first time, from 0 on."""
        with self._lock:
            old = self._series.get(series_instance_uid)
            num_known = self._resting.pop(series_instance_uid, 0)
            if old is not None:
                num_known = max(old.num_announced, old.next_sequence)
            self._forgotten.pop(series_instance_uid, None)
            self._drop_ready(series_instance_uid)
            series = self._series[series_instance_uid] = SeriesSequence(series_instance_uid, self._limit)
            series.announce(num_known)
            series.priority = old.priority if old else 0
            series.should_check = True

    def _drop_ready(self, series_instance_uid: str) -> None:
        self._ready = deque(
            event
            for event in self._ready
            if not (isinstance(event, self._numbered_types) and event.series_instance_uid == series_instance_uid)
        )

    @property
    def is_closed(self) -> bool:
        """Whether nothing more will come."""
        return self._is_closed or self._subscription.is_closed

    def close(self) -> None:
        """Stop; a waiting `receive` returns None. A request under way ends by its time-out, or with the bus."""
        with self._lock:  # the receiver must not ask an asker that is shut down
            self._is_closed = True
            self._asker.shutdown(wait=False, cancel_futures=True)
        self._subscription.close()


def _remember(numbers: dict[str, int], uid: str, number: int) -> None:
    """Keep a number per series; the oldest entry gives way."""
    numbers[uid] = number
    if len(numbers) > MAX_REMEMBERED:
        del numbers[next(iter(numbers))]
