"""Requests and replies as what ROS services take and give."""

from __future__ import annotations

from typing import cast

from neuroscan_msgs import srv as srvs

from neuroscan_core.domain.errors import WireFormatError
from neuroscan_core.domain.events import SegmentationFailed, SeriesEvent, SliceReceived
from neuroscan_core.domain.requests import (
    Acknowledged,
    GetGatewayHealth,
    GetSegmenterHealth,
    Health,
    ListSeries,
    ReplayedEvents,
    ReplayedMasks,
    ReplayMasks,
    ReplaySeries,
    SeriesList,
    SubmitFailure,
    SubmitSegmentation,
)
from neuroscan_ros.conversions.checks import count, text, uid
from neuroscan_ros.conversions.results import mask_from_msg, mask_to_msg, segmentation_from_msg, segmentation_to_msg
from neuroscan_ros.conversions.series import slice_from_msg, slice_to_msg, status_from_msg, status_to_msg
from neuroscan_ros.conversions.values import progress_from_msg, progress_to_msg


def replay_series_to_msg(request: ReplaySeries) -> srvs.ReplaySeries.Request:
    """Ask for events of a series again."""
    return srvs.ReplaySeries.Request(
        series_instance_uid=text(request.series_instance_uid),
        from_sequence=count(request.from_sequence, "A sequence number"),
        limit=count(request.limit, "A limit"),
    )


def replay_series_from_msg(message: srvs.ReplaySeries.Request) -> ReplaySeries:
    """Ask for events of a series again."""
    series = uid(message.series_instance_uid, "The UID of a series")
    return ReplaySeries(series, message.from_sequence, message.limit)


def replayed_events_to_msg(reply: ReplayedEvents) -> srvs.ReplaySeries.Response:
    """Events of a series."""
    statuses = sorted(
        (*reply.opened, *reply.completed, *reply.rejected, *reply.studies), key=lambda event: event.sequence
    )
    return srvs.ReplaySeries.Response(
        slices=list(map(slice_to_msg, reply.slices)), statuses=list(map(status_to_msg, statuses))
    )


def replayed_events_from_msg(message: srvs.ReplaySeries.Response) -> ReplayedEvents:
    """Events of a series."""
    events: list[SeriesEvent] = []
    for status in map(status_from_msg, message.statuses):
        if not isinstance(status, SeriesEvent) or isinstance(status, SliceReceived):
            raise WireFormatError(f"A replay holds {type(status).__name__}, which is not a numbered event of a series.")
        events.append(status)
    return ReplayedEvents.of([*events, *map(slice_from_msg, message.slices)])


def list_series_to_msg(request: ListSeries) -> srvs.ListSeries.Request:
    """Ask for the series that the journal knows."""
    return srvs.ListSeries.Request(open_only=bool(request.open_only))


def list_series_from_msg(message: srvs.ListSeries.Request) -> ListSeries:
    """Ask for the series that the journal knows."""
    return ListSeries(message.open_only)


def series_list_to_msg(reply: SeriesList) -> srvs.ListSeries.Response:
    """The series that the journal knows."""
    return srvs.ListSeries.Response(series=list(map(progress_to_msg, reply.series)))


def series_list_from_msg(message: srvs.ListSeries.Response) -> SeriesList:
    """The series that the journal knows."""
    return SeriesList(tuple(map(progress_from_msg, message.series)))


def replay_masks_to_msg(request: ReplayMasks) -> srvs.ReplayMasks.Request:
    """Ask for masks of a series again."""
    return srvs.ReplayMasks.Request(
        series_instance_uid=text(request.series_instance_uid),
        from_sequence=count(request.from_sequence, "A sequence number"),
        limit=count(request.limit, "A limit"),
    )


def replay_masks_from_msg(message: srvs.ReplayMasks.Request) -> ReplayMasks:
    """Ask for masks of a series again."""
    series = uid(message.series_instance_uid, "The UID of a series")
    return ReplayMasks(series, message.from_sequence, message.limit)


def replayed_masks_to_msg(reply: ReplayedMasks) -> srvs.ReplayMasks.Response:
    """Masks of a series."""
    return srvs.ReplayMasks.Response(masks=list(map(mask_to_msg, reply.masks)))


def replayed_masks_from_msg(message: srvs.ReplayMasks.Response) -> ReplayedMasks:
    """Masks of a series."""
    return ReplayedMasks(tuple(map(mask_from_msg, message.masks)))


def submit_segmentation_to_msg(request: SubmitSegmentation) -> srvs.SubmitSegmentation.Request:
    """Hand a finished segmentation over."""
    return srvs.SubmitSegmentation.Request(segmentation=segmentation_to_msg(request.result))


def submit_segmentation_from_msg(message: srvs.SubmitSegmentation.Request) -> SubmitSegmentation:
    """Hand a finished segmentation over."""
    return SubmitSegmentation(segmentation_from_msg(message.segmentation))


def segmentation_acknowledged_to_msg(reply: Acknowledged) -> srvs.SubmitSegmentation.Response:
    """The segmentation is durable."""
    return srvs.SubmitSegmentation.Response(is_new=bool(reply.is_new))


def submit_failure_to_msg(request: SubmitFailure) -> srvs.SubmitFailure.Request:
    """Tell that a series cannot be segmented."""
    return srvs.SubmitFailure.Request(failure=status_to_msg(request.failure))


def submit_failure_from_msg(message: srvs.SubmitFailure.Request) -> SubmitFailure:
    """Tell that a series cannot be segmented."""
    failure = status_from_msg(message.failure)
    if not isinstance(failure, SegmentationFailed):
        raise WireFormatError(f"A failure was to be submitted, and {type(failure).__name__} came.")
    return SubmitFailure(failure)


def failure_acknowledged_to_msg(reply: Acknowledged) -> srvs.SubmitFailure.Response:
    """The failure is known."""
    return srvs.SubmitFailure.Response(is_new=bool(reply.is_new))


def acknowledged_from_msg(message: srvs.SubmitSegmentation.Response | srvs.SubmitFailure.Response) -> Acknowledged:
    """What was submitted is durable."""
    return Acknowledged(message.is_new)


def get_health_to_msg(_: GetGatewayHealth | GetSegmenterHealth) -> srvs.GetHealth.Request:
    """Ask how a process is."""
    return srvs.GetHealth.Request()


def get_gateway_health_from_msg(_: srvs.GetHealth.Request) -> GetGatewayHealth:
    """Ask the gateway how it is."""
    return GetGatewayHealth()


def get_segmenter_health_from_msg(_: srvs.GetHealth.Request) -> GetSegmenterHealth:
    """Ask the segmenter how it is."""
    return GetSegmenterHealth()


def health_to_msg(reply: Health) -> srvs.GetHealth.Response:
    """How a process is."""
    return srvs.GetHealth.Response(
        is_ready=bool(reply.is_ready), problems=list(map(text, reply.problems)), metrics=text(reply.metrics)
    )


def health_from_msg(message: srvs.GetHealth.Response) -> Health:
    """How a process is."""
    return Health(message.is_ready, tuple(cast("list[str]", message.problems)), message.metrics)
