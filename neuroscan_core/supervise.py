"""Keeps the processes of a node running on one machine, and stops them in order.

It knows commands and signals, nothing of what the processes do. A child notices the end of its supervisor, however it
came, by the end of its standard input.
"""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from neuroscan_core.log import get_logger

log = get_logger(__name__)

EXIT_UNUSABLE = 78  # EX_CONFIG of sysexits.h: starting again cannot help
POLL_S = 0.1
DRAIN_S = 30.0
FIRST_BACKOFF_S, MAX_BACKOFF_S = 0.25, 10.0
STABLE_S = 30.0  # a process that ran this long starts again without having to wait


class Child(Protocol):
    """The part of `subprocess.Popen` that is used."""

    pid: int

    def poll(self) -> int | None:
        """Exit status, None while it runs."""
        ...

    def send_signal(self, sig: int) -> None:
        """Send a signal; nothing happens if it has ended."""
        ...

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; `subprocess.TimeoutExpired` after `timeout`."""
        ...


@dataclass(frozen=True)
class ProcessSpec:
    """A process to keep running.

    Parameters
    ----------
    name : str
    command : tuple of str
    """

    name: str
    command: tuple[str, ...]


@dataclass
class _Kept:
    spec: ProcessSpec
    child: Child | None = None
    started_at_s: float = 0.0
    restart_at_s: float = 0.0
    backoff_s: float = FIRST_BACKOFF_S
    num_restarts: int = field(default=0)


def spawn(command: Sequence[str]) -> Child:
    """Start a process in a session of its own, so that Ctrl-C reaches only the supervisor."""
    return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)


class Supervisor:
    """Starts processes in the given order, restarts what crashes, stops them in the same order.

    Parameters
    ----------
    specs : sequence of ProcessSpec
        Stopped from the first to the last: what feeds others comes first.
    start : callable
        Starts a command.
    clock : callable
        Seconds that never go back.
    drain_s : float
        Time that each process gets to end by itself before it is killed.
    """

    def __init__(
        self,
        specs: Sequence[ProcessSpec],
        *,
        start: Callable[[Sequence[str]], Child] = spawn,
        clock: Callable[[], float] = time.monotonic,
        drain_s: float = DRAIN_S,
    ) -> None:
        self._kept = [_Kept(spec) for spec in specs]
        self._start, self._clock, self._drain_s = start, clock, drain_s

    def run(self, stopping: threading.Event) -> int:
        """Keep everything running until `stopping` is set.

        Returns
        -------
        int
            0 if every process ended by itself and without an error when asked to; 1 otherwise, also where a process
            says that it cannot be used as configured.
        """
        is_usable = True
        while not stopping.is_set() and is_usable:
            is_usable = self.tick()
            stopping.wait(POLL_S)
        has_drained = self._stop_all()
        return 0 if is_usable and has_drained else 1

    def tick(self) -> bool:
        """Look at every process once; False where one ended with `EXIT_UNUSABLE` at its first start.

        Later the configuration has proved itself: what is in the way then, such as a port, may go away.
        """
        for kept in self._kept:
            if kept.child is None:
                if self._clock() >= kept.restart_at_s:
                    self._launch(kept)
                continue
            status = kept.child.poll()
            if status == EXIT_UNUSABLE and kept.num_restarts == 0:
                log.error("a process cannot run as configured; the node stops", role=kept.spec.name)
                return False
            if status is not None:
                self._schedule(kept, status)
        return True

    def _launch(self, kept: _Kept) -> None:
        kept.child = self._start(kept.spec.command)
        kept.started_at_s = self._clock()
        log.info("process started", role=kept.spec.name, pid=kept.child.pid, restarts=kept.num_restarts)

    def _schedule(self, kept: _Kept, status: int) -> None:
        now_s = self._clock()
        if now_s - kept.started_at_s >= STABLE_S:
            kept.backoff_s = FIRST_BACKOFF_S
        kept.child, kept.restart_at_s = None, now_s + kept.backoff_s
        log.error("process ended; it starts again", role=kept.spec.name, status=status, in_s=kept.backoff_s)
        kept.backoff_s = min(2 * kept.backoff_s, MAX_BACKOFF_S)
        kept.num_restarts += 1

    def _stop_all(self) -> bool:
        results = [self._stop(kept) for kept in self._kept]
        return all(results)

    def _stop(self, kept: _Kept) -> bool:
        if kept.child is None:
            return True
        kept.child.send_signal(signal.SIGTERM)
        try:
            status = kept.child.wait(self._drain_s)
        except subprocess.TimeoutExpired:
            log.error("process does not end; it is killed", role=kept.spec.name, waited_s=self._drain_s)
            kept.child.send_signal(signal.SIGKILL)
            kept.child.wait()
            return False
        log.info("process stopped", role=kept.spec.name, status=status)
        return status == 0
