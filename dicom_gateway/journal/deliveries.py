"""Results in the journal, and their deliveries to destinations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from dicom_gateway.journal.connection import JournalFile
from dicom_gateway.journal.records import DeliveryRecord, DeliveryState, ResultRecord, delivery_of, result_of
from dicom_gateway.journal.schema import DELIVERY_COLUMNS, SELECT_DELIVERIES, SERIES_COLUMNS


class JournaledDeliveries(JournalFile):
    """The journal's part about results and deliveries."""

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
        assert set(changes) <= SERIES_COLUMNS, changes
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
        return [result_of(row) for row in rows]

    def result(self, sop_uid: str) -> ResultRecord | None:
        """The result with this UID."""
        rows = self._read("SELECT * FROM results WHERE sop_uid = ?", (sop_uid,))
        return result_of(rows[0]) if rows else None

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
        rows = self._read(SELECT_DELIVERIES + f" WHERE {' AND '.join(conditions)} ORDER BY d.id", parameters)
        return [delivery_of(row) for row in rows]

    def update_delivery(
        self,
        delivery_id: int,
        **changes: Any,
    ) -> None:
        """Change columns of a delivery: state, attempts, next_attempt_at_s, last_error, transaction_uid, ..."""
        assert changes and set(changes) <= DELIVERY_COLUMNS, changes
        assignments = ", ".join(f"{column} = ?" for column in changes)
        with self._transaction() as connection:
            connection.execute(f"UPDATE deliveries SET {assignments} WHERE id = ?", (*changes.values(), delivery_id))
