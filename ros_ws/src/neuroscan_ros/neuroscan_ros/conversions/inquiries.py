"""What viewers ask of finished and failed series, as what ROS services take and give."""

from __future__ import annotations

from neuroscan_msgs import srv as srvs

from neuroscan_core.domain.errors import WireFormatError
from neuroscan_core.domain.requests import (
    DescribeSeries,
    GetProbabilities,
    GetSegmentation,
    ListResults,
    Probabilities,
    ResultList,
    Retried,
    RetrySeries,
    SeriesDetails,
    StoredSegmentation,
)
from neuroscan_ros.conversions.checks import count, fill, text, uid, view
from neuroscan_ros.conversions.results import segmentation_from_msg, segmentation_to_msg
from neuroscan_ros.conversions.values import (
    frame_key_from_msg,
    frame_key_to_msg,
    series_detail_from_msg,
    series_detail_to_msg,
    stored_result_from_msg,
    stored_result_to_msg,
)


def describe_series_to_msg(request: DescribeSeries) -> srvs.DescribeSeries.Request:
    """Ask for details of the newest series."""
    return srvs.DescribeSeries.Request(limit=count(request.limit, "A limit"))


def describe_series_from_msg(message: srvs.DescribeSeries.Request) -> DescribeSeries:
    """Ask for details of the newest series."""
    return DescribeSeries(message.limit)


def series_details_to_msg(reply: SeriesDetails) -> srvs.DescribeSeries.Response:
    """Details of series."""
    return srvs.DescribeSeries.Response(series=list(map(series_detail_to_msg, reply.series)))


def series_details_from_msg(message: srvs.DescribeSeries.Response) -> SeriesDetails:
    """Details of series."""
    return SeriesDetails(tuple(map(series_detail_from_msg, message.series)))


def retry_series_to_msg(request: RetrySeries) -> srvs.RetrySeries.Request:
    """Ask to try a series again."""
    return srvs.RetrySeries.Request(series_instance_uid=text(request.series_instance_uid))


def retry_series_from_msg(message: srvs.RetrySeries.Request) -> RetrySeries:
    """Ask to try a series again."""
    return RetrySeries(uid(message.series_instance_uid, "The UID of a series"))


def retried_to_msg(reply: Retried) -> srvs.RetrySeries.Response:
    """What was set going again."""
    return srvs.RetrySeries.Response(
        is_judged_again=bool(reply.is_judged_again), num_deliveries=count(reply.num_deliveries, "The number of results")
    )


def retried_from_msg(message: srvs.RetrySeries.Response) -> Retried:
    """What was set going again."""
    return Retried(message.is_judged_again, message.num_deliveries)


def list_results_to_msg(request: ListResults) -> srvs.ListResults.Request:
    """Ask for the results of a series."""
    return srvs.ListResults.Request(series_instance_uid=text(request.series_instance_uid))


def list_results_from_msg(message: srvs.ListResults.Request) -> ListResults:
    """Ask for the results of a series."""
    return ListResults(uid(message.series_instance_uid, "The UID of a series"))


def result_list_to_msg(reply: ResultList) -> srvs.ListResults.Response:
    """Results of a series."""
    return srvs.ListResults.Response(results=list(map(stored_result_to_msg, reply.results)))


def result_list_from_msg(message: srvs.ListResults.Response) -> ResultList:
    """Results of a series."""
    return ResultList(tuple(map(stored_result_from_msg, message.results)))


def get_segmentation_to_msg(request: GetSegmentation) -> srvs.GetSegmentation.Request:
    """Ask for the segmentation of a finished series."""
    return srvs.GetSegmentation.Request(
        series_instance_uid=text(request.series_instance_uid), version=count(request.version, "A version")
    )


def get_segmentation_from_msg(message: srvs.GetSegmentation.Request) -> GetSegmentation:
    """Ask for the segmentation of a finished series."""
    return GetSegmentation(uid(message.series_instance_uid, "The UID of a series"), message.version)


def stored_segmentation_to_msg(reply: StoredSegmentation) -> srvs.GetSegmentation.Response:
    """The segmentation of a finished series; its label map is copied."""
    return srvs.GetSegmentation.Response(segmentation=segmentation_to_msg(reply.result))


def stored_segmentation_from_msg(message: srvs.GetSegmentation.Response) -> StoredSegmentation:
    """The segmentation of a finished series; its label map is a read-only view of the message."""
    return StoredSegmentation(segmentation_from_msg(message.segmentation))


def get_probabilities_to_msg(request: GetProbabilities) -> srvs.GetProbabilities.Request:
    """Ask for the probabilities of a complete series."""
    return srvs.GetProbabilities.Request(series_instance_uid=text(request.series_instance_uid))


def get_probabilities_from_msg(message: srvs.GetProbabilities.Request) -> GetProbabilities:
    """Ask for the probabilities of a complete series."""
    return GetProbabilities(uid(message.series_instance_uid, "The UID of a series"))


def probabilities_to_msg(reply: Probabilities) -> srvs.GetProbabilities.Response:
    """Probabilities of a series; they are copied."""
    num_slices, rows, columns = reply.probabilities_kji.shape
    if len(reply.keys) != num_slices:
        raise WireFormatError(f"There are probabilities of {num_slices} slices and keys of {len(reply.keys)}.")
    message = srvs.GetProbabilities.Response(
        state=text(reply.state),
        progress=float(reply.progress),
        version=count(reply.version, "A version"),
        keys=list(map(frame_key_to_msg, reply.keys)),
        rows=count(rows, "The number of rows"),
        columns=count(columns, "The number of columns"),
    )
    fill(message.probabilities, reply.probabilities_kji, "u1")
    return message


def probabilities_from_msg(message: srvs.GetProbabilities.Response) -> Probabilities:
    """Probabilities of a series; they are a read-only view of the message."""
    if not 0 <= message.progress <= 1:
        raise WireFormatError(f"Probabilities are done to {message.progress}; that lies between 0 and 1.")
    shape = (len(message.keys), message.rows, message.columns)
    return Probabilities(
        message.state,
        message.progress,
        message.version,
        tuple(map(frame_key_from_msg, message.keys)),
        view(message.probabilities, "u1", shape, "The probabilities"),
    )
