"""Reading cases into canonical stacks: the network's frame, not yet scaled.

Both readers return `image_SHW` (uint16) and `mask_SHW` (uint8, 0 or 1) with
S slices ordered towards the head, row 0 anterior, column 0 patient right,
256 x 256 pixels.
"""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import nibabel
import numpy as np
import numpy.typing as npt

from neuroscan_core.pipeline.grid import InPlaneGrid
from training.data.cases import LGG, Case

Stack = tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint8]]


class UnreadableCaseError(ValueError):
    """A case whose files do not have the documented form."""


def case_files(case: Case) -> list[Path]:
    """List the files that `read_case` reads, sorted."""
    if case.dataset == LGG:
        return sorted(case.folder.glob("*.png"))
    return [case.folder / f"{case.name}_{kind}.nii.gz" for kind in ("flair", "seg")]


def read_case(case: Case) -> Stack:
    """Read image and whole-tumour mask of a case.

    Raises
    ------
    UnreadableCaseError
        If a file is missing, or size or orientation are not as documented.
    """
    return _read_png_slices(case) if case.dataset == LGG else _read_nifti(case)


def slice_number(path: Path) -> int:
    """Return the number at the end of a slice's file name."""
    return int(path.stem.rsplit("_", 1)[1])


def _read_png_slices(case: Case) -> Stack:
    images, masks = [], []
    paths = [path for path in case_files(case) if re.search(r"_\d+$", path.stem)]
    for path in sorted(paths, key=slice_number):
        image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        mask = cv2.imread(str(path.with_name(f"{path.stem}_mask.png")), cv2.IMREAD_GRAYSCALE)
        if image is None or mask is None or image.shape != mask.shape:
            raise UnreadableCaseError(f"{path}: image or mask missing, or of unequal size")
        grid = InPlaneGrid(*image.shape)
        images.append(grid.to_model(image))
        masks.append(grid.to_model(mask) > 0)
    if not images:
        raise UnreadableCaseError(f"{case.folder}: no slices")
    return np.stack(images).astype(np.uint16), np.stack(masks).astype(np.uint8)


def _read_nifti(case: Case) -> Stack:
    image_file, mask_file = case_files(case)
    try:
        image, mask = nibabel.load(image_file), nibabel.load(mask_file)
        image_ijk, mask_ijk = np.asanyarray(image.dataobj), np.asanyarray(mask.dataobj)
    except (OSError, nibabel.filebasedimages.ImageFileError) as exc:
        raise UnreadableCaseError(f"{case.folder}: {exc}") from exc
    if image_ijk.ndim != 3 or image_ijk.shape != mask_ijk.shape:
        raise UnreadableCaseError(f"{case.folder}: {image_ijk.shape} against {mask_ijk.shape}")
    # NIfTI is RAS: LPS direction cosines are the columns of the affine with x and y negated.
    directions = np.diag([-1.0, -1.0, 1.0]) @ image.affine[:3, :3]
    spacing = np.linalg.norm(directions, axis=0)
    directions = directions / spacing
    if directions[2, 2] < 0.99:
        raise UnreadableCaseError(f"{case.folder}: slices do not run towards the head")
    # A slice [:, :, k] is (i, j): i is its row, j its column.
    grid = InPlaneGrid.from_orientation(
        image_ijk.shape[0],
        image_ijk.shape[1],
        (spacing[0], spacing[1]),
        (*directions[:, 1], *directions[:, 0]),
    )
    slices = range(image_ijk.shape[2])
    images = np.stack([grid.to_model(image_ijk[:, :, k]) for k in slices])
    masks = np.stack([grid.to_model(mask_ijk[:, :, k] > 0) for k in slices])
    return np.maximum(images, 0).astype(np.uint16), (masks > 0).astype(np.uint8)
