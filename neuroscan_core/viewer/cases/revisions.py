"""Numbers of changes that grow for ever: over evictions from memory and over restarts of the viewer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Revisions:
    """Hands out numbers, each greater than all before; microseconds of Unix time, so below 2**53.

    Parameters
    ----------
    clock : callable
        Unix time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock, self._last = clock, 0
        self._lock = threading.Lock()

    def next(self) -> int:
        """The next number."""
        with self._lock:
            self._last = max(self._last + 1, int(self._clock() * 1e6))
            return self._last
