"""What an operator can do to deliveries."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_gateway.deliveries import Retried, open_journal, outstanding, retry, undeliverable
from dicom_gateway.journal import DeliveryState, EventRecord, InstanceRecord, Journal, ResultRecord, SeriesState
from neuroscan_core.config import parse_config
from neuroscan_core.domain.errors import JournalError


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.sqlite") as journal:
        for series in ("1.1", "1.2"):
            journal.add_instance(InstanceRecord(f"{series}.9", series, "1", "mr", "ele", "p", 1, "d", "a", 1.0))
            results = [ResultRecord(f"{series}.{kind}", series, 1, kind, "", "f", "s", 2.0) for kind in ("SEG", "SR")]
            journal.add_results(series, results, [(f"{series}.SEG", "pacs"), (f"{series}.SEG", "backup")], now_s=2.0)
        for delivery in journal.deliveries(series_uid="1.1"):
            journal.update_delivery(delivery.id, state=DeliveryState.DEAD_LETTER, attempts=12, last_error="down")
        journal.record("1.1", state=SeriesState.DEAD_LETTER)
        yield journal


@pytest.mark.parametrize(
    ("selector", "num_due", "num_dead"),
    [("all", 4, 0), ("pacs", 2, 1), ("1.1", 2, 0), ("1.1.SEG", 2, 0), ("1.2", 2, 2), ("nobody", 0, 2)],
)
def test_deliveries_that_match_are_due_again(journal: Journal, selector: str, num_due: int, num_dead: int) -> None:
    assert retry(journal, selector, now_s=50.0) == Retried(num_due, 0)
    assert len(undeliverable(journal)) == num_dead
    due = [entry for entry in journal.deliveries() if entry.next_attempt_at_s == 50.0]
    assert len(due) == num_due
    assert all((entry.attempts, entry.state) == (0, DeliveryState.QUEUED) for entry in due)


def test_series_of_a_revived_result_is_on_its_way_again_and_the_audit_trail_says_so(journal: Journal) -> None:
    retry(journal, "1.1", now_s=50.0)
    series = journal.series("1.1")
    assert series is not None and series.state is SeriesState.DELIVERING
    assert [entry[1:3] for entry in journal.audit_trail()] == [("retry", "1.1")]


def test_failed_series_is_complete_again_with_a_new_event_that_says_so(journal: Journal) -> None:
    completed = EventRecord("SeriesCompleted", payload=b"manifest")
    journal.record("1.2", [EventRecord("SeriesOpened"), completed], state=SeriesState.FAILED, reason="internal-error")
    assert retry(journal, "1.2", now_s=50.0).num_series == 1
    series = journal.series("1.2")
    assert series is not None and (series.state, series.reason) == (SeriesState.COMPLETE, "")
    last = journal.events("1.2")[-1]
    assert (last.sequence, last.kind, last.payload) == (2, "SeriesCompleted", b"manifest")


def test_results_that_nobody_gets_are_listed(journal: Journal) -> None:
    assert {result.sop_uid for result in outstanding(journal)} == {"1.1.SR", "1.2.SR"}


def test_journal_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="There is no journal"):
        open_journal(parse_config({"state_dir": str(tmp_path / "none")}))
    assert not (tmp_path / "none").exists()
