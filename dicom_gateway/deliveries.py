"""What an operator sees of deliveries and does to them, beside a running gateway or without one."""

from __future__ import annotations

from dicom_gateway.journal import DeliveryRecord, DeliveryState, Journal, ResultRecord, SeriesState
from neuroscan_core.config import NodeConfig
from neuroscan_core.domain.errors import JournalError

ALL = "all"


def open_journal(config: NodeConfig) -> Journal:
    """Open the journal of a node that has run before.

    Raises
    ------
    JournalError
        There is none; an operator's command does not make one.
    """
    if not config.journal_path.exists():
        raise JournalError(
            f"There is no journal at {config.journal_path}.",
            remedy="Name the node's configuration file (-c FILE), and run this where the node is run.",
        )
    return Journal(config.journal_path)


def undeliverable(journal: Journal) -> list[DeliveryRecord]:
    """Deliveries that were given up, oldest first."""
    return journal.deliveries(states=[DeliveryState.DEAD_LETTER])


def outstanding(journal: Journal) -> list[ResultRecord]:
    """Results that no destination was ever meant to get, newest first."""
    addressed = {delivery.sop_uid for delivery in journal.deliveries()}
    return [result for result in journal.results() if result.sop_uid not in addressed]


def requeue(journal: Journal, selector: str, *, now_s: float) -> int:
    """Queue dead letters again, as if they had never been tried.

    Parameters
    ----------
    selector : str
        Destination, series UID, SOP Instance UID, or ``all``.

    Returns
    -------
    int
        How many there were.
    """
    chosen = [
        delivery
        for delivery in undeliverable(journal)
        if selector in (ALL, delivery.destination, delivery.sop_uid, delivery.result.series_uid)
    ]
    for delivery in chosen:
        journal.update_delivery(
            delivery.id, state=DeliveryState.QUEUED, attempts=0, next_attempt_at_s=now_s, last_error=""
        )
        journal.advance(delivery.result.series_uid, [SeriesState.DEAD_LETTER], SeriesState.DELIVERING)
        journal.audit(now_s, "retried", delivery.sop_uid, delivery.destination)
    return len(chosen)
