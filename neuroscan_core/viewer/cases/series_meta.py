"""What `GET /api/cases/{id}` says of a series of the node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neuroscan_core.domain.errors import CaseNotFound
from neuroscan_core.domain.events import StudySource
from neuroscan_core.domain.segmentation import Segmentation
from neuroscan_core.viewer.cases.case import SERIES
from neuroscan_core.viewer.cases.describe import (
    composite_entries,
    geometry_entry,
    label_entries,
    label_entry,
    triage_entry,
)
from neuroscan_core.viewer.cases.masks import FINAL, RUNNING, MaskSet
from neuroscan_core.viewer.cases.resampled import READY

if TYPE_CHECKING:
    from neuroscan_core.viewer.cases.series import SeriesCase

_NOT_YET = frozenset({"receiving", "complete", "segmenting"})
_NAMES = {"SEG": "Segmentation (DICOM SEG)", "SR": "Measurement report (DICOM SR)"}


def series_meta(case: SeriesCase) -> dict[str, Any]:
    """Everything; the caller holds the lock of the case."""
    store, opened, progress = case.slice_store, case.opened, case.progress
    segmentations = [_segmentation(case, masks) for masks in _in_order(case)]
    is_whole = case.completed is not None and not case.is_reopened
    modality = (opened.modality if opened else "") or (progress.modality if progress else "")
    description = (opened.description if opened else "") or (progress.description if progress else "")
    return {
        "id": case.id,
        "kind": SERIES,
        "title": description or modality or "Series",
        "state": _state(case),
        "modality": modality,
        "description": description,
        "revision": case.revision,
        "model": (opened.model if opened else "") or (progress.model if progress else ""),
        "version": case.version,
        "num_slices": len(store),
        "num_expected": _num_expected(case),
        **geometry_entry(store.geometries, _spacing_mm(case)),
        "has_millimetres": True,
        "is_complete": is_whole,
        "scale": store.scale.as_json(),
        "pixels_revision": store.pixels_revision,
        "window": store.window,
        "identity": None,
        "segmentations": segmentations,
        "sources": _sources(case),
        "downloads": _downloads(case),
        "agents": [],
        "reports": [],
        "reason": _reason(case),
        "remedy": case.rejected.remedy if case.rejected else "",
        "warnings": _warnings(case),
    }


def _in_order(case: SeriesCase) -> list[MaskSet]:
    """Results of the node first, newest first; then what was added for comparison."""
    own = [masks for masks in case.sets.values() if masks.version]
    added = [masks for masks in case.sets.values() if not masks.version]
    return [*sorted(own, key=lambda masks: -masks.version), *added]


def _segmentation(case: SeriesCase, masks: MaskSet) -> dict[str, Any]:
    found, model = masks.segmentation, masks.model
    return {
        "id": masks.id,
        "model": model.name if model else "",
        "model_version": model.version if model else "",
        "version": model.version if model else "",
        "result_version": masks.version or None,
        "engine": model.engine if model else "",
        "state": masks.state,
        "revision": masks.revision,
        "num_masks": round(masks.progress * len(case.slice_store)) if masks.state == RUNNING else masks.num_masks,
        "latency_ms": masks.latency_ms,
        "labels": _labels(case, masks, found),
        "composites": composite_entries(found, case.slice_store.number_of) if found else [],
        "has_probabilities": case.has_probabilities(masks),
        "warnings": list(found.warnings) if found else [],
        "triage": triage_entry(found.triage) if found else None,
        "reason": masks.reason,
    }


def _labels(case: SeriesCase, masks: MaskSet, found: Segmentation | None) -> list[dict[str, Any]]:
    card = case.cards.get(masks.model.name) if masks.model else None
    if found is not None:
        return label_entries(found, card, case.slice_store.number_of)
    counts = masks.voxel_counts()
    values = {label.value for label in card.labels} if card else set()
    values |= {value for value in range(1, len(counts)) if counts[value]}
    voxel_ml = _voxel_ml(case)
    return [
        {**label_entry(value, card), "volume_ml": round(float(counts[value]) * voxel_ml, 3) if voxel_ml else None}
        for value in sorted(values)
    ]


def _voxel_ml(case: SeriesCase) -> float:
    spacing_mm = _spacing_mm(case)
    if not case.slice_store.geometries or not spacing_mm:
        return 0.0
    row_mm, column_mm = case.slice_store.geometries[0].spacing_mm
    return row_mm * column_mm * spacing_mm / 1000.0


def _spacing_mm(case: SeriesCase) -> float | None:
    """Distance of neighbouring slices: measured, else as the header says, else of the slices so far."""
    if case.completed is not None and not case.is_reopened:
        return case.completed.geometry.spacing_mm
    if case.opened is not None and case.opened.slice_spacing_mm:
        return case.opened.slice_spacing_mm
    if len(case.slice_store) < 2:
        return None
    try:
        return case.stack()[0].spacing_mm
    except CaseNotFound:
        return None


def _num_expected(case: SeriesCase) -> int | None:
    if case.completed is not None and not case.is_reopened:
        return len(case.completed.manifest)
    announced = case.opened.num_expected if case.opened else None
    return max(announced, len(case.slice_store)) if announced else None


def _state(case: SeriesCase) -> str:
    if case.failed is not None and case.failed.version == case.version:
        return "failed"
    if case.rejected is not None and (case.progress is None or case.progress.state != "receiving"):
        return "rejected"
    if case.progress is not None:
        # The list is asked for once a second; events are quicker.
        is_whole = case.completed is not None and not case.is_reopened
        own = case.sets.get(f"v{case.version}")
        if is_whole and own is not None and own.state == FINAL and case.progress.state in _NOT_YET:
            return "segmented"
        return "complete" if is_whole and case.progress.state == "receiving" else case.progress.state
    return "complete" if case.completed is not None else "receiving"


def _reason(case: SeriesCase) -> str:
    if case.failed is not None and case.failed.version == case.version:
        return case.failed.message
    if case.rejected is not None:
        return case.rejected.message
    return (case.progress.message or case.progress.reason) if case.progress else ""


def _sources(case: SeriesCase) -> list[dict[str, Any]]:
    """The series that a study was segmented from; the one whose slices are shown first."""
    if case.study is None:
        return []
    sources = sorted(case.study.sources, key=lambda source: source.sequence_name != case.study.reference)  # type: ignore[union-attr]
    return [
        {"name": source.sequence_name, "is_shown": source.sequence_name == case.study.reference,
         "num_slices": len(source.manifest), **_voxels(case, source)}
        for source in sources
    ]  # fmt: skip


def _voxels(case: SeriesCase, source: StudySource) -> dict[str, Any]:
    """Whether the voxels of a series of a study are here, and how they are stored."""
    study, store = case.study, case.slice_store
    assert study is not None
    if source.sequence_name != study.reference:
        return case.resampled.entry(study, source)
    return {"state": READY, "reason": "", "scale": store.scale.as_json(), "window": store.window,
            "pixels_revision": store.pixels_revision}  # fmt: skip


def _warnings(case: SeriesCase) -> list[str]:
    warnings = list(case.study.warnings) if case.study else []
    if case.slice_store.num_refused:
        warnings.append(f"{case.slice_store.num_refused} images of another size are not shown.")
    if case.progress is not None and case.progress.state == "purged" and not len(case.slice_store):
        warnings.append("The images and results of this series were deleted when their time was over.")
    return [*warnings, *([case.note] if case.note else [])]


def _downloads(case: SeriesCase) -> list[dict[str, str]]:
    base = f"/api/cases/{case.id}/download"
    kinds = {one.modality for one in case.results}
    listed = [{"kind": kind, "name": name, "url": f"{base}/{kind}"} for kind, name in _NAMES.items() if kind in kinds]
    if any(masks.state == FINAL for masks in case.sets.values()):
        listed.append({"kind": "NIfTI", "name": "Labels (NIfTI)", "url": f"{base}/NIfTI"})
    if len(case.slice_store):
        listed.append({"kind": "volume", "name": "Images (NIfTI)", "url": f"{base}/volume"})
        listed.append({"kind": "PNG", "name": "Picture of a slice (PNG)", "url": f"{base}/PNG"})
    return listed
