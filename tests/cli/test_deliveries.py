"""What an operator can do to deliveries."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_gateway.deliveries import open_journal, outstanding, requeue, undeliverable
from dicom_gateway.journal import DeliveryState, InstanceRecord, Journal, ResultRecord, SeriesState
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
    ("selector", "count"), [("all", 2), ("pacs", 1), ("1.1", 2), ("1.1.SEG", 2), ("1.2", 0), ("nobody", 0)]
)
def test_requeues_the_dead_letters_that_match(journal: Journal, selector: str, count: int) -> None:
    assert requeue(journal, selector, now_s=50.0) == count
    assert len(undeliverable(journal)) == 2 - count
    due = [entry for entry in journal.deliveries(series_uid="1.1") if entry.state is DeliveryState.QUEUED]
    assert all((entry.attempts, entry.last_error, entry.next_attempt_at_s) == (0, "", 50.0) for entry in due)


def test_series_of_a_requeued_result_is_on_its_way_again_and_the_audit_trail_says_so(journal: Journal) -> None:
    requeue(journal, "all", now_s=50.0)
    series = journal.series("1.1")
    assert series is not None and series.state is SeriesState.DELIVERING
    assert [entry[1] for entry in journal.audit_trail()] == ["retried", "retried"]


def test_results_that_nobody_gets_are_listed(journal: Journal) -> None:
    assert {result.sop_uid for result in outstanding(journal)} == {"1.1.SR", "1.2.SR"}


def test_journal_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="There is no journal"):
        open_journal(parse_config({"state_dir": str(tmp_path / "none")}))
    assert not (tmp_path / "none").exists()
