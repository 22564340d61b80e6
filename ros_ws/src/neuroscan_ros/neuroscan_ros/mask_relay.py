"""Hands masks on from the display to the status page, which would else need a feed of its own."""

from __future__ import annotations

import threading
from collections import deque

from neuroscan_core.domain.events import MaskReady

MAX_WAITING = 64


class MaskRelay:
    """A queue of masks, in order and without loss; a `viewer.process.MaskSource`.

    Whoever puts waits while it is full: the feed behind it asks for masks only as fast as they are taken.
    """

    def __init__(self, max_waiting: int = MAX_WAITING) -> None:
        self._masks: deque[MaskReady] = deque()
        self._max_waiting = max_waiting
        self._changed = threading.Condition()
        self._is_closed = False

    def put(self, mask: MaskReady) -> None:
        """Hand a mask on; dropped after close."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._masks) < self._max_waiting or self._is_closed)
            if not self._is_closed:
                self._masks.append(mask)
                self._changed.notify_all()

    def receive(self, timeout_s: float | None = None) -> MaskReady | None:
        """Wait for the next mask; None after `timeout_s` without one, or after close."""
        with self._changed:
            self._changed.wait_for(lambda: self._masks or self._is_closed, timeout_s)
            if not self._masks:
                return None
            mask = self._masks.popleft()
            self._changed.notify_all()
            return mask

    def close(self) -> None:
        """Stop; whoever waits goes on."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
