"""Times, keys, geometries and what else messages are made of."""

from __future__ import annotations

import math

import numpy as np
from builtin_interfaces.msg import Time
from neuroscan_msgs import msg as msgs

from neuroscan_core.bus.wire import Failure
from neuroscan_core.domain.codes import Code
from neuroscan_core.domain.errors import WireFormatError
from neuroscan_core.domain.events import SeriesProgress, StudySource
from neuroscan_core.domain.geometry import SliceGeometry, StackGeometry
from neuroscan_core.domain.requests import DeliveryProgress, SeriesDetail, StoredResult
from neuroscan_core.domain.segmentation import ModelIdentity
from neuroscan_core.domain.volume import FrameKey
from neuroscan_ros.conversions.checks import MAX_INT32, MIN_INT32, count, integer, positive, reading, text, uid

NANOSECONDS = 1_000_000_000


def time_to_msg(time_s: float) -> Time:
    """Unix time in seconds; rounded to nanoseconds, which is finer than a float of our days."""
    if not math.isfinite(time_s):
        raise WireFormatError(f"A time is {time_s} s.")
    seconds = math.floor(time_s)
    nanoseconds = round((time_s - seconds) * NANOSECONDS)
    if nanoseconds == NANOSECONDS:
        seconds, nanoseconds = seconds + 1, 0
    return Time(sec=integer(seconds, MIN_INT32, MAX_INT32, "A time in seconds"), nanosec=nanoseconds)


def time_from_msg(message: Time) -> float:
    """Unix time in seconds."""
    if message.nanosec >= NANOSECONDS:
        raise WireFormatError(f"A time has {message.nanosec} nanoseconds beside its seconds.")
    return float(message.sec + message.nanosec / NANOSECONDS)


def frame_key_to_msg(key: FrameKey) -> msgs.FrameKey:
    """Identity of a slice."""
    return msgs.FrameKey(
        sop_instance_uid=text(key.sop_instance_uid), frame_number=count(key.frame_number, "A frame number")
    )


def frame_key_from_msg(message: msgs.FrameKey) -> FrameKey:
    """Identity of a slice."""
    if message.frame_number < 1:
        raise WireFormatError("A frame number is 0; frames are counted from 1.")
    return FrameKey(uid(message.sop_instance_uid, "The SOP instance UID of a slice"), message.frame_number)


def slice_geometry_to_msg(geometry: SliceGeometry) -> msgs.SliceGeometry:
    """Position of a slice, LPS in mm."""
    message = msgs.SliceGeometry()
    message.position_mm = np.array(geometry.position_mm, np.float64)
    message.orientation = np.array(geometry.orientation, np.float64)
    message.spacing_mm = np.array(geometry.spacing_mm, np.float64)
    message.rows = count(geometry.shape[0], "The number of rows")
    message.columns = count(geometry.shape[1], "The number of columns")
    message.frame_of_reference_uid = text(geometry.frame_of_reference_uid)
    return message


def slice_geometry_from_msg(message: msgs.SliceGeometry) -> SliceGeometry:
    """Position of a slice, LPS in mm."""
    with reading("SliceGeometry"):
        return SliceGeometry(
            tuple(message.position_mm.tolist()),
            tuple(message.orientation.tolist()),
            tuple(message.spacing_mm.tolist()),
            (message.rows, message.columns),
            message.frame_of_reference_uid,
        )


def stack_geometry_to_msg(geometry: StackGeometry) -> msgs.StackGeometry:
    """Position of a stack, LPS in mm."""
    return msgs.StackGeometry(
        first=slice_geometry_to_msg(geometry.first),
        spacing_mm=float(geometry.spacing_mm),
        num_slices=count(geometry.num_slices, "The number of slices"),
    )


def stack_geometry_from_msg(message: msgs.StackGeometry) -> StackGeometry:
    """Position of a stack, LPS in mm."""
    spacing_mm = positive(message.spacing_mm, "The distance of slices")
    return StackGeometry(slice_geometry_from_msg(message.first), spacing_mm, message.num_slices)


def model_to_msg(model: ModelIdentity) -> msgs.Model:
    """Which model made a result."""
    return msgs.Model(
        name=text(model.name), version=text(model.version), sha256=text(model.sha256), engine=text(model.engine)
    )


def model_from_msg(message: msgs.Model) -> ModelIdentity:
    """Which model made a result."""
    return ModelIdentity(message.name, message.version, message.sha256, message.engine)


def code_to_msg(code: Code) -> msgs.Code:
    """A coded concept."""
    return msgs.Code(value=text(code.value), scheme=text(code.scheme), meaning=text(code.meaning))


def code_from_msg(message: msgs.Code) -> Code:
    """A coded concept."""
    return Code(message.value, message.scheme, message.meaning)


def progress_to_msg(progress: SeriesProgress) -> msgs.SeriesProgress:
    """State of a series."""
    return msgs.SeriesProgress(
        series_instance_uid=text(progress.series_instance_uid),
        state=text(progress.state),
        num_events=count(progress.num_events, "The number of events"),
        num_slices=count(progress.num_slices, "The number of slices"),
        version=count(progress.version, "A version"),
        is_open=bool(progress.is_open),
        model=text(progress.model),
        modality=text(progress.modality),
        description=text(progress.description),
        reason=text(progress.reason),
        message=text(progress.message),
        opened_at=time_to_msg(progress.opened_at_s),
        priority=integer(progress.priority, MIN_INT32, MAX_INT32, "A priority"),
    )


def progress_from_msg(message: msgs.SeriesProgress) -> SeriesProgress:
    """State of a series."""
    return SeriesProgress(
        series_instance_uid=uid(message.series_instance_uid, "The UID of a series"),
        state=message.state,
        num_events=message.num_events,
        num_slices=message.num_slices,
        version=message.version,
        is_open=message.is_open,
        model=message.model,
        modality=message.modality,
        description=message.description,
        reason=message.reason,
        opened_at_s=time_from_msg(message.opened_at),
        priority=message.priority,
        message=message.message,
    )


def delivery_to_msg(delivery: DeliveryProgress) -> msgs.DeliveryProgress:
    """A result on its way to an archive."""
    return msgs.DeliveryProgress(
        sop_instance_uid=text(delivery.sop_instance_uid),
        modality=text(delivery.modality),
        destination=text(delivery.destination),
        state=text(delivery.state),
        num_attempts=count(delivery.num_attempts, "The number of attempts"),
        message=text(delivery.message),
        delay_s=float(delivery.delay_s),
    )


def delivery_from_msg(message: msgs.DeliveryProgress) -> DeliveryProgress:
    """A result on its way to an archive."""
    return DeliveryProgress(
        uid(message.sop_instance_uid, "The SOP instance UID of a result"),
        message.modality,
        message.destination,
        message.state,
        message.num_attempts,
        message.message,
        message.delay_s,
    )


def series_detail_to_msg(detail: SeriesDetail) -> msgs.SeriesDetail:
    """What people want to know of a series beside its state."""
    num_expected = detail.num_expected  # a hint from a header that may hold anything
    return msgs.SeriesDetail(
        series_instance_uid=text(detail.series_instance_uid),
        rule=text(detail.rule),
        num_expected=num_expected if num_expected is not None and 0 <= num_expected <= MAX_INT32 else -1,
        remedy=text(detail.remedy),
        is_retryable=bool(detail.is_retryable),
        deliveries=list(map(delivery_to_msg, detail.deliveries)),
    )


def series_detail_from_msg(message: msgs.SeriesDetail) -> SeriesDetail:
    """What people want to know of a series beside its state."""
    if message.num_expected < -1:
        raise WireFormatError(f"Of a series {message.num_expected} slices are expected.")
    return SeriesDetail(
        uid(message.series_instance_uid, "The UID of a series"),
        message.rule,
        None if message.num_expected == -1 else message.num_expected,
        message.remedy,
        message.is_retryable,
        tuple(map(delivery_from_msg, message.deliveries)),
    )


def stored_result_to_msg(result: StoredResult) -> msgs.StoredResult:
    """An object that was made of a series."""
    return msgs.StoredResult(
        sop_instance_uid=text(result.sop_instance_uid),
        modality=text(result.modality),
        version=count(result.version, "A version"),
        model=text(result.model),
        message=text(result.message),
        created_at=time_to_msg(result.created_at_s),
    )


def stored_result_from_msg(message: msgs.StoredResult) -> StoredResult:
    """An object that was made of a series."""
    return StoredResult(
        uid(message.sop_instance_uid, "The SOP instance UID of a result"),
        message.modality,
        message.version,
        message.model,
        message.message,
        time_from_msg(message.created_at),
    )


def study_source_to_msg(source: StudySource) -> msgs.StudySource:
    """A series that takes part in the segmentation of a study."""
    return msgs.StudySource(
        sequence_name=text(source.sequence_name),
        series_instance_uid=text(source.series_instance_uid),
        version=count(source.version, "A version"),
        manifest=[frame_key_to_msg(key) for key in source.manifest],
        geometry=stack_geometry_to_msg(source.geometry),
    )


def study_source_from_msg(message: msgs.StudySource) -> StudySource:
    """A series that takes part in the segmentation of a study."""
    geometry = stack_geometry_from_msg(message.geometry)
    if len(message.manifest) != geometry.num_slices:
        raise WireFormatError(
            f"The manifest of a study's {message.sequence_name} names {len(message.manifest)} slices and its stack "
            f"has {geometry.num_slices}."
        )
    return StudySource(
        message.sequence_name,
        uid(message.series_instance_uid, "The UID of a series"),
        message.version,
        tuple(map(frame_key_from_msg, message.manifest)),
        geometry,
    )


def refusal_to_msg(failure: Failure) -> msgs.Refusal:
    """Why a service did not do what it was asked."""
    return msgs.Refusal(code=text(failure.code), message=text(failure.message), remedy=text(failure.remedy))


def refusal_from_msg(message: msgs.Refusal) -> Failure | None:
    """Why a service did not do what it was asked; None where it did."""
    if not (message.code or message.message):
        return None
    return Failure(message.code, message.message, message.remedy)
