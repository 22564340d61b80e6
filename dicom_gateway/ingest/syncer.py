"""Threads that wait for the disk, so that several waits of one object go on at the same time.

A thread pool of the standard library does the same at four times the cost for each job, which is felt at a thousand
objects a second.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue

_Answers = SimpleQueue["OSError | None"]
_Job = tuple[Callable[[], None], _Answers]


class PendingSyncs:
    """Jobs under way.

    Parameters
    ----------
    answers : SimpleQueue
        Gets one answer for each job.
    num_jobs : int
    """

    def __init__(self, answers: _Answers, num_jobs: int) -> None:
        self._answers, self._num_jobs = answers, num_jobs

    def wait(self) -> None:
        """Return when all jobs are done.

        Raises
        ------
        OSError
            The first that failed.
        """
        errors = [self._answers.get() for _ in range(self._num_jobs)]
        for error in errors:
            if error is not None:
                raise error


class Syncer:
    """Run jobs in threads.

    Parameters
    ----------
    num_threads : int
        Jobs that may wait at once; threads start as they are needed.
    """

    def __init__(self, num_threads: int) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._num_threads = num_threads
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._num_pending = 0

    def submit(self, jobs: Sequence[Callable[[], None]]) -> PendingSyncs:
        """Begin jobs that raise nothing but OSError."""
        answers: _Answers = SimpleQueue()
        with self._lock:
            self._num_pending += len(jobs)
            while len(self._threads) < min(self._num_pending, self._num_threads):
                name = f"ingest-sync-{len(self._threads)}"
                self._threads.append(threading.Thread(target=self._run, name=name, daemon=True))
                self._threads[-1].start()
        for job in jobs:
            self._jobs.put((job, answers))
        return PendingSyncs(answers, len(jobs))

    def stop(self) -> None:
        """Finish what was submitted and end the threads."""
        with self._lock:
            threads, self._threads = self._threads, []
        for _ in threads:
            self._jobs.put(None)
        for thread in threads:
            thread.join()

    def _run(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, answers = item
            error: OSError | None = None
            try:
                job()
            except OSError as exc:
                error = exc
            with self._lock:
                self._num_pending -= 1
            answers.put(error)
