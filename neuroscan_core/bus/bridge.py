"""Joins two buses: what is published on one appears on the other, and who asks there is answered here.

Nothing is kept or changed on the way. Events that the bridge itself misses are asked for by the feeds of those who
listen to it, through the bridge. Requests for the identity of a patient do not pass.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import TypeVar

from neuroscan_core.domain.errors import RequestTimeout
from neuroscan_core.domain.events import EVENT_TYPES, GatewayHeartbeat
from neuroscan_core.domain.requests import (
    REQUEST_TYPES,
    GetGatewayHealth,
    GetSegmenterHealth,
    ListSeries,
    Reply,
    Request,
)
from neuroscan_core.lifetime import Runs
from neuroscan_core.log import get_logger
from neuroscan_core.ports import MessageBus

log = get_logger(__name__)

R = TypeVar("R", bound=Reply)

CAPACITY = 8192  # events that may wait when the other side is slow: about 50 series of 155 slices
WAIT_S = 0.5  # how soon the thread notices that the bridge stops
# Who asks is not told how long others would have waited; a submission waits for the disk of the gateway.
PATIENCE_S: Mapping[type[Request[Reply]], float] = {GetGatewayHealth: 2.0, GetSegmenterHealth: 2.0, ListSeries: 3.0}
LONG_PATIENCE_S = 10.0
SILENCE_S = 5.0  # heartbeats come once a second


class Bridge(Runs):
    """Forwards events from `source` to `target`, and requests the other way.

    Parameters
    ----------
    source : MessageBus
        Of the roles that publish and answer. The caller closes both.
    target : MessageBus
        Opened for every role of `source`.
    clock : callable
        Seconds that never go back.
    """

    def __init__(self, source: MessageBus, target: MessageBus, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._source, self._target, self._clock = source, target, clock
        self._events = source.subscribe(*EVENT_TYPES, capacity=CAPACITY)
        self._serving = ExitStack()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bridge-events", daemon=True)
        self._lock = threading.Lock()
        self._heard_at_s: float | None = None
        self.num_events = 0
        self.num_requests = 0
        self.num_unanswered = 0

    def start(self) -> None:
        """Serve and forward."""
        for request_type in REQUEST_TYPES:
            if request_type.carries_identity:
                continue
            self._serving.enter_context(self._target.serve(request_type, self._forward))
        self._thread.start()

    def stop(self) -> None:
        """Answer no more, forward what has come, end."""
        self._serving.close()
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=5.0)
        self._events.close()

    def problems(self) -> list[str]:
        """What keeps it from its work, as sentences."""
        problems = []
        if not self._thread.is_alive():
            problems.append("The thread that forwards events has ended.")
        if self._heard_at_s is None or self._clock() - self._heard_at_s > SILENCE_S:
            problems.append("Nothing is heard from the gateway. Start `neuroscan gateway`, or look at its log.")
        return problems

    def _run(self) -> None:
        while True:
            event = self._events.receive(0.0 if self._stopping.is_set() else WAIT_S)
            if event is None:
                if self._stopping.is_set() or self._events.is_closed:
                    return
                continue
            if isinstance(event, GatewayHeartbeat):
                self._heard_at_s = self._clock()
            try:
                self._target.publish(event)
                self.num_events += 1
            except Exception:
                log.exception("an event is not forwarded", type=type(event).__name__)

    def _forward(self, request: Request[R]) -> R:
        """Ask on the other side; what it refuses is refused here, and what is not answered is not answered here."""
        patience_s = PATIENCE_S.get(type(request), LONG_PATIENCE_S)
        with self._lock:
            self.num_requests += 1
        try:
            return self._source.request(request, timeout_s=patience_s)
        except RequestTimeout:
            with self._lock:
                self.num_unanswered += 1
            raise
