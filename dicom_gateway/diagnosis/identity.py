"""Who the patient is, for reports in which the person wants it; never read otherwise."""

from __future__ import annotations

from collections.abc import Mapping

from dicom_gateway.reading import SourceSeries
from neuroscan_core.diagnosis.case import Source

_SHOWN = (
    ("Name", "PatientName"),
    ("ID", "PatientID"),
    ("Birth date", "PatientBirthDate"),
    ("Sex", "PatientSex"),
    ("Study date", "StudyDate"),
)


def identity_of(source: Source) -> Mapping[str, str]:
    """What the header says of the patient; empty for sources that are no DICOM."""
    if not isinstance(source.handle, SourceSeries):
        return {}
    header = source.handle.headers[0]
    return {title: str(header.get(keyword, "")) for title, keyword in _SHOWN if header.get(keyword)}
