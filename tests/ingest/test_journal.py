"""The journal's part in ingest: one commit for many, and objects that must not count."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dicom_gateway.journal import Admission, EventRecord, InstanceRecord, Journal, SeriesState
from neuroscan_core.domain.errors import JournalError

PATIENCE_S = 20.0


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.sqlite") as journal:
        yield journal


def record(sop: str, series: str = "1.1", digest: str = "d") -> InstanceRecord:
    return InstanceRecord(sop, series, "1.0", "1.2", "1.3", f"series/{series}/{sop}.dcm", 10, digest, "a", 5.0)


def test_admits_an_object_once_and_tells_conflicts(journal: Journal) -> None:
    assert journal.add_instance(record("2.1")) is Admission.NEW
    assert journal.add_instance(record("2.1")) is Admission.SAME
    assert journal.add_instance(record("2.1", digest="other")) is Admission.CONFLICT
    assert journal.instances("1.1") == [record("2.1")]
    series = journal.series("1.1")
    assert series is not None
    assert series.state is SeriesState.RECEIVING


def test_what_add_instance_returned_is_read_by_another_connection(journal: Journal, tmp_path: Path) -> None:
    journal.add_instance(record("2.1"))
    other = sqlite3.connect(tmp_path / "journal.sqlite")
    try:
        assert other.execute("SELECT count(*) FROM instances").fetchone() == (1,)
    finally:
        other.close()


def test_calls_that_wait_together_are_committed_together(journal: Journal, tmp_path: Path) -> None:
    statements: list[str] = []
    journal._writer.set_trace_callback(statements.append)
    num_threads = 8
    with ThreadPoolExecutor(num_threads) as pool:
        with journal._write_lock:  # nobody can commit until all wait
            waiting = [pool.submit(journal.add_instance, record(f"2.{k}")) for k in range(num_threads)]
            until_all_wait(journal, num_threads)
        assert [future.result(PATIENCE_S) for future in waiting] == [Admission.NEW] * num_threads
    assert statements.count("COMMIT") == 1
    assert len(journal.instances("1.1")) == num_threads


def until_all_wait(journal: Journal, count: int) -> None:
    for _ in range(10_000):
        with journal._pending_lock:
            if len(journal._pending) == count:
                return
        threading.Event().wait(0.001)
    pytest.fail("the calls do not wait")


def test_the_same_uid_from_many_threads_is_new_once(journal: Journal) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: journal.add_instance(record("2.1")), range(50)))
    assert found.count(Admission.NEW) == 1
    assert found.count(Admission.SAME) == 49


def test_a_failed_commit_fails_every_waiting_call_and_the_next_one_works(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:

        def broken(_: object) -> Admission:
            raise sqlite3.OperationalError("disk I/O error")

        patch.setattr(journal, "_admit", broken)
        with ThreadPoolExecutor(4) as pool:
            futures = [pool.submit(journal.add_instance, record(f"2.{k}")) for k in range(4)]
            for future in futures:
                with pytest.raises(JournalError):
                    future.result(PATIENCE_S)
    assert journal.instances("1.1") == []
    assert journal.add_instance(record("2.1")) is Admission.NEW


def test_withdraws_an_object_and_the_series_that_it_alone_had_opened(journal: Journal) -> None:
    journal.add_instance(record("2.1"))
    journal.add_instance(record("2.2"))
    journal.withdraw("2.1")
    assert [found.sop_uid for found in journal.instances("1.1")] == ["2.2"]
    assert journal.series("1.1") is not None
    journal.withdraw("2.2")
    assert journal.all_series() == []
    journal.withdraw("2.3")
    assert journal.add_instance(record("2.1")) is Admission.NEW


def test_does_not_withdraw_what_was_handed_on(journal: Journal) -> None:
    journal.add_instance(record("2.1"))
    journal.record("1.1", [EventRecord("SliceReceived", "2.1")], assembled=["2.1"])
    journal.withdraw("2.1")
    assert journal.instances("1.1") == [record("2.1")]


def test_refuses_a_file_that_is_no_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    path.write_bytes(b"this is not a database, but long enough to be taken for one" * 100)
    with pytest.raises(JournalError, match="cannot be opened"):
        Journal(path)


def test_a_result_of_an_older_version_does_not_end_the_wait_for_the_newer(journal: Journal) -> None:
    journal.add_instance(record("2.1"))
    journal.record("1.1", state=SeriesState.COMPLETE, version=2)
    assert not journal.advance("1.1", [SeriesState.COMPLETE], SeriesState.SEGMENTED, version=1)
    assert journal.advance("1.1", [SeriesState.COMPLETE], SeriesState.SEGMENTED, version=2)
