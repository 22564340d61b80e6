"""What is asked for on the bus: requests and the replies to them.

No message carries a name, a birth date or a patient ID, with two exceptions, which a person has to ask for and which
are never logged: `ResultObject` is an object as the archive has it, and `Identity` says who the patient is (ADR 0009).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.events import (
    GATEWAY,
    SEGMENTER,
    MaskReady,
    SegmentationFailed,
    SegmentationReady,
    SeriesCompleted,
    SeriesEvent,
    SeriesOpened,
    SeriesProgress,
    SeriesRejected,
    SliceReceived,
    StudyReady,
)
from neuroscan_core.domain.volume import FrameKey


@dataclass(frozen=True, eq=False)
class Reply:
    """Base of everything that answers a request."""


R_co = TypeVar("R_co", bound=Reply, covariant=True)


@dataclass(frozen=True, eq=False)
class Request(Generic[R_co]):
    """Base of everything that is asked for.

    Attributes
    ----------
    served_by : str
        Role of the process that answers.
    reply_type : type
        What it answers with.
    carries_identity : bool
        Whether the reply says who the patient is: a bus without a login does not serve such requests.
    """

    served_by: ClassVar[str] = GATEWAY
    reply_type: ClassVar[type[Reply]] = Reply
    carries_identity: ClassVar[bool] = False


@dataclass(frozen=True, eq=False)
class ReplayedEvents(Reply):
    """Events of a series from the one asked for, in order; fewer than exist where the limit cuts."""

    opened: tuple[SeriesOpened, ...] = ()
    slices: tuple[SliceReceived, ...] = ()
    completed: tuple[SeriesCompleted, ...] = ()
    rejected: tuple[SeriesRejected, ...] = ()
    studies: tuple[StudyReady, ...] = ()

    @property
    def in_order(self) -> tuple[SeriesEvent, ...]:
        """All of them by sequence number."""
        events: tuple[SeriesEvent, ...] = (
            *self.opened, *self.slices, *self.completed, *self.rejected, *self.studies,
        )  # fmt: skip
        return tuple(sorted(events, key=lambda event: event.sequence))

    @classmethod
    def of(cls, events: list[SeriesEvent]) -> ReplayedEvents:
        """Sort events into the fields."""
        return cls(
            tuple(e for e in events if isinstance(e, SeriesOpened)),
            tuple(e for e in events if isinstance(e, SliceReceived)),
            tuple(e for e in events if isinstance(e, SeriesCompleted)),
            tuple(e for e in events if isinstance(e, SeriesRejected)),
            tuple(e for e in events if isinstance(e, StudyReady)),
        )


@dataclass(frozen=True, eq=False)
class ReplaySeries(Request[ReplayedEvents]):
    """Ask the gateway for events of a series again, at most `limit` from `from_sequence` on."""

    reply_type: ClassVar[type[Reply]] = ReplayedEvents

    series_instance_uid: str
    from_sequence: int
    limit: int = 16


@dataclass(frozen=True, eq=False)
class SeriesList(Reply):
    """All series that the journal knows, newest first."""

    series: tuple[SeriesProgress, ...]


@dataclass(frozen=True, eq=False)
class ListSeries(Request[SeriesList]):
    """Ask the gateway for its series."""

    reply_type: ClassVar[type[Reply]] = SeriesList

    open_only: bool = False


@dataclass(frozen=True, eq=False)
class Acknowledged(Reply):
    """The receiver has made what it was given durable.

    Parameters
    ----------
    is_new : bool
        False where the same was there already.
    """

    is_new: bool = True


@dataclass(frozen=True, eq=False)
class SubmitSegmentation(Request[Acknowledged]):
    """Hand a finished segmentation to the gateway; repeated until acknowledged."""

    reply_type: ClassVar[type[Reply]] = Acknowledged

    result: SegmentationReady


@dataclass(frozen=True, eq=False)
class SubmitFailure(Request[Acknowledged]):
    """Tell the gateway that a series cannot be segmented; repeated until acknowledged."""

    reply_type: ClassVar[type[Reply]] = Acknowledged

    failure: SegmentationFailed


@dataclass(frozen=True, eq=False)
class ReplayedMasks(Reply):
    """Masks of a series from the one asked for, in order."""

    masks: tuple[MaskReady, ...]


@dataclass(frozen=True, eq=False)
class ReplayMasks(Request[ReplayedMasks]):
    """Ask the segmenter for the masks of a series again."""

    served_by: ClassVar[str] = SEGMENTER
    reply_type: ClassVar[type[Reply]] = ReplayedMasks

    series_instance_uid: str
    from_sequence: int = 0
    limit: int = 64


@dataclass(frozen=True, eq=False)
class Health(Reply):
    """How a process is.

    Parameters
    ----------
    is_ready : bool
    problems : tuple of str
        Sentences; empty where all is well.
    metrics : str
        Prometheus text exposition.
    """

    is_ready: bool
    problems: tuple[str, ...] = ()
    metrics: str = ""


@dataclass(frozen=True, eq=False)
class GetGatewayHealth(Request[Health]):
    """Ask the gateway how it is."""

    reply_type: ClassVar[type[Reply]] = Health


@dataclass(frozen=True, eq=False)
class GetSegmenterHealth(Request[Health]):
    """Ask the segmenter how it is."""

    served_by: ClassVar[str] = SEGMENTER
    reply_type: ClassVar[type[Reply]] = Health


@dataclass(frozen=True)
class StoredResult:
    """An object that was made of a series and is still kept.

    Parameters
    ----------
    sop_instance_uid : str
    modality : str
        ``SEG``, ``SR`` or ``SC``.
    version : int
        Of the completion of the series.
    model : str
        Name of the model bundle.
    message : str
        One line for people: what was found.
    created_at_s : float
        Unix time.
    """

    sop_instance_uid: str
    modality: str
    version: int
    model: str = ""
    message: str = ""
    created_at_s: float = 0.0


@dataclass(frozen=True, eq=False)
class ResultList(Reply):
    """Results of a series, oldest first."""

    results: tuple[StoredResult, ...]


@dataclass(frozen=True, eq=False)
class ListResults(Request[ResultList]):
    """Ask the gateway which results of a series, or of a study, it keeps."""

    reply_type: ClassVar[type[Reply]] = ResultList

    series_instance_uid: str


@dataclass(frozen=True, eq=False)
class ResultObject(Reply):
    """A result as the archives have it, with the identity of the patient.

    Parameters
    ----------
    object_bytes : ndarray of uint8, shape (bytes,)
        Part 10 file.
    """

    object_bytes: npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class GetResultObject(Request[ResultObject]):
    """Ask the gateway for a result, because a person downloads it."""

    reply_type: ClassVar[type[Reply]] = ResultObject
    carries_identity: ClassVar[bool] = True

    sop_instance_uid: str


@dataclass(frozen=True, eq=False)
class StoredSegmentation(Reply):
    """A segmentation, read back from its SEG and SR."""

    result: SegmentationReady


@dataclass(frozen=True, eq=False)
class GetSegmentation(Request[StoredSegmentation]):
    """Ask the gateway for the segmentation of a series that is finished; version 0: the newest."""

    reply_type: ClassVar[type[Reply]] = StoredSegmentation

    series_instance_uid: str
    version: int = 0


@dataclass(frozen=True, eq=False)
class Identity(Reply):
    """Who the patient is; fields are empty where the images do not say.

    Parameters
    ----------
    patient_name, patient_id, patient_sex : str
    patient_birth_date, study_date : str
        YYYYMMDD.
    """

    patient_name: str = ""
    patient_id: str = ""
    patient_birth_date: str = ""
    patient_sex: str = ""
    study_date: str = ""


@dataclass(frozen=True, eq=False)
class GetIdentity(Request[Identity]):
    """Ask the gateway who the patient is, because a person switched that on."""

    reply_type: ClassVar[type[Reply]] = Identity
    carries_identity: ClassVar[bool] = True

    series_instance_uid: str


@dataclass(frozen=True, eq=False)
class Probabilities(Reply):
    """Probabilities of the voxels of a series, as far as they are computed.

    Parameters
    ----------
    state : str
        ``computing``: ask again; ``busy``: those of another series are computed, ask again; ``ready``.
    progress : float
        0..1.
    version : int
        Of the completion of the series; 0 while it is not ``ready``.
    keys : tuple of FrameKey
        Slices, ordered along the normal.
    probabilities_kji : ndarray of uint8, shape (slices, rows, columns)
        That a voxel is labelled at all, 0..255 = 0..1; of shape (0, 0, 0) while it is not ``ready``.
    """

    state: str
    progress: float
    version: int
    keys: tuple[FrameKey, ...]
    probabilities_kji: npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class GetProbabilities(Request[Probabilities]):
    """Ask the segmenter for probabilities of a complete series; it computes them when nothing else is to be done."""

    served_by: ClassVar[str] = SEGMENTER
    reply_type: ClassVar[type[Reply]] = Probabilities

    series_instance_uid: str


@dataclass(frozen=True)
class DeliveryProgress:
    """A result on its way to a destination.

    Parameters
    ----------
    modality : str
        ``SEG``, ``SR`` or ``OT``.
    state : str
        ``queued``, ``delivered``, ``committed`` or ``dead-letter``.
    num_attempts : int
        That failed so far.
    message : str
        Why the last one failed; empty once it is delivered.
    delay_s : float
        From the last image of the series to the acknowledgement; 0 before that.
    """

    sop_instance_uid: str
    modality: str
    destination: str
    state: str
    num_attempts: int = 0
    message: str = ""
    delay_s: float = 0.0


@dataclass(frozen=True)
class SeriesDetail:
    """What people want to know of a series beside its `SeriesProgress`.

    Parameters
    ----------
    rule : str
        Rule of the configuration that decided about it; for a study, its name.
    num_expected : int or None
        Slices that the header announces, or that it has once it is complete.
    remedy : str
        What to do about a rejection.
    is_retryable : bool
        Whether `RetrySeries` would do something.
    deliveries : tuple of DeliveryProgress
        Of its newest results.
    """

    series_instance_uid: str
    rule: str = ""
    num_expected: int | None = None
    remedy: str = ""
    is_retryable: bool = False
    deliveries: tuple[DeliveryProgress, ...] = ()


@dataclass(frozen=True, eq=False)
class SeriesDetails(Reply):
    """Details of series, newest first."""

    series: tuple[SeriesDetail, ...]


@dataclass(frozen=True, eq=False)
class DescribeSeries(Request[SeriesDetails]):
    """Ask the gateway for details of its newest series."""

    reply_type: ClassVar[type[Reply]] = SeriesDetails

    limit: int = 50


@dataclass(frozen=True, eq=False)
class Retried(Reply):
    """What was set going again.

    Parameters
    ----------
    is_judged_again : bool
        The series begins anew, by the rules and the policy of today; its end is told by events.
    num_deliveries : int
        Results that are due now.
    """

    is_judged_again: bool
    num_deliveries: int = 0


@dataclass(frozen=True, eq=False)
class RetrySeries(Request[Retried]):
    """Ask the gateway to judge a rejected or failed series again, or to deliver what it gave up."""

    reply_type: ClassVar[type[Reply]] = Retried

    series_instance_uid: str


REQUEST_TYPES: tuple[type[Request[Reply]], ...] = (
    ReplaySeries, ListSeries, SubmitSegmentation, SubmitFailure, ReplayMasks, GetGatewayHealth, GetSegmenterHealth,
    ListResults, GetResultObject, GetSegmentation, GetIdentity, GetProbabilities,
    DescribeSeries, RetrySeries,
)  # fmt: skip
