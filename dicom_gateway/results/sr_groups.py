"""Groups of a measurement report: what is said of each region, of regions taken together, and by a classifier.

Per region that was found: a volumetric ROI (TID 1411) that refers to its segment, with volume and number of parts, and
a group (TID 1501) with the largest diameters and their end points in the image they were measured in (TID 1411 takes no
coordinates). Both carry the same tracking identifiers. Where nothing at all was found, a group per region says
"absent". Regions taken together have no segment of their own: one group (TID 1501) each. What has no place in an image,
such as parts that are absent beside others and a classifier's probabilities, stands in a container beside the groups.
The document around them is made in `sr`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from highdicom import sr
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from dicom_gateway.results import provenance
from dicom_gateway.results.segments import dicom_code, tracking_id
from dicom_gateway.results.sources import CompanionSeries, SourceSlice
from dicom_gateway.results.uids import ResultIdentity
from neuroscan_core.domain.codes import BRAIN, MORPHOLOGICALLY_ABNORMAL_STRUCTURE
from neuroscan_core.domain.model_card import Label, ModelCard
from neuroscan_core.domain.segmentation import (
    GLIOMA_REGIONS,
    CompositeMeasurement,
    Diameter,
    ModelIdentity,
    RegionMeasurement,
    Segmentation,
    Triage,
)
from neuroscan_core.domain.volume import FrameKey

MILLILITRE = Code("ml", "UCUM", "milliliter")
SCHEME = "99NEUROSCAN"
CONNECTED_PARTS = Code("NS-1", SCHEME, "Number of connected parts")
PICTURE_CLASSIFICATION = Code("NS-2", SCHEME, "Classification of pictures, not a diagnosis")
QUALITATIVE_EVALUATIONS = Code("C0034375", "UMLS", "Qualitative Evaluations")
MOST_LIKELY_CLASS = Code("NS-3", SCHEME, "Class with the greatest probability")


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
    companions : sequence of CompanionSeries
        Other series that it was made from.
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
    companions: Sequence[CompanionSeries] = ()

    @property
    def charset(self) -> str | Sequence[str]:
        """Character set of the source."""
        return provenance.charset_of(self.slices[0].header)

    def slice(self, key: FrameKey) -> SourceSlice:
        """Slice with this key."""
        return self.slices[self.segmentation.keys.index(key)]


def label_groups(content: ReportContent, label: Label, measured: RegionMeasurement) -> list[Group]:
    """What is said of one label."""
    if measured.volume_ml == 0:
        return [_absent(content, _about(content, label))] if content.segmentation.is_empty else []
    groups = [_region(content, label, _size(measured))]
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


def composite_group(content: ReportContent, measured: CompositeMeasurement) -> Group:
    """What is said of labels taken together."""
    region = next(region for region in GLIOMA_REGIONS if region.name == measured.region)
    tracking = sr.TrackingIdentifier(
        uid=content.identity.region_tracking_uid(region.name),
        identifier=provenance.fitting(f"{provenance.MANUFACTURER} {region.name}, {region.title}", content.charset),
    )
    about: dict[str, Any] = {  # keyword arguments of a highdicom class
        "tracking_identifier": tracking,
        "finding_type": dicom_code(region.type),
        "finding_category": dicom_code(MORPHOLOGICALLY_ABNORMAL_STRUCTURE),
        "finding_sites": [sr.FindingSite(dicom_code(BRAIN))],
        "algorithm_id": _algorithm(content.identity.model),
    }
    if measured.volume_ml == 0:
        return _absent(content, about)
    diameters = [] if measured.diameter is None else _diameters(content, measured.diameter)
    return sr.MeasurementsAndQualitativeEvaluations(**about, measurements=[*_size(measured), *diameters])


def absent_statement(label: Label) -> sr.CodeContentItem:
    """What is said of a label without a voxel, where others have some."""
    return sr.CodeContentItem(dicom_code(label.type), codes.SCT.Absent, "CONTAINS")


def triage_items(content: ReportContent, triage: Triage) -> list[sr.ContentItem]:
    """What a classifier says of the series: all its probabilities, who it is, and which pictures it saw."""
    model = triage.model
    texts = (
        (codes.DCM.AlgorithmName, model.name),
        (codes.DCM.AlgorithmVersion, model.version),
        (codes.DCM.AlgorithmParameters, f"sha256={model.sha256}"),
    )
    seen = [content.slice(key) for key in dict.fromkeys(triage.keys) if key in content.segmentation.keys]
    return [
        sr.CodeContentItem(MOST_LIKELY_CLASS, dicom_code(triage.most_likely), "CONTAINS"),
        *(
            sr.NumContentItem(
                probability_of(code.value, code.meaning), round(float(probability), 3), codes.UCUM.NoUnits,
                relationship_type="CONTAINS",
            )
            for code, probability in zip(triage.classes, triage.probabilities, strict=True)
        ),
        *(sr.TextContentItem(name, text, "CONTAINS") for name, text in texts),
        *(
            sr.ImageContentItem(
                codes.DCM.SourceOfMeasurement, source.sop_class_uid, source.key.sop_instance_uid,
                source.frame_numbers, relationship_type="CONTAINS",
            )
            for source in {source.key.sop_instance_uid: source for source in seen}.values()
        ),
    ]  # fmt: skip


def evaluations(content: ReportContent) -> sr.ContainerContentItem | None:
    """Container of what is said without a place in an image; None where there is no such thing.

    Kept apart from measurement groups: OHIF (3.13) shows nothing of a report in which a tracked group has no
    coordinates.
    """
    found = content.segmentation
    items: list[sr.ContentItem] = []
    if not found.is_empty:
        empty = {measured.label for measured in found.measurements if measured.volume_ml == 0}
        items += [absent_statement(label) for label in content.card.labels if label.value in empty]
    if found.triage is not None:
        inner = _container(PICTURE_CLASSIFICATION, triage_items(content, found.triage))
        items.append(inner)
    return _container(QUALITATIVE_EVALUATIONS, items) if items else None


def _container(name: Code, items: Sequence[sr.ContentItem]) -> sr.ContainerContentItem:
    container = sr.ContainerContentItem(name, is_content_continuous=False, relationship_type="CONTAINS")
    container.ContentSequence = sr.ContentSequence(items)
    return container


def probability_of(value: str, meaning: str) -> Code:
    """Name of the probability of a class, which no dictionary has."""
    return Code(f"NS-P-{value}"[:16], SCHEME, f"Probability of {meaning}"[:64])


def _size(measured: RegionMeasurement | CompositeMeasurement) -> list[sr.Measurement]:
    return [
        _number(codes.SCT.Volume, measured.volume_ml, MILLILITRE),
        _number(CONNECTED_PARTS, measured.num_components, codes.UCUM.NoUnits),
    ]


def _absent(content: ReportContent, about: Mapping[str, Any]) -> Group:
    """Group for a region without a voxel; refers to the middle slice as evidence of what was looked at."""
    source = content.slices[len(content.slices) // 2]
    image = sr.SourceImageForMeasurementGroup(source.sop_class_uid, source.key.sop_instance_uid, source.frame_numbers)
    return sr.MeasurementsAndQualitativeEvaluations(
        **about,
        measurements=[_number(codes.SCT.Volume, 0.0, MILLILITRE), _number(CONNECTED_PARTS, 0, codes.UCUM.NoUnits)],
        qualitative_evaluations=[sr.QualitativeEvaluation(codes.DCM.PresenceOfProperty, codes.SCT.Absent)],
        source_images=[image],
    )


def _about(content: ReportContent, label: Label) -> dict[str, Any]:  # keyword arguments of several highdicom classes
    """What all groups of a region say alike."""
    tracking = sr.TrackingIdentifier(
        uid=content.identity.tracking_uid(label.value), identifier=tracking_id(label, content.charset)
    )
    return {
        "tracking_identifier": tracking,
        "finding_type": dicom_code(label.type),
        "finding_category": dicom_code(label.category),
        "finding_sites": [sr.FindingSite(dicom_code(label.region))],
        "algorithm_id": _algorithm(content.identity.model),
    }


def _algorithm(model: ModelIdentity) -> sr.AlgorithmIdentification:
    return sr.AlgorithmIdentification(
        name=model.name,
        version=model.version,
        parameters=[f"sha256={model.sha256}"],
        family=codes.DCM.ArtificialIntelligence,
        manufacturer=provenance.MANUFACTURER,
    )


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
