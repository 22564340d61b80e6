"""What viewers ask of a finished series: its results, a segmentation, an object to keep, who the patient is.

Everything comes from journal, spool and results folder; nothing is kept here. What tells who the patient is, is asked
for by a person, is in the audit trail, and never in the log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from dicom_gateway.assembly.payload import decode_payload
from dicom_gateway.journal import Journal, RecordKind, ResultRecord, SeriesRecord
from dicom_gateway.results.readback import read_back
from dicom_gateway.results.writer import encoding_of
from neuroscan_core.config import SegFormat
from neuroscan_core.domain.errors import RequestRefused
from neuroscan_core.domain.events import SeriesCompleted
from neuroscan_core.domain.model_card import ModelCard
from neuroscan_core.domain.requests import (
    GetIdentity,
    GetResultObject,
    GetSegmentation,
    Identity,
    ListResults,
    Reply,
    Request,
    ResultList,
    ResultObject,
    StoredResult,
    StoredSegmentation,
)
from neuroscan_core.log import get_logger

log = get_logger(__name__)

_PREFERRED = (SegFormat.BINARY, SegFormat.LABELMAP, SegFormat.FRACTIONAL)
_GONE = "It was purged, or never made."
MAX_TEXT = 256  # of one field of an identity


class Inquiries:
    """Answers requests of viewers.

    Parameters
    ----------
    journal : Journal
    results_dir : Path
    cards : mapping of str to ModelCard
        Of all bundles by name.
    completed_study : callable
        Newest state of a study's segmentation, see `StudyDesk.completed`.
    headers : callable
        Headers of the objects of a series, or of the reference of a study.
    clock : callable
        Unix time in seconds.
    """

    def __init__(
        self,
        journal: Journal,
        results_dir: Path,
        cards: Mapping[str, ModelCard],
        *,
        completed_study: Callable[[SeriesRecord], SeriesCompleted],
        headers: Callable[[str], list[Dataset]],
        clock: Callable[[], float],
    ) -> None:
        self._journal, self._results_dir, self._cards = journal, results_dir, cards
        self._completed_study, self._headers, self._clock = completed_study, headers, clock

    def handlers(self) -> tuple[tuple[type[Request[Reply]], Callable[[Any], Reply]], ...]:
        """What to serve on the bus."""
        return (
            (ListResults, self.list_results),
            (GetResultObject, self.result_object),
            (GetSegmentation, self.segmentation),
            (GetIdentity, self.identity),
        )

    def list_results(self, request: ListResults) -> ResultList:
        """Results of a series that are still kept, oldest first."""
        series = self._journal.series(request.series_instance_uid)
        if series is None:
            return ResultList(())
        records = sorted(self._journal.results(series.series_uid), key=lambda record: record.created_at_s)
        return ResultList(
            tuple(
                StoredResult(
                    record.sop_uid, record.kind, record.version, series.model, record.summary, record.created_at_s
                )
                for record in records
                if (self._results_dir / record.path).is_file()
            )
        )

    def result_object(self, request: GetResultObject) -> ResultObject:
        """An object as the archives have it.

        Raises
        ------
        RequestRefused
            It is not kept.
        """
        record = self._journal.result(request.sop_instance_uid)
        path = None if record is None else self._results_dir / record.path
        if record is None or path is None or not path.is_file():
            raise RequestRefused("This result is not kept.", remedy=_GONE)
        content = np.frombuffer(path.read_bytes(), np.uint8)
        self._journal.audit(self._clock(), "downloaded", record.sop_uid, record.kind)
        return ResultObject(content)

    def segmentation(self, request: GetSegmentation) -> StoredSegmentation:
        """A segmentation, read back from its files.

        Raises
        ------
        RequestRefused
            There is none.
        UnreadableObject
            See `results.readback.read_back`.
        """
        series = self._journal.series(request.series_instance_uid)
        if series is None:
            raise RequestRefused("The series is not known.", remedy=_GONE)
        records = [record for record in self._journal.results(series.series_uid) if record.kind in ("SEG", "SR")]
        version = request.version or max((record.version for record in records), default=0)
        records = [record for record in records if record.version == version]
        seg = self._file(records, "SEG")
        report = self._file(records, "SR")
        if seg is None and (report is None or not _found_nothing(records)):
            raise RequestRefused("There is no segmentation of this series.", remedy=_GONE)
        completed = self._completed(series, version)
        return StoredSegmentation(read_back(seg, report, completed, self._cards, series.model))

    def identity(self, request: GetIdentity) -> Identity:
        """Who the patient is.

        Raises
        ------
        RequestRefused
            The images are not kept any more.
        """
        headers = self._headers(request.series_instance_uid)
        if not headers:
            raise RequestRefused("The images of this series are not kept.", remedy="They were purged.")
        self._journal.audit(self._clock(), "identity-shown", request.series_instance_uid)
        header = headers[0]
        return Identity(
            patient_name=_text(header, "PatientName"),
            patient_id=_text(header, "PatientID"),
            patient_birth_date=_text(header, "PatientBirthDate"),
            patient_sex=_text(header, "PatientSex"),
            study_date=_text(header, "StudyDate"),
        )

    def _file(self, records: list[ResultRecord], kind: str) -> Path | None:
        """File of a kind that is still there; of SEGs the encoding that is read most easily."""
        found = [record for record in records if record.kind == kind and (self._results_dir / record.path).is_file()]
        if kind == "SEG":
            found.sort(key=lambda record: _PREFERRED.index(encoding_of(record) or SegFormat.FRACTIONAL))
        return self._results_dir / found[0].path if found else None

    def _completed(self, series: SeriesRecord, version: int) -> SeriesCompleted:
        if series.kind is RecordKind.STUDY:
            completed = self._completed_study(series)
            if completed.version == version:
                return completed
        for record in reversed(self._journal.events(series.series_uid)):
            if record.kind == SeriesCompleted.__name__:
                event = decode_payload(record.kind, series.series_uid, record.sequence, record.payload)
                if isinstance(event, SeriesCompleted) and event.version == version:
                    return event
        raise RequestRefused(f"Version {version} of this series is not known any more.", remedy=_GONE)


def _found_nothing(records: list[ResultRecord]) -> bool:
    """Whether the report says so; otherwise a SEG was made, or was not wanted."""
    return any(record.kind == "SR" and record.summary.startswith("no finding") for record in records)


def _text(header: Dataset, keyword: str) -> str:
    return str(header.get(keyword, "") or "")[:MAX_TEXT]
