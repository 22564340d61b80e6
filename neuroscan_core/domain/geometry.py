"""Where slices lie in the patient: DICOM LPS, millimetres; arrays are (j, i) for a slice and (k, j, i) for a stack.

Source: PS3.3 C.7.6.2 (Image Plane Module), equation C.7.6.2.1-1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property

import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.errors import RejectionCode, SeriesRejection

PARALLEL_TOLERANCE = 1e-3  # largest |difference| of a direction cosine inside one stack, as viewers use it
IN_PLANE_OFFSET_TOLERANCE_MM = 0.1  # how far slice origins may leave the common normal before it is a shear


class Plane(str, Enum):
    """The anatomical plane nearest to a slice."""

    AXIAL = "axial"
    SAGITTAL = "sagittal"
    CORONAL = "coronal"


@dataclass(frozen=True)
class SliceGeometry:
    """Position of one slice.

    Parameters
    ----------
    position_mm : tuple of 3 float
        ImagePositionPatient: centre of the first voxel, LPS.
    orientation : tuple of 6 float
        ImageOrientationPatient: direction of increasing column index, then of increasing row index.
    spacing_mm : tuple of 2 float
        PixelSpacing: between rows, between columns.
    shape : tuple of 2 int
        Rows, columns.
    frame_of_reference_uid : str
    """

    position_mm: tuple[float, float, float]
    orientation: tuple[float, float, float, float, float, float]
    spacing_mm: tuple[float, float]
    shape: tuple[int, int]
    frame_of_reference_uid: str = ""

    def __post_init__(self) -> None:
        numbers = (*self.position_mm, *self.orientation, *self.spacing_mm)
        if not np.all(np.isfinite(numbers)):
            raise SeriesRejection(RejectionCode.MISSING_GEOMETRY, "A slice position is not a finite number.")
        row, column = np.array(self.orientation[:3]), np.array(self.orientation[3:])
        unit = abs(np.linalg.norm(row) - 1) < 1e-2 and abs(np.linalg.norm(column) - 1) < 1e-2
        if not unit or abs(float(row @ column)) > 1e-2:
            raise SeriesRejection(
                RejectionCode.MISSING_GEOMETRY, "ImageOrientationPatient is not a pair of orthogonal unit vectors."
            )
        if min(self.spacing_mm) <= 0 or min(self.shape) <= 0:
            raise SeriesRejection(RejectionCode.MISSING_GEOMETRY, "Pixel spacing and image size must be positive.")

    @cached_property
    def normal(self) -> npt.NDArray[np.float64]:
        """Unit normal of the slice, shape (3,)."""
        (a, b, c), (d, e, f) = self.orientation[:3], self.orientation[3:]
        n = np.array((b * f - c * e, c * d - a * f, a * e - b * d))
        return np.asarray(n / np.sqrt(n @ n))

    @property
    def offset_mm(self) -> float:
        """Signed distance of the slice from the origin along its normal."""
        return float(self.normal @ self.position_mm)

    @property
    def plane(self) -> Plane:
        """Anatomical plane with the nearest normal."""
        return (Plane.SAGITTAL, Plane.CORONAL, Plane.AXIAL)[int(np.argmax(np.abs(self.normal)))]

    def is_parallel_to(self, other: SliceGeometry) -> bool:
        """Whether both slices have the same orientation within `PARALLEL_TOLERANCE`."""
        return bool(np.max(np.abs(np.subtract(self.orientation, other.orientation))) <= PARALLEL_TOLERANCE)


@dataclass(frozen=True)
class StackGeometry:
    """A regular stack of parallel slices, ordered along the normal of the first.

    Parameters
    ----------
    first : SliceGeometry
        The slice with the smallest offset.
    spacing_mm : float
        Distance of neighbouring slices.
    num_slices : int
    """

    first: SliceGeometry
    spacing_mm: float
    num_slices: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows, columns."""
        return (self.num_slices, *self.first.shape)

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return self.first.spacing_mm[0] * self.first.spacing_mm[1] * self.spacing_mm / 1000.0

    @property
    def affine_lps(self) -> npt.NDArray[np.float64]:
        """4x4 matrix from (i, j, k, 1) to LPS millimetres."""
        affine = np.eye(4)
        affine[:3, 0] = np.multiply(self.first.orientation[:3], self.first.spacing_mm[1])
        affine[:3, 1] = np.multiply(self.first.orientation[3:], self.first.spacing_mm[0])
        affine[:3, 2] = self.first.normal * self.spacing_mm
        affine[:3, 3] = self.first.position_mm
        return affine

    def slice_geometry(self, k: int) -> SliceGeometry:
        """Geometry of the slice with index `k`."""
        x, y, z = (float(c) for c in np.add(self.first.position_mm, self.first.normal * (self.spacing_mm * k)))
        return replace(self.first, position_mm=(x, y, z))

    @classmethod
    def from_slices(
        cls, slices: Sequence[SliceGeometry], *, min_slices: int = 1, max_spacing_deviation: float = 0.05
    ) -> StackGeometry:
        """Check that slices, ordered by offset, form a regular stack.

        Parameters
        ----------
        slices : sequence of SliceGeometry
            Ordered by `offset_mm`.
        min_slices : int
            Fewer are refused.
        max_spacing_deviation : float
            Largest allowed deviation of a gap from the median gap, as a fraction of it.

        Raises
        ------
        SeriesRejection
            With the code of the first property that is missing.
        """
        if len(slices) < max(min_slices, 1):
            raise SeriesRejection(
                RejectionCode.TOO_FEW_SLICES, f"The series has {len(slices)} slices; at least {min_slices} are needed."
            )
        first = slices[0]
        for other in slices[1:]:
            _check_same_grid(first, other)
        if len(slices) == 1:
            return cls(first, max(first.spacing_mm), 1)
        gaps_mm = np.diff([s.offset_mm for s in slices])
        step_mm = float(np.median(gaps_mm))
        if np.min(gaps_mm) < 1e-3 or step_mm < 1e-3:
            raise SeriesRejection(
                RejectionCode.DUPLICATE_POSITIONS,
                "Several images lie at one position: the series holds more than one volume.",
                remedy="Send one contrast or time point per series.",
            )
        deviation = float(np.max(np.abs(gaps_mm - step_mm)))
        if deviation > max_spacing_deviation * step_mm:
            missing = np.max(gaps_mm) > 1.5 * step_mm and np.allclose(
                gaps_mm / step_mm, np.round(gaps_mm / step_mm), atol=max_spacing_deviation
            )
            code = RejectionCode.MISSING_SLICES if missing else RejectionCode.UNEQUAL_SPACING
            raise SeriesRejection(
                code,
                f"Slices are {np.min(gaps_mm):.2f} to {np.max(gaps_mm):.2f} mm apart; equal distances are needed.",
                remedy="Send the missing slices or reconstruct the series with equal spacing.",
            )
        _check_no_shear(slices)
        return cls(first, float(np.mean(gaps_mm)), len(slices))


def _check_same_grid(first: SliceGeometry, other: SliceGeometry) -> None:
    if other.orientation != first.orientation and not first.is_parallel_to(other):
        angle = np.degrees(np.arccos(np.clip(abs(float(first.normal @ other.normal)), -1, 1)))
        code = RejectionCode.MIXED_ORIENTATION if angle > 20 else RejectionCode.NON_PARALLEL
        raise SeriesRejection(code, f"Slices of the series are not parallel: up to {angle:.1f} degrees apart.")
    same_spacing = other.spacing_mm == first.spacing_mm or np.allclose(first.spacing_mm, other.spacing_mm, rtol=1e-3)
    if first.shape != other.shape or not same_spacing:
        raise SeriesRejection(RejectionCode.MIXED_GEOMETRY, "Slices of the series differ in size or pixel spacing.")
    if first.frame_of_reference_uid != other.frame_of_reference_uid:
        raise SeriesRejection(RejectionCode.MIXED_GEOMETRY, "Slices of the series have different frames of reference.")


def _check_no_shear(slices: Sequence[SliceGeometry]) -> None:
    first = slices[0]
    positions_k3 = np.array([s.position_mm for s in slices]) - np.array(first.position_mm)
    along = positions_k3 @ first.normal
    sideways_mm = float(np.max(np.linalg.norm(positions_k3 - np.outer(along, first.normal), axis=1)))
    if sideways_mm > IN_PLANE_OFFSET_TOLERANCE_MM + 1e-3 * float(along[-1]):
        raise SeriesRejection(
            RejectionCode.GANTRY_TILT,
            f"Slice origins leave the slice normal by {sideways_mm:.1f} mm: the stack is sheared (gantry tilt).",
            remedy="Reconstruct the series without tilt.",
        )
