"""Handing results to the gateway until it has made them durable."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from neuroscan_core.domain.errors import BusError, RequestRefused
from neuroscan_core.domain.requests import Acknowledged, Request, SubmitFailure, SubmitSegmentation
from neuroscan_core.log import get_logger, series_context
from neuroscan_core.ports import MessageBus

log = get_logger(__name__)

REQUEST_TIMEOUT_S = 5.0  # what was carried out all the same is acknowledged when asked again
FIRST_BACKOFF_S = 0.1
MAX_BACKOFF_S = 10.0
MAX_REFUSALS = 100  # a gateway that answers and refuses for a quarter of an hour will not change its mind

Submission: TypeAlias = SubmitSegmentation | SubmitFailure


@dataclass
class _Pending:
    submission: Submission
    due_at_s: float
    backoff_s: float = FIRST_BACKOFF_S
    num_refusals: int = 0


class Submitter:
    """Repeats each request until it is acknowledged, in a thread of its own.

    A newer result of a series takes the place of one that is still waiting.

    Parameters
    ----------
    bus : MessageBus
    monotonic : callable
        Seconds that never go back.
    """

    def __init__(self, bus: MessageBus, *, monotonic: Callable[[], float]) -> None:
        self._bus, self._monotonic = bus, monotonic
        self._pending: dict[str, _Pending] = {}
        self._changed = threading.Condition()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="segmenter-submit", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def submit(self, submission: Submission) -> None:
        """Hand over a result; returns at once."""
        with self._changed:
            self._pending[_uid(submission)] = _Pending(submission, self._monotonic())
            self._changed.notify_all()

    @property
    def num_pending(self) -> int:
        """Results that the gateway has not acknowledged."""
        with self._changed:
            return len(self._pending)

    def stop(self, drain_s: float) -> None:
        """Wait for acknowledgements a while, then end; the gateway asks again for what was not delivered."""
        with self._changed:
            self._changed.wait_for(lambda: not self._pending, timeout=drain_s)
            self._is_stopping = True
            self._changed.notify_all()
        self._thread.join(timeout=drain_s + 1.0)

    def _run(self) -> None:
        while (pending := self._next()) is not None:
            with series_context(_uid(pending.submission)):
                try:
                    self._attempt(pending)
                except Exception:
                    log.exception("submission failed; it is tried again")
                    self._postpone(pending)

    def _next(self) -> _Pending | None:
        """Wait for the submission that is due first; None when stopping."""
        with self._changed:
            while not self._is_stopping:
                first = min(self._pending.values(), key=lambda pending: pending.due_at_s, default=None)
                wait_s = None if first is None else first.due_at_s - self._monotonic()
                if first is not None and wait_s is not None and wait_s <= 0:
                    return first
                self._changed.wait(wait_s)
            return None

    def _attempt(self, pending: _Pending) -> None:
        request: Request[Acknowledged] = pending.submission
        try:
            acknowledged = self._bus.request(request, timeout_s=REQUEST_TIMEOUT_S)
        except RequestRefused as refusal:
            pending.num_refusals += 1
            log.warning("the gateway refuses a result", reason=str(refusal), num_refusals=pending.num_refusals)
            if pending.num_refusals >= MAX_REFUSALS:
                self._forget(pending)
            else:
                self._postpone(pending)
        except BusError as error:
            log.info("a result is not acknowledged yet", reason=str(error))
            self._postpone(pending)
        else:
            log.info("result is acknowledged", is_new=acknowledged.is_new)
            self._forget(pending)

    def _postpone(self, pending: _Pending) -> None:
        with self._changed:
            pending.due_at_s = self._monotonic() + pending.backoff_s
            pending.backoff_s = min(2 * pending.backoff_s, MAX_BACKOFF_S)

    def _forget(self, pending: _Pending) -> None:
        with self._changed:
            uid = _uid(pending.submission)
            if self._pending.get(uid) is pending:
                del self._pending[uid]
            self._changed.notify_all()


def _uid(submission: Submission) -> str:
    if isinstance(submission, SubmitSegmentation):
        return submission.result.series_instance_uid
    return submission.failure.series_instance_uid
