"""What is told of series: slices, and everything that travels as a `SeriesStatus`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

from neuroscan_msgs import msg as msgs

from neuroscan_core.domain.errors import RejectionCode, WireFormatError
from neuroscan_core.domain.events import (
    Event,
    GatewayHeartbeat,
    ResultDelivered,
    SegmentationFailed,
    SeriesCompleted,
    SeriesOpened,
    SeriesRejected,
    SliceReceived,
    StudyReady,
)
from neuroscan_ros.conversions.checks import (
    MAX_INT32,
    MIN_INT32,
    count,
    fill,
    integer,
    reading,
    text,
    uid,
    view,
)
from neuroscan_ros.conversions.values import (
    frame_key_from_msg,
    frame_key_to_msg,
    progress_from_msg,
    progress_to_msg,
    slice_geometry_from_msg,
    slice_geometry_to_msg,
    stack_geometry_from_msg,
    stack_geometry_to_msg,
    study_source_from_msg,
    study_source_to_msg,
    time_from_msg,
    time_to_msg,
)
from neuroscan_ros.qos import PATIENT_FRAME

Status = msgs.SeriesStatus

STATUS_TYPES: dict[int, type[Event]] = {
    Status.OPENED: SeriesOpened,
    Status.COMPLETED: SeriesCompleted,
    Status.REJECTED: SeriesRejected,
    Status.STUDY_READY: StudyReady,
    Status.DELIVERED: ResultDelivered,
    Status.FAILED: SegmentationFailed,
    Status.HEARTBEAT: GatewayHeartbeat,
}
STATUS_KINDS = {event_type: kind for kind, event_type in STATUS_TYPES.items()}


def slice_to_msg(event: SliceReceived) -> msgs.Slice:
    """A slice; its pixels are copied."""
    if event.pixels_ji.shape != event.geometry.shape:
        raise WireFormatError(
            f"Pixels of shape {event.pixels_ji.shape} do not fit a geometry of {event.geometry.shape}."
        )
    message = msgs.Slice()
    message.header.frame_id = PATIENT_FRAME
    message.series_instance_uid = text(event.series_instance_uid)
    message.sequence = count(event.sequence, "A sequence number")
    message.key = frame_key_to_msg(event.key)
    message.geometry = slice_geometry_to_msg(event.geometry)
    message.received_at = time_to_msg(event.received_at_s)
    fill(message.pixels, event.pixels_ji, "<f4")
    return message


def slice_from_msg(message: msgs.Slice) -> SliceReceived:
    """A slice; its pixels are a read-only view of the message."""
    geometry = slice_geometry_from_msg(message.geometry)
    return SliceReceived(
        uid(message.series_instance_uid, "The UID of a series"),
        message.sequence,
        frame_key_from_msg(message.key),
        geometry,
        view(message.pixels, "<f4", geometry.shape, "A slice"),
        time_from_msg(message.received_at),
    )


def status_to_msg(event: Event) -> msgs.SeriesStatus:
    """Any event that travels on neuroscan/series."""
    kind = STATUS_KINDS.get(type(event))
    if kind is None:
        raise WireFormatError(f"{type(event).__name__} does not travel as a SeriesStatus.")
    message = Status(kind=kind)
    if not isinstance(event, GatewayHeartbeat):
        message.series_instance_uid = text(cast(Any, event).series_instance_uid)
    write, _ = _CONVERSIONS[kind]
    write(message, event)
    return message


def status_from_msg(message: msgs.SeriesStatus) -> Event:
    """The event that a status tells of."""
    conversions = _CONVERSIONS.get(message.kind)
    if conversions is None:
        raise WireFormatError(
            f"A SeriesStatus is of the unknown kind {message.kind}.",
            remedy="Run the same version of NeuroScan everywhere.",
        )
    if message.kind != Status.HEARTBEAT:
        uid(message.series_instance_uid, "The UID of a series")
    _, read = conversions
    with reading("SeriesStatus"):
        return read(message)


def _write_opened(message: msgs.SeriesStatus, event: SeriesOpened) -> None:
    _write_sequence(message, event.sequence)
    _write_choice(message, event)
    spacing_mm, num_expected = event.slice_spacing_mm, event.num_expected  # hints from a header that may hold anything
    is_distance = spacing_mm is not None and 0 < spacing_mm < math.inf
    message.slice_spacing_mm = float(cast(float, spacing_mm)) if is_distance else math.nan
    message.num_expected = num_expected if num_expected is not None and 0 <= num_expected <= MAX_INT32 else -1
    message.modality, message.description = text(event.modality), text(event.description)
    message.opened_at = time_to_msg(event.opened_at_s)


def _read_opened(message: msgs.SeriesStatus) -> SeriesOpened:
    spacing_mm, num_expected = message.slice_spacing_mm, message.num_expected
    assert num_expected >= -1, f"{num_expected} slices are expected"
    assert math.isnan(spacing_mm) or 0 < spacing_mm < math.inf, f"slices are {spacing_mm} mm apart"
    return SeriesOpened(
        message.series_instance_uid,
        message.sequence,
        message.model,
        message.priority,
        None if math.isnan(spacing_mm) else spacing_mm,
        None if num_expected == -1 else num_expected,
        message.modality,
        message.description,
        time_from_msg(message.opened_at),
        message.triage,
    )


def _write_completed(message: msgs.SeriesStatus, event: SeriesCompleted) -> None:
    _write_sequence(message, event.sequence)
    message.manifest = list(map(frame_key_to_msg, event.manifest))
    message.geometry = stack_geometry_to_msg(event.geometry)
    message.version = count(event.version, "A version")
    message.reason = text(event.reason)
    message.last_received_at = time_to_msg(event.last_received_at_s)


def _read_completed(message: msgs.SeriesStatus) -> SeriesCompleted:
    return SeriesCompleted(
        message.series_instance_uid,
        message.sequence,
        tuple(map(frame_key_from_msg, message.manifest)),
        stack_geometry_from_msg(message.geometry),
        message.version,
        message.reason,
        time_from_msg(message.last_received_at),
    )


def _write_rejected(message: msgs.SeriesStatus, event: SeriesRejected) -> None:
    _write_sequence(message, event.sequence)
    message.code, message.message, message.remedy = event.code.value, text(event.message), text(event.remedy)


def _read_rejected(message: msgs.SeriesStatus) -> SeriesRejected:
    code = RejectionCode(message.code)
    return SeriesRejected(message.series_instance_uid, message.sequence, code, message.message, message.remedy)


def _write_study(message: msgs.SeriesStatus, event: StudyReady) -> None:
    _write_sequence(message, event.sequence)
    _write_choice(message, event)
    message.sources = list(map(study_source_to_msg, event.sources))
    message.reference = text(event.reference)
    message.version = count(event.version, "A version")
    message.warnings = list(map(text, event.warnings))


def _read_study(message: msgs.SeriesStatus) -> StudyReady:
    names = [source.sequence_name for source in message.sources]
    assert len(set(names)) == len(names), "a sequence is there twice"
    assert message.reference in names, "the reference is not among the sources"
    return StudyReady(
        message.series_instance_uid,
        message.sequence,
        message.model,
        tuple(map(study_source_from_msg, message.sources)),
        message.reference,
        message.version,
        message.priority,
        message.triage,
        tuple(message.warnings),
    )


def _write_delivered(message: msgs.SeriesStatus, event: ResultDelivered) -> None:
    message.sop_instance_uid = text(event.sop_instance_uid)
    message.modality, message.destination = text(event.modality), text(event.destination)
    message.is_committed, message.delay_s = bool(event.is_committed), float(event.delay_s)


def _read_delivered(message: msgs.SeriesStatus) -> ResultDelivered:
    return ResultDelivered(
        message.series_instance_uid,
        uid(message.sop_instance_uid, "The SOP instance UID of a result"),
        message.modality,
        message.destination,
        message.is_committed,
        message.delay_s,
    )


def _write_failed(message: msgs.SeriesStatus, event: SegmentationFailed) -> None:
    message.version = count(event.version, "A version")
    message.code, message.message = text(event.code), text(event.message)


def _read_failed(message: msgs.SeriesStatus) -> SegmentationFailed:
    return SegmentationFailed(message.series_instance_uid, message.version, message.code, message.message)


def _write_heartbeat(message: msgs.SeriesStatus, event: GatewayHeartbeat) -> None:
    message.open_series = list(map(progress_to_msg, event.open_series))


def _read_heartbeat(message: msgs.SeriesStatus) -> GatewayHeartbeat:
    return GatewayHeartbeat(tuple(map(progress_from_msg, message.open_series)))


def _write_sequence(message: msgs.SeriesStatus, sequence: int) -> None:
    message.sequence = count(sequence, "A sequence number")


def _write_choice(message: msgs.SeriesStatus, event: SeriesOpened | StudyReady) -> None:
    message.model, message.triage = text(event.model), text(event.triage)
    message.priority = integer(event.priority, MIN_INT32, MAX_INT32, "A priority")


_CONVERSIONS: dict[int, tuple[Callable[[Any, Any], None], Callable[[Any], Event]]] = {
    Status.OPENED: (_write_opened, _read_opened),
    Status.COMPLETED: (_write_completed, _read_completed),
    Status.REJECTED: (_write_rejected, _read_rejected),
    Status.STUDY_READY: (_write_study, _read_study),
    Status.DELIVERED: (_write_delivered, _read_delivered),
    Status.FAILED: (_write_failed, _read_failed),
    Status.HEARTBEAT: (_write_heartbeat, _read_heartbeat),
}
