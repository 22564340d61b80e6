"""What is this, and how good is it? Series, sequence, plane, grid, orientation; noise, clipping, ghosts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from neuroscan_core.diagnosis.agent import Facts, Finding, Progress
from neuroscan_core.diagnosis.case import CaseFile, Gathered, InputKind, Reading, Source
from neuroscan_core.diagnosis.facts import orientation_text, plane_text, quality_facts
from neuroscan_core.diagnosis.quality import measure_quality
from neuroscan_core.diagnosis.steps import STEPS
from neuroscan_core.domain.errors import RejectionCode, SeriesRejection
from neuroscan_core.domain.geometry import StackGeometry
from neuroscan_core.domain.study import SEQUENCES, StudyVolume
from neuroscan_core.domain.volume import Volume
from neuroscan_core.pipeline.study import bring_together
from neuroscan_core.pipeline.suitability import require_head

PREFERRED = ("FLAIR", "T1ce", "T2", "T1", "", "other")  # sequences, the one that models of single series want first

# How sure the sequence is: fixed grades, not measured frequencies.
BY_ATTRIBUTES, CONTRADICTED, BY_NAME, UNKNOWN = 0.95, 0.7, 0.6, 0.3


class ReaderAgent:
    """Reads the input.

    Parameters
    ----------
    gather : callable
        Finds the images in a file or folder.
    """

    name, title = STEPS[0]

    def __init__(self, gather: Callable[[Path], Gathered]) -> None:
        self._gather = gather

    def run(self, case: CaseFile, progress: Progress) -> Finding:
        """See `Agent`."""
        gathered = self._gather(case.source)
        progress(1, 3)
        source = shown_source(gathered)
        if source.rejection is not None:
            return _unusable(case, gathered, source, source.rejection)
        study = _study_volume(gathered.study, gathered.reference)
        volume = source.require_volume()
        volume = finite(volume)
        progress(2, 3)
        quality = measure_quality(volume)
        objection = _objection(volume)
        reading = Reading(source, volume, study, quality, objection)
        return Finding(
            case.adding(gathered=gathered, reading=reading),
            (("found", _found(gathered)),),
            (*_what(source, study), *_grid(source, volume.geometry), *quality_facts(quality, source.kind)),
            _sureness(source),
            _notes(gathered, source, objection),
        )


def shown_source(gathered: Gathered) -> Source:
    """The series on whose grid everything is done.

    Where none can be used, the one that would have been preferred.

    Raises
    ------
    SeriesRejection
        There is none.
    """
    if gathered.study:
        return gathered.study[gathered.reference]

    def order(source: Source) -> tuple[bool, int, int]:
        num_slices = 0 if source.volume is None else source.volume.geometry.num_slices
        return (source.volume is None, PREFERRED.index(source.sequence), -num_slices)

    if not gathered.sources:
        raise SeriesRejection(
            RejectionCode.UNDECODABLE, "There is no series that can be read.", remedy="Give a whole series."
        )
    return min(gathered.sources, key=order)


def _unusable(case: CaseFile, gathered: Gathered, source: Source, rejection: SeriesRejection) -> Finding:
    """What can be said of images that cannot be looked at: what they are, and why not."""
    return Finding(
        case.adding(gathered=gathered),
        (("found", _found(gathered)),),
        (*_what(source, None), ("can be used", "no")),
        _sureness(source),
        [str(rejection), *_notes(gathered, source, "")],
    )


def finite(volume: Volume) -> Volume:
    """The volume with 0 where values are not finite."""
    if np.isfinite(volume.voxels_kji).all():
        return volume
    return Volume(volume.geometry, volume.keys, np.nan_to_num(volume.voxels_kji, posinf=0.0, neginf=0.0))


def _study_volume(study: Mapping[str, Source], reference: str) -> StudyVolume | None:
    if set(study) != set(SEQUENCES):
        return None
    return bring_together({name: finite(source.require_volume()) for name, source in study.items()}, reference)


def _objection(volume: Volume) -> str:
    try:
        require_head(StudyVolume(volume.geometry, volume.keys, ("image",), volume.voxels_kji[None]))
    except SeriesRejection as rejection:
        return rejection.message
    return ""


def _found(gathered: Gathered) -> str:
    kinds = " and ".join(sorted({source.kind.value for source in gathered.sources}))
    num = len(gathered.sources)
    return f"{num} series of {kinds}" if kinds in ("DICOM", "NIfTI") else kinds or "nothing"


def _what(source: Source, study: StudyVolume | None) -> Facts:
    facts = [("series", source.name)]
    if source.modality:
        facts.append(("modality", source.modality))
    if study is not None:
        facts.append(("study", f"{', '.join(SEQUENCES)} on one grid, that of {source.sequence}"))
    facts.append(("sequence", source.sequence or "not known"))
    if source.reasons:
        facts.append(("because", source.reasons[0]))
    return (*facts, *source.facts)


def _grid(source: Source, geometry: StackGeometry) -> Facts:
    rows, columns = geometry.first.shape
    if not source.kind.has_millimetres:
        size = f"{columns} x {rows} pixels"
        return (
            ("size", size if geometry.num_slices == 1 else f"{geometry.num_slices} pictures of {size}"),
            ("millimetres", "none: a picture does not state them"),
        )
    row_mm, column_mm = geometry.first.spacing_mm
    return (
        ("plane", plane_text(geometry)),
        ("size", f"{geometry.num_slices} slices of {columns} x {rows} pixels"),
        ("voxel", f"{column_mm:.2f} x {row_mm:.2f} x {geometry.spacing_mm:.2f} mm"),
        ("orientation", orientation_text(geometry)),
    )


def _sureness(source: Source) -> float:
    if source.sequence == "":
        return UNKNOWN
    if source.kind is not InputKind.DICOM:
        return BY_NAME
    if any(reason.startswith("But") for reason in source.reasons):
        return CONTRADICTED
    is_by_words = any("do not decide" in reason for reason in source.reasons)
    return BY_NAME if is_by_words else BY_ATTRIBUTES


def _notes(gathered: Gathered, source: Source, objection: str) -> list[str]:
    notes = list(gathered.notes)
    used = [*gathered.study.values()] or [source]
    for other in gathered.sources:
        if other in used:
            continue
        if other.rejection is not None:
            notes.append(f"{other.name}: cannot be used. {other.rejection}")
        else:
            notes.append(f"{other.name}: not used; {source.name} is.")
    notes += [reason for reason in source.reasons[1:]]
    if objection:
        notes.append(objection)
    return notes
