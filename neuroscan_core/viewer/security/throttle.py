"""Makes guessing slow: after some failures an address has to wait, each time twice as long."""

from __future__ import annotations

import ipaddress
import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

FREE_FAILURES = 4
FIRST_WAIT_S, MAX_WAIT_S = 2.0, 900.0
FORGET_S = 3600.0
MAX_ADDRESSES = 4096


@dataclass
class _Failures:
    count: int
    last_s: float
    until_s: float


class Throttle:
    """Failures by address. Thread-safe.

    Parameters
    ----------
    monotonic : callable
        Seconds that never go back.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._failures: OrderedDict[str, _Failures] = OrderedDict()
        self._lock = threading.Lock()

    def wait_s(self, address: str) -> int:
        """Whole seconds until this address may try again; 0 where it may."""
        with self._lock:
            found = self._failures.get(_network_of(address))
            return 0 if found is None else max(0, math.ceil(found.until_s - self._monotonic()))

    def fail(self, address: str) -> None:
        """Note a wrong secret."""
        key, now_s = _network_of(address), self._monotonic()
        with self._lock:
            known = self._failures.pop(key, None)
            count = known.count + 1 if known is not None and now_s - known.last_s < FORGET_S else 1
            excess = min(count - FREE_FAILURES, 32)
            wait_s = min(MAX_WAIT_S, FIRST_WAIT_S * 2 ** (excess - 1)) if excess > 0 else 0.0
            self._failures[key] = _Failures(count, now_s, now_s + wait_s)
            if len(self._failures) > MAX_ADDRESSES:
                self._failures.popitem(last=False)

    def succeed(self, address: str) -> None:
        """Forget the failures of an address."""
        with self._lock:
            self._failures.pop(_network_of(address), None)


def _network_of(address: str) -> str:
    """An IPv6 peer owns a /64, not an address."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
