"""Folders of slices with masks beside them: the LGG Segmentation Dataset.

`CASE/CASE_7.png` (or `.tif`) with `CASE/CASE_7_mask.png`, numbered towards
the head, already in the radiological frame. The publisher's TIFF has three
channels: before contrast, FLAIR, after contrast; a grey file is FLAIR.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from neuroscan_core.pipeline.grid import InPlaneGrid
from training.data.cases import LGG, Case
from training.data.errors import MissingModalityError, ShapeMismatchError, UnreadableCaseError
from training.data.readers.canonical import Volume

LAYOUT = "folders of slices (CASE/CASE_7.png with CASE/CASE_7_mask.png, or .tif)"
#: Index in the publisher's three channels; cv2 reads them backwards, and the middle one stays in the middle.
FLAIR_CHANNEL = 1
_SLICE = re.compile(r"_\d+$")


def find(folder: Path) -> list[Case]:
    """List the cases: folders that hold `FOLDER_<number>_mask` files."""
    return [
        Case(LGG, path.name, path, "paired-slices", ("FLAIR",))
        for path in sorted(folder.glob("*"))
        if path.is_dir() and next(path.glob(f"{path.name}_*_mask.*"), None) is not None
    ]


def slice_number(path: Path) -> int:
    """Return the number at the end of a slice's file name."""
    return int(path.stem.rsplit("_", 1)[1])


def files(case: Case) -> list[Path]:
    """List slices and masks."""
    return sorted(path for path in case.folder.iterdir() if path.suffix in (".png", ".tif", ".tiff"))


def num_slices(case: Case, channels: Sequence[str]) -> int:
    """Count the slices."""
    return len(_slices(case))


def read(case: Case, channels: Sequence[str] = ("FLAIR",)) -> Volume:
    """Read slices and masks; see `training.data.readers.read_case`."""
    if tuple(channels) != ("FLAIR",):
        raise MissingModalityError(f"{case.folder}: has FLAIR alone, asked for {', '.join(channels)}.")
    images, masks = [], []
    paths = _slices(case)
    if not paths:
        raise UnreadableCaseError(f"{case.folder}: no slices.", remedy=f"Expected {LAYOUT}.")
    for path in paths:
        image, mask = _flair(path), _grey(path.with_name(f"{path.stem}_mask{path.suffix}"))
        if image.shape != mask.shape:
            raise ShapeMismatchError(f"{path}: image {image.shape}, mask {mask.shape}.")
        grid = InPlaneGrid(*image.shape)
        images.append(grid.to_model(image))
        masks.append(grid.to_model(mask > 0) >= 0.5)
    labels = np.stack(masks).astype(np.uint8)
    return Volume(np.rint(np.stack(images)[:, None]).astype(np.uint16), labels, (0.0, 1.0, 1.0))


def _slices(case: Case) -> list[Path]:
    return sorted((path for path in files(case) if _SLICE.search(path.stem)), key=slice_number)


def _flair(path: Path) -> npt.NDArray[np.uint8]:
    image = _decoded(path, cv2.IMREAD_UNCHANGED)
    return image[..., FLAIR_CHANNEL] if image.ndim == 3 else image


def _grey(path: Path) -> npt.NDArray[np.uint8]:
    if not path.is_file():
        raise MissingModalityError(f"{path}: the mask of a slice is missing.", remedy="Every slice needs its mask.")
    return _decoded(path, cv2.IMREAD_GRAYSCALE)


def _decoded(path: Path, mode: int) -> npt.NDArray[np.uint8]:
    image = cv2.imread(str(path), mode)
    if image is None:
        raise UnreadableCaseError(f"{path}: does not decode.", remedy="Fetch the file again.")
    return image
