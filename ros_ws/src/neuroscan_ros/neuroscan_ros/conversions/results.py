"""What the segmenter publishes: masks, segmentations and what is measured in them."""

from __future__ import annotations

import numpy as np
from neuroscan_msgs import msg as msgs

from neuroscan_core.domain.errors import WireFormatError
from neuroscan_core.domain.events import MaskReady, SegmentationReady
from neuroscan_core.domain.segmentation import (
    CompositeMeasurement,
    Diameter,
    RegionMeasurement,
    Segmentation,
    Triage,
)
from neuroscan_ros.conversions.checks import MAX_UINT8, count, fill, integer, reading, text, uid, view
from neuroscan_ros.conversions.values import (
    code_from_msg,
    code_to_msg,
    frame_key_from_msg,
    frame_key_to_msg,
    model_from_msg,
    model_to_msg,
    stack_geometry_from_msg,
    stack_geometry_to_msg,
)
from neuroscan_ros.qos import PATIENT_FRAME


def mask_to_msg(event: MaskReady) -> msgs.Mask:
    """One slice is segmented; the label map is copied."""
    message = msgs.Mask()
    message.header.frame_id = PATIENT_FRAME
    message.series_instance_uid = text(event.series_instance_uid)
    message.sequence = count(event.sequence, "A sequence number")
    message.key = frame_key_to_msg(event.key)
    message.rows, message.columns = event.labels_ji.shape
    message.latency_ms = float(event.latency_ms)
    message.model = model_to_msg(event.model)
    message.revision = count(event.revision, "A revision")
    fill(message.labels, event.labels_ji, "u1")
    return message


def mask_from_msg(message: msgs.Mask) -> MaskReady:
    """One slice is segmented; the label map is a read-only view of the message."""
    return MaskReady(
        uid(message.series_instance_uid, "The UID of a series"),
        message.sequence,
        frame_key_from_msg(message.key),
        view(message.labels, "u1", (message.rows, message.columns), "A mask"),
        message.latency_ms,
        model_from_msg(message.model),
        message.revision,
    )


def diameter_to_msg(diameter: Diameter) -> msgs.Diameter:
    """Largest diameters in one slice."""
    return msgs.Diameter(
        key=frame_key_to_msg(diameter.key),
        long_mm=float(diameter.long_mm),
        short_mm=float(diameter.short_mm),
        long_axis_ij=np.array(diameter.long_axis_ij, np.float64),
        short_axis_ij=np.array(diameter.short_axis_ij, np.float64),
    )


def diameter_from_msg(message: msgs.Diameter) -> Diameter:
    """Largest diameters in one slice."""
    return Diameter(
        frame_key_from_msg(message.key),
        message.long_mm,
        message.short_mm,
        tuple(message.long_axis_ij.tolist()),
        tuple(message.short_axis_ij.tolist()),
    )


def measurement_to_msg(measurement: RegionMeasurement | CompositeMeasurement) -> msgs.Measurement:
    """Size of one label, or of several taken together."""
    message = msgs.Measurement(
        volume_ml=float(measurement.volume_ml),
        num_components=count(measurement.num_components, "The number of components"),
        diameter=[] if measurement.diameter is None else [diameter_to_msg(measurement.diameter)],
    )
    if isinstance(measurement, CompositeMeasurement):
        message.region = text(measurement.region)
    else:
        message.label = integer(measurement.label, 1, MAX_UINT8, "A label")
    return message


def measurement_from_msg(message: msgs.Measurement) -> RegionMeasurement | CompositeMeasurement:
    """Size of one label, or, where the message names a region, of several taken together."""
    if bool(message.label) == bool(message.region):
        raise WireFormatError(
            f"A measurement is of label {message.label} and of the region {message.region!r}; it must be of one."
        )
    diameter = diameter_from_msg(message.diameter[0]) if message.diameter else None
    if message.region:
        return CompositeMeasurement(message.region, message.volume_ml, message.num_components, diameter)
    return RegionMeasurement(message.label, message.volume_ml, message.num_components, diameter)


def triage_to_msg(triage: Triage) -> msgs.Triage:
    """What a classifier says of a series."""
    if any(len(row) != len(triage.classes) for row in triage.slice_probabilities):
        raise WireFormatError("A slice of a triage has not one probability per class.")
    message = msgs.Triage(
        model=model_to_msg(triage.model),
        classes=list(map(code_to_msg, triage.classes)),
        keys=list(map(frame_key_to_msg, triage.keys)),
    )
    message.probabilities.extend(map(float, triage.probabilities))
    message.slice_probabilities.extend(float(p) for row in triage.slice_probabilities for p in row)
    return message


def triage_from_msg(message: msgs.Triage) -> Triage:
    """What a classifier says of a series."""
    num_classes, num_keys = len(message.classes), len(message.keys)
    if not len(message.probabilities) == num_classes > 0:
        raise WireFormatError(f"A triage has {num_classes} classes and {len(message.probabilities)} probabilities.")
    rows = view(message.slice_probabilities, "f8", (num_keys, num_classes), "The slices of a triage")
    return Triage(
        model_from_msg(message.model),
        tuple(map(code_from_msg, message.classes)),
        tuple(message.probabilities),
        tuple(map(frame_key_from_msg, message.keys)),
        tuple(map(tuple, rows.tolist())),
    )


def segmentation_to_msg(event: SegmentationReady) -> msgs.Segmentation:
    """The label map of a whole series; it is copied."""
    found = event.segmentation
    message = msgs.Segmentation()
    message.header.frame_id = PATIENT_FRAME
    message.series_instance_uid = text(event.series_instance_uid)
    message.version = count(event.version, "A version")
    message.model = model_to_msg(event.model)
    message.geometry = stack_geometry_to_msg(found.geometry)
    message.keys = list(map(frame_key_to_msg, found.keys))
    message.measurements = list(map(measurement_to_msg, found.measurements))
    message.composites = list(map(measurement_to_msg, found.composites))
    message.warnings = list(map(text, found.warnings))
    message.triage = [] if found.triage is None else [triage_to_msg(found.triage)]
    fill(message.labels, found.labels_kji, "u1")
    return message


def segmentation_from_msg(message: msgs.Segmentation) -> SegmentationReady:
    """The label map of a whole series; it is a read-only view of the message."""
    geometry = stack_geometry_from_msg(message.geometry)
    labels_kji = view(message.labels, "u1", geometry.shape, "A segmentation")
    measured = [measurement_from_msg(part) for part in message.measurements]
    together = [measurement_from_msg(part) for part in message.composites]
    measurements = tuple(part for part in measured if isinstance(part, RegionMeasurement))
    composites = tuple(part for part in together if isinstance(part, CompositeMeasurement))
    with reading("Segmentation"):
        assert len(message.keys) == geometry.num_slices, "the number of keys is not that of the slices"
        assert len(measurements) == len(measured), "a measurement is not of a label"
        assert len(composites) == len(together), "a composite is of a label"
        segmentation = Segmentation(
            geometry,
            tuple(map(frame_key_from_msg, message.keys)),
            labels_kji,
            measurements,
            composites,
            tuple(message.warnings),
            triage_from_msg(message.triage[0]) if message.triage else None,
        )
    series = uid(message.series_instance_uid, "The UID of a series")
    return SegmentationReady(series, message.version, segmentation, model_from_msg(message.model))
