"""PNG and JPEG as the reader gets them: one picture, or a numbered stack of equally large ones.

A picture has no millimetres, no sides and no sequence. To be shown to a network it is given a size: one pixel is one
millimetre where the head is then as large as heads are, otherwise as many as make it so. Nothing that is measured in
these millimetres is reported.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from neuroscan_core.diagnosis.case import Gathered, InputKind, Source
from neuroscan_core.domain.errors import RejectionCode, SeriesRejection
from neuroscan_core.domain.geometry import SliceGeometry, StackGeometry
from neuroscan_core.domain.volume import FrameKey, Volume

MAX_PIXELS = 64 << 20  # of one picture
MAX_STACK_PIXELS = 512 << 20
HEAD_MM = (120.0, 230.0)  # longest extent of a head in a slice
TYPICAL_HEAD_MM = 180.0
MIN_SIDE = 32
_MASKS = re.compile(r"(?:^|[_-])(?:mask|seg|label)s?$", re.I)
_NO_SEQUENCE = ("A picture does not say which sequence it shows.",)


def read_pictures(files: Sequence[Path]) -> Gathered:
    """Read pictures; those that are masks by their names are left out."""
    masks = [path for path in files if _MASKS.search(path.stem)]
    images = [path for path in files if path not in masks] or list(files)
    notes = [f"Left out, masks by their names: {len(masks)}."] if masks and images != masks else []
    kind = InputKind.PICTURE if len(images) == 1 else InputKind.PICTURES
    name = "picture" if len(images) == 1 else f"stack of {len(images)} pictures"
    try:
        arrays, was_coloured = _read_all(_in_order(images))
        volume, rejection = _volume(arrays), None
        if was_coloured:
            notes.append("The pictures have colours; they were turned into grey.")
    except SeriesRejection as exc:
        volume, rejection = None, exc
    return Gathered((Source(kind, name, volume, rejection, reasons=_NO_SEQUENCE),), notes=tuple(notes))


def _in_order(images: Sequence[Path]) -> list[Path]:
    """By the number at the end of their names, which must otherwise be alike.

    Raises
    ------
    SeriesRejection
        They are several pictures, but no stack.
    """
    if len(images) == 1:
        return list(images)
    parts = [re.fullmatch(r"(.*?)(\d+)", path.stem) for path in images]
    numbered = {
        (path.parent, match[1], int(match[2])): path for path, match in zip(images, parts, strict=True) if match
    }
    if len(numbered) != len(images) or len({key[:2] for key in numbered}) != 1:
        raise SeriesRejection(
            RejectionCode.MIXED_GEOMETRY,
            f"These are {len(images)} pictures that do not make one numbered stack.",
            remedy="Give one picture, or the slices of one head, numbered in order, in one folder.",
        )
    return [numbered[key] for key in sorted(numbered, key=lambda key: key[2])]


def _read_all(images: Sequence[Path]) -> tuple[npt.NDArray[np.float32], bool]:
    arrays: list[npt.NDArray[np.float32]] = []
    was_coloured = False
    for path in images:
        array, coloured = _read(path, len(images))
        if arrays and array.shape != arrays[0].shape:
            raise SeriesRejection(
                RejectionCode.MIXED_GEOMETRY, "The pictures of the stack differ in size.",
                remedy="Give slices of one head, all of one size.",
            )  # fmt: skip
        arrays.append(array)
        was_coloured |= coloured
    return np.stack(arrays), was_coloured


def _read(path: Path, of: int) -> tuple[npt.NDArray[np.float32], bool]:
    from PIL import Image, ImageOps, UnidentifiedImageError

    unreadable = SeriesRejection(
        RejectionCode.UNDECODABLE, "A picture cannot be decoded.", remedy="Give PNG or JPEG files that are whole."
    )
    try:
        with Image.open(path, formats=("PNG", "JPEG")) as image:
            width, height = image.size
            if width * height > MAX_PIXELS or width * height * of > MAX_STACK_PIXELS:
                raise SeriesRejection(
                    RejectionCode.UNDECODABLE, f"The picture of {width} x {height} pixels is too large.",
                    remedy=f"At most {MAX_PIXELS >> 20} million pixels are taken.",
                )  # fmt: skip
            if min(width, height) < MIN_SIDE:
                raise SeriesRejection(
                    RejectionCode.UNDECODABLE, f"The picture of {width} x {height} pixels is too small.",
                    remedy=f"At least {MIN_SIDE} pixels are needed on each side.",
                )  # fmt: skip
            upright = ImageOps.exif_transpose(image)
            return _grey(upright)
    except (OSError, ValueError, SyntaxError, EOFError, UnidentifiedImageError, Image.DecompressionBombError) as exc:
        raise unreadable from exc


def _grey(image: object) -> tuple[npt.NDArray[np.float32], bool]:
    from PIL import Image

    assert isinstance(image, Image.Image)
    if image.mode.startswith(("I", "F")):
        return np.asarray(image, dtype=np.float32), False
    if image.mode in ("1", "L", "LA"):
        return np.asarray(image.convert("L"), dtype=np.float32), False
    rgb = np.asarray(image.convert("RGB"), dtype=np.float32)
    coloured = bool(np.mean(np.ptp(rgb, axis=2) > 16) > 0.01)
    # Okabe and others mark in colour; luminance keeps grey as it is.
    return np.asarray(rgb @ np.array([0.299, 0.587, 0.114], np.float32), dtype=np.float32), coloured


def _volume(voxels_kji: npt.NDArray[np.float32]) -> Volume:
    spacing_mm = _pixel_mm(voxels_kji)
    gap_mm = min(6.0, max(1.0, 140.0 / len(voxels_kji))) if len(voxels_kji) > 1 else 5.0
    first = SliceGeometry(
        (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), (spacing_mm, spacing_mm), voxels_kji.shape[1:]
    )  # fmt: skip
    keys = tuple(FrameKey("picture", k + 1) for k in range(len(voxels_kji)))
    return Volume(StackGeometry(first, gap_mm, len(voxels_kji)), keys, voxels_kji)


def _pixel_mm(voxels_kji: npt.NDArray[np.float32]) -> float:
    """Size of a pixel for which the head is as large as heads are."""
    middle = voxels_kji[len(voxels_kji) // 4 : len(voxels_kji) - len(voxels_kji) // 4]
    image = middle.max(axis=0)
    is_bright = image > 0.15 * float(np.percentile(image, 99))
    extents = [len(np.flatnonzero(is_bright.mean(axis=axis) > 0.02)) for axis in (0, 1)]
    longest = max(*extents, 1)
    if HEAD_MM[0] <= longest <= HEAD_MM[1]:
        return 1.0
    return float(np.clip(TYPICAL_HEAD_MM / longest, 0.05, 5.0))
