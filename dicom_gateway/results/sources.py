"""The slices a result refers to: what each one's object says, in the very characters of its header.

Single-frame objects, frames of enhanced multi-frame objects and tiles of mosaics become the same `SourceSlice`, so
that segmentations and reports need not tell them apart. Decimal strings are kept as written: viewers compare
orientations with a tolerance of 0.001, archives compare them as text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset
from pydicom.valuerep import format_number_as_ds

from neuroscan_core.domain.errors import UnreadableObject
from neuroscan_core.domain.geometry import StackGeometry
from neuroscan_core.domain.volume import FrameKey

SPACING_TOLERANCE = 1e-3  # SpacingBetweenSlices of a header further off than this fraction is replaced by the measured


@dataclass(frozen=True, eq=False)
class SourceSlice:
    """One slice of the segmented series.

    Parameters
    ----------
    key : FrameKey
    header : Dataset
        Of its object, see `headers.trimmed`.
    frame_number : int or None
        None for objects with one frame, and for the tiles of a mosaic, which DICOM cannot refer to.
    position, orientation, spacing : tuple of str
        ImagePositionPatient, ImageOrientationPatient, PixelSpacing: decimal strings as in the object.
    thickness, gap : str
        SliceThickness and SpacingBetweenSlices; empty where absent.
    shape : tuple of int
        Rows, columns.
    is_on_grid : bool
        Whether its pixels lie on the grid of its object; false for tiles of a mosaic.
    """

    key: FrameKey
    header: Dataset
    frame_number: int | None
    position: tuple[str, ...]
    orientation: tuple[str, ...]
    spacing: tuple[str, ...]
    thickness: str
    gap: str
    shape: tuple[int, int]
    is_on_grid: bool = True

    @property
    def sop_class_uid(self) -> str:
        """SOP class of its object."""
        return str(self.header.SOPClassUID)

    @property
    def position_mm(self) -> tuple[float, ...]:
        """Position as numbers."""
        return tuple(float(text) for text in self.position)

    @property
    def offset_mm(self) -> float:
        """Distance from the origin along its own normal."""
        row, column = np.array([float(text) for text in self.orientation]).reshape(2, 3)
        return float(np.cross(row, column) @ np.array(self.position_mm))

    @property
    def frame_numbers(self) -> list[int] | None:
        """Frame number as references in reports want it."""
        return None if self.frame_number is None else [self.frame_number]


@dataclass(frozen=True, eq=False)
class CompanionSeries:
    """Another series of the study that a result was made from.

    Parameters
    ----------
    series_instance_uid : str
    sequence : str
        What it is, e.g. ``T1ce``.
    objects : mapping of str to str
        SOP Instance UID to SOP Class UID, in order.
    """

    series_instance_uid: str
    sequence: str
    objects: Mapping[str, str]

    @classmethod
    def of(cls, sequence: str, headers: Iterable[Dataset]) -> CompanionSeries:
        """Read it from the headers of its objects, of which there is at least one."""
        known = list(headers)
        objects = {str(header.SOPInstanceUID): str(header.SOPClassUID) for header in known}
        return cls(str(known[0].SeriesInstanceUID), sequence, objects)


def slice_of(key: FrameKey, header: Dataset) -> SourceSlice:
    """Read a slice from the header of its object.

    Raises
    ------
    UnreadableObject
        The header lacks what places the slice in the patient.
    """
    is_multiframe = "PerFrameFunctionalGroupsSequence" in header
    try:
        position = _group(header, key, "PlanePositionSequence").ImagePositionPatient
        orientation = _group(header, key, "PlaneOrientationSequence").ImageOrientationPatient
        measures = _group(header, key, "PixelMeasuresSequence")
        return SourceSlice(
            key=key,
            header=header,
            frame_number=key.frame_number if is_multiframe else None,
            position=_decimals(position),
            orientation=_decimals(orientation),
            spacing=_decimals(measures.PixelSpacing),
            thickness=_decimal(measures.get("SliceThickness")),
            gap=_decimal(measures.get("SpacingBetweenSlices")),
            shape=(int(header.Rows), int(header.Columns)),
        )
    except (AttributeError, IndexError, TypeError, ValueError) as exc:
        raise UnreadableObject(
            f"The header of {key.sop_instance_uid} does not place its frame {key.frame_number} in the patient: {exc}.",
            remedy="Send the series again.",
        ) from exc


def source_slices(
    headers: Mapping[str, Dataset],
    manifest: Sequence[FrameKey],
    geometry: StackGeometry,
    cached: Mapping[FrameKey, SourceSlice] | None = None,
) -> list[SourceSlice]:
    """Slices of a manifest, checked against the geometry that was segmented.

    Raises
    ------
    UnreadableObject
        Headers and geometry do not describe the same slices, or there is no frame of reference.
    """
    cached = cached or {}
    first = headers[manifest[0].sop_instance_uid]
    if not first.get("FrameOfReferenceUID"):
        raise UnreadableObject(
            "The images carry no FrameOfReferenceUID: a segmentation could not be laid over them.",
            remedy="Send the series with its frame of reference.",
        )
    if (int(first.Rows), int(first.Columns)) != geometry.first.shape:
        return [_tile(key, headers[key.sop_instance_uid], k, geometry) for k, key in enumerate(manifest)]
    slices = [cached.get(key) or slice_of(key, headers[key.sop_instance_uid]) for key in manifest]
    _check_positions(slices, geometry)
    return slices


def _check_positions(slices: Sequence[SourceSlice], geometry: StackGeometry) -> None:
    positions_k3 = np.array([s.position_mm for s in slices])
    steps_k3 = np.outer(np.arange(len(slices)) * geometry.spacing_mm, geometry.first.normal)
    distance_mm = np.linalg.norm(positions_k3 - (np.array(geometry.first.position_mm) + steps_k3), axis=1)
    if distance_mm.max() > 0.5 * geometry.spacing_mm:
        raise UnreadableObject(
            f"Masks and images lie up to {distance_mm.max():.2f} mm apart: they are not of the same series.",
            remedy="Segment the series again.",
        )


def _group(header: Dataset, key: FrameKey, keyword: str) -> Dataset:
    """Item of a functional group (PS3.3 C.7.6.16) or, for single-frame objects, the object itself."""
    if "PerFrameFunctionalGroupsSequence" not in header:
        return header
    frame = header.PerFrameFunctionalGroupsSequence[key.frame_number - 1]
    holder = frame if keyword in frame else header.SharedFunctionalGroupsSequence[0]
    item: Dataset = holder[keyword].value[0]
    return item


def _tile(key: FrameKey, header: Dataset, k: int, geometry: StackGeometry) -> SourceSlice:
    position = np.add(geometry.first.position_mm, k * geometry.spacing_mm * geometry.first.normal)
    return SourceSlice(
        key=key,
        header=header,
        frame_number=None,
        position=_decimals(position.tolist()),
        orientation=_decimals(geometry.first.orientation),
        spacing=_decimals(geometry.first.spacing_mm),
        thickness=_decimal(header.get("SliceThickness")),
        gap=_decimal(geometry.spacing_mm),
        shape=geometry.first.shape,
        is_on_grid=False,
    )


def _decimals(values: Sequence[object]) -> tuple[str, ...]:
    return tuple(_decimal(value) for value in values)


def _decimal(value: object) -> str:
    """Decimal string (PS3.5 6.2): the characters of the header, unless these are longer than allowed."""
    if value is None or value == "":
        return ""
    as_written = getattr(value, "original_string", None)
    if as_written is not None and len(str(as_written).strip()) <= 16:
        return str(as_written).strip()
    return str(format_number_as_ds(float(value)))  # type: ignore[arg-type]  # DSfloat, or a number of the geometry
