"""When to try again: exponential waits with jitter, and a circuit breaker per destination. Pure, no threads."""

from __future__ import annotations

import random
from enum import Enum


class Backoff:
    """Exponential waits with jitter.

    Parameters
    ----------
    first_s : float
        Wait after the first failure; doubles with each further one.
    longest_s : float
        Upper limit.
    source : random.Random
        Of the jitter: a wait is between half of its nominal value and all of it, so that nodes which failed together
        do not return together.
    """

    def __init__(self, first_s: float, longest_s: float, source: random.Random) -> None:
        self._first_s, self._longest_s, self._random = first_s, longest_s, source

    def delay_s(self, num_failures: int) -> float:
        """Seconds to wait after `num_failures` (at least 1) failures in a row."""
        nominal_s = min(self._longest_s, self._first_s * 2.0 ** min(num_failures - 1, 60))
        return nominal_s * (0.5 + 0.5 * self._random.random())


class BreakerState(str, Enum):
    """Whether a destination is worth trying."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class CircuitBreaker:
    """Stops trying a destination that cannot be reached; after a wait, one probe decides.

    Only failures to reach the destination count here. A refused object says nothing about the next one.

    Parameters
    ----------
    threshold : int
        Failures in a row that open it.
    backoff : Backoff
        Waits between tries: while closed after a failure, and between probes while open.
    """

    def __init__(self, threshold: int, backoff: Backoff) -> None:
        self._threshold, self._backoff = threshold, backoff
        self._num_failures = 0
        self._retry_at_s = 0.0
        self._is_probing = False

    @property
    def state(self) -> BreakerState:
        """Closed: try; open: wait; half-open: a probe is under way."""
        if self._num_failures < self._threshold:
            return BreakerState.CLOSED
        return BreakerState.HALF_OPEN if self._is_probing else BreakerState.OPEN

    @property
    def retry_at_s(self) -> float:
        """No try before this time."""
        return self._retry_at_s

    def permits(self, now_s: float) -> bool:
        """Whether a try may be made now; while open, that try is a probe."""
        return now_s >= self._retry_at_s

    def probe(self) -> None:
        """Say that a try begins."""
        self._is_probing = True

    def failed(self, now_s: float) -> None:
        """Count a failure to reach the destination."""
        self._is_probing = False
        self._num_failures += 1
        self._retry_at_s = now_s + self._backoff.delay_s(self._num_failures)

    def succeeded(self) -> None:
        """Close it: the destination answers."""
        self._is_probing = False
        self._num_failures = 0
        self._retry_at_s = 0.0
