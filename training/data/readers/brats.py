"""BraTS folders: one per case, NIfTI files of four sequences and a label map.

Names of 2012 to 2021 (`_flair`, `_t1`, `_t1ce`, `_t2`, `_seg`) and from 2023
on (`-t2f`, `-t1n`, `-t1c`, `-t2w`, `-seg`), `.nii` or `.nii.gz`. Label 4 of
the older years is 3 of the newer ones: enhancing tumour.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from training.data.cases import BRATS, SEQUENCES, Case
from training.data.errors import MissingModalityError, ShapeMismatchError
from training.data.readers.canonical import Volume, canonical_grid, image_slices, label_slices, map_labels
from training.data.readers.nifti import open_nifti, voxels_of

LAYOUT = "BraTS folders (CASE/CASE_flair.nii.gz, _t1, _t1ce, _t2, _seg; or -t2f, -t1n, -t1c, -t2w, -seg)"
ENDINGS = {
    "T1": ("_t1", "-t1n"),
    "T1ce": ("_t1ce", "-t1c", "_t1gd"),
    "T2": ("_t2", "-t2w"),
    "FLAIR": ("_flair", "-t2f"),
    "seg": ("_seg", "-seg"),
}
LABELS = {0: 0, 1: 1, 2: 2, 3: 3, 4: 3}
#: Corners may differ by this much between files of one case, in mm.
AFFINE_TOLERANCE_MM = 0.1


def find(folder: Path) -> list[Case]:
    """List the cases: folders that hold a label map and a sequence."""
    cases = []
    for path in sorted(folder.glob("*")):
        if path.is_dir() and _file(path, "seg") is not None:
            channels = tuple(name for name in SEQUENCES if _file(path, name) is not None)
            if channels:
                cases.append(Case(BRATS, path.name, path, "brats", channels))
    return cases


def files(case: Case) -> list[Path]:
    """List the sequences that are there and the label map."""
    found = (_file(case.folder, name) for name in ENDINGS)
    return sorted(path for path in found if path is not None)


def num_slices(case: Case, channels: Sequence[str]) -> int:
    """Count slices by the header of the label map."""
    return int(open_nifti(_needed(case, "seg")).shape[2])


def read(case: Case, channels: Sequence[str]) -> Volume:
    """Read sequences and labels; see `training.data.readers.read_case`."""
    images = {name: open_nifti(_needed(case, name)) for name in (*channels, "seg")}
    seg = images["seg"]
    for name, image in images.items():
        _check_grid(case, name, image, seg)
    grid, spacing_mm, is_reversed = canonical_grid(seg.shape, seg.affine, case.name)
    labels = map_labels(voxels_of(seg), LABELS, case.name)
    stacks = [image_slices(voxels_of(images[name]), grid, is_reversed) for name in channels]
    return Volume(np.stack(stacks, axis=1), label_slices(labels, grid, is_reversed), spacing_mm)


def _file(folder: Path, name: str) -> Path | None:
    """Return the file of a sequence, or None."""
    for ending in ENDINGS[name]:
        for suffix in (".nii.gz", ".nii"):
            path = folder / f"{folder.name}{ending}{suffix}"
            if path.is_file():
                return path
    return None


def _needed(case: Case, name: str) -> Path:
    path = _file(case.folder, name)
    if path is None:
        expected = " or ".join(f"{case.name}{ending}.nii.gz" for ending in ENDINGS[name])
        raise MissingModalityError(f"{case.folder}: no {name}.", remedy=f"Expected {expected}.")
    return path


def _check_grid(case: Case, name: str, image, seg) -> None:  # type: ignore[no-untyped-def]
    if len(image.shape) != 3 or image.shape != seg.shape:
        raise ShapeMismatchError(
            f"{case.folder}: {name} is {image.shape}, the label map {seg.shape}.",
            remedy="All files of a case must lie on one grid; register or resample them first.",
        )
    corners = np.array([[0, 0, 0, 1], [*np.array(seg.shape) - 1, 1]], dtype=np.float64).T
    if not np.allclose(image.affine @ corners, seg.affine @ corners, atol=AFFINE_TOLERANCE_MM):
        raise ShapeMismatchError(
            f"{case.folder}: {name} lies elsewhere than the label map.",
            remedy="All files of a case must lie on one grid; register or resample them first.",
        )
