"""A flag that a thread can wait for together with sockets."""

from __future__ import annotations

import os
import threading
from contextlib import suppress


class Signal:
    """Once set, it stays readable for every poller until it is cleared.

    ZeroMQ sockets belong to one thread; this is how another thread wakes it.
    """

    def __init__(self) -> None:
        self._read_end, self._write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.is_set = False
        self._lock = threading.Lock()
        self._is_open = True

    def fileno(self) -> int:
        """File descriptor to poll for reading."""
        return self._read_end

    def set(self) -> None:
        """Wake whoever polls it; any thread may."""
        self.is_set = True
        with self._lock, suppress(BlockingIOError):  # a full pipe wakes as well
            if self._is_open:
                os.write(self._write_end, b"\0")

    def clear(self) -> None:
        """Make it unreadable; only the thread that polls it may."""
        self.is_set = False
        with suppress(BlockingIOError):
            while os.read(self._read_end, 4096):
                pass

    def close(self) -> None:
        """Release the descriptors; nobody may poll it any more, and to set it changes the flag alone."""
        with self._lock:
            self._is_open = False
            os.close(self._read_end)
            os.close(self._write_end)
