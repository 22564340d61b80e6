"""Series in the journal: their states and their numbered events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from dicom_gateway.journal.connection import JournalFile
from dicom_gateway.journal.records import EventRecord, SeriesRecord, SeriesState, series_of
from dicom_gateway.journal.schema import SERIES_COLUMNS


class JournaledSeries(JournalFile):
    """The journal's part about series and events."""

    def series(self, series_uid: str) -> SeriesRecord | None:
        """One series, if it is known."""
        rows = self._read("SELECT * FROM series WHERE series_uid = ?", (series_uid,))
        return series_of(rows[0]) if rows else None

    def all_series(self, states: Iterable[SeriesState] = ()) -> list[SeriesRecord]:
        """Series in one of these states (all where none is given), newest first."""
        wanted = tuple(states)
        marks = ",".join("?" * len(wanted))
        where = f" WHERE state IN ({marks})" if wanted else ""
        return [series_of(row) for row in self._read(f"SELECT * FROM series{where} ORDER BY opened_at_s DESC", wanted)]

    def record(
        self,
        series_uid: str,
        events: Sequence[EventRecord] = (),
        *,
        assembled: Sequence[str] = (),
        reassemble: bool = False,
        durable: bool = True,
        **changes: Any,
    ) -> int:
        """Append events, mark objects as assembled and change columns of the series, all or nothing.

        Parameters
        ----------
        events : sequence of EventRecord
            Numbered here, without gaps; their `sequence` is ignored.
        assembled : sequence of str
            SOP Instance UIDs whose events are now all written.
        reassemble : bool
            Count all objects of the series as not assembled: their events are written once more.
        durable : bool
            Whether `changes` must survive a power cut; without changes nothing here has to.
        **changes
            Columns of the series: state, model, rule, priority, modality, description, version, num_slices, reason,
            message, finished_at_s.

        Returns
        -------
        int
            Sequence number of the first event.
        """
        assert set(changes) <= SERIES_COLUMNS, changes
        with self._transaction(durable=durable and bool(changes)) as connection:
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
            if reassemble:
                connection.execute("UPDATE instances SET is_assembled = 0 WHERE series_uid = ?", (series_uid,))
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
        version: int | None = None,
    ) -> bool:
        """Move a series to `state` (and set when it finished) if it is in one of the `expected`; whether it was.

        With `version`, only while that is the newest: a result of an older one must not end the wait for the next.
        """
        wanted = tuple(expected)
        marks = ",".join("?" * len(wanted))
        with self._transaction(durable=durable) as connection:
            cursor = connection.execute(
                "UPDATE series SET state = ?, finished_at_s = COALESCE(?, finished_at_s)"
                f" WHERE series_uid = ? AND version = COALESCE(?, version) AND state IN ({marks})",
                (state, finished_at_s, series_uid, version, *wanted),
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
