"""From a stored object to the events that it causes: reading, rules and policy, without journal and threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

from pydicom.dataset import Dataset

from dicom_gateway.assembly.series import Assembly, Phase
from dicom_gateway.journal import InstanceRecord
from dicom_gateway.reading import (
    ImageObject,
    classify,
    expected_num_slices,
    frames_of,
    is_concatenated,
    open_object,
    parse_object,
    read_header,
    require_referable_frames,
    slices_of,
    spacing_hint_mm,
)
from dicom_gateway.reading.attributes import MODALITY, SERIES_DESCRIPTION, string
from dicom_gateway.reading.decoding import Decode
from dicom_gateway.reading.enhanced import is_multi_frame
from dicom_gateway.reading.plane import FrameFacts
from dicom_gateway.rules import Decision, RuleSet
from neuroscan_core.config import NodeConfig
from neuroscan_core.domain.errors import RejectionCode, SeriesRejection, UndecodablePixels, UnreadableObject
from neuroscan_core.domain.events import SeriesOpened
from neuroscan_core.domain.volume import FrameKey, Slice
from neuroscan_core.log import get_logger

log = get_logger(__name__)

OnHeader = Callable[[str, Dataset], None]


class StoredObject(Protocol):
    """An object that is on disk and in the journal, as the receiver hands it over."""

    @property
    def record(self) -> InstanceRecord:
        """Its row in the journal."""
        ...

    @property
    def path(self) -> Path:
        """Its Part 10 file."""
        ...

    @property
    def encoded(self) -> bytes | memoryview | None:
        """The data set or the whole file as received, where it is still in memory."""
        ...


class Intake:
    """Reads objects of series.

    Parameters
    ----------
    config : NodeConfig
    rules : RuleSet
    on_header : callable or None
        Told of the header of every object that a wanted series accepts.
    decode : callable
        Decompresses frames.
    """

    def __init__(self, config: NodeConfig, rules: RuleSet, on_header: OnHeader | None, decode: Decode) -> None:
        self._config, self._spool_dir = config.series, config.spool_dir
        self._rules, self._on_header, self._decode = rules, on_header, decode

    def open(self, stored: StoredObject) -> ImageObject:
        """Parse an object.

        Raises
        ------
        SeriesRejection
            UNDECODABLE.
        """
        try:
            if stored.encoded is None:
                return open_object(stored.path)
            return parse_object(stored.encoded, stored.record.transfer_syntax_uid)
        except UnreadableObject as exc:
            raise SeriesRejection(RejectionCode.UNDECODABLE, exc.message, remedy=exc.remedy) from exc

    def decide(self, obj: ImageObject) -> Decision:
        """What the rules say to the series of this object."""
        return self._rules.decide(obj.header)

    def examine(self, assembly: Assembly, obj: ImageObject) -> list[FrameFacts]:
        """Accept an object for its series: policy first, then how its slices fit in.

        Raises
        ------
        SeriesRejection
        """
        try:
            classify(obj.header, self._config)
            require_referable_frames(obj.header)
            frames = frames_of(obj.header)
        except (UndecodablePixels, UnreadableObject) as exc:
            raise SeriesRejection(RejectionCode.UNDECODABLE, exc.message, remedy=exc.remedy) from exc
        sop_uid = str(obj.header.file_meta.MediaStorageSOPInstanceUID)
        for frame in frames:
            assembly.stack.add(FrameKey(sop_uid, frame.number), frame.geometry)
        if self._on_header is not None:
            self._on_header(assembly.series_uid, obj.header)
        return frames

    def introduce(
        self, assembly: Assembly, obj: ImageObject, frames: list[FrameFacts], decision: Decision, now_s: float
    ) -> SeriesOpened:
        """The event that opens a series."""
        assert assembly.phase is Phase.NEW
        header = obj.header
        num_expected: int | None
        if is_multi_frame(header):
            num_expected = None if is_concatenated(header) else len(frames)
        else:
            num_expected = expected_num_slices(header)
        return SeriesOpened(
            assembly.series_uid,
            assembly.num_events,
            model=decision.model or "",
            priority=decision.priority,
            slice_spacing_mm=spacing_hint_mm(header, frames),
            num_expected=num_expected,
            modality=string(header, MODALITY),
            description=string(header, SERIES_DESCRIPTION),
            opened_at_s=now_s,
            triage=decision.triage or "" if decision.model else "",
        )

    def is_new(self, assembly: Assembly, obj: ImageObject, frames: list[FrameFacts]) -> bool:
        """Whether the object has slices whose events are not recorded yet."""
        return bool(self._new_frames(assembly, obj, frames))

    def show_headers(self, records: Iterable[InstanceRecord]) -> None:
        """Tell of the headers of objects that were assembled by a former process."""
        if self._on_header is None:
            return
        for record in records:
            try:
                header = read_header(self._spool_dir / record.path)
            except UnreadableObject:
                log.exception("a spooled object cannot be read again", series=record.series_uid, sop=record.sop_uid)
                continue
            self._on_header(record.series_uid, header)

    def _new_frames(self, assembly: Assembly, obj: ImageObject, frames: list[FrameFacts]) -> list[int]:
        sop_uid = str(obj.header.file_meta.MediaStorageSOPInstanceUID)
        return [frame.number for frame in frames if FrameKey(sop_uid, frame.number) not in assembly.recorded]

    def slices(self, assembly: Assembly, obj: ImageObject, frames: list[FrameFacts]) -> Iterator[Slice]:
        """Decode the slices whose events are not recorded yet.

        Raises
        ------
        SeriesRejection
            UNDECODABLE.
        """
        wanted = self._new_frames(assembly, obj, frames)
        if not wanted:
            return
        try:
            yield from slices_of(obj, frame_numbers=wanted, frames=frames, decode=self._decode)
        except (UndecodablePixels, UnreadableObject) as exc:
            raise SeriesRejection(RejectionCode.UNDECODABLE, exc.message, remedy=exc.remedy) from exc
