"""The journal as its users see it: all parts on one file, and the audit trail."""

from __future__ import annotations

from dicom_gateway.journal.deliveries import JournaledDeliveries
from dicom_gateway.journal.instances import JournaledInstances
from dicom_gateway.journal.series import JournaledSeries
from dicom_gateway.journal.studies import JournaledStudies


class Journal(JournaledInstances, JournaledSeries, JournaledStudies, JournaledDeliveries):
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

    # -------------------------------------------------------------------------------------------------------- audit

    def audit(self, at_s: float, action: str, subject: str, detail: str = "") -> None:
        """Append to the audit trail; UIDs and codes only, no patient data."""
        with self._transaction(durable=False) as connection:
            connection.execute("INSERT INTO audit VALUES (?,?,?,?)", (at_s, action, subject, detail))

    def audit_trail(self, limit: int = 1000) -> list[tuple[float, str, str, str]]:
        """The newest entries of the audit trail, newest first."""
        return [tuple(row) for row in self._read("SELECT * FROM audit ORDER BY rowid DESC LIMIT ?", (limit,))]
