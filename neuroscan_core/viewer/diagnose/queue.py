"""Runs `neuroscan diagnose` for one diagnosis after the other, in processes that can be ended."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections import deque
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from neuroscan_core.domain.errors import WebProblem
from neuroscan_core.log import get_logger
from neuroscan_core.viewer.diagnose.store import DONE, QUEUED, DiagnosisStore, Job
from neuroscan_core.viewer.worker import end_worker, messages_of, start_worker

log = get_logger(__name__)

SWEEP_S = 30.0
ENDING_S = 3.0
_BROKE = "The worker ended before its work was done."


class DiagnosisQueue:
    """Works off the queued diagnoses of a store, and deletes those whose time is over.

    Parameters
    ----------
    store : DiagnosisStore
    command : sequence of str
        Of the worker; input, output and options are added.
    timeout_s : float
        A worker that takes longer is ended.
    max_running, max_waiting : int
    """

    def __init__(
        self,
        store: DiagnosisStore,
        command: Sequence[str],
        *,
        timeout_s: float = 1800.0,
        max_running: int = 1,
        max_waiting: int = 8,
    ) -> None:
        self._store, self._command, self._timeout_s = store, tuple(command), timeout_s
        self._max_waiting = max_waiting
        self._changed = threading.Condition()
        self._waiting: deque[str] = deque(
            job.id for job in reversed(store.jobs()) if job.state == QUEUED
        )  # of an earlier viewer
        self._running: dict[str, subprocess.Popen[str]] = {}
        self._ended_by_us: dict[str, tuple[str, str]] = {}
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, name=f"viewer-diagnose-{n}", daemon=True) for n in range(max_running)
        ]
        self._threads.append(threading.Thread(target=self._sweep, name="viewer-expiry", daemon=True))

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the workers; what they had in hand is marked as failed, what waits waits for the next viewer."""
        self._stopping.set()
        with self._changed:
            for case_id in list(self._running):
                self._end(case_id, "The viewer was stopped while it was at work on this.", "Drop the images once more.")
            self._changed.notify_all()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(timeout=2 * ENDING_S)

    def require_room(self) -> None:
        """Refuse a further diagnosis where too many wait.

        Raises
        ------
        WebProblem
        """
        with self._changed:
            if len(self._waiting) >= max(self._max_waiting, 1 if not self._running else 0):
                raise WebProblem(
                    HTTPStatus.TOO_MANY_REQUESTS, "Too many diagnoses wait.",
                    meaning=f"{len(self._waiting)} are in front. Nothing was kept.", remedy="Try again later.",
                    retry_after_s=60,
                )  # fmt: skip

    def submit(self, job: Job) -> None:
        """Let a diagnosis wait for its turn."""
        with self._changed:
            self._waiting.append(job.id)
            self._changed.notify_all()

    def cancel(self, case_id: str) -> None:
        """End a diagnosis, whether it waits or is in hand."""
        with self._changed:
            if case_id in self._waiting:
                self._waiting.remove(case_id)
            self._end(case_id, "It was deleted.", "")

    def position(self, case_id: str) -> int | None:
        """Place in the queue, from 1; None where it does not wait."""
        with self._changed:
            return self._waiting.index(case_id) + 1 if case_id in self._waiting else None

    def _end(self, case_id: str, reason: str, remedy: str) -> None:
        """End a worker, with the lock held."""
        process = self._running.get(case_id)
        if process is not None:
            self._ended_by_us[case_id] = (reason, remedy)
            end_worker(process)

    # -------------------------------------------------------------------------------------------------- their threads

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stopping.is_set())
                if self._stopping.is_set():
                    return
                case_id = self._waiting.popleft()
            try:
                self._run(case_id)
            except Exception:
                log.exception("a diagnosis could not be run")
                self._store.set_failed(case_id, _BROKE, "Drop the images once more; the log says more.")

    def _run(self, case_id: str) -> None:
        job = self._store.find(case_id)
        if job is None:
            return
        self._store.set_running(case_id)
        with self._changed:
            if self._stopping.is_set():
                return
            self._running[case_id] = process = self._start(job)
        timer = threading.Timer(self._timeout_s, self._time_is_over, (case_id,))
        timer.start()
        last: dict[str, Any] = {}
        try:
            with process:  # closes its output and waits
                for message in messages_of(process):
                    last = message
            status = process.returncode
        finally:
            timer.cancel()
            with self._changed:
                self._running.pop(case_id, None)
                ended = self._ended_by_us.pop(case_id, None)
        log.info("a diagnosis has ended", case=case_id, status=status)
        self._conclude(case_id, status, last, ended)

    def _conclude(self, case_id: str, status: int, last: dict[str, Any], ended: tuple[str, str] | None) -> None:
        case = self._store.case_folder(case_id).case()
        if ended is not None:
            self._store.set_failed(case_id, *ended)
        elif last.get("event") == "done" and case.get("state") == DONE:
            self._store.set_done(case_id)
        elif last.get("event") == "done" and case.get("reason"):
            self._store.set_failed(case_id, case["reason"], case.get("remedy", ""))
        elif last.get("event") == "failed":
            self._store.set_failed(case_id, str(last.get("error", _BROKE)), str(last.get("remedy", "")))
        else:
            memory = " It may have needed too much memory." if status in (-signal.SIGKILL, -signal.SIGSEGV) else ""
            self._store.set_failed(case_id, f"{_BROKE}{memory}", "Give fewer or smaller series; the log says more.")

    def _time_is_over(self, case_id: str) -> None:
        with self._changed:
            minutes = self._timeout_s / 60
            self._end(case_id, f"It took longer than {minutes:.0f} minutes and was ended.",
                      "Give fewer series or models, or raise viewer.diagnose.timeout_s.")  # fmt: skip

    def _start(self, job: Job) -> subprocess.Popen[str]:
        folder = self._store.case_folder(job.id).path
        command = [*self._command, str(self._store.upload_dir(job.id)), "-o", str(folder), "--case", "--progress-json"]
        command += ["--models", ",".join(job.models)] if job.models else []
        command += ["--tta"] if job.tta else []
        return start_worker(command)

    def _sweep(self) -> None:
        while True:
            for case_id in self._store.expired():
                self.cancel(case_id)
                self._store.delete(case_id)
            if self._stopping.wait(SWEEP_S):
                return
