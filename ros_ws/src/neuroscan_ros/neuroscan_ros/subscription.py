"""Events of one or several topics as one stream, in the order of publication per publisher."""

from __future__ import annotations

import heapq
import itertools
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from neuroscan_core.domain.errors import WireFormatError
from neuroscan_core.domain.events import Event
from neuroscan_core.lifetime import Closes
from neuroscan_core.log import get_logger
from neuroscan_ros.topics import Topic, event_type_of, topic_of

log = get_logger(__name__)

HOLD_S = 0.02  # how long a message waits for an earlier one that DDS sends again
MAX_HOLD_S = 2.0  # the same where the executor does not get to look at its topics

CallSoon = Callable[[Callable[[], None]], None]


@dataclass(order=True)
class _Arrival:
    """A message that was received; `message` is None where nobody asked for its type."""

    order: int
    number: int
    message: Any = field(compare=False)
    topic: Topic = field(compare=False)
    arrived_at_s: float = field(compare=False)


class _Publisher:
    """What came from one role, sorted.

    Parameters
    ----------
    topics : set of str
        Those on which it publishes what was asked for. With one alone DDS keeps the order.
    """

    def __init__(self, topics: set[str]) -> None:
        self.joins_topics = len(topics) > 1
        self.arrivals: list[_Arrival] = []
        self.highest_order = -1
        self.settled_order = -1
        self.num_late = 0
        self.is_watched = False
        self._last_order: int | None = None

    def push(self, arrival: _Arrival) -> None:
        """Take a message in."""
        self.num_late += arrival.order < self.highest_order
        self.highest_order = max(self.highest_order, arrival.order)
        heapq.heappush(self.arrivals, arrival)
        while self.arrivals and self.arrivals[0].message is None and not self.has_gap:
            self.pop()

    def pop(self) -> _Arrival:
        """The earliest message."""
        arrival = heapq.heappop(self.arrivals)
        self._last_order = arrival.order
        return arrival

    @property
    def has_gap(self) -> bool:
        """Whether an earlier message than the earliest here may still come."""
        if not self.joins_topics or not self.arrivals:
            return False
        return self._last_order is None or self.arrivals[0].order > self._last_order + 1

    @property
    def is_unsettled(self) -> bool:
        """Whether what is missing before the earliest may be underway inside this process."""
        return self.has_gap and self.arrivals[0].order > self.settled_order

    @property
    def due_at_s(self) -> float:
        """When the earliest message may be handed out."""
        earliest = self.arrivals[0]
        if not self.has_gap:
            return -math.inf
        return earliest.arrived_at_s + (MAX_HOLD_S if self.is_unsettled else HOLD_S)


class Ros2Subscription(Closes):
    """See `ports.Subscription`; made by `Ros2Bus.subscribe`.

    Messages come by `accept` from the thread that spins, and are read in the thread that receives. That thread takes
    topics in turn, not in order: where a publisher's numbers have a gap, what comes after it waits until the executor
    has looked at all topics and brought nothing earlier, and for `HOLD_S`.

    Parameters
    ----------
    event_types : tuple of type
    capacity : int
        Unread messages that are kept; then the oldest give way.
    on_close : callable
    call_soon : callable
        Has a function called before the executor waits for messages again.
    """

    def __init__(
        self,
        event_types: tuple[type[Event], ...],
        capacity: int,
        *,
        on_close: Callable[[Ros2Subscription], None],
        call_soon: CallSoon,
    ) -> None:
        self._event_types = frozenset(event_types)
        self._capacity, self._on_close, self._call_soon = max(1, capacity), on_close, call_soon
        self.topics = tuple(dict.fromkeys(map(topic_of, event_types)))
        self._publishers = {
            role: _Publisher({topic_of(kind).name for kind in event_types if kind.published_by == role})
            for role in dict.fromkeys(kind.published_by for kind in event_types)
        }
        self._changed = threading.Condition()
        self._numbers = itertools.count()
        self._is_closed = False

    def accept(self, topic: Topic, message: Any) -> None:
        """Keep a message until it is received; never blocks."""
        event_type = event_type_of(message)
        is_wanted = event_type in self._event_types
        publisher = None if event_type is None else self._publishers.get(event_type.published_by)
        if publisher is None or not (is_wanted or publisher.joins_topics):
            return
        with self._changed:
            kept = message if is_wanted else None
            publisher.push(_Arrival(message.order, next(self._numbers), kept, topic, time.monotonic()))
            if sum(len(other.arrivals) for other in self._publishers.values()) > self._capacity:
                max(self._publishers.values(), key=lambda other: len(other.arrivals)).pop()
            self._watch(publisher)
            self._changed.notify()

    def _watch(self, publisher: _Publisher) -> None:
        if not publisher.is_watched and publisher.is_unsettled:
            publisher.is_watched = True
            self._call_soon(lambda: self._look(publisher, None))

    def _look(self, publisher: _Publisher, before: tuple[int, int] | None) -> None:
        """Compare with a look one round of the executor ago: if nothing came late in between, nothing will."""
        with self._changed:
            if before is not None and publisher.num_late == before[0]:
                publisher.settled_order = before[1]
            publisher.is_watched = publisher.is_unsettled and not self._is_closed
            if publisher.is_watched:
                now = (publisher.num_late, publisher.highest_order)
                self._call_soon(lambda: self._look(publisher, now))
            self._changed.notify_all()

    def receive(self, timeout_s: float | None = None) -> Event | None:
        """Wait for the next event."""
        deadline_s = math.inf if timeout_s is None else time.monotonic() + timeout_s
        while (arrival := self._take(deadline_s)) is not None:
            try:
                return arrival.topic.from_msg(arrival.message)
            except WireFormatError as error:
                log.warning("event dropped, it cannot be read", topic=arrival.topic.name, error=str(error))
        return None

    def _take(self, deadline_s: float) -> _Arrival | None:
        with self._changed:
            while not self._is_closed:
                for publisher in self._publishers.values():
                    self._watch(publisher)
                now_s = time.monotonic()
                due = [(publisher.due_at_s, publisher) for publisher in self._publishers.values() if publisher.arrivals]
                ready = [publisher for due_at_s, publisher in due if due_at_s <= now_s]
                if ready:
                    arrival = min(ready, key=lambda publisher: publisher.arrivals[0].number).pop()
                    if arrival.message is not None:
                        return arrival
                    continue
                if now_s >= deadline_s:
                    return None
                until_s = min(deadline_s, min((due_at_s for due_at_s, _ in due), default=math.inf))
                self._changed.wait(None if math.isinf(until_s) else until_s - now_s)
        return None

    @property
    def is_closed(self) -> bool:
        """Whether nothing more will come."""
        return self._is_closed

    def close(self) -> None:
        """Stop; a waiting `receive` returns None."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._on_close(self)
