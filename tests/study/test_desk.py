"""Studies in the gateway: what is told when, again after a crash, and what is said of those that cannot be told."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import Dataset

from dicom_gateway.assembly.payload import encode_payload
from dicom_gateway.deliver import Retention
from dicom_gateway.deliveries import retry
from dicom_gateway.journal import SCHEMA_VERSION, EventRecord, InstanceRecord, Journal, RecordKind, SeriesState
from dicom_gateway.study.candidates import job_uid
from dicom_gateway.study.desk import StudyDesk
from neuroscan_core.config import NodeConfig, StudyConfig
from neuroscan_core.domain.events import Event, SeriesCompleted, StudyReady
from neuroscan_core.domain.geometry import SliceGeometry, StackGeometry
from neuroscan_core.domain.study import SEQUENCES
from neuroscan_core.domain.volume import FrameKey
from tests.study.headers import classic, header

STUDY = StudyConfig(name="tumour", model="unet", wait_s=100.0, triage="judge")
PROTOCOLS = {
    "T1": classic("AX T1", "SE", 500, 12),
    "T1ce": classic("AX T1 POST", "SE", 500, 12),
    "T2": classic("AX T2", "SE", 4500, 100),
    "FLAIR": classic("AX FLAIR", "SE\\IR", 9000, 120, 2500),
}
JOB = job_uid("1.9", "tumour")


class Node:
    """Journal and desk, with series that come as a scanner's would."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "journal.sqlite"
        self.now_s = 1000.0
        self.told: list[StudyReady] = []
        self._completed: dict[str, SeriesCompleted] = {}
        self.open(STUDY)

    def open(self, *studies: StudyConfig) -> None:
        self.journal = Journal(self.path)
        self.desk = StudyDesk(
            studies,
            {"unet": SEQUENCES},
            self.journal,
            self._hear,
            self._completed.__getitem__,
            clock=lambda: self.now_s,
        )

    def restart(self, *studies: StudyConfig) -> None:
        self.journal.close()
        self.told.clear()
        self.open(*studies)

    def _hear(self, event: Event) -> None:
        assert isinstance(event, StudyReady)
        self.told.append(event)

    def arrive(self, role: str, uid: str = "", **changes: object) -> str:
        """Open a series; whether it takes part is checked."""
        uid = uid or f"1.9.{SEQUENCES.index(role)}"
        ds: Dataset = header(StudyInstanceUID="1.9", SeriesInstanceUID=uid, SeriesNumber=4, **PROTOCOLS[role])
        for keyword, value in changes.items():
            setattr(ds, keyword, value)
        self.journal.add_instance(InstanceRecord(f"{uid}.1", uid, "1.9", "1.2", "1.2", "x", 1, "d", "a", self.now_s))
        assert self.desk.takes(uid, ds)
        return uid

    def complete(
        self, uid: str, *, frame: str = "", gap_mm: float = 5.0, state: SeriesState = SeriesState.COLLECTED
    ) -> None:
        row = self.journal.series(uid)
        assert row is not None
        first = SliceGeometry((0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0), (1.0, 1.0), (50, 50), frame)
        geometry = StackGeometry(first, gap_mm, int(100 / gap_mm))
        keys = tuple(FrameKey(f"{uid}.{k}") for k in range(geometry.num_slices))
        event = SeriesCompleted(uid, 0, keys, geometry, row.version + 1, "count")
        self._completed[uid] = event
        self.journal.record(
            uid, [EventRecord("SeriesCompleted", payload=encode_payload(event))], state=state, version=event.version
        )
        self.desk.note(uid)

    def all_but(self, *roles: str) -> None:
        for role in SEQUENCES:
            if role not in roles:
                self.complete(self.arrive(role))

    def tick(self, after_s: float = 0.0) -> None:
        self.now_s += after_s
        self.desk.tick(self.now_s)

    @property
    def job(self) -> tuple[str, int, str]:
        row = self.journal.series(JOB)
        assert row is not None and row.kind is RecordKind.STUDY
        return row.state.value, row.version, row.reason


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path)
    yield node
    node.journal.close()


def test_a_study_is_told_once_when_its_last_series_is_complete(node: Node) -> None:
    node.all_but("FLAIR")
    node.tick()
    assert (node.told, node.job) == ([], ("waiting", 0, "missing-sequence"))
    node.complete(node.arrive("FLAIR"), state=SeriesState.COMPLETE)
    node.tick()
    node.tick(1.0)
    (ready,) = node.told
    assert ready.series_instance_uid == JOB
    assert [source.sequence_name for source in ready.sources] == list(SEQUENCES)
    assert (ready.version, ready.sequence, ready.triage, ready.reference) == (1, 0, "judge", "T1ce")
    assert node.job == ("complete", 1, "")


def test_nothing_is_told_while_a_repetition_is_arriving(node: Node) -> None:
    node.all_but()
    node.arrive("T1", uid="1.9.77")
    node.tick()
    assert node.told == []
    node.complete("1.9.77", gap_mm=2.0)
    node.tick()
    (ready,) = node.told
    assert ready.sources[0].series_instance_uid == "1.9.77"


def test_after_a_restart_nothing_is_told_twice_and_what_was_not_told_is(node: Node) -> None:
    node.all_but()
    node.restart(STUDY)
    node.tick()
    assert len(node.told) == 1
    node.restart(STUDY)
    node.tick()
    assert node.told == []
    assert node.desk.ready(JOB).version == 1


def test_a_late_or_repeated_series_makes_a_new_version(node: Node) -> None:
    node.all_but()
    node.tick()
    node.complete("1.9.2")  # a late slice of T2 completed it again
    node.tick()
    node.complete(node.arrive("T1", uid="1.9.88", ContentDate="20990101"), gap_mm=1.0)
    node.tick()
    assert [ready.version for ready in node.told] == [1, 2, 3]
    assert [ready.sequence for ready in node.told] == [0, 1, 2]
    assert node.job == ("complete", 3, "")


def test_a_worse_repetition_changes_nothing(node: Node) -> None:
    node.all_but()
    node.tick()
    node.complete(node.arrive("T1", uid="1.9.0.0"), gap_mm=10.0)
    node.tick()
    assert [ready.version for ready in node.told] == [1]


def test_what_never_comes_ends_the_study_with_a_reason_until_it_comes(node: Node) -> None:
    node.all_but("T2", "FLAIR")
    node.tick()
    node.tick(99.0)
    assert node.job[0] == "waiting"
    node.tick(2.0)
    row = node.journal.series(JOB)
    assert row is not None
    assert node.job == ("rejected", 0, "missing-sequence")
    assert row.message.startswith(
        "T2 and FLAIR never came; there is T1 (series 4 'AX T1'), T1ce (series 4 'AX T1 POST')."
    )
    node.complete(node.arrive("T2"))
    node.complete(node.arrive("FLAIR"))
    node.tick()
    assert (len(node.told), node.job) == (1, ("complete", 1, ""))


def test_a_series_that_was_refused_is_named(node: Node) -> None:
    node.all_but("T2")
    uid = node.arrive("T2")
    node.journal.record(uid, state=SeriesState.REJECTED, reason="lossy-compressed", message="Compressed with loss.")
    node.desk.note(uid)
    node.tick(200.0)
    row = node.journal.series(JOB)
    assert row is not None and "T2 (series 4 'AX T2') was refused: Compressed with loss." in row.message


def refuse(node: Node, uid: str) -> None:
    node.journal.record(uid, state=SeriesState.REJECTED, reason="lossy-compressed", message="Compressed with loss.")
    node.desk.note(uid)


def test_a_study_of_which_every_series_was_refused_ends(node: Node) -> None:
    uid = node.arrive("T2")
    node.tick()
    assert node.job[0] == "waiting"
    refuse(node, uid)
    node.tick()
    node.tick(101.0)
    assert node.job == ("rejected", 0, "missing-sequence")


def test_a_study_that_began_anew_ends_when_nothing_more_comes(node: Node) -> None:
    node.all_but()
    node.tick()
    node.journal.record(JOB, state=SeriesState.PURGED)
    for k in range(4):
        node.journal.record(f"1.9.{k}", state=SeriesState.PURGED)
    node.complete(node.arrive("T1", uid="1.9.55"))
    node.tick()
    assert node.job == ("waiting", 1, "missing-sequence")
    node.tick(101.0)
    assert node.job == ("rejected", 1, "missing-sequence")


def test_a_study_that_is_not_configured_any_more_is_not_waited_for(node: Node) -> None:
    node.all_but("T2")
    node.tick()
    node.restart()
    row = node.journal.series(JOB)
    assert row is not None and (node.job[0], "not in the configuration" in row.message) == ("rejected", True)


def test_a_study_that_cannot_be_looked_at_takes_no_other_with_it(node: Node) -> None:
    node.all_but()
    ds = header(StudyInstanceUID="1.8", SeriesInstanceUID="1.8.1", SeriesNumber=4, **PROTOCOLS["T1"])
    node.journal.add_instance(InstanceRecord("1.8.1.1", "1.8.1", "1.8", "1.2", "1.2", "x", 1, "d", "a", node.now_s))
    assert node.desk.takes("1.8.1", ds)
    node.journal.record("1.8.1", state=SeriesState.COLLECTED, version=1)  # its completion is nowhere
    with pytest.raises(KeyError):
        node.tick()
    node.tick()
    assert [ready.series_instance_uid for ready in node.told] == [JOB]


@pytest.mark.parametrize(("frame", "reason"), [("2.2", "different-frames-of-reference")])
def test_series_that_do_not_fit_end_the_study_with_their_reason(node: Node, frame: str, reason: str) -> None:
    node.all_but("T2")
    node.complete(node.arrive("T2"), frame=frame)
    node.tick()
    assert (node.told, node.job) == ([], ("rejected", 0, reason))
    node.complete(node.arrive("T2", uid="1.9.99"))
    node.tick()
    assert len(node.told) == 1


def test_series_of_other_weightings_take_no_part(node: Node) -> None:
    ds = header(StudyInstanceUID="1.9", SeriesInstanceUID="1.9.5", **classic("SWI", "GR", 28, 20))
    assert not node.desk.takes("1.9.5", ds)
    ds.Modality = "CT"
    assert not node.desk.takes("1.9.5", ds)
    assert node.journal.series_of_study("1.9") == []


def test_a_failed_study_is_told_again_on_retry(node: Node) -> None:
    node.all_but()
    node.tick()
    node.journal.record(JOB, state=SeriesState.FAILED, reason="internal-error")
    assert retry(node.journal, JOB, now_s=0.0).num_series == 1
    assert node.job == ("complete", 1, "")
    assert node.journal.num_events(JOB) == 2
    assert node.desk.ready(JOB).sequence == 1


def test_a_rejected_study_is_judged_again_when_a_person_asks(node: Node) -> None:
    node.all_but("FLAIR")
    node.tick(101.0)
    assert node.job == ("rejected", 0, "missing-sequence")
    row = node.journal.series(JOB)
    assert row is not None
    node.desk.look_again(row)
    assert node.job[0] == "waiting"
    node.tick()
    assert node.job == ("rejected", 0, "missing-sequence"), "nothing has come since"
    assert [entry[1:3] for entry in node.journal.audit_trail()].count(("not-segmented", JOB)) == 2
    node.complete(node.arrive("FLAIR"))
    node.tick()
    node.desk.look_again(row)
    assert node.job == ("complete", 1, ""), "a study that is well stays as it is"


def test_series_are_kept_until_their_study_is_segmented_and_purged_after_that(node: Node, tmp_path: Path) -> None:
    config = NodeConfig(state_dir=tmp_path, studies=(STUDY,))
    retention = Retention(config, node.journal, clock=lambda: node.now_s)
    node.all_but()
    node.tick()
    node.now_s += 100 * 3600.0
    assert retention.purge().num_series == 0
    node.journal.record(JOB, state=SeriesState.SEGMENTED, finished_at_s=node.now_s)
    assert retention.purge().num_series == 4
    assert node.journal.series_of_study("1.9") == []
    node.now_s += 100 * 3600.0
    assert retention.purge().num_series == 1
    assert node.job[0] == "purged"
    node.complete(node.arrive("FLAIR"))
    node.tick()
    assert node.job == ("waiting", 1, "missing-sequence")
    node.all_but("FLAIR")
    node.tick()
    assert node.told[-1].version == 2


VERSION_1 = """
CREATE TABLE series (
    series_uid TEXT PRIMARY KEY, study_uid TEXT NOT NULL, state TEXT NOT NULL,
    model TEXT NOT NULL DEFAULT '', rule TEXT NOT NULL DEFAULT '', priority INTEGER NOT NULL DEFAULT 0,
    modality TEXT NOT NULL DEFAULT '', description TEXT NOT NULL DEFAULT '',
    version INTEGER NOT NULL DEFAULT 0, num_slices INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '', message TEXT NOT NULL DEFAULT '',
    opened_at_s REAL NOT NULL, last_received_at_s REAL NOT NULL, finished_at_s REAL);
INSERT INTO series (series_uid, study_uid, state, opened_at_s, last_received_at_s)
    VALUES ('1.1', '1.0', 'delivered', 1, 2);
PRAGMA user_version=1;
"""


def test_a_journal_of_the_first_version_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    with sqlite3.connect(path) as connection:
        connection.executescript(VERSION_1)
    connection.close()
    for _ in range(2):
        with Journal(path) as journal:
            row = journal.series("1.1")
            assert row is not None
            assert (row.state, row.kind) == (SeriesState.DELIVERED, RecordKind.SERIES)
            assert journal.series_of_study("1.0") == []
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION == 2
    connection.close()
