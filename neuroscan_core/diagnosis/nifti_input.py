"""NIfTI files as the reader gets them: one volume, or the four sequences of a case by the endings of their names.

NIfTI carries no attributes of the sequence, so that a name is all there is; it is believed and said to be one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from neuroscan_core.diagnosis.case import Gathered, InputKind, Source
from neuroscan_core.domain.errors import NeuroScanError, RejectionCode, SeriesRejection
from neuroscan_core.domain.study import SEQUENCES
from neuroscan_core.nifti import read_nifti
from neuroscan_core.nifti_study import sequence_of
from neuroscan_core.pipeline.study import MIN_OVERLAP, REFERENCE_SEQUENCES, match_series

MAX_VOXELS = 256 << 20
_MASKS = re.compile(r"(?:^|[_-])(?:seg|mask|label|labels|roi|probabilities)\.nii(?:\.gz)?$", re.I)


def read_nifti_files(
    files: Sequence[Path], *, references: Sequence[str] = REFERENCE_SEQUENCES, min_overlap: float = MIN_OVERLAP
) -> Gathered:
    """Read NIfTI files; masks are left out."""
    masks = [path for path in files if _MASKS.search(path.name)]
    images = [path for path in files if path not in masks] or list(files)
    notes = [f"Left out, masks by their names: {len(masks)}."] if masks and images != masks else []
    sources = tuple(_source(path, number, len(images)) for number, path in enumerate(images, 1))
    study: dict[str, Source] = {}
    for source in sources:
        if source.sequence in SEQUENCES and source.volume is not None:
            if source.sequence in study:
                notes.append(f"{source.sequence} is there more than once; the first is used.")
            study.setdefault(source.sequence, source)
    if set(study) != set(SEQUENCES):
        if len(study) > 1:
            missing = [name for name in SEQUENCES if name not in study]
            notes.append(f"No study of four sequences: {' and '.join(missing)} is not there.")
        return Gathered(sources, notes=tuple(notes))
    try:
        geometries = {name: source.require_volume().geometry for name, source in study.items()}
        match = match_series(geometries, references=references, min_overlap=min_overlap)
    except SeriesRejection as exc:
        return Gathered(sources, notes=(*notes, f"The sequences do not make a study. {exc.message}"))
    return Gathered(sources, study, match.reference, (*notes, *match.warnings))


def _check_size(path: Path) -> None:
    """Refuse a file whose header speaks of more voxels than a head has, before they are unpacked into memory.

    Raises
    ------
    SeriesRejection
    """
    import nibabel

    try:
        image: Any = nibabel.load(path)  # nibabel has no type information
    except (OSError, EOFError, ValueError, nibabel.filebasedimages.ImageFileError):
        return  # the reader says what is wrong with it
    num_voxels = math.prod(int(length) for length in image.shape)
    if num_voxels > MAX_VOXELS:
        raise SeriesRejection(
            RejectionCode.UNDECODABLE, f"The volume has {num_voxels / 1e6:.0f} million voxels.",
            remedy=f"At most {MAX_VOXELS / 1e6:.0f} million are taken. Give one volume of a head.",
        )  # fmt: skip


def _source(path: Path, number: int, of: int) -> Source:
    sequence = sequence_of(path)
    named = f"NIfTI volume {number}" if of > 1 else "NIfTI volume"
    name = f"{sequence} ({named})" if sequence else named
    reasons = (
        (f"The name of the file says {sequence}; NIfTI has no attributes that could confirm it.",)
        if sequence
        else ("Neither NIfTI nor the name of the file tells the sequence.",)
    )
    try:
        _check_size(path)
        volume, rejection = read_nifti(path).volume, None
    except SeriesRejection as exc:
        volume, rejection = None, exc
    except NeuroScanError:
        # Messages of the reader name the file, and names of files may be those of patients.
        volume, rejection = None, SeriesRejection(
            RejectionCode.UNDECODABLE, f"{named} cannot be read as one volume.",
            remedy="Give a three-dimensional NIfTI file that is whole.",
        )  # fmt: skip
    return Source(InputKind.NIFTI, name, volume, rejection, sequence=sequence or "", reasons=reasons, handle=path)
