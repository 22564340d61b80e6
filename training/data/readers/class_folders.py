"""Class folders of pictures: `glioma/`, `meningioma/`, `notumor/`, `pituitary/`.

Pictures are grey or colour JPEG or PNG; they become grey squares of 224
pixels, padded with black. Windowing is done later, by the function that the
node uses too. A picture has no label map.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from neuroscan_core.pipeline.picture import padded_square
from training.data.cases import CLASSES, PICTURES, Case
from training.data.errors import MissingModalityError, UnreadableCaseError
from training.data.readers.canonical import Volume

LAYOUT = "class folders of pictures (glioma/, meningioma/, notumor/, pituitary/)"
SIZE = 224
FOLDERS = {
    "glioma": 0,
    "glioma_tumor": 0,
    "meningioma": 1,
    "meningioma_tumor": 1,
    "notumor": 2,
    "no_tumor": 2,
    "pituitary": 3,
    "pituitary_tumor": 3,
}
SUFFIXES = (".jpg", ".jpeg", ".png")


def find(folder: Path) -> list[Case]:
    """List the pictures of a folder that holds a folder for each class."""
    classes = {path: FOLDERS[path.name] for path in sorted(folder.glob("*")) if path.name in FOLDERS and path.is_dir()}
    if set(classes.values()) != set(range(len(CLASSES))):
        return []
    return [
        Case(PICTURES, f"{parent.name}/{path.name}", parent, "class-folders", ("grey",))
        for parent in classes
        for path in sorted(parent.iterdir())
        if path.suffix.lower() in SUFFIXES
    ]


def files(case: Case) -> list[Path]:
    """Return the picture."""
    return [case.folder / Path(case.name).name]


def num_slices(case: Case, channels: Sequence[str]) -> int:
    """Return 1: a picture."""
    return 1


def read(case: Case, channels: Sequence[str]) -> Volume:
    """Read a picture, [1, 1, 224, 224] uint8; see `training.data.readers.read_case`."""
    if tuple(channels) != ("grey",):
        raise MissingModalityError(f"{case.name} is a picture, asked for {', '.join(channels)}.")
    path = files(case)[0]
    picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if picture is None:
        raise UnreadableCaseError(f"{path}: does not decode.", remedy="Fetch the file again.")
    squared = to_square(picture)
    empty = np.zeros((1, 0, 0), dtype=np.uint8)
    return Volume(squared[None, None], empty, (0.0, 0.0, 0.0), FOLDERS[case.folder.name])


def to_square(picture_HW: npt.NDArray[np.uint8], size: int = SIZE) -> npt.NDArray[np.uint8]:
    """Pad with black to a square and resize; a square of that size stays as it is."""
    square = padded_square(picture_HW)
    if len(square) == size:
        return square
    interpolation = cv2.INTER_AREA if len(square) > size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(square, (size, size), interpolation=interpolation), dtype=np.uint8)
