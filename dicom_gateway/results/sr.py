"""The measurement report (TID 1500 as Comprehensive SR): size of every region, also when nothing was found.

Per region that was found: a volumetric ROI (TID 1411) that refers to its segment, with volume and number of parts, and
a group (TID 1501) with the largest diameters and their end points in the image they were measured in (TID 1411 takes no
coordinates). Both carry the same tracking identifiers. Per region without a voxel: a group that says "absent".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from highdicom import sr
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from dicom_gateway.results import provenance
from dicom_gateway.results.segments import dicom_code, tracking_id
from dicom_gateway.results.sources import SourceSlice
from dicom_gateway.results.uids import ResultIdentity, derived_uid
from neuroscan_core import __version__
from neuroscan_core.domain.model_card import Label, ModelCard
from neuroscan_core.domain.segmentation import Diameter, RegionMeasurement, Segmentation
from neuroscan_core.domain.volume import FrameKey

MILLILITRE = Code("ml", "UCUM", "milliliter")
PRIVATE_SCHEME = CodingSchemeIdentificationItem(
    "99NEUROSCAN", name="NeuroScan", version="1", responsible_organization=provenance.MANUFACTURER
)
CONNECTED_PARTS = Code("NS-1", "99NEUROSCAN", "Number of connected parts")
BRAIN_MRI = Code("816077007", "SCT", "MRI of brain")


Group = sr.MeasurementsAndQualitativeEvaluations | sr.VolumetricROIMeasurementsAndQualitativeEvaluations


@dataclass(frozen=True)
class SegReference:
    """The SEG that a report refers to.

    Parameters
    ----------
    segment_numbers : mapping of int to int
        Label value to segment number.
    """

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    segment_numbers: Mapping[int, int]


@dataclass(frozen=True, eq=False)
class ReportContent:
    """Everything a report is made of.

    Parameters
    ----------
    identity : ResultIdentity
    slices : sequence of SourceSlice
        All slices of the series, ordered along the normal.
    segmentation : Segmentation
    card : ModelCard
    seg : SegReference or None
        None where no SEG is made.
    device_name : str
        AE title of the node.
    at_s : float
        Unix time of the last image.
    series_number : int
    series_description : str
    """

    identity: ResultIdentity
    slices: Sequence[SourceSlice]
    segmentation: Segmentation
    card: ModelCard
    seg: SegReference | None
    device_name: str
    at_s: float
    series_number: int
    series_description: str

    @property
    def charset(self) -> str | Sequence[str]:
        """Character set of the source."""
        return provenance.charset_of(self.slices[0].header)

    def slice(self, key: FrameKey) -> SourceSlice:
        """Slice with this key."""
        return self.slices[self.segmentation.keys.index(key)]


def report(content: ReportContent) -> sr.ComprehensiveSR:
    """Build the report."""
    by_value = {measurement.label: measurement for measurement in content.segmentation.measurements}
    groups = [group for label in content.card.labels if label.value in by_value
              for group in _groups(content, label, by_value[label.value])]  # fmt: skip
    tree = sr.MeasurementReport(
        observation_context=_observer(content),
        procedure_reported=BRAIN_MRI,
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    for text in (provenance.RESEARCH_USE, summary(content.segmentation, content.card)):
        tree[0].ContentSequence.append(
            sr.TextContentItem(codes.DCM.Comment, provenance.fitting(text, content.charset, length=1024), "CONTAINS")
        )
    result = sr.ComprehensiveSR(
        evidence=_evidence(content),
        content=tree[0],
        series_instance_uid=provenance.PLACEHOLDER_UID,
        series_number=1,
        sop_instance_uid=provenance.PLACEHOLDER_UID,
        instance_number=1,
        manufacturer=provenance.MANUFACTURER,
        manufacturer_model_name=provenance.MODEL_NAME,
        software_versions=__version__,
        is_complete=True,
        coding_schemes=[PRIVATE_SCHEME],
    )
    _finish(result, content)
    return result


def summary(segmentation: Segmentation, card: ModelCard) -> str:
    """One line for people: "whole tumour 12.3 ml in 2 parts", or "no finding"."""
    names = {label.value: label.name for label in card.labels}
    found = [
        f"{names.get(m.label, m.label)} {m.volume_ml:.1f} ml in {m.num_components} part{'s' * (m.num_components != 1)}"
        for m in segmentation.measurements
        if m.volume_ml > 0
    ]
    return ", ".join(found) or "no finding"


def _groups(content: ReportContent, label: Label, measured: RegionMeasurement) -> list[Group]:
    if measured.volume_ml == 0:
        return [_absent(content, label)]
    size = [
        _number(codes.SCT.Volume, measured.volume_ml, MILLILITRE),
        _number(CONNECTED_PARTS, measured.num_components, codes.UCUM.NoUnits),
    ]
    groups = [_region(content, label, size)]
    if measured.diameter is not None:
        diameters = _diameters(content, measured.diameter)
        about = {key: value for key, value in _about(content, label).items() if key != "algorithm_id"}  # said once
        groups.append(sr.MeasurementsAndQualitativeEvaluations(**about, measurements=diameters))
    return groups


def _region(content: ReportContent, label: Label, size: Sequence[sr.Measurement]) -> Group:
    if content.seg is None or label.value not in content.seg.segment_numbers:
        return sr.MeasurementsAndQualitativeEvaluations(**_about(content, label), measurements=size)
    segment = sr.ReferencedSegment(
        sop_class_uid=content.seg.sop_class_uid,
        sop_instance_uid=content.seg.sop_instance_uid,
        segment_number=content.seg.segment_numbers[label.value],
        source_series=sr.SourceSeriesForSegmentation(str(content.slices[0].header.SeriesInstanceUID)),
    )
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        **_about(content, label), measurements=size, referenced_segment=segment
    )


def _absent(content: ReportContent, label: Label) -> Group:
    """Group for a region without a voxel; refers to the middle slice as evidence of what was looked at."""
    source = content.slices[len(content.slices) // 2]
    image = sr.SourceImageForMeasurementGroup(source.sop_class_uid, source.key.sop_instance_uid, source.frame_numbers)
    return sr.MeasurementsAndQualitativeEvaluations(
        **_about(content, label),
        measurements=[_number(codes.SCT.Volume, 0.0, MILLILITRE), _number(CONNECTED_PARTS, 0, codes.UCUM.NoUnits)],
        qualitative_evaluations=[sr.QualitativeEvaluation(codes.DCM.PresenceOfProperty, codes.SCT.Absent)],
        source_images=[image],
    )


def _about(content: ReportContent, label: Label) -> dict[str, Any]:  # keyword arguments of several highdicom classes
    """What all groups of a region say alike."""
    model = content.identity.model
    tracking = sr.TrackingIdentifier(
        uid=content.identity.tracking_uid(label.value), identifier=tracking_id(label, content.charset)
    )
    return {
        "tracking_identifier": tracking,
        "finding_type": dicom_code(label.type),
        "finding_category": dicom_code(label.category),
        "finding_sites": [sr.FindingSite(dicom_code(label.region))],
        "algorithm_id": sr.AlgorithmIdentification(
            name=model.name,
            version=model.version,
            parameters=[f"sha256={model.sha256}"],
            family=codes.DCM.ArtificialIntelligence,
            manufacturer=provenance.MANUFACTURER,
        ),
    }


def _diameters(content: ReportContent, diameter: Diameter) -> list[sr.Measurement]:
    source = content.slice(diameter.key)
    both = (
        (codes.SCT.LongAxis, diameter.long_mm, diameter.long_axis_ij),
        (codes.SCT.ShortAxis, diameter.short_mm, diameter.short_axis_ij),
    )
    return [
        _number(name, length_mm, codes.UCUM.Millimeter, _line(source, axis_ij) if source.is_on_grid else None)
        for name, length_mm, axis_ij in both
    ]


def _line(source: SourceSlice, axis_ij: Sequence[float]) -> sr.CoordinatesForMeasurement:
    """Line between two voxel centres; DICOM counts from the corner of the first pixel (PS3.3 C.18.6.1.1)."""
    image = sr.SourceImageForRegion(source.sop_class_uid, source.key.sop_instance_uid, source.frame_numbers)
    return sr.CoordinatesForMeasurement("POLYLINE", np.reshape(axis_ij, (2, 2)) + 0.5, image)


def _number(name: Code, value: float, unit: Code, line: sr.CoordinatesForMeasurement | None = None) -> sr.Measurement:
    return sr.Measurement(
        name,
        value if isinstance(value, int) else round(float(value), 3),
        unit,
        referenced_coordinates=[line] if line else None,
    )


def _observer(content: ReportContent) -> sr.ObservationContext:
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=derived_uid("device", content.device_name),
        name=content.device_name,
        manufacturer_name=provenance.MANUFACTURER,
        model_name=provenance.MODEL_NAME,
    )
    return sr.ObservationContext(observer_device_context=sr.ObserverContext(codes.DCM.Device, device))


def _evidence(content: ReportContent) -> list[Dataset]:
    """Objects that the content refers to; the first, as an MR image that highdicom knows, gives patient and study."""
    evidence = []
    used = {m.diameter.key for m in content.segmentation.measurements if m.diameter is not None}
    middle = content.slices[len(content.slices) // 2].key
    for source in content.slices:
        if source.key in used or source.key == middle:
            evidence.append(provenance.bare_header(source))
    if content.seg is not None:
        seg = Dataset()
        seg.StudyInstanceUID = content.slices[0].header.StudyInstanceUID
        seg.SeriesInstanceUID = content.seg.series_instance_uid
        seg.SOPClassUID = content.seg.sop_class_uid
        seg.SOPInstanceUID = content.seg.sop_instance_uid
        evidence.append(seg)
    return evidence


def _finish(result: Dataset, content: ReportContent) -> None:
    provenance.restore_identity(result, content.slices[0].header)
    provenance.identify(
        result,
        sop_uid=content.identity.instance_uid("SR"),
        series_uid=content.identity.series_uid("SR"),
        number=content.series_number,
        description=content.series_description,
        at_s=content.at_s,
    )
    provenance.add_equipment(result, content.identity.model, content.at_s)
    classes = {source.key.sop_instance_uid: source.sop_class_uid for source in content.slices}
    for series in result.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence:
        for item in series.ReferencedSOPSequence:
            uid = item.ReferencedSOPInstanceUID
            item.ReferencedSOPClassUID = classes.get(uid, item.ReferencedSOPClassUID)
