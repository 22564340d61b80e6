"""Studies in the journal: which series may take part, and the rows of what is made of them."""

from __future__ import annotations

from dicom_gateway.journal.connection import JournalFile
from dicom_gateway.journal.records import RecordKind, SeriesState, StudySeriesRecord, study_series_of


class JournaledStudies(JournalFile):
    """The journal's part about several series of one study."""

    def add_study_series(self, record: StudySeriesRecord) -> None:
        """Keep what a series shows; what was known of it before is replaced."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO study_series VALUES (?,?,?,?,?,?,?,?)",
                (
                    record.series_uid, record.study_uid, "\n".join(record.studies), record.role, record.why,
                    record.name, record.is_original, record.acquired_at,
                ),
            )  # fmt: skip

    def study_series(self, series_uid: str) -> StudySeriesRecord | None:
        """What a series shows, if it may take part in a study."""
        rows = self._read("SELECT * FROM study_series WHERE series_uid = ?", (series_uid,))
        return study_series_of(rows[0]) if rows else None

    def series_of_study(self, study_uid: str) -> list[StudySeriesRecord]:
        """All series of a study that may take part."""
        rows = self._read("SELECT * FROM study_series WHERE study_uid = ? ORDER BY rowid", (study_uid,))
        return [study_series_of(row) for row in rows]

    def studies_at_hand(self) -> list[str]:
        """Study Instance UIDs of which not every series was purged."""
        rows = self._read(
            "SELECT DISTINCT m.study_uid FROM study_series m JOIN series s ON s.series_uid = m.series_uid"
            " WHERE s.state != ?",
            (SeriesState.PURGED,),
        )
        return [row[0] for row in rows]

    def open_study(
        self, job_uid: str, study_uid: str, *, name: str, model: str, priority: int, modality: str, opened_at_s: float
    ) -> None:
        """Make the row of what will be made of a study; one that is there stays as it is."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO series (series_uid, study_uid, state, model, rule, priority, modality,"
                " description, opened_at_s, last_received_at_s, kind) VALUES (?,?,?,?,?,?,?,?,?,?,?)",
                (
                    job_uid, study_uid, SeriesState.WAITING, model, name, priority, modality, f"Study: {name}",
                    opened_at_s, opened_at_s, RecordKind.STUDY,
                ),
            )  # fmt: skip
