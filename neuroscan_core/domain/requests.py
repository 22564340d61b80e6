"""What is asked for on the bus: requests and the replies to them.

No message carries a name, a birth date or a patient ID.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

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
    """

    served_by: ClassVar[str] = GATEWAY
    reply_type: ClassVar[type[Reply]] = Reply


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


REQUEST_TYPES: tuple[type[Request[Reply]], ...] = (
    ReplaySeries, ListSeries, SubmitSegmentation, SubmitFailure, ReplayMasks, GetGatewayHealth, GetSegmenterHealth,
)  # fmt: skip
