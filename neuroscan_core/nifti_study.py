"""The sequences of one patient as NIfTI files: found in the folder of a BraTS case, brought together, segmented.

NIfTI names no frame of reference: the affines are believed, and only volumes that do not cover one another are refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from neuroscan_core.domain.errors import ConfigurationError, RejectionCode, SeriesRejection
from neuroscan_core.domain.segmentation import Segmentation
from neuroscan_core.domain.study import SEQUENCES
from neuroscan_core.nifti import read_nifti, write_labels
from neuroscan_core.pipeline.sliding import Progress, no_progress
from neuroscan_core.pipeline.study import (
    MIN_OVERLAP,
    REFERENCE_SEQUENCES,
    bring_together,
    match_series,
    segment_study,
)
from neuroscan_core.ports import InferenceEngine

# Names of BraTS 2017 to 2021, and of 2023 and later.
_ENDINGS = {
    "T1": ("t1", "t1n"),
    "T1ce": ("t1ce", "t1c", "t1gd"),
    "T2": ("t2", "t2w"),
    "FLAIR": ("flair", "t2f"),
}


def sequence_of(path: Path) -> str | None:
    """Sequence that the name of a NIfTI file ends with, as in BraTS; None for masks and other files."""
    match = re.search(r"(?:^|[_-])([a-z0-9]+)\.nii(?:\.gz)?$", path.name.lower())
    return next((name for name, endings in _ENDINGS.items() if match and match[1] in endings), None)


def sequences_in(folder: Path) -> dict[str, Path]:
    """NIfTI files of a BraTS case by sequence; masks and other files are left out.

    Raises
    ------
    ConfigurationError
        A sequence is there twice.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        sequence = sequence_of(path)
        if sequence is None:
            continue
        if sequence in found:
            raise ConfigurationError(
                f"{folder} holds {sequence} twice: {found[sequence].name} and {path.name}.",
                remedy="Name the files by --t1, --t1ce, --t2 and --flair.",
            )
        found[sequence] = path
    return {name: found[name] for name in SEQUENCES if name in found}


def segment_nifti_study(
    files: Mapping[str, Path],
    path_out: Path,
    engine: InferenceEngine,
    *,
    references: Sequence[str] = REFERENCE_SEQUENCES,
    min_overlap: float = MIN_OVERLAP,
    progress: Progress = no_progress,
) -> Segmentation:
    """Segment the sequences of one patient and write the label map as NIfTI, on the grid of one of them.

    Parameters
    ----------
    files : mapping of str to Path
        Sequence -> file.

    Raises
    ------
    UnreadableObject
        A file is no NIfTI volume.
    SeriesRejection
        A sequence is missing, or the volumes do not cover one another.
    """
    missing = [name for name in engine.card.channels if name not in files]
    if missing:
        raise SeriesRejection(
            RejectionCode.MISSING_SEQUENCE,
            f"{engine.card.name} needs {', '.join(engine.card.channels)}; {' and '.join(missing)} is not there.",
            remedy="Name a file for each sequence.",
        )
    sources = {name: read_nifti(files[name]) for name in engine.card.channels}
    volumes = {name: source.volume for name, source in sources.items()}
    match = match_series(
        {name: volume.geometry for name, volume in volumes.items()}, references=references, min_overlap=min_overlap
    )
    study = bring_together(volumes, match.reference)
    segmentation = segment_study(study, engine, progress=progress, warnings=match.warnings)
    write_labels(segmentation.labels_kji, sources[match.reference], path_out)
    return segmentation
