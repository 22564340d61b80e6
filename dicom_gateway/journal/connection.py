"""The file below the journal: its connections, and transactions on them."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dicom_gateway.journal.records import Admission, InstanceRecord
from dicom_gateway.journal.schema import MIGRATIONS, SCHEMA, SCHEMA_VERSION
from neuroscan_core.domain.errors import JournalError
from neuroscan_core.lifetime import Closes


@dataclass
class Ticket:
    """An `add_instance` call that waits for its commit."""

    record: InstanceRecord
    admission: Admission | None = None
    error: BaseException | None = None


@dataclass
class _Connections(threading.local):
    reader: sqlite3.Connection | None = field(default=None)


class JournalFile(Closes):
    """One connection that writes, and one that reads for each thread.

    Parameters
    ----------
    path : Path
        SQLite file; its folder must exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._write_lock = threading.Lock()
        self._pending_lock = threading.Lock()
        self._pending: list[Ticket] = []
        self._local = _Connections()
        self._readers: list[sqlite3.Connection] = []
        try:
            self._writer = self._connect()
            version = self._writer.execute("PRAGMA user_version").fetchone()[0]
            if version > SCHEMA_VERSION:
                raise JournalError(f"{path} was written by a newer NeuroScan.", remedy="Update this one.")
            if version < SCHEMA_VERSION:
                self._migrate()
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

    def _migrate(self) -> None:
        """Bring the tables to this version, all or nothing; two processes that open it at once do so in turn."""
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            version = self._writer.execute("PRAGMA user_version").fetchone()[0]
            for number in range(version + 1, SCHEMA_VERSION + 1) if version else ():
                for statement in MIGRATIONS[number]:
                    self._writer.execute(statement)
            for statement in filter(str.strip, SCHEMA.split(";")):
                self._writer.execute(statement)
            self._writer.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        except BaseException:
            self._writer.execute("ROLLBACK")
            raise
        self._writer.execute("COMMIT")

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
