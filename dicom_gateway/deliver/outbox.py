"""Delivery of results: couriers per destination around the journal, reports on storage commitment, state of series.

What one destination gets and when is in `courier`; who gets what is `queue_for`; what an operator revives is `revive`.
"""

from __future__ import annotations

import random
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry
from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.presentation import PresentationContext

from dicom_gateway.deliver.answers import CommitmentScp
from dicom_gateway.deliver.backoff import Backoff, BreakerState
from dicom_gateway.deliver.commitment import PERMANENT_REASONS, CommitmentReport, explain_reason, parse_report
from dicom_gateway.deliver.courier import Context, Courier, DestinationHealth
from dicom_gateway.deliver.metrics import DeliveryMetrics
from dicom_gateway.journal import DeliveryRecord, DeliveryState, Journal, SeriesState
from neuroscan_core.config import NodeConfig
from neuroscan_core.domain.errors import UnreadableObject
from neuroscan_core.domain.events import Event, ResultDelivered
from neuroscan_core.lifetime import Runs
from neuroscan_core.log import get_logger

log = get_logger(__name__)

MODALITIES = {"SEG": "SEG", "SR": "SR", "SC": "OT"}
REMEMBERED_TRANSACTIONS = 1000
JOIN_S, CUT_S = 1.0, 5.0  # for the object under way when all is to end; for a peer that was cut off

# PS3.7 annex C.
SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110
INVALID_ARGUMENT = 0x0115

_UNSETTLED = (SeriesState.SEGMENTED, SeriesState.DELIVERING)
_SETTLES_FROM = {
    SeriesState.DELIVERING: (SeriesState.SEGMENTED,),
    SeriesState.DELIVERED: (*_UNSETTLED, SeriesState.DEAD_LETTER),
    SeriesState.COMMITTED: (*_UNSETTLED, SeriesState.DELIVERED, SeriesState.DEAD_LETTER),
    SeriesState.DEAD_LETTER: (*_UNSETTLED, SeriesState.DELIVERED),
}


class Delivery(Runs):
    """Brings results to the archives; everything it must not forget is in the journal.

    Parameters
    ----------
    config : NodeConfig
    journal : Journal
        Shared with the gateway; the caller closes it after `stop`.
    publish : callable
        Hands an event to the bus; any thread calls it.
    clock : callable
        Unix time in seconds.
    registry : CollectorRegistry
        For metrics.
    random : random.Random
        Of the jitter.
    """

    def __init__(
        self,
        config: NodeConfig,
        journal: Journal,
        publish: Callable[[Event], None],
        *,
        clock: Callable[[], float] = time.time,
        registry: CollectorRegistry,
        random: random.Random,
    ) -> None:
        self._config, self._journal, self._publish, self._clock = config, journal, publish, clock
        self._metrics = DeliveryMetrics(registry)
        self._lock = threading.Lock()
        self._settling = threading.Lock()
        self._earlier: OrderedDict[str, frozenset[int]] = OrderedDict()
        self._backoffs = {d.name: Backoff(d.backoff_s, d.max_backoff_s, random) for d in config.destinations}
        context = Context(
            journal, config.results_dir, config.gateway.ae_title, clock, random, self._metrics,
            on_round=self._settle_all, on_change=self._changed, on_report=self.take_report, on_ask=self._remember,
            lock=self._lock,
        )  # fmt: skip
        self._couriers = {d.name: Courier(d, context) for d in config.destinations}
        self._scp = CommitmentScp(config, journal, self.take_report, clock=clock)

    # ------------------------------------------------------------------------------------------------- life cycle

    def start(self) -> None:
        """Begin; what a former process left in the journal is due at once."""
        self._bury_orphans()
        self._scp.start()
        for courier in self._couriers.values():
            courier.start()

    def stop(self, drain_s: float = 5.0) -> None:
        """Finish what is due within `drain_s`, then end; the rest stays in the journal.

        Destinations that do not answer, however many, make it take twice `drain_s` and a second at the most.
        """
        until_s = time.monotonic() + drain_s
        for courier in self._couriers.values():
            courier.wait_until_idle(max(0.0, until_s - time.monotonic()))
            courier.signal_stop()
        until_s = max(until_s, time.monotonic() + JOIN_S)
        for courier in self._couriers.values():
            courier.join(max(0.0, until_s - time.monotonic()))
        until_s = time.monotonic() + min(CUT_S, drain_s)
        for courier in self._couriers.values():
            courier.cut(max(0.0, until_s - time.monotonic()))
        self._scp.stop()

    def notify(self) -> None:
        """New deliveries are in the journal: look at once."""
        for courier in self._couriers.values():
            courier.wake()

    def run_once(self) -> None:
        """One round of every courier in the calling thread, where `start` was not called."""
        for courier in self._couriers.values():
            courier.round()

    def warm_up(self) -> None:
        """Results come soon: have associations open."""
        for courier in self._couriers.values():
            courier.warm_up()

    def association_contexts(self) -> list[PresentationContext]:
        """Contexts that the node's SCP shall accept for storage commitment, in both roles."""
        return self._scp.contexts()

    def handlers(self) -> list[tuple[evt.EventType, Callable[..., Any]]]:
        """Handlers of the node's SCP: N-EVENT-REPORT of archives, N-ACTION of scanners."""
        return self._scp.handlers()

    def _bury_orphans(self) -> None:
        """Deliveries to a destination that left the configuration become dead letters, so that someone sees them."""
        for delivery in self._journal.deliveries(states=[DeliveryState.QUEUED]):
            if delivery.destination in self._couriers:
                continue
            error = f"The destination {delivery.destination} is not in the configuration any more."
            self._journal.update_delivery(delivery.id, state=DeliveryState.DEAD_LETTER, last_error=error)
            log.error("delivery is given up", destination=delivery.destination, sop=delivery.sop_uid, error=error)
            self._settle(delivery.result.series_uid)

    # -------------------------------------------------------------------------------------------- state of series

    def _changed(self, delivery: DeliveryRecord, is_stored: bool) -> None:
        if is_stored:
            self._announce(delivery, is_committed=False)
        self._settle(delivery.result.series_uid)

    def _announce(self, delivery: DeliveryRecord, *, is_committed: bool) -> None:
        result = delivery.result
        series = self._journal.series(result.series_uid)
        assert series is not None, "a result has a series"
        now_s = self._clock()
        delay_s = max(0.0, now_s - series.last_received_at_s)
        if not is_committed:
            self._metrics.delay_s.labels(delivery.destination, result.kind).observe(delay_s)
        self._journal.audit(now_s, "committed" if is_committed else "stored", delivery.sop_uid, delivery.destination)
        self._publish(
            ResultDelivered(
                result.series_uid, delivery.sop_uid, MODALITIES.get(result.kind, result.kind), delivery.destination,
                is_committed, delay_s,
            )
        )  # fmt: skip

    def _settle_all(self) -> None:
        """A result may be stored before its series counts as segmented, or the process may have died in between."""
        for series in self._journal.all_series(_UNSETTLED):
            self._settle(series.series_uid)

    def _settle(self, series_uid: str) -> None:
        """Derive the state of a series from the deliveries of its newest results."""
        with self._settling:
            state = self._derive(self._journal.deliveries(series_uid=series_uid))
            if state is None:
                return
            finished_at_s = None if state is SeriesState.DELIVERING else self._clock()
            self._journal.advance(series_uid, _SETTLES_FROM[state], state, finished_at_s=finished_at_s)

    def _derive(self, deliveries: list[DeliveryRecord]) -> SeriesState | None:
        newest = max((delivery.result.version for delivery in deliveries), default=0)
        current = [delivery for delivery in deliveries if delivery.result.version == newest]
        states = {delivery.state for delivery in current}
        if DeliveryState.DEAD_LETTER in states:
            return SeriesState.DEAD_LETTER
        if DeliveryState.QUEUED in states:
            is_begun = any(delivery.attempts for delivery in current)
            return SeriesState.DELIVERING if is_begun else None
        if not states:
            return None
        promised = [delivery.state for delivery in current if self._offers_commitment(delivery.destination)]
        is_committed = bool(promised) and all(state is DeliveryState.COMMITTED for state in promised)
        return SeriesState.COMMITTED if is_committed else SeriesState.DELIVERED

    def _offers_commitment(self, destination: str) -> bool:
        courier = self._couriers.get(destination)
        return courier is not None and courier.destination.storage_commitment

    # -------------------------------------------------------------------------------------------------- commitment

    def _remember(self, transaction_uid: str, delivery_ids: frozenset[int]) -> None:
        """Keep what a transaction was about: a slow archive may report on it after it was asked again."""
        self._earlier[transaction_uid] = delivery_ids
        while len(self._earlier) > REMEMBERED_TRANSACTIONS:
            self._earlier.popitem(last=False)

    def take_report(self, event_information: Dataset) -> int:
        """Take the Event Information of an N-EVENT-REPORT; returns the status to answer."""
        try:
            report = parse_report(event_information)
        except UnreadableObject as exc:
            log.warning("a storage commitment report cannot be read", error=str(exc))
            return INVALID_ARGUMENT
        with self._lock:
            concerned = self._concerned(report.transaction_uid)
            changed = self._apply(report, concerned)
        if not concerned:
            log.warning("a storage commitment report is about nothing known", transaction=report.transaction_uid)
            return PROCESSING_FAILURE
        for delivery, is_committed in changed:
            if is_committed:
                self._announce(delivery, is_committed=True)
            self._settle(delivery.result.series_uid)
        self.notify()
        return SUCCESS

    def _concerned(self, transaction_uid: str) -> dict[str, DeliveryRecord]:
        """Deliveries of a transaction by SOP Instance UID, those that are committed already among them."""
        earlier = self._earlier.get(transaction_uid, frozenset())
        stored = self._journal.deliveries(states=[DeliveryState.DELIVERED, DeliveryState.COMMITTED])
        return {
            delivery.sop_uid: delivery
            for delivery in stored
            if delivery.transaction_uid == transaction_uid or delivery.id in earlier
        }

    def _apply(
        self, report: CommitmentReport, concerned: dict[str, DeliveryRecord]
    ) -> list[tuple[DeliveryRecord, bool]]:
        waiting = {uid: delivery for uid, delivery in concerned.items() if delivery.state is DeliveryState.DELIVERED}
        changed = []
        for _, sop_uid in report.committed:
            if (delivery := waiting.get(sop_uid)) is not None:
                self._commit(delivery)
                changed.append((delivery, True))
        for (_, sop_uid), reason in report.failed:
            if (delivery := waiting.get(sop_uid)) is not None:
                self._refuse(delivery, reason)
                changed.append((delivery, False))
        return changed

    def _commit(self, delivery: DeliveryRecord) -> None:
        self._journal.update_delivery(
            delivery.id, state=DeliveryState.COMMITTED, committed_at_s=self._clock(), last_error=""
        )
        self._metrics.commitments.labels(delivery.destination, "committed").inc()
        log.info("archive commits to keep a result", destination=delivery.destination, sop=delivery.sop_uid)

    def _refuse(self, delivery: DeliveryRecord, reason: int) -> None:
        """Store it again, or give up where that cannot help."""
        error = explain_reason(reason)
        attempts = delivery.attempts
        courier = self._couriers.get(delivery.destination)
        is_hopeless = courier is None or reason in PERMANENT_REASONS or attempts >= courier.destination.max_attempts
        state = DeliveryState.DEAD_LETTER if is_hopeless else DeliveryState.QUEUED
        wait_s = 0.0 if is_hopeless else self._backoffs[delivery.destination].delay_s(max(1, attempts))
        self._journal.update_delivery(
            delivery.id, state=state, last_error=error, next_attempt_at_s=self._clock() + wait_s, transaction_uid=""
        )
        self._metrics.commitments.labels(delivery.destination, "failed").inc()
        log.warning("archive does not commit", destination=delivery.destination, sop=delivery.sop_uid, error=error)

    # ------------------------------------------------------------------------------------------------------ health

    def states(self) -> tuple[DestinationHealth, ...]:
        """How each destination is."""
        return tuple(courier.health() for courier in self._couriers.values())

    def problems(self) -> tuple[str, ...]:
        """Sentences for the operator; empty where all is well."""
        sentences = []
        for health in self.states():
            if health.breaker is not BreakerState.CLOSED:
                sentences.append(f"{health.name} cannot be reached: {health.last_error} {health.queue_length} wait.")
            if health.num_dead_letters:
                sentences.append(
                    f"{health.num_dead_letters} results for {health.name} were given up. {health.last_error} "
                    f"`neuroscan retry {health.name}` sends them again."
                )
        return tuple(sentences)
