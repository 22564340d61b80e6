"""Work that is done in order within a series and in parallel between series.

Each key has a strand: a queue whose messages are handled first in, first out, by one worker at a time. What the
messages mean is the handler's business.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from neuroscan_core.domain.errors import StorageError
from neuroscan_core.log import get_logger

log = get_logger(__name__)
M = TypeVar("M")


class StrandPool(Generic[M]):
    """Worker threads for strands.

    Parameters
    ----------
    handle : callable
        Gets a key and the messages that wait for it, oldest first, at most `max_batch`. If it raises a `StorageError`,
        the messages are kept and handled again after `resume`; after any other error they are dropped with a log line.
    num_workers : int
    name : str
        Prefix of the names of the threads.
    max_batch : int
    """

    def __init__(self, handle: Callable[[str, list[M]], None], *, num_workers: int, name: str, max_batch: int) -> None:
        self._handle, self._max_batch = handle, max_batch
        self._changed = threading.Condition()
        self._strands: dict[str, deque[M]] = {}
        self._ready: deque[str] = deque()
        self._parked: set[str] = set()
        self._is_closing = False
        self._num_waiting = 0
        self._workers = [
            threading.Thread(target=self._work, name=f"{name}-{k}", daemon=True) for k in range(num_workers)
        ]
        for worker in self._workers:
            worker.start()

    @property
    def num_waiting(self) -> int:
        """Messages not handled yet."""
        return self._num_waiting

    def post(self, key: str, message: M) -> None:
        """Append a message to a strand. Never waits for a handler."""
        with self._changed:
            strand = self._strands.get(key)
            if strand is None:
                strand = self._strands[key] = deque()
                self._ready.append(key)
                self._changed.notify()
            strand.append(message)
            self._num_waiting += 1

    def has_more(self, key: str) -> bool:
        """Whether messages wait behind those that are being handled."""
        with self._changed:
            return bool(self._strands.get(key))

    def resume(self) -> None:
        """Try again what a `StorageError` stopped."""
        with self._changed:
            self._ready.extend(self._parked)
            self._parked.clear()
            self._changed.notify_all()

    def drain(self, timeout_s: float) -> bool:
        """Wait until nothing waits but what is parked; whether that came about in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._strands.keys() == self._parked, timeout=timeout_s)

    def close(self) -> None:
        """Stop the workers after the messages they are at; the rest is left."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        for worker in self._workers:
            worker.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ready or self._is_closing)
                if self._is_closing:
                    return
                key = self._ready.popleft()
                strand = self._strands[key]
                batch = [strand.popleft() for _ in range(min(self._max_batch, len(strand)))]
            is_kept = self._try(key, batch)
            with self._changed:
                self._put_back(key, batch if is_kept else [], len(batch))

    def _try(self, key: str, batch: list[M]) -> bool:
        """Handle messages; whether they must be handled again."""
        try:
            self._handle(key, batch)
        except StorageError:
            log.exception("series waits for the journal", series=key)
            return True
        except Exception:
            log.exception("a message about a series was dropped", series=key)
        return False

    def _put_back(self, key: str, kept: list[M], num_handled: int) -> None:
        strand = self._strands[key]
        strand.extendleft(reversed(kept))
        self._num_waiting -= 0 if kept else num_handled
        if kept:
            self._parked.add(key)
        elif strand:
            self._ready.append(key)
            self._changed.notify()
        else:
            del self._strands[key]
        if self._strands.keys() == self._parked:
            self._changed.notify_all()
