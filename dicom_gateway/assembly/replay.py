"""Events of a series again: the journal says which there were, the spool still has the pixels."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from dicom_gateway.assembly.payload import decode_payload, decode_slice_facts
from dicom_gateway.journal import EventRecord, Journal
from dicom_gateway.reading import open_object, slices_of
from dicom_gateway.reading.decoding import Decode
from neuroscan_core.domain.errors import JournalError, UnreadableObject
from neuroscan_core.domain.events import SeriesCompleted, SeriesEvent, SliceReceived
from neuroscan_core.domain.requests import ReplayedEvents

MAX_EVENTS = 256


class Replay:
    """Reads events back.

    Parameters
    ----------
    journal : Journal
    spool_dir : Path
    decode : callable
        Decompresses frames.
    """

    def __init__(self, journal: Journal, spool_dir: Path, decode: Decode) -> None:
        self._journal, self._spool_dir, self._decode = journal, spool_dir, decode

    def events(self, series_uid: str, from_sequence: int, limit: int) -> ReplayedEvents:
        """At most `limit` events from `from_sequence` on.

        Raises
        ------
        JournalError, DicomError
            The journal or an object of the spool cannot be read.
        """
        records = self._journal.events(series_uid, max(0, from_sequence), min(max(1, limit), MAX_EVENTS))
        events: list[SeriesEvent] = []
        for sop_uid, group in groupby(records, key=lambda record: record.sop_uid):
            if sop_uid:
                events.extend(self._slices(series_uid, sop_uid, list(group)))
            else:
                events.extend(decode_payload(r.kind, series_uid, r.sequence, r.payload) for r in group)
        return ReplayedEvents.of(events)

    def completed(self, series_uid: str) -> SeriesCompleted:
        """The newest completion of a series.

        Raises
        ------
        JournalError
            There is none.
        """
        for record in reversed(self._journal.events(series_uid)):
            if record.kind == SeriesCompleted.__name__:
                event = decode_payload(record.kind, series_uid, record.sequence, record.payload)
                assert isinstance(event, SeriesCompleted)
                return event
        raise JournalError(f"The series {series_uid} was never complete.", remedy="It may have been purged.")

    def _slices(self, series_uid: str, sop_uid: str, records: list[EventRecord]) -> Iterator[SliceReceived]:
        instance = self._journal.instance(sop_uid)
        if instance is None:
            raise UnreadableObject("An object of the series is no longer kept.", remedy="The series was purged.")
        by_frame = {record.frame_number: record for record in records}
        obj = open_object(self._spool_dir / instance.path)
        for one in slices_of(obj, frame_numbers=sorted(by_frame), decode=self._decode):
            record = by_frame[one.key.frame_number]
            facts = decode_slice_facts(record.payload)
            yield SliceReceived(series_uid, record.sequence, one.key, one.geometry, one.pixels_ji, facts.received_at_s)
