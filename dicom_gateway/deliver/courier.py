"""The courier of one destination: sends what is due, asks for commitment, backs off, gives up. One thread.

The journal is the queue. Every step reads it anew and may be repeated: a result that was stored but not recorded as
such when the process died is stored again under the same UID.

An attempt is counted against a result when something was tried for its sake. While the circuit breaker is open nothing
is tried but C-ECHO, so an archive that is down for a weekend does not make dead letters.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from dicom_gateway.deliver.backoff import Backoff, BreakerState
from dicom_gateway.deliver.commitment import commitment_request
from dicom_gateway.deliver.line import Line
from dicom_gateway.deliver.metrics import DeliveryMetrics
from dicom_gateway.deliver.store import Verdict, explain, judge, read_stored_object
from dicom_gateway.journal import DeliveryRecord, DeliveryState, Journal
from neuroscan_core import crashpoints
from neuroscan_core.config import DestinationConfig
from neuroscan_core.domain.errors import DestinationRefused, DestinationUnreachable, DicomError
from neuroscan_core.log import get_logger, series_context

log = get_logger(__name__)

POLL_S = 1.0  # `neuroscan retry` changes the journal from another process, which cannot wake us


@dataclass(frozen=True)
class DestinationHealth:
    """State of one destination for the status page.

    Parameters
    ----------
    queue_length : int
        Results that wait for their first or next attempt.
    num_uncommitted : int
        Stored results whose storage commitment is awaited.
    num_dead_letters : int
        Results that were given up.
    last_error : str
        Empty after a success.
    """

    name: str
    breaker: BreakerState
    queue_length: int
    num_uncommitted: int
    num_dead_letters: int
    last_error: str


@dataclass(frozen=True)
class Context:
    """What couriers share.

    Parameters
    ----------
    results_dir : Path
        Folder below which results lie.
    on_round : callable
        Called at the begin of each round.
    on_change : callable
        Called after a delivery was stored (True) or its state changed in another way (False).
    on_report : callable
        Gets N-EVENT-REPORTs that come on an association of a courier; returns the DIMSE status.
    on_ask : callable
        Called with a transaction UID and the deliveries it is about, before commitment is asked for.
    lock : threading.Lock
        Serialises changes of deliveries in this process.
    """

    journal: Journal
    results_dir: Path
    ae_title: str
    clock: Callable[[], float]
    random: random.Random
    metrics: DeliveryMetrics
    on_round: Callable[[], None]
    on_change: Callable[[DeliveryRecord, bool], None]
    on_report: Callable[[Dataset], int]
    on_ask: Callable[[str, frozenset[int]], None]
    lock: threading.Lock


class Courier:
    """Serves one destination; `start` and `stop` it, or call `round` yourself."""

    def __init__(self, destination: DestinationConfig, context: Context) -> None:
        self.destination = destination
        self._x = context
        self._journal, self._clock = context.journal, context.clock
        self._backoff = Backoff(destination.backoff_s, destination.max_backoff_s, context.random)
        self._line = Line(
            destination, context.ae_title, clock=context.clock, source=context.random, metrics=context.metrics,
            on_report=context.on_report,
        )  # fmt: skip
        self._awaits_report = False
        self._wanted_open = threading.Event()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._idle = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"deliver-{destination.name}", daemon=True)

    # ------------------------------------------------------------------------------------------------- life cycle

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def signal_stop(self) -> None:
        """Ask to end after the object under way."""
        self._stopping.set()
        self._wake.set()

    def join(self, timeout_s: float) -> None:
        """Wait for the end."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        else:
            self._line.close()

    def cut(self, timeout_s: float) -> None:
        """End although the destination keeps us waiting; the result under way stays queued."""
        if self._thread.is_alive():
            self._line.cut()
            self._thread.join(timeout_s)

    def wake(self) -> None:
        """Look into the journal now."""
        self._idle.clear()
        self._wake.set()

    def warm_up(self) -> None:
        """Have an association open for the results that come soon."""
        self._wanted_open.set()
        self._wake.set()

    def wait_until_idle(self, timeout_s: float) -> None:
        """Wait until all that was due is done or failed."""
        if self._thread.is_alive():
            self._idle.wait(timeout_s)

    def _run(self) -> None:
        wait_s = 0.0
        while not self._stopping.is_set():
            self._wake.wait(wait_s)
            self._wake.clear()
            wait_s = POLL_S
            if self._stopping.is_set():
                break
            try:
                self.round()
            except Exception:
                log.exception("delivery failed; it goes on", destination=self.destination.name)
            if not self._wake.is_set():
                self._idle.set()
        self._line.close()

    # ------------------------------------------------------------------------------------------------------ rounds

    def round(self) -> None:
        """Do all that is due now."""
        name, now_s = self.destination.name, self._clock()
        self._x.on_round()
        is_wanted_open = self._wanted_open.is_set()
        self._wanted_open.clear()
        due = self._journal.deliveries(states=[DeliveryState.QUEUED], destination=name, due_at_s=now_s)
        is_probe = self._line.state is not BreakerState.CLOSED
        if self._line.is_usable and (due or is_wanted_open or is_probe or self._unanswered()):
            if not is_probe or self._line.connect():
                self._deliver(due)
                self._ask(self._unanswered())
            if is_wanted_open:
                self._line.connect()
        self._line.release_idle(awaits_report=self._awaits_report and bool(self._count(DeliveryState.DELIVERED)))
        self._x.metrics.queue_length.labels(name).set(self._count(DeliveryState.QUEUED))
        self._x.metrics.breaker_open.labels(name).set(self._line.state is not BreakerState.CLOSED)

    def _deliver(self, due: list[DeliveryRecord]) -> None:
        for delivery in due:
            if self._stopping.is_set():
                return
            with series_context(delivery.result.series_uid):
                if not self._attempt(delivery, due):
                    return

    def _attempt(self, delivery: DeliveryRecord, due: list[DeliveryRecord]) -> bool:
        """Try to store one result; False where the destination cannot be reached and the round is over."""
        try:
            item = read_stored_object(self._x.results_dir / delivery.result.path)
        except DicomError as exc:
            self._give_up(delivery, str(exc))
            return True
        if not self._line.connect(item):
            self._charge(due)
            return False
        crashpoints.reach("deliver.before-send")
        try:
            status, comment = self._line.store(item)
        except DestinationUnreachable as exc:
            if self._stopping.is_set():
                return False
            self._count_attempt("unreachable")
            self._fail(delivery, str(exc))
        except (DestinationRefused, DicomError) as exc:
            self._count_attempt("refused")
            self._give_up(delivery, str(exc))
        else:
            crashpoints.reach("deliver.after-send")
            self._conclude(delivery, status, comment)
        return True

    def _conclude(self, delivery: DeliveryRecord, status: int, comment: str) -> None:
        verdict = judge(status)
        self._count_attempt(verdict.value)
        if verdict is Verdict.REFUSED:
            self._give_up(delivery, explain(status), comment)
        elif verdict is Verdict.TRY_AGAIN:
            self._fail(delivery, explain(status), comment)
        else:
            self._stored(delivery, explain(status) if status else "")

    # ---------------------------------------------------------------------------------------------------- outcomes

    def _stored(self, delivery: DeliveryRecord, warning: str) -> None:
        now_s = self._clock()
        self._line.last_error = ""
        with self._x.lock:
            self._journal.update_delivery(
                delivery.id, state=DeliveryState.DELIVERED, attempts=delivery.attempts + 1, delivered_at_s=now_s,
                next_attempt_at_s=now_s, last_error=warning, transaction_uid="",
            )  # fmt: skip
        log.info(
            "result is stored", destination=self.destination.name, sop=delivery.sop_uid, kind=delivery.result.kind,
            **({"warning": warning} if warning else {}),
        )  # fmt: skip
        self._x.on_change(delivery, True)

    def _fail(self, delivery: DeliveryRecord, error: str, comment: str = "") -> None:
        """Count a failed attempt and try again later, or give up.

        The archive's own comment may hold anything: it goes to the journal for the operator, never to logs and events.
        """
        self._line.last_error = error
        attempts = delivery.attempts + 1
        if attempts >= self.destination.max_attempts:
            return self._give_up(delivery, error, comment)
        with self._x.lock:
            self._journal.update_delivery(
                delivery.id, state=DeliveryState.QUEUED, attempts=attempts, last_error=_quoting(error, comment),
                next_attempt_at_s=self._clock() + self._backoff.delay_s(attempts),
            )  # fmt: skip
        log.warning(
            "delivery failed", destination=self.destination.name, sop=delivery.sop_uid, attempts=attempts, error=error
        )
        self._x.on_change(delivery, False)

    def _give_up(self, delivery: DeliveryRecord, error: str, comment: str = "") -> None:
        self._line.last_error = error
        with self._x.lock:
            self._journal.update_delivery(
                delivery.id, state=DeliveryState.DEAD_LETTER, attempts=delivery.attempts + 1,
                last_error=_quoting(error, comment),
            )  # fmt: skip
        self._journal.audit(self._clock(), "dead-letter", delivery.sop_uid, f"{self.destination.name}: {error}")
        log.error("delivery is given up", destination=self.destination.name, sop=delivery.sop_uid, error=error)
        self._x.on_change(delivery, False)

    def _charge(self, due: list[DeliveryRecord]) -> None:
        """The destination could not be reached although it was tried for these."""
        for delivery in self._still(due, DeliveryState.QUEUED):
            self._fail(delivery, self._line.last_error)

    def _still(self, deliveries: list[DeliveryRecord], state: DeliveryState) -> list[DeliveryRecord]:
        ids = {delivery.id for delivery in deliveries}
        now = self._journal.deliveries(states=[state], destination=self.destination.name, due_at_s=self._clock())
        return [delivery for delivery in now if delivery.id in ids]

    def _count_attempt(self, outcome: str) -> None:
        self._x.metrics.attempts.labels(self.destination.name, outcome).inc()

    # -------------------------------------------------------------------------------------------------- commitment

    def _unanswered(self) -> list[DeliveryRecord]:
        """Stored results for which commitment is to be asked, for the first time or again."""
        if not self.destination.storage_commitment:
            return []
        return self._journal.deliveries(
            states=[DeliveryState.DELIVERED], destination=self.destination.name, due_at_s=self._clock()
        )

    def _ask(self, deliveries: list[DeliveryRecord]) -> None:
        remaining = [delivery for delivery in deliveries if not self._is_hopeless(delivery)]
        if not remaining or not self._line.connect():
            return
        self._awaits_report = True
        transaction_uid = str(generate_uid(prefix=None))
        # Recorded first: the report may come before the response to our request.
        self._note_request(remaining, transaction_uid)
        self._x.metrics.commitments.labels(self.destination.name, "asked").inc(len(remaining))
        references = [(delivery.result.sop_class_uid, delivery.sop_uid) for delivery in remaining]
        try:
            status = self._line.request_commitment(commitment_request(transaction_uid, references))
            error = explain(status) if status else ""
        except (DestinationRefused, DestinationUnreachable) as exc:
            error = str(exc)
        if error:
            self._postpone(transaction_uid, error)

    def _is_hopeless(self, delivery: DeliveryRecord) -> bool:
        """Give up where no answer came too often."""
        if delivery.transaction_uid:
            self._x.metrics.commitments.labels(self.destination.name, "unanswered").inc()
        if delivery.attempts < self.destination.max_attempts or not delivery.transaction_uid:
            return False
        self._give_up(delivery, delivery.last_error or "The archive stored it but never committed to keep it.")
        return True

    def _note_request(self, deliveries: list[DeliveryRecord], transaction_uid: str) -> None:
        due_at_s = self._clock() + self.destination.commitment_timeout_s
        with self._x.lock:
            self._x.on_ask(transaction_uid, frozenset(delivery.id for delivery in deliveries))
            for delivery in deliveries:
                self._journal.update_delivery(
                    delivery.id, transaction_uid=transaction_uid, next_attempt_at_s=due_at_s,
                    attempts=delivery.attempts + bool(delivery.transaction_uid),
                )  # fmt: skip

    def _postpone(self, transaction_uid: str, error: str) -> None:
        self._line.last_error = error
        log.warning("storage commitment cannot be asked for", destination=self.destination.name, error=error)
        with self._x.lock:
            for delivery in self._journal.deliveries(states=[DeliveryState.DELIVERED], transaction_uid=transaction_uid):
                self._journal.update_delivery(
                    delivery.id, last_error=error,
                    next_attempt_at_s=self._clock() + self._backoff.delay_s(delivery.attempts),
                )  # fmt: skip

    # ------------------------------------------------------------------------------------------------------ health

    def _count(self, state: DeliveryState) -> int:
        return len(self._journal.deliveries(states=[state], destination=self.destination.name))

    def health(self) -> DestinationHealth:
        """State for the status page."""
        return DestinationHealth(
            self.destination.name,
            self._line.state,
            self._count(DeliveryState.QUEUED),
            self._count(DeliveryState.DELIVERED) if self.destination.storage_commitment else 0,
            self._count(DeliveryState.DEAD_LETTER),
            self._line.last_error,
        )


def _quoting(error: str, comment: str) -> str:
    return f'{error} It says: "{comment}".' if comment else error
