"""The bus of a single process: tests, and commands that segment without a node.

Messages are handed over as they are, without the wire format. A slow subscriber loses its oldest events, as over the
network, so that whoever works with this bus has met the replay of `bus.feed`.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, InvalidStateError
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager, suppress
from typing import Any, TypeVar, cast

from neuroscan_core.bus.wire import Failure
from neuroscan_core.bus.worker import RequestWorker
from neuroscan_core.domain.errors import BusError, RequestTimeout
from neuroscan_core.domain.events import Event
from neuroscan_core.domain.requests import Reply, Request
from neuroscan_core.lifetime import Closes

Q = TypeVar("Q", bound="Request[Reply]")
R = TypeVar("R", bound=Reply)


class MemorySubscription(Closes):
    """See `ports.Subscription`; made by `InMemoryBus.subscribe`."""

    def __init__(self, bus: InMemoryBus, event_types: tuple[type[Event], ...], capacity: int) -> None:
        self._bus = bus
        self._event_types = event_types
        self._events: deque[Event] = deque(maxlen=capacity)
        self._changed = threading.Condition()
        self._is_closed = False

    def offer(self, event: Event) -> None:
        """Append an event that this subscription asked for; the oldest gives way."""
        if not isinstance(event, self._event_types):
            return
        with self._changed:
            self._events.append(event)
            self._changed.notify()

    def receive(self, timeout_s: float | None = None) -> Event | None:
        """Wait for the next event."""
        with self._changed:
            self._changed.wait_for(lambda: self._events or self._is_closed, timeout_s)
            return self._events.popleft() if self._events and not self._is_closed else None

    @property
    def is_closed(self) -> bool:
        """Whether nothing more will come."""
        return self._is_closed

    def close(self) -> None:
        """Stop; a waiting `receive` returns None."""
        self._bus.drop(self)
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()


class InMemoryBus(Closes):
    """A `ports.MessageBus` without a network."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._subscriptions: tuple[MemorySubscription, ...] = ()
        self._workers: dict[type[Request[Reply]], RequestWorker] = {}
        self._asked: set[Future[Reply]] = set()
        self._is_closed = False

    def publish(self, event: Event) -> None:
        """Hand an event to every subscriber."""
        self._check_open()
        for subscription in self._subscriptions:
            subscription.offer(event)

    def subscribe(self, *event_types: type[Event], capacity: int = 256) -> MemorySubscription:
        """Receive events of these types from now on."""
        subscription = MemorySubscription(self, event_types, capacity)
        with self._changed:
            self._check_open()
            self._subscriptions = (*self._subscriptions, subscription)
        return subscription

    def drop(self, subscription: MemorySubscription) -> None:
        """Forget a subscription that closes."""
        with self._changed:
            self._subscriptions = tuple(other for other in self._subscriptions if other is not subscription)

    @contextmanager
    def serve(self, request_type: type[Q], handler: Callable[[Q], Reply]) -> Iterator[None]:
        """Answer requests of a type until the context ends."""
        worker = RequestWorker(request_type.__name__, cast("Callable[[Any], Reply]", handler))
        with self._changed:
            self._check_open()
            if request_type in self._workers:
                raise BusError(f"{request_type.__name__} is served already.")
            self._workers[request_type] = worker
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._workers.pop(request_type, None)
            worker.close()

    def request(self, request: Request[R], *, timeout_s: float) -> R:
        """Ask whoever serves this type, waiting for it to begin if need be."""
        deadline_s = time.monotonic() + timeout_s
        answer: Future[Reply] = Future()
        kind, asked = type(request), cast("Request[Reply]", request)
        with self._changed:
            self._changed.wait_for(lambda: kind in self._workers or self._is_closed, timeout_s)
            worker = self._workers.get(cast("type[Request[Reply]]", kind))
            if worker is None:
                raise RequestTimeout(f"Nobody serves {kind.__name__}.", remedy=f"Start the {request.served_by}.")
            self._asked.add(answer)
        try:
            worker.submit(lambda: asked, lambda reply: _settle(answer, reply))
            reply = answer.result(max(0.0, deadline_s - time.monotonic()))
        except (FutureTimeoutError, CancelledError) as exc:
            raise RequestTimeout(f"{kind.__name__} was not answered within {timeout_s:g} s.") from exc
        finally:
            self._asked.discard(answer)
        if isinstance(reply, Failure):
            raise reply.as_error()
        return cast(R, reply)

    def close(self) -> None:
        """Release everything; subscriptions end."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            workers, asked = tuple(self._workers.values()), tuple(self._asked)
        for subscription in self._subscriptions:
            subscription.close()
        for answer in asked:
            answer.cancel()
        for worker in workers:
            worker.close()

    def _check_open(self) -> None:
        if self._is_closed:
            raise BusError("The bus is closed.")


def _settle(answer: Future[Reply], reply: Reply) -> None:
    with suppress(InvalidStateError):  # the asker has given up
        answer.set_result(reply)
