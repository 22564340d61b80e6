"""NIfTI files of a case; what is wrong with one is said as an error of cases."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt

from training.data.errors import UnreadableCaseError


def open_nifti(path: Path):  # type: ignore[no-untyped-def]  # nibabel has no types
    """Read the header of a file; its voxels are read by `voxels_of`."""
    try:
        return nibabel.load(path)
    except (OSError, EOFError, nibabel.filebasedimages.ImageFileError) as exc:
        raise UnreadableCaseError(f"{path}: {exc}", remedy="Fetch the file again.") from exc


def voxels_of(image) -> npt.NDArray[np.generic]:  # type: ignore[no-untyped-def]
    """Return the voxels (i, j, k) of an open file."""
    try:
        return np.asanyarray(image.dataobj)
    except (OSError, EOFError, ValueError) as exc:
        raise UnreadableCaseError(f"{image.get_filename()}: {exc}", remedy="Fetch the file again.") from exc
