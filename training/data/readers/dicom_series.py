"""MR series with a DICOM SEG: cases that somebody has corrected come back as training data.

`dicom_cases/CASE/` holds the files of one study, in any folders below: classic
MR series of one slice per file, and one or more SEG objects. Which sequence a
series shows is judged by the node's own rules. How a SEG becomes labels is in
`dicom_labels`. No name or number of a person leaves this module: patients are
told apart by a digest.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.errors import InvalidDicomError

from neuroscan_core.pipeline.grid import InPlaneGrid
from training.data.cases import DICOM, SEQUENCES, Case
from training.data.errors import (
    MissingModalityError,
    ShapeMismatchError,
    UnreadableCaseError,
    UnsupportedPlaneError,
)
from training.data.readers.canonical import Volume, image_slices, in_plane_spacing, label_slices
from training.data.readers.dicom_labels import SegObject, labels_of, newest

LAYOUT = "DICOM (dicom_cases/CASE/ with MR series and a SEG)"
FOLDER = "dicom_cases"
ORIENTATION_TOLERANCE = 1e-3
#: Gaps may differ by this share of their median: what the node allows too.
GAP_TOLERANCE = 0.05
POSITION_TOLERANCE_MM = 0.1
SPACING_TOLERANCE = 1e-3

#: Headers and files of MR slices by series.
Images = dict[str, list[tuple[pydicom.Dataset, Path]]]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Series:
    """Headers of one series, from the feet to the head.

    Parameters
    ----------
    sequence : str
        One of `SEQUENCES`, or `other`.
    headers : tuple of pydicom.Dataset
        Without pixels.
    paths : tuple of pathlib.Path
        Their files.
    """

    sequence: str
    headers: tuple[pydicom.Dataset, ...]
    paths: tuple[Path, ...]

    @property
    def uid(self) -> str:
        """Series Instance UID."""
        return str(self.headers[0].SeriesInstanceUID)

    @property
    def positions_S3(self) -> npt.NDArray[np.float64]:  # noqa: N802 - shape suffix
        """Position of each slice, LPS in mm."""
        return np.array([header.ImagePositionPatient for header in self.headers], dtype=np.float64)


def find(folder: Path) -> list[Case]:
    """List the cases of a folder that is named `dicom_cases`.

    Sequences that do not lie on the grid of the SEG are not offered, and the log says so.
    """
    if folder.name != FOLDER:
        return []
    cases = []
    for path in sorted(path for path in folder.iterdir() if path.is_dir()):
        images, segs = _scan(path)
        if not images or not segs:
            log.warning("%s: %d series and %d SEG objects, so no case", path, len(images), len(segs))
            continue
        channels = _usable(path, images, newest(segs))
        first = next(iter(images.values()))[0][0]
        if channels:
            cases.append(Case(DICOM, path.name, path, "dicom", channels, _patient(first)))
    return cases


def _usable(folder: Path, images: Images, seg: SegObject) -> tuple[str, ...]:
    """Return the sequences that the SEG's labels hold for."""
    sequences = {_sequence(entries[0][0]) for entries in images.values()}
    series = {name: _series_of(folder, images, name) for name in SEQUENCES if name in sequences}
    source = next((one for one in series.values() if one.uid == seg.series_uid), None)
    if source is not None:
        elsewhere = [name for name, one in series.items() if not _is_same_grid(source, one)]
        if elsewhere:
            log.warning("%s: %s not on the grid of the SEG, so left out", folder, ", ".join(elsewhere))
        series = {name: one for name, one in series.items() if name not in elsewhere}
    # Of the whole tumour alone, networks that tell its parts learn nothing.
    return tuple(name for name in SEQUENCES if name in series and (seg.tells_parts or name == "FLAIR"))


def files(case: Case) -> list[Path]:
    """List all files of the case's folder."""
    return sorted(path for path in case.folder.rglob("*") if path.is_file())


def num_slices(case: Case, channels: Sequence[str]) -> int:
    """Count the slices of the series that gives the first channel."""
    images, _ = _scan(case.folder)
    return len(_series_of(case.folder, images, channels[0]).headers)


def read(case: Case, channels: Sequence[str]) -> Volume:
    """Read sequences and labels; see `training.data.readers.read_case`."""
    images, segs = _scan(case.folder)
    if not segs:
        raise MissingModalityError(f"{case.folder}: no SEG.", remedy="Put the corrected SEG beside the series.")
    series = [_series_of(case.folder, images, name) for name in channels]
    for other in series[1:]:
        _check_same_grid(case, series[0], other)
    grid, spacing_mm = _grid(case, series[0])
    labels_ijk = np.moveaxis(labels_of(newest(segs), series[0].headers, case.name), 0, -1)
    stacks = [image_slices(_voxels(one), grid, False) for one in series]
    return Volume(np.stack(stacks, axis=1), label_slices(labels_ijk, grid, False), spacing_mm)


def _scan(folder: Path) -> tuple[Images, list[SegObject]]:
    """Return MR headers by series, and the SEG objects; other objects are passed over."""
    images: Images = {}
    segs = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True)
        except (InvalidDicomError, OSError, EOFError):  # a DICOMDIR's neighbour, a text, a picture
            continue
        modality = header.get("Modality", "")
        if modality == "SEG":
            segs.append(SegObject(path, header))
        elif modality == "MR" and "ImagePositionPatient" in header:
            images.setdefault(str(header.SeriesInstanceUID), []).append((header, path))
    return images, segs


def _sequence(header: pydicom.Dataset) -> str:
    from dicom_gateway.study.roles import role_of

    return role_of(header).role


def _patient(header: pydicom.Dataset) -> str:
    return f"dicom-{hashlib.sha256(str(header.get('PatientID', '')).encode()).hexdigest()[:12]}"


def _series_of(folder: Path, images: Images, sequence: str) -> Series:
    """Return the series of a sequence; of several, the one with most slices."""
    candidates = [entries for entries in images.values() if _sequence(entries[0][0]) == sequence]
    if not candidates:
        raise MissingModalityError(f"{folder}: no series of {sequence}.", remedy="All sequences must be there.")
    entries = max(candidates, key=len)
    orientation = np.array(entries[0][0].ImageOrientationPatient, dtype=np.float64)
    normal = np.cross(orientation[:3], orientation[3:])
    towards_head = normal if normal[2] > 0 else -normal
    for header, path in entries:
        if not np.allclose(header.ImageOrientationPatient, orientation, atol=ORIENTATION_TOLERANCE):
            raise UnsupportedPlaneError(f"{path}: another orientation than the other slices of its series.")
    entries = sorted(entries, key=lambda entry: float(np.dot(entry[0].ImagePositionPatient, towards_head)))
    return Series(sequence, tuple(header for header, _ in entries), tuple(path for _, path in entries))


def _grid(case: Case, series: Series) -> tuple[InPlaneGrid, tuple[float, float, float]]:
    """Return the grid of slices (i, j as NIfTI: column, row) and the spacing.

    Raises
    ------
    UnsupportedPlaneError
        If slices are not axial or not evenly spaced.
    """
    first = series.headers[0]
    spacing = tuple(float(value) for value in first.PixelSpacing)
    try:
        grid = InPlaneGrid.from_orientation(
            int(first.Rows), int(first.Columns), spacing, [float(v) for v in first.ImageOrientationPatient]
        )
    except ValueError as exc:
        raise UnsupportedPlaneError(f"{case.folder}: {exc}.", remedy="Networks here see axial slices.") from exc
    gaps = np.linalg.norm(np.diff(series.positions_S3, axis=0), axis=1)
    if len(gaps) and not np.allclose(gaps, np.median(gaps), rtol=GAP_TOLERANCE):
        raise UnsupportedPlaneError(
            f"{case.folder}: {series.sequence} has gaps of {gaps.min():.2f} to {gaps.max():.2f} mm.",
            remedy="Is a slice missing, or sent twice?",
        )
    return grid, (float(np.median(gaps)) if len(gaps) else 0.0, *in_plane_spacing(grid))


def _check_same_grid(case: Case, first: Series, other: Series) -> None:
    if not _is_same_grid(first, other):
        raise ShapeMismatchError(
            f"{case.folder}: {first.sequence} and {other.sequence} do not lie on one grid.",
            remedy="Register and resample the sequences first.",
        )


def _is_same_grid(first: Series, other: Series) -> bool:
    one, two = first.headers[0], other.headers[0]
    return (
        (one.Rows, one.Columns, len(first.headers)) == (two.Rows, two.Columns, len(other.headers))
        and np.allclose(first.positions_S3, other.positions_S3, atol=POSITION_TOLERANCE_MM)
        and np.allclose(one.ImageOrientationPatient, two.ImageOrientationPatient, atol=ORIENTATION_TOLERANCE)
        and np.allclose(one.PixelSpacing, two.PixelSpacing, rtol=SPACING_TOLERANCE)
    )


def _voxels(series: Series) -> npt.NDArray[np.generic]:
    """Return the pixels (row, column, slice), rescaled where the header says so."""
    planes = []
    for path in series.paths:
        try:
            ds = pydicom.dcmread(path)
            pixels = ds.pixel_array
        except (AttributeError, NotImplementedError, OSError, RuntimeError, ValueError) as exc:
            raise UnreadableCaseError(f"{path}: pixels do not decode: {exc}", remedy="Fetch the file again.") from exc
        if pixels.ndim != 2:
            raise UnreadableCaseError(f"{path}: pixels {pixels.shape}.", remedy="One grey slice per file is read.")
        slope, intercept = float(ds.get("RescaleSlope", 1) or 1), float(ds.get("RescaleIntercept", 0) or 0)
        planes.append(
            pixels if (slope, intercept) == (1.0, 0.0) else pixels * np.float32(slope) + np.float32(intercept)
        )
    if len({plane.shape for plane in planes}) > 1:
        raise ShapeMismatchError(f"{series.paths[0].parent}: slices of one series differ in size.")
    return np.stack(planes, axis=-1)
