"""What the gateway knows of one series while it is being assembled, and how that is read back from the journal."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from dicom_gateway.assembly.payload import decode_payload, decode_slice_facts
from dicom_gateway.journal import EventRecord, Journal
from dicom_gateway.reading import CURABLE, SliceStack
from neuroscan_core.config import SeriesConfig
from neuroscan_core.domain.errors import RejectionCode, SeriesRejection
from neuroscan_core.domain.events import SeriesCompleted, SeriesOpened, SeriesRejected, SliceReceived
from neuroscan_core.domain.volume import FrameKey


class Phase(Enum):
    """Where the assembly of a series is; follows from its last event."""

    NEW = "new"
    RECEIVING = "receiving"
    COMPLETE = "complete"
    UNFIT_SO_FAR = "unfit-so-far"
    UNFIT = "unfit"

    @property
    def is_over(self) -> bool:
        """Whether no further object can change anything."""
        return self is Phase.UNFIT


@dataclass(eq=False)
class Assembly:
    """One series.

    Parameters
    ----------
    series_uid : str
    stack : SliceStack
        Slices whose events are recorded, and those about to be.
    phase : Phase
    recorded : set of FrameKey
        Slices whose events are in the journal.
    num_events : int
        The next sequence number.
    version : int
        Of the last completion; 0 before the first.
    num_expected : int or None
        Slices that the header announced.
    is_multi_frame : bool
    is_wanted_alone : bool
        Whether a model segments it; otherwise it is only kept for its study.
    last_received_at_s : float
        Unix time at which the last object was durable.
    deadline_s : float or None
        When to look at the series again if it stays silent.
    """

    series_uid: str
    stack: SliceStack
    phase: Phase = Phase.NEW
    recorded: set[FrameKey] = field(default_factory=set)
    num_events: int = 0
    version: int = 0
    num_expected: int | None = None
    is_multi_frame: bool = False
    is_wanted_alone: bool = True
    last_received_at_s: float = 0.0
    deadline_s: float | None = None

    def follow(self, kind: str, code: RejectionCode | None = None) -> None:
        """Move to the phase that an event of this kind leads to."""
        if kind == SeriesRejected.__name__:
            self.phase = Phase.UNFIT_SO_FAR if code in CURABLE else Phase.UNFIT
        elif kind == SeriesCompleted.__name__:
            self.phase = Phase.COMPLETE
        else:
            self.phase = Phase.RECEIVING


def load_assembly(journal: Journal, series_uid: str, config: SeriesConfig) -> Assembly:
    """Read the state of a series back from its events.

    Raises
    ------
    JournalError
        The journal cannot be read.
    """
    assembly = Assembly(series_uid, SliceStack(config))
    row = journal.series(series_uid)
    if row is not None:
        assembly.version, assembly.last_received_at_s = row.version, row.last_received_at_s
    for record in journal.events(series_uid):
        _replay(assembly, record, config)
    return assembly


def _replay(assembly: Assembly, record: EventRecord, config: SeriesConfig) -> None:
    assembly.num_events = record.sequence + 1
    if record.kind == SliceReceived.__name__:
        key = FrameKey(record.sop_uid, record.frame_number)
        # What was recorded fitted; if the policy has changed since, `judge` will find out.
        try:
            assembly.stack.add(key, decode_slice_facts(record.payload).geometry)
        except SeriesRejection:
            assembly.phase = Phase.UNFIT
            return
        assembly.recorded.add(key)
        assembly.is_multi_frame = assembly.is_multi_frame or key.frame_number > 1
        assembly.follow(record.kind)
        return
    event = decode_payload(record.kind, assembly.series_uid, record.sequence, record.payload)
    if isinstance(event, SeriesOpened):
        if record.sequence > 0:  # judged again: what was there before counts no more
            assembly.stack, assembly.recorded, assembly.is_multi_frame = SliceStack(config), set(), False
        assembly.num_expected = event.num_expected
        assembly.is_wanted_alone = bool(event.model)
    assembly.follow(record.kind, event.code if isinstance(event, SeriesRejected) else None)
