"""A few things that took time to make."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")
MAX_ENTRIES = 8


class Cache:
    """Each thing is made once, however many ask for it at the same time; those used last are kept."""

    def __init__(self, max_entries: int = MAX_ENTRIES) -> None:
        self._max_entries = max_entries
        self._entries: dict[Hashable, Any] = {}
        self._lock = threading.Lock()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._entries

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gave for this key."""
        with self._lock:
            if key in self._entries:
                self._entries[key] = self._entries.pop(key)
            else:
                self._entries[key] = make()
                while len(self._entries) > self._max_entries:
                    del self._entries[next(iter(self._entries))]
            found: T = self._entries[key]
            return found
