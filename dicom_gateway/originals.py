"""The objects that came from the scanner, read from the spool again: pixels, headers, and those of a study's series."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from dicom_gateway.ingest import Spool
from dicom_gateway.journal import Journal, RecordKind, SeriesRecord
from dicom_gateway.reading import open_object, read_header, slices_of
from dicom_gateway.results import CompanionSeries
from neuroscan_core.domain.errors import NeuroScanError, UnreadableObject
from neuroscan_core.domain.events import StudyReady
from neuroscan_core.domain.volume import FrameKey
from neuroscan_core.log import get_logger

log = get_logger(__name__)


class Originals:
    """Reads what the journal knows from the spool.

    Parameters
    ----------
    journal : Journal
    spool : Spool
    ready : callable
        What was told last of a study's segmentation, see `StudyDesk.ready`.
    """

    def __init__(self, journal: Journal, spool: Spool, ready: Callable[[str], StudyReady]) -> None:
        self._journal, self._spool, self._ready = journal, spool, ready

    def pixels_of(self, key: FrameKey) -> npt.NDArray[np.float32]:
        """Rescaled pixels of one slice, shape (rows, columns), from the spool.

        Raises
        ------
        UnreadableObject
            It is no longer kept, or cannot be read.
        """
        record = self._journal.instance(key.sop_instance_uid)
        if record is None:
            raise UnreadableObject("An object of the series is no longer kept.", remedy="The series was purged.")
        (one,) = slices_of(open_object(self._spool.path_of(record)), frame_numbers=[key.frame_number])
        return one.pixels_ji

    def companions(self, series: SeriesRecord) -> list[CompanionSeries]:
        """The series that a study was segmented from, beside the one on whose grid it lies."""
        if series.kind is not RecordKind.STUDY:
            return []
        ready = self._ready(series.series_uid)
        companions = []
        for source in ready.sources:
            if source.sequence_name != ready.reference:
                classes = {
                    one.sop_uid: one.sop_class_uid for one in self._journal.instances(source.series_instance_uid)
                }
                wanted = dict.fromkeys(key.sop_instance_uid for key in source.manifest)
                objects = {uid: classes[uid] for uid in wanted if uid in classes}
                companions.append(CompanionSeries(source.series_instance_uid, source.sequence_name, objects))
        return companions

    def headers(self, series_uid: str) -> list[Dataset]:
        """Headers of the objects of a series, or of the reference of a study, as far as they can be read."""
        headers: list[Dataset] = []
        series = self._journal.series(series_uid)
        if series is not None and series.kind is RecordKind.STUDY:
            series_uid = self._ready(series_uid).reference_source.series_instance_uid
        for record in self._journal.instances(series_uid):
            try:
                headers.append(read_header(self._spool.path_of(record)))
            except NeuroScanError:
                log.exception("a spooled object cannot be read again", sop=record.sop_uid)
        return headers
