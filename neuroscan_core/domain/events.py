"""What is published on the bus: events.

Events of the gateway that belong to a series carry `sequence`, counted from 0 without gaps per series in the order
`SeriesOpened`, `SliceReceived`..., `SeriesCompleted` (and again slices and `SeriesCompleted` after a late slice), or
`SeriesRejected`. What is made of several series of a study is told of by `StudyReady` events, numbered in the same way
under a UID of its own. Whoever sees a gap, starts late or hears from `GatewayHeartbeat` of events that it missed asks
the gateway to replay them (`ReplaySeries`). The service's `MaskReady` events are numbered in the same way per series
and replayed by the service (`ReplayMasks`). These requests are in `neuroscan_core.domain.requests`.

No message carries a name, a birth date or a patient ID.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.errors import RejectionCode
from neuroscan_core.domain.geometry import SliceGeometry, StackGeometry
from neuroscan_core.domain.segmentation import ModelIdentity, Segmentation
from neuroscan_core.domain.volume import FrameKey, Slice

GATEWAY = "gateway"
SEGMENTER = "segmenter"
VIEWER = "viewer"


@dataclass(frozen=True, eq=False)
class Event:
    """Base of everything that is published.

    Attributes
    ----------
    published_by : str
        Role of the process that publishes this type.
    """

    published_by: ClassVar[str] = GATEWAY


@dataclass(frozen=True, eq=False)
class SeriesEvent(Event):
    """Base of the numbered events of a series."""

    series_instance_uid: str
    sequence: int


@dataclass(frozen=True, eq=False)
class SeriesOpened(SeriesEvent):
    """The first object of a series was stored and a rule chose what happens to it.

    Parameters
    ----------
    model : str
        Name of the model bundle that shall segment it; empty where it is only kept for the study it belongs to.
    priority : int
        Higher goes first.
    slice_spacing_mm : float or None
        From the header where it can be trusted; a hint, the slices decide.
    num_expected : int or None
        Slices that the header announces.
    modality, description : str
        Modality and SeriesDescription.
    opened_at_s : float
        Unix time.
    triage : str
        Name of the classifier whose opinion goes into the report; empty for none.
    """

    model: str
    priority: int = 0
    slice_spacing_mm: float | None = None
    num_expected: int | None = None
    modality: str = ""
    description: str = ""
    opened_at_s: float = 0.0
    triage: str = ""


@dataclass(frozen=True, eq=False)
class SliceReceived(SeriesEvent):
    """A slice is on disk and in the journal.

    Parameters
    ----------
    key : FrameKey
    geometry : SliceGeometry
    pixels_ji : ndarray of float32, shape (rows, columns)
        After the modality rescale.
    received_at_s : float
        Unix time at which its object was durable.
    """

    key: FrameKey
    geometry: SliceGeometry
    pixels_ji: npt.NDArray[np.float32]
    received_at_s: float = 0.0

    @property
    def slice(self) -> Slice:
        """The event's content as a domain value."""
        return Slice(self.key, self.geometry, self.pixels_ji)


@dataclass(frozen=True, eq=False)
class SeriesCompleted(SeriesEvent):
    """All slices of the series are there.

    Parameters
    ----------
    manifest : tuple of FrameKey
        Every slice, ordered along the normal.
    version : int
        1, and one more for each reopening.
    reason : str
        Why the series counts as complete: ``count``, ``release``, ``quiet`` or ``object``.
    last_received_at_s : float
        Unix time of the last slice.
    """

    manifest: tuple[FrameKey, ...]
    geometry: StackGeometry
    version: int = 1
    reason: str = ""
    last_received_at_s: float = 0.0


@dataclass(frozen=True, eq=False)
class SeriesRejected(SeriesEvent):
    """The series will not be segmented."""

    code: RejectionCode
    message: str
    remedy: str = ""


@dataclass(frozen=True, eq=False)
class StudySource:
    """A series that takes part in the segmentation of a study.

    Parameters
    ----------
    sequence_name : str
        What it shows: T1, T1ce, T2 or FLAIR.
    version : int
        Of its completion.
    manifest : tuple of FrameKey
        Every slice, ordered along the normal.
    """

    sequence_name: str
    series_instance_uid: str
    version: int
    manifest: tuple[FrameKey, ...]
    geometry: StackGeometry

    def __post_init__(self) -> None:
        assert len(self.manifest) == self.geometry.num_slices


@dataclass(frozen=True, eq=False)
class StudyReady(SeriesEvent):
    """All series that a model of several sequences needs are complete and lie in one another.

    The segmentation of a study has a UID, numbered events and a life of its own, like a series.

    Parameters
    ----------
    model : str
        Name of the model bundle.
    sources : tuple of StudySource
    reference : str
        Sequence on whose grid the result lies.
    version : int
        1, and one more for each time that other series, or other versions of them, take part.
    priority : int
        Higher goes first, among studies.
    triage : str
        Name of the classifier whose opinion goes into the report; empty for none.
    warnings : tuple of str
        What a reader of the result must know.
    """

    model: str
    sources: tuple[StudySource, ...]
    reference: str
    version: int = 1
    priority: int = 0
    triage: str = ""
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [source.sequence_name for source in self.sources]
        assert len(set(names)) == len(names) and self.reference in names

    @property
    def reference_source(self) -> StudySource:
        """The series on whose grid the result lies."""
        return next(source for source in self.sources if source.sequence_name == self.reference)


@dataclass(frozen=True)
class SeriesProgress:
    """State of one series as the journal knows it.

    Parameters
    ----------
    state : str
        Journal state, see `dicom_gateway.journal.SeriesState`.
    num_events : int
        Events published so far: the next sequence number.
    version : int
        Of the last completion; 0 before the first.
    is_open : bool
        Whether the segmenter still owes a result for it.
    reason, message : str
        Why it was not segmented, as a code and as a sentence; empty where it was or may be.
    priority : int
        Higher goes first.
    """

    series_instance_uid: str
    state: str
    num_events: int
    num_slices: int
    version: int
    is_open: bool
    model: str = ""
    modality: str = ""
    description: str = ""
    reason: str = ""
    opened_at_s: float = 0.0
    priority: int = 0
    message: str = ""


@dataclass(frozen=True, eq=False)
class GatewayHeartbeat(Event):
    """Series that the segmenter owes a result for, with the number of their events; published once a second."""

    open_series: tuple[SeriesProgress, ...]


@dataclass(frozen=True, eq=False)
class ResultDelivered(Event):
    """A result reached a destination.

    Parameters
    ----------
    sop_instance_uid : str
        Of the SEG, SR or secondary capture.
    modality : str
        ``SEG``, ``SR`` or ``OT``.
    destination : str
        Name from the configuration.
    is_committed : bool
        Whether the destination has committed to keep it (storage commitment).
    delay_s : float
        From the last image of the series to the acknowledgement.
    """

    series_instance_uid: str
    sop_instance_uid: str
    modality: str
    destination: str
    is_committed: bool
    delay_s: float


@dataclass(frozen=True, eq=False)
class MaskReady(SeriesEvent):
    """One slice is segmented.

    Parameters
    ----------
    labels_ji : ndarray of uint8, shape (rows, columns)
        Label map on the source grid, before volume postprocessing.
    latency_ms : float
        From the arrival of the last slice that it needed at the segmenter to this event.
    revision : int
        0, and one more each time the mask of this slice was replaced.
    """

    published_by: ClassVar[str] = SEGMENTER

    key: FrameKey
    labels_ji: npt.NDArray[np.uint8]
    latency_ms: float
    model: ModelIdentity
    revision: int = 0


@dataclass(frozen=True, eq=False)
class SegmentationReady(Event):
    """The label map of a whole series, postprocessed and measured."""

    published_by: ClassVar[str] = SEGMENTER

    series_instance_uid: str
    version: int
    segmentation: Segmentation
    model: ModelIdentity


@dataclass(frozen=True, eq=False)
class SegmentationFailed(Event):
    """The series could not be segmented.

    Parameters
    ----------
    code : str
        A `RejectionCode` value, or ``internal-error``.
    message : str
        The same as a sentence.
    """

    published_by: ClassVar[str] = SEGMENTER

    series_instance_uid: str
    version: int
    code: str
    message: str


EVENT_TYPES: tuple[type[Event], ...] = (
    SeriesOpened, SliceReceived, SeriesCompleted, SeriesRejected, StudyReady, GatewayHeartbeat, ResultDelivered,
    MaskReady, SegmentationReady, SegmentationFailed,
)  # fmt: skip
