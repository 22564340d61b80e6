"""Objects in the journal: their receipt, and what is known of them."""

from __future__ import annotations

from dicom_gateway.journal.connection import JournalFile, Ticket
from dicom_gateway.journal.records import Admission, InstanceRecord, SeriesState, instance_of
from dicom_gateway.journal.schema import SELECT_INSTANCES
from neuroscan_core.domain.errors import JournalError


class JournaledInstances(JournalFile):
    """The journal's part about objects."""

    def add_instance(self, record: InstanceRecord) -> Admission:
        """Make the receipt of an object durable, and its series with it.

        Calls of several threads that wait at the same time are committed together.
        """
        ticket = Ticket(record)
        with self._pending_lock:
            self._pending.append(ticket)
        if ticket.admission is None and ticket.error is None:
            self._commit_pending(ticket)
        if ticket.error is not None:
            raise JournalError("The journal cannot be written.", remedy="Check disk and rights.") from ticket.error
        assert ticket.admission is not None
        return ticket.admission

    def _commit_pending(self, ticket: Ticket) -> None:
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
        rows = self._read(SELECT_INSTANCES + " WHERE i.sop_uid = ?", (sop_uid,))
        return instance_of(rows[0]) if rows else None

    def instances(self, series_uid: str) -> list[InstanceRecord]:
        """Objects of a series in order of receipt."""
        rows = self._read(SELECT_INSTANCES + " WHERE i.series_uid = ? ORDER BY i.id", (series_uid,))
        return [instance_of(row) for row in rows]

    def unassembled(self) -> list[InstanceRecord]:
        """Objects that were received but whose events are not written yet, in order of receipt."""
        return [instance_of(row) for row in self._read(SELECT_INSTANCES + " WHERE i.is_assembled = 0 ORDER BY i.id")]

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
            connection.execute(
                "DELETE FROM study_series WHERE series_uid = ?1"
                " AND NOT EXISTS (SELECT 1 FROM events WHERE series_uid = ?1)",
                (series_uid,),
            )
