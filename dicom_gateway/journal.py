"""The journal: the node's only truth about series, objects, events, results and deliveries.

SQLite in WAL mode. What an acknowledgement rests on (`add_instance`, `add_results`, deliveries) is committed with
``synchronous=FULL``: a method that returns has made its change durable. Every method is one transaction and can be
called again without harm. Any thread may call; writes are serialised, and `add_instance` calls of several
associations share one commit.

Life of a series: ``receiving -> complete -> segmenting -> segmented -> delivering -> delivered -> committed ->
purged``, and ``rejected``, ``failed``, ``dead-letter``, ``ignored`` (a rule says: store only).
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any

from neuroscan_core.domain.errors import JournalError

SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE IF NOT EXISTS series (
    series_uid TEXT PRIMARY KEY, study_uid TEXT NOT NULL, state TEXT NOT NULL,
    model TEXT NOT NULL DEFAULT '', rule TEXT NOT NULL DEFAULT '', priority INTEGER NOT NULL DEFAULT 0,
    modality TEXT NOT NULL DEFAULT '', description TEXT NOT NULL DEFAULT '',
    version INTEGER NOT NULL DEFAULT 0, num_slices INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '', message TEXT NOT NULL DEFAULT '',
    opened_at_s REAL NOT NULL, last_received_at_s REAL NOT NULL, finished_at_s REAL);
CREATE TABLE IF NOT EXISTS instances (
    id INTEGER PRIMARY KEY, sop_uid TEXT NOT NULL UNIQUE, series_uid TEXT NOT NULL, sop_class_uid TEXT NOT NULL,
    transfer_syntax_uid TEXT NOT NULL, path TEXT NOT NULL, size INTEGER NOT NULL, digest TEXT NOT NULL,
    association TEXT NOT NULL, received_at_s REAL NOT NULL, is_assembled INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS instances_of_series ON instances (series_uid);
CREATE INDEX IF NOT EXISTS unassembled ON instances (id) WHERE is_assembled = 0;
CREATE TABLE IF NOT EXISTS events (
    series_uid TEXT NOT NULL, sequence INTEGER NOT NULL, kind TEXT NOT NULL, sop_uid TEXT NOT NULL DEFAULT '',
    frame_number INTEGER NOT NULL DEFAULT 0, payload BLOB NOT NULL DEFAULT x'', PRIMARY KEY (series_uid, sequence))
    WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS results (
    sop_uid TEXT PRIMARY KEY, series_uid TEXT NOT NULL, version INTEGER NOT NULL, kind TEXT NOT NULL,
    sop_class_uid TEXT NOT NULL, path TEXT NOT NULL, summary TEXT NOT NULL DEFAULT '', created_at_s REAL NOT NULL);
CREATE INDEX IF NOT EXISTS results_of_series ON results (series_uid, version);
CREATE TABLE IF NOT EXISTS deliveries (
    id INTEGER PRIMARY KEY, sop_uid TEXT NOT NULL, destination TEXT NOT NULL, state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, next_attempt_at_s REAL NOT NULL, last_error TEXT NOT NULL DEFAULT '',
    transaction_uid TEXT NOT NULL DEFAULT '', delivered_at_s REAL, committed_at_s REAL, UNIQUE (sop_uid, destination));
CREATE INDEX IF NOT EXISTS due_deliveries ON deliveries (state, next_attempt_at_s);
CREATE TABLE IF NOT EXISTS audit (
    at_s REAL NOT NULL, action TEXT NOT NULL, subject TEXT NOT NULL, detail TEXT NOT NULL);
"""


class SeriesState(str, Enum):
    """Where a series is in its life."""

    RECEIVING = "receiving"
    COMPLETE = "complete"
    SEGMENTING = "segmenting"
    SEGMENTED = "segmented"
    DELIVERING = "delivering"
    DELIVERED = "delivered"
    COMMITTED = "committed"
    PURGED = "purged"
    REJECTED = "rejected"
    FAILED = "failed"
    DEAD_LETTER = "dead-letter"
    IGNORED = "ignored"


OPEN_STATES = frozenset({SeriesState.RECEIVING, SeriesState.COMPLETE, SeriesState.SEGMENTING})


class DeliveryState(str, Enum):
    """Where a result is on its way to one destination."""

    QUEUED = "queued"
    DELIVERED = "delivered"
    COMMITTED = "committed"
    DEAD_LETTER = "dead-letter"


class Admission(Enum):
    """What `Journal.add_instance` found."""

    NEW = "new"
    SAME = "same"
    CONFLICT = "conflict"


@dataclass(frozen=True)
class InstanceRecord:
    """One received object.

    Parameters
    ----------
    path : str
        File below the spool folder.
    digest : str
        SHA-256 of the data set as received, hexadecimal.
    association : str
        Identifies the association on which it came.
    """

    sop_uid: str
    series_uid: str
    study_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    path: str
    size: int
    digest: str
    association: str
    received_at_s: float


@dataclass(frozen=True)
class SeriesRecord:
    """One series."""

    series_uid: str
    study_uid: str
    state: SeriesState
    model: str
    rule: str
    priority: int
    modality: str
    description: str
    version: int
    num_slices: int
    reason: str
    message: str
    opened_at_s: float
    last_received_at_s: float
    finished_at_s: float | None


@dataclass(frozen=True)
class EventRecord:
    """One numbered event of a series; slices point to their object, others carry their content.

    Parameters
    ----------
    kind : str
        Name of the event class.
    payload : bytes
        The event without pixels, as `neuroscan_core.bus.wire` writes it.
    """

    kind: str
    sop_uid: str = ""
    frame_number: int = 0
    payload: bytes = b""
    sequence: int = -1


@dataclass(frozen=True)
class ResultRecord:
    """One produced object.

    Parameters
    ----------
    kind : str
        ``SEG``, ``SR`` or ``SC``.
    path : str
        File below the results folder.
    summary : str
        One line for people, without patient data.
    """

    sop_uid: str
    series_uid: str
    version: int
    kind: str
    sop_class_uid: str
    path: str
    summary: str
    created_at_s: float


@dataclass(frozen=True)
class DeliveryRecord:
    """One result on its way to one destination."""

    id: int
    sop_uid: str
    destination: str
    state: DeliveryState
    attempts: int
    next_attempt_at_s: float
    last_error: str
    transaction_uid: str
    delivered_at_s: float | None
    committed_at_s: float | None
    result: ResultRecord


@dataclass
class _Ticket:
    record: InstanceRecord
    admission: Admission | None = None
    error: BaseException | None = None


@dataclass
class _Connections(threading.local):
    reader: sqlite3.Connection | None = field(default=None)


class Journal:
    """Open (and create) a journal.

    Parameters
    ----------
    path : Path
        SQLite file; its folder must exist.

    Raises
    ------
    JournalError
        The file cannot be opened, is damaged or was written by a newer NeuroScan.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._write_lock = threading.Lock()
        self._pending_lock = threading.Lock()
        self._pending: list[_Ticket] = []
        self._local = _Connections()
        self._readers: list[sqlite3.Connection] = []
        try:
            self._writer = self._connect()
            version = self._writer.execute("PRAGMA user_version").fetchone()[0]
            if version > SCHEMA_VERSION:
                raise JournalError(f"{path} was written by a newer NeuroScan.", remedy="Update this one.")
            self._writer.executescript(SCHEMA)
            self._writer.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        except sqlite3.Error as exc:
            raise JournalError(
                f"The journal {path} cannot be opened: {exc}.",
                remedy="Check folder and rights. If it is damaged, move it away: the spool is journaled again.",
            ) from exc

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=30, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.row_factory = sqlite3.Row
        return connection

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections; other threads must have stopped using the journal."""
        with self._write_lock:
            for connection in (*self._readers, self._writer):
                connection.close()
            self._readers.clear()

    # ------------------------------------------------------------------------------------------------- transactions

    @contextmanager
    def _transaction(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """One write transaction. Without `durable` a power cut may undo it (a crash of the process may not)."""
        with self._write_lock:
            try:
                if not durable:
                    self._writer.execute("PRAGMA synchronous=NORMAL")
                self._writer.execute("BEGIN IMMEDIATE")
                try:
                    yield self._writer
                except BaseException:
                    self._writer.execute("ROLLBACK")
                    raise
                self._writer.execute("COMMIT")
            except sqlite3.Error as exc:
                raise JournalError(f"The journal cannot be written: {exc}.", remedy="Check disk and rights.") from exc
            finally:
                if not durable:
                    self._writer.execute("PRAGMA synchronous=FULL")

    def _read(self, sql: str, parameters: Sequence[Any] = ()) -> list[sqlite3.Row]:
        try:
            if self._local.reader is None:
                self._local.reader = self._connect()
                with self._pending_lock:
                    self._readers.append(self._local.reader)
            return self._local.reader.execute(sql, parameters).fetchall()
        except sqlite3.Error as exc:
            raise JournalError(f"The journal cannot be read: {exc}.", remedy="Check disk and rights.") from exc

    # ---------------------------------------------------------------------------------------------------- instances

    def add_instance(self, record: InstanceRecord) -> Admission:
        """Make the receipt of an object durable, and its series with it.

        Calls of several threads that wait at the same time are committed together.
        """
        ticket = _Ticket(record)
        with self._pending_lock:
            self._pending.append(ticket)
        if ticket.admission is None and ticket.error is None:
            self._commit_pending(ticket)
        if ticket.error is not None:
            raise JournalError("The journal cannot be written.", remedy="Check disk and rights.") from ticket.error
        assert ticket.admission is not None
        return ticket.admission

    def _commit_pending(self, ticket: _Ticket) -> None:
        with self._write_lock:
            if ticket.admission is not None or ticket.error is not None:
                return
            with self._pending_lock:
                batch, self._pending = self._pending, []
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                admissions = [self._admit(entry.record) for entry in batch]
                self._writer.execute("COMMIT")
            except BaseException as exc:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                for entry in batch:
                    entry.error = exc
                return
            for entry, admission in zip(batch, admissions, strict=True):
                entry.admission = admission

    def _admit(self, record: InstanceRecord) -> Admission:
        known = self._writer.execute("SELECT digest FROM instances WHERE sop_uid = ?", (record.sop_uid,)).fetchone()
        if known is not None:
            return Admission.SAME if known["digest"] == record.digest else Admission.CONFLICT
        self._writer.execute(
            "INSERT INTO instances (sop_uid, series_uid, sop_class_uid, transfer_syntax_uid, path, size, digest,"
            " association, received_at_s) VALUES (?,?,?,?,?,?,?,?,?)",
            (
                record.sop_uid, record.series_uid, record.sop_class_uid, record.transfer_syntax_uid, record.path,
                record.size, record.digest, record.association, record.received_at_s,
            ),
        )  # fmt: skip
        self._writer.execute(
            "INSERT INTO series (series_uid, study_uid, state, opened_at_s, last_received_at_s) VALUES (?,?,?,?,?)"
            " ON CONFLICT (series_uid) DO UPDATE SET last_received_at_s = excluded.last_received_at_s",
            (record.series_uid, record.study_uid, SeriesState.RECEIVING, record.received_at_s, record.received_at_s),
        )
        return Admission.NEW

    def withdraw(self, sop_uid: str) -> None:
        """Undo `add_instance` for an object that was never acknowledged nor handed on."""
        with self._transaction() as connection:
            row = connection.execute(
                "DELETE FROM instances WHERE sop_uid = ? AND is_assembled = 0 RETURNING series_uid", (sop_uid,)
            ).fetchone()
            if row is not None:
                connection.execute(
                    "DELETE FROM series WHERE series_uid = :uid AND state = 'receiving' AND NOT EXISTS"
                    " (SELECT 1 FROM instances WHERE series_uid = :uid) AND NOT EXISTS"
                    " (SELECT 1 FROM events WHERE series_uid = :uid)",
                    {"uid": row["series_uid"]},
                )

    def instance(self, sop_uid: str) -> InstanceRecord | None:
        """The object with this UID, if it was received."""
        rows = self._read(_INSTANCES + " WHERE i.sop_uid = ?", (sop_uid,))
        return _instance(rows[0]) if rows else None

    def instances(self, series_uid: str) -> list[InstanceRecord]:
        """Objects of a series in order of receipt."""
        rows = self._read(_INSTANCES + " WHERE i.series_uid = ? ORDER BY i.id", (series_uid,))
        return [_instance(row) for row in rows]

    def unassembled(self) -> list[InstanceRecord]:
        """Objects that were received but whose events are not written yet, in order of receipt."""
        return [_instance(row) for row in self._read(_INSTANCES + " WHERE i.is_assembled = 0 ORDER BY i.id")]

    # ------------------------------------------------------------------------------------------- series and events

    def series(self, series_uid: str) -> SeriesRecord | None:
        """One series, if it is known."""
        rows = self._read("SELECT * FROM series WHERE series_uid = ?", (series_uid,))
        return _series(rows[0]) if rows else None

    def all_series(self, states: Iterable[SeriesState] = ()) -> list[SeriesRecord]:
        """Series in one of these states (all where none is given), newest first."""
        wanted = tuple(states)
        marks = ",".join("?" * len(wanted))
        where = f" WHERE state IN ({marks})" if wanted else ""
        return [_series(row) for row in self._read(f"SELECT * FROM series{where} ORDER BY opened_at_s DESC", wanted)]

    def record(
        self,
        series_uid: str,
        events: Sequence[EventRecord] = (),
        *,
        assembled: Sequence[str] = (),
        **changes: Any,
    ) -> int:
        """Append events, mark objects as assembled and change columns of the series, all or nothing.

        Parameters
        ----------
        events : sequence of EventRecord
            Numbered here, without gaps; their `sequence` is ignored.
        assembled : sequence of str
            SOP Instance UIDs whose events are now all written.
        **changes
            Columns of the series: state, model, rule, priority, modality, description, version, num_slices, reason,
            message, finished_at_s.

        Returns
        -------
        int
            Sequence number of the first event.
        """
        assert set(changes) <= _SERIES_COLUMNS, changes
        with self._transaction(durable=bool(changes)) as connection:
            first = connection.execute(
                "SELECT COALESCE(MAX(sequence) + 1, 0) FROM events WHERE series_uid = ?", (series_uid,)
            ).fetchone()[0]
            connection.executemany(
                "INSERT INTO events VALUES (?,?,?,?,?,?)",
                [
                    (series_uid, first + k, event.kind, event.sop_uid, event.frame_number, event.payload)
                    for k, event in enumerate(events)
                ],
            )
            connection.executemany(
                "UPDATE instances SET is_assembled = 1 WHERE sop_uid = ?", [(sop_uid,) for sop_uid in assembled]
            )
            if changes:
                assignments = ", ".join(f"{column} = ?" for column in changes)
                connection.execute(
                    f"UPDATE series SET {assignments} WHERE series_uid = ?", (*changes.values(), series_uid)
                )
        return int(first)

    def advance(
        self,
        series_uid: str,
        expected: Iterable[SeriesState],
        state: SeriesState,
        *,
        durable: bool = True,
        finished_at_s: float | None = None,
    ) -> bool:
        """Move a series to `state` (and set when it finished) if it is in one of the `expected`; whether it was."""
        wanted = tuple(expected)
        with self._transaction(durable=durable) as connection:
            cursor = connection.execute(
                "UPDATE series SET state = ?, finished_at_s = COALESCE(?, finished_at_s)"
                f" WHERE series_uid = ? AND state IN ({','.join('?' * len(wanted))})",
                (state, finished_at_s, series_uid, *wanted),
            )
        return cursor.rowcount == 1

    def events(self, series_uid: str, from_sequence: int = 0, limit: int = -1) -> list[EventRecord]:
        """Events of a series in order."""
        rows = self._read(
            "SELECT * FROM events WHERE series_uid = ? AND sequence >= ? ORDER BY sequence LIMIT ?",
            (series_uid, from_sequence, limit),
        )
        return [
            EventRecord(row["kind"], row["sop_uid"], row["frame_number"], row["payload"], row["sequence"])
            for row in rows
        ]

    def num_events(self, series_uid: str) -> int:
        """How many events a series has: the next sequence number."""
        rows = self._read("SELECT COALESCE(MAX(sequence) + 1, 0) FROM events WHERE series_uid = ?", (series_uid,))
        return int(rows[0][0])

    # ------------------------------------------------------------------------------------------ results, deliveries

    def add_results(
        self,
        series_uid: str,
        results: Sequence[ResultRecord],
        deliveries: Sequence[tuple[str, str]],
        *,
        now_s: float,
        **changes: Any,
    ) -> bool:
        """Make results and their deliveries durable together with the new state of the series.

        Parameters
        ----------
        deliveries : sequence of (str, str)
            SOP Instance UID of a result, name of a destination.

        Returns
        -------
        bool
            False where all results were there already; then nothing changes.
        """
        assert set(changes) <= _SERIES_COLUMNS, changes
        with self._transaction() as connection:
            known = {row[0] for row in connection.execute(
                "SELECT sop_uid FROM results WHERE series_uid = ?", (series_uid,))}  # fmt: skip
            if results and all(result.sop_uid in known for result in results):
                return False
            connection.executemany(
                "INSERT OR IGNORE INTO results VALUES (?,?,?,?,?,?,?,?)",
                [
                    (r.sop_uid, r.series_uid, r.version, r.kind, r.sop_class_uid, r.path, r.summary, r.created_at_s)
                    for r in results
                ],
            )
            connection.executemany(
                "INSERT OR IGNORE INTO deliveries (sop_uid, destination, state, next_attempt_at_s) VALUES (?,?,?,?)",
                [(sop_uid, destination, DeliveryState.QUEUED, now_s) for sop_uid, destination in deliveries],
            )
            if changes:
                assignments = ", ".join(f"{column} = ?" for column in changes)
                connection.execute(
                    f"UPDATE series SET {assignments} WHERE series_uid = ?", (*changes.values(), series_uid)
                )
        return True

    def results(self, series_uid: str | None = None) -> list[ResultRecord]:
        """Results of one series, or all, newest first."""
        where, parameters = (" WHERE series_uid = ?", (series_uid,)) if series_uid else ("", ())
        rows = self._read(f"SELECT * FROM results{where} ORDER BY created_at_s DESC", parameters)
        return [_result(row) for row in rows]

    def deliveries(
        self,
        *,
        states: Iterable[DeliveryState] = (),
        destination: str | None = None,
        series_uid: str | None = None,
        transaction_uid: str | None = None,
        due_at_s: float | None = None,
    ) -> list[DeliveryRecord]:
        """Deliveries that meet all given conditions, oldest first."""
        conditions = ["1"]
        parameters: list[Any] = []
        wanted = tuple(states)
        if wanted:
            conditions.append(f"d.state IN ({','.join('?' * len(wanted))})")
            parameters.extend(wanted)
        for column, value in (
            ("d.destination = ?", destination),
            ("r.series_uid = ?", series_uid),
            ("d.transaction_uid = ?", transaction_uid),
        ):
            if value is not None:
                conditions.append(column)
                parameters.append(value)
        if due_at_s is not None:
            conditions.append("d.next_attempt_at_s <= ?")
            parameters.append(due_at_s)
        rows = self._read(_DELIVERIES + f" WHERE {' AND '.join(conditions)} ORDER BY d.id", parameters)
        return [_delivery(row) for row in rows]

    def update_delivery(
        self,
        delivery_id: int,
        **changes: Any,
    ) -> None:
        """Change columns of a delivery: state, attempts, next_attempt_at_s, last_error, transaction_uid, ..."""
        assert changes and set(changes) <= _DELIVERY_COLUMNS, changes
        assignments = ", ".join(f"{column} = ?" for column in changes)
        with self._transaction() as connection:
            connection.execute(f"UPDATE deliveries SET {assignments} WHERE id = ?", (*changes.values(), delivery_id))

    def forget_instances(self, series_uid: str, received_until_s: float | None = None) -> None:
        """Drop objects and events of a purged series; its row, results and deliveries stay for the operator.

        Parameters
        ----------
        received_until_s : float, optional
            Keep objects that came later; then the events stay too where any did.
        """
        until_s = float("inf") if received_until_s is None else received_until_s
        with self._transaction() as connection:
            connection.execute(
                "DELETE FROM instances WHERE series_uid = ? AND received_at_s <= ?", (series_uid, until_s)
            )
            connection.execute(
                "DELETE FROM events WHERE series_uid = ?1"
                " AND NOT EXISTS (SELECT 1 FROM instances WHERE series_uid = ?1)",
                (series_uid,),
            )

    # -------------------------------------------------------------------------------------------------------- audit

    def audit(self, at_s: float, action: str, subject: str, detail: str = "") -> None:
        """Append to the audit trail; UIDs and codes only, no patient data."""
        with self._transaction(durable=False) as connection:
            connection.execute("INSERT INTO audit VALUES (?,?,?,?)", (at_s, action, subject, detail))

    def audit_trail(self, limit: int = 1000) -> list[tuple[float, str, str, str]]:
        """The newest entries of the audit trail, newest first."""
        return [tuple(row) for row in self._read("SELECT * FROM audit ORDER BY rowid DESC LIMIT ?", (limit,))]


_SERIES_COLUMNS = frozenset(
    {"state", "model", "rule", "priority", "modality", "description", "version", "num_slices", "reason", "message",
     "finished_at_s"}
)  # fmt: skip
_DELIVERY_COLUMNS = frozenset(
    {"state", "attempts", "next_attempt_at_s", "last_error", "transaction_uid", "delivered_at_s", "committed_at_s"}
)
_INSTANCES = "SELECT i.*, s.study_uid FROM instances i JOIN series s ON s.series_uid = i.series_uid"
_DELIVERIES = (
    "SELECT d.*, r.series_uid, r.version, r.kind, r.sop_class_uid, r.path, r.summary, r.created_at_s"
    " FROM deliveries d JOIN results r ON r.sop_uid = d.sop_uid"
)


def _instance(row: sqlite3.Row) -> InstanceRecord:
    return InstanceRecord(
        sop_uid=row["sop_uid"],
        series_uid=row["series_uid"],
        study_uid=row["study_uid"],
        sop_class_uid=row["sop_class_uid"],
        transfer_syntax_uid=row["transfer_syntax_uid"],
        path=row["path"],
        size=row["size"],
        digest=row["digest"],
        association=row["association"],
        received_at_s=row["received_at_s"],
    )


def _series(row: sqlite3.Row) -> SeriesRecord:
    values = dict(row)
    return SeriesRecord(**{**values, "state": SeriesState(values["state"])})


def _result(row: sqlite3.Row) -> ResultRecord:
    return ResultRecord(
        sop_uid=row["sop_uid"],
        series_uid=row["series_uid"],
        version=row["version"],
        kind=row["kind"],
        sop_class_uid=row["sop_class_uid"],
        path=row["path"],
        summary=row["summary"],
        created_at_s=row["created_at_s"],
    )


def _delivery(row: sqlite3.Row) -> DeliveryRecord:
    return DeliveryRecord(
        id=row["id"],
        sop_uid=row["sop_uid"],
        destination=row["destination"],
        state=DeliveryState(row["state"]),
        attempts=row["attempts"],
        next_attempt_at_s=row["next_attempt_at_s"],
        last_error=row["last_error"],
        transaction_uid=row["transaction_uid"],
        delivered_at_s=row["delivered_at_s"],
        committed_at_s=row["committed_at_s"],
        result=_result(row),
    )
