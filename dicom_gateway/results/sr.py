"""The measurement report (TID 1500 as Comprehensive SR): size of every region, also when nothing was found.

Here the document is put together; what it says of each region is in `sr_groups`.
"""

from __future__ import annotations

from highdicom import sr
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from dicom_gateway.results import provenance
from dicom_gateway.results.sr_groups import SCHEME, ReportContent, composite_group, evaluations, label_groups
from dicom_gateway.results.uids import derived_uid
from neuroscan_core import __version__
from neuroscan_core.domain.model_card import ModelCard
from neuroscan_core.domain.segmentation import CompositeMeasurement, RegionMeasurement, Segmentation, Triage

PRIVATE_SCHEME = CodingSchemeIdentificationItem(
    SCHEME, name="NeuroScan", version="1", responsible_organization=provenance.MANUFACTURER
)
BRAIN_MRI = Code("816077007", "SCT", "MRI of brain")


def report(content: ReportContent) -> sr.ComprehensiveSR:
    """Build the report."""
    by_value = {measurement.label: measurement for measurement in content.segmentation.measurements}
    groups = [group for label in content.card.labels if label.value in by_value
              for group in label_groups(content, label, by_value[label.value])]  # fmt: skip
    is_empty = content.segmentation.is_empty
    groups += [composite_group(content, m) for m in content.segmentation.composites if m.volume_ml > 0 or is_empty]
    tree = sr.MeasurementReport(
        observation_context=_observer(content),
        procedure_reported=BRAIN_MRI,
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    beside = evaluations(content)
    if beside is not None:
        tree[0].ContentSequence.append(beside)
    for text in comments(content):
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


def comments(content: ReportContent) -> list[str]:
    """What the report says in words."""
    found = content.segmentation
    texts = [provenance.RESEARCH_USE, summary(found, content.card)]
    if content.companions:
        sequences = ", ".join(companion.sequence for companion in content.companions)
        texts.append(f"Made from this series together with other series of the study: {sequences}.")
    texts += [f"Warning: {warning}" for warning in found.warnings]
    if found.triage is not None:
        texts.append(triage_text(found.triage))
    return texts


def triage_text(triage: Triage) -> str:
    """The classifier's probabilities in words, and what they are not."""
    chances = ", ".join(
        f"{code.meaning} {probability:.2f}"
        for code, probability in zip(triage.classes, triage.probabilities, strict=True)
    )
    return (
        f"Picture classifier {triage.model.name} {triage.model.version}, mean of {len(triage.slice_probabilities)} "
        f"slices: {chances}. For sorting work lists; not a diagnosis."
    )


def summary(segmentation: Segmentation, card: ModelCard) -> str:
    """One line for people: "whole tumour 12.3 ml in 2 parts", or "no finding"."""
    names = {label.value: label.name for label in card.labels}
    found = [_sized(str(names.get(m.label, m.label)), m) for m in segmentation.measurements if m.volume_ml > 0]
    whole = [_sized("whole tumour", m) for m in segmentation.composites if m.region == "WT" and m.volume_ml > 0]
    return ": ".join([*whole, ", ".join(found)]) if found else "no finding"


def _sized(name: str, measured: RegionMeasurement | CompositeMeasurement) -> str:
    parts = f"{measured.num_components} part{'s' * (measured.num_components != 1)}"
    return f"{name} {measured.volume_ml:.1f} ml in {parts}"


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
    found = content.segmentation
    diameters = [m.diameter for m in found.measurements] + [m.diameter for m in found.composites]
    used = {diameter.key for diameter in diameters if diameter is not None}
    if found.triage is not None:
        used.update(found.triage.keys)
    middle = content.slices[len(content.slices) // 2].key
    for source in content.slices:
        if source.key in used or source.key == middle:
            evidence.append(provenance.bare_header(source))
    if content.seg is not None:
        seg = _reference(
            content, content.seg.series_instance_uid, content.seg.sop_class_uid, content.seg.sop_instance_uid
        )
        evidence.append(seg)
    for companion in content.companions:
        evidence += [
            _reference(content, companion.series_instance_uid, sop_class_uid, sop_instance_uid)
            for sop_instance_uid, sop_class_uid in companion.objects.items()
        ]
    return evidence


def _reference(content: ReportContent, series_uid: str, sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    ds = Dataset()
    ds.StudyInstanceUID = content.slices[0].header.StudyInstanceUID
    ds.SeriesInstanceUID = series_uid
    ds.SOPClassUID = sop_class_uid
    ds.SOPInstanceUID = sop_instance_uid
    return ds


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
    triage = content.segmentation.triage
    models = [content.identity.model] + ([] if triage is None else [triage.model])
    provenance.add_equipment(result, *models, at_s=content.at_s)
    classes = {source.key.sop_instance_uid: source.sop_class_uid for source in content.slices}
    for series in result.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence:
        for item in series.ReferencedSOPSequence:
            uid = item.ReferencedSOPInstanceUID
            item.ReferencedSOPClassUID = classes.get(uid, item.ReferencedSOPClassUID)
