"""Which event travels on which topic, which request goes to which service, and as what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from neuroscan_msgs import msg as msgs
from neuroscan_msgs import srv as srvs
from rclpy.qos import QoSProfile

from neuroscan_core.domain.errors import BusError
from neuroscan_core.domain.events import (
    GATEWAY,
    SEGMENTER,
    Event,
    MaskReady,
    SegmentationReady,
    SliceReceived,
)
from neuroscan_core.domain.requests import (
    DescribeSeries,
    GetGatewayHealth,
    GetProbabilities,
    GetSegmentation,
    GetSegmenterHealth,
    ListResults,
    ListSeries,
    ReplayMasks,
    ReplaySeries,
    Reply,
    Request,
    RetrySeries,
    SubmitFailure,
    SubmitSegmentation,
)
from neuroscan_ros import conversions, qos
from neuroscan_ros.conversions import STATUS_TYPES


@dataclass(frozen=True)
class Topic:
    """A topic of the bus.

    Parameters
    ----------
    name : str
        Relative.
    message_type : type
    to_msg, from_msg : callable
        Event -> message, and back.
    publishers : tuple of str
        Roles that publish on it.
    kept : int
        Depth of a publisher that keeps messages for those who join later; 0 where nothing is kept.
    """

    name: str
    message_type: type[Any]
    to_msg: Callable[[Any], Any]
    from_msg: Callable[[Any], Event]
    publishers: tuple[str, ...]
    kept: int = 0

    def publisher_qos(self, queue_events: int) -> QoSProfile:
        """Quality of service of a publisher."""
        return qos.latched(self.kept) if self.kept else qos.stream(queue_events)


SLICES = Topic(qos.SLICES, msgs.Slice, conversions.slice_to_msg, conversions.slice_from_msg, (GATEWAY,))
SERIES = Topic(
    qos.SERIES, msgs.SeriesStatus, conversions.status_to_msg, conversions.status_from_msg, (GATEWAY, SEGMENTER)
)
MASKS = Topic(qos.MASKS, msgs.Mask, conversions.mask_to_msg, conversions.mask_from_msg, (SEGMENTER,))
SEGMENTATIONS = Topic(
    qos.SEGMENTATIONS,
    msgs.Segmentation,
    conversions.segmentation_to_msg,
    conversions.segmentation_from_msg,
    (SEGMENTER,),
    qos.SEGMENTATIONS_KEPT,
)
TOPICS = (SLICES, SERIES, MASKS, SEGMENTATIONS)

_OWN_TOPICS: dict[type[Event], Topic] = {SliceReceived: SLICES, MaskReady: MASKS, SegmentationReady: SEGMENTATIONS}
_EVENT_TYPES: dict[type[Any], type[Event]] = {
    topic.message_type: event_type for event_type, topic in _OWN_TOPICS.items()
}
_STATUS_EVENTS = frozenset(STATUS_TYPES.values())


def topic_of(event_type: type[Event]) -> Topic:
    """Topic on which events of a type travel; `BusError` where there is none."""
    topic = _OWN_TOPICS.get(event_type, SERIES if event_type in _STATUS_EVENTS else None)
    if topic is None:
        raise BusError(f"{event_type.__name__} does not travel under ROS.")
    return topic


def event_type_of(message: Any) -> type[Event] | None:
    """Type of the event that a message tells of, before it is read; None for an unknown kind of status."""
    return _EVENT_TYPES.get(type(message)) or STATUS_TYPES.get(message.kind)


@dataclass(frozen=True)
class Service:
    """A service of the bus.

    Parameters
    ----------
    name : str
        Relative.
    service_type : type
    request_to_msg, request_from_msg, reply_to_msg, reply_from_msg : callable
        As their names say.
    """

    name: str
    service_type: type[Any]
    request_to_msg: Callable[[Any], Any]
    request_from_msg: Callable[[Any], Any]
    reply_to_msg: Callable[[Any], Any]
    reply_from_msg: Callable[[Any], Reply]


SERVICES: dict[type[Request[Any]], Service] = {
    ReplaySeries: Service(
        qos.REPLAY_SERIES,
        srvs.ReplaySeries,
        conversions.replay_series_to_msg,
        conversions.replay_series_from_msg,
        conversions.replayed_events_to_msg,
        conversions.replayed_events_from_msg,
    ),
    ListSeries: Service(
        qos.LIST_SERIES,
        srvs.ListSeries,
        conversions.list_series_to_msg,
        conversions.list_series_from_msg,
        conversions.series_list_to_msg,
        conversions.series_list_from_msg,
    ),
    ReplayMasks: Service(
        qos.REPLAY_MASKS,
        srvs.ReplayMasks,
        conversions.replay_masks_to_msg,
        conversions.replay_masks_from_msg,
        conversions.replayed_masks_to_msg,
        conversions.replayed_masks_from_msg,
    ),
    DescribeSeries: Service(
        qos.DESCRIBE_SERIES,
        srvs.DescribeSeries,
        conversions.describe_series_to_msg,
        conversions.describe_series_from_msg,
        conversions.series_details_to_msg,
        conversions.series_details_from_msg,
    ),
    RetrySeries: Service(
        qos.RETRY_SERIES,
        srvs.RetrySeries,
        conversions.retry_series_to_msg,
        conversions.retry_series_from_msg,
        conversions.retried_to_msg,
        conversions.retried_from_msg,
    ),
    ListResults: Service(
        qos.LIST_RESULTS,
        srvs.ListResults,
        conversions.list_results_to_msg,
        conversions.list_results_from_msg,
        conversions.result_list_to_msg,
        conversions.result_list_from_msg,
    ),
    GetSegmentation: Service(
        qos.GET_SEGMENTATION,
        srvs.GetSegmentation,
        conversions.get_segmentation_to_msg,
        conversions.get_segmentation_from_msg,
        conversions.stored_segmentation_to_msg,
        conversions.stored_segmentation_from_msg,
    ),
    GetProbabilities: Service(
        qos.GET_PROBABILITIES,
        srvs.GetProbabilities,
        conversions.get_probabilities_to_msg,
        conversions.get_probabilities_from_msg,
        conversions.probabilities_to_msg,
        conversions.probabilities_from_msg,
    ),
    SubmitSegmentation: Service(
        qos.SUBMIT_SEGMENTATION,
        srvs.SubmitSegmentation,
        conversions.submit_segmentation_to_msg,
        conversions.submit_segmentation_from_msg,
        conversions.segmentation_acknowledged_to_msg,
        conversions.acknowledged_from_msg,
    ),
    SubmitFailure: Service(
        qos.SUBMIT_FAILURE,
        srvs.SubmitFailure,
        conversions.submit_failure_to_msg,
        conversions.submit_failure_from_msg,
        conversions.failure_acknowledged_to_msg,
        conversions.acknowledged_from_msg,
    ),
    GetGatewayHealth: Service(
        qos.GATEWAY_HEALTH,
        srvs.GetHealth,
        conversions.get_health_to_msg,
        conversions.get_gateway_health_from_msg,
        conversions.health_to_msg,
        conversions.health_from_msg,
    ),
    GetSegmenterHealth: Service(
        qos.SEGMENTER_HEALTH,
        srvs.GetHealth,
        conversions.get_health_to_msg,
        conversions.get_segmenter_health_from_msg,
        conversions.health_to_msg,
        conversions.health_from_msg,
    ),
}


def service_of(request_type: type[Request[Any]]) -> Service:
    """Service that answers requests of a type; `BusError` where there is none.

    Requests whose reply says who the patient is have none: ROS has no login, and whoever is in the domain could ask.
    """
    service = SERVICES.get(request_type)
    if service is None:
        raise BusError(f"{request_type.__name__} is not asked for under ROS.")
    return service
