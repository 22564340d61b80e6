"""Knowing that results have reached an archive."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection

from neuroscan_core.domain.events import Event, ResultDelivered

REMEMBERED = 64


class Arrivals:
    """Passes events on and remembers which results the last deliveries were.

    Parameters
    ----------
    publish : callable
        Where events go.
    """

    def __init__(self, publish: Callable[[Event], None]) -> None:
        self._publish = publish
        self._delivered: deque[str] = deque(maxlen=REMEMBERED)
        self._changed = threading.Condition()

    def announce(self, event: Event) -> None:
        """Pass an event on."""
        self._publish(event)
        if isinstance(event, ResultDelivered):
            with self._changed:
                self._delivered.append(event.sop_instance_uid)
                self._changed.notify_all()

    def wait_for(self, sop_instance_uids: Collection[str], timeout_s: float) -> bool:
        """Wait until each of these results has reached an archive; whether that came about in time."""
        with self._changed:
            return self._changed.wait_for(lambda: set(sop_instance_uids) <= set(self._delivered), timeout=timeout_s)
