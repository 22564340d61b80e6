"""What an operator sees of results and does about them, beside a running gateway or without one."""

from __future__ import annotations

from dataclasses import dataclass

from dicom_gateway.deliver import revive
from dicom_gateway.journal import DeliveryRecord, DeliveryState, Journal, ResultRecord, SeriesRecord, SeriesState
from neuroscan_core.config import NodeConfig
from neuroscan_core.domain.errors import JournalError
from neuroscan_core.domain.events import SeriesCompleted, StudyReady

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


@dataclass(frozen=True)
class Retried:
    """What `retry` set going again.

    Parameters
    ----------
    num_deliveries : int
        Results that are due now.
    num_series : int
        Failed series that are segmented again.
    """

    num_deliveries: int
    num_series: int


def retry(journal: Journal, selector: str, *, now_s: float) -> Retried:
    """Deliver again what was given up or waits, and segment failed series again.

    Parameters
    ----------
    selector : str
        Destination, series UID, SOP Instance UID, or ``all``.
    """
    failed = [row for row in journal.all_series([SeriesState.FAILED]) if selector in (ALL, row.series_uid)]
    num_series = sum(segment_again(journal, row, now_s) for row in failed)
    return Retried(revive(journal, selector, now_s), num_series)


def segment_again(journal: Journal, series: SeriesRecord, now_s: float) -> bool:
    """Say once more that the series is complete: whoever owes a result for it hears a new event."""
    kinds = (SeriesCompleted.__name__, StudyReady.__name__)
    completions = [event for event in journal.events(series.series_uid) if event.kind in kinds]
    if not completions:
        return False
    journal.record(
        series.series_uid, [completions[-1]], state=SeriesState.COMPLETE, reason="", message="", finished_at_s=None
    )
    journal.audit(now_s, "retry", series.series_uid, "segmented again")
    return True
