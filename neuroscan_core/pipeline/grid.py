"""In-plane geometry between a source image and the network's input.

The network sees axial slices in radiological order: row 0 anterior, column 0
patient right, 256 x 256 pixels of about 1 mm. `InPlaneGrid` brings one slice
there and a mask back, slice by slice, so it needs no volume. Order and
neighbourhood of slices, and intensities, are handled elsewhere.

Shape legend: j source rows, i source columns; H, W rows and columns of the
network's input. World frame: DICOM LPS.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

MODEL_SIZE = (256, 256)
WORKING_SPACING_MM = 1.0
SPACING_TOLERANCE = 0.15
# cos 45 deg: beyond it another plane than axial describes the slice better.
MIN_AXIAL_COSINE = 0.7071
_LEFT, _POSTERIOR, _SUPERIOR = 0, 1, 2


@dataclass(frozen=True)
class InPlaneGrid:
    """Mapping of a source slice (j, i) onto the network's input (H, W).

    Parameters
    ----------
    rows, columns : int
        Size of the source image.
    spacing_mm : tuple of float
        Distance between rows, then between columns (DICOM PixelSpacing).
    transpose : bool
        Whether source rows run along the patient's left-right axis.
    flip_rows, flip_columns : bool
        Flips after transposition.
    size : tuple of int
        Rows and columns of the network's input.
    working_spacing_mm, tolerance : float
        Spacing that the network was trained for, and the relative deviation
        within which an image that fits is padded instead of resampled.

    Raises
    ------
    ValueError
        If a size or a spacing is not positive.
    """

    rows: int
    columns: int
    spacing_mm: tuple[float, float] = (WORKING_SPACING_MM, WORKING_SPACING_MM)
    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False
    size: tuple[int, int] = MODEL_SIZE
    working_spacing_mm: float = WORKING_SPACING_MM
    tolerance: float = SPACING_TOLERANCE

    def __post_init__(self) -> None:
        lengths = (self.rows, self.columns, *self.spacing_mm, *self.size, self.working_spacing_mm)
        if not all(np.isfinite(length) and length > 0 for length in lengths):
            raise ValueError(f"sizes and spacings must be positive: {lengths}")

    @classmethod
    def from_orientation(
        cls,
        rows: int,
        columns: int,
        spacing_mm: Sequence[float],
        orientation: Sequence[float],
        *,
        size: tuple[int, int] = MODEL_SIZE,
        working_spacing_mm: float = WORKING_SPACING_MM,
        tolerance: float = SPACING_TOLERANCE,
    ) -> InPlaneGrid:
        """Derive transposition and flips from direction cosines.

        Parameters
        ----------
        orientation : sequence of float
            DICOM ImageOrientationPatient (PS3.3 C.7.6.2.1.1): direction of
            increasing column index, then of increasing row index, in LPS.

        Raises
        ------
        ValueError
            If the slice is nearer to sagittal or coronal than to axial.
        """
        along_i = np.asarray(orientation[:3], dtype=np.float64)
        along_j = np.asarray(orientation[3:6], dtype=np.float64)
        normal = np.cross(along_i, along_j)
        if abs(normal[_SUPERIOR]) < MIN_AXIAL_COSINE:
            raise ValueError(f"not an axial slice: orientation {list(orientation)}")
        transpose = bool(abs(along_i[_LEFT]) < abs(along_i[_POSTERIOR]))
        towards_left, towards_posterior = (along_j, along_i) if transpose else (along_i, along_j)
        return cls(
            rows,
            columns,
            (float(spacing_mm[0]), float(spacing_mm[1])),
            transpose=transpose,
            flip_rows=bool(towards_posterior[_POSTERIOR] < 0),
            flip_columns=bool(towards_left[_LEFT] < 0),
            size=size,
            working_spacing_mm=working_spacing_mm,
            tolerance=tolerance,
        )

    @cached_property
    def is_resampled(self) -> bool:
        """Whether `to_model` interpolates; otherwise the way back is exact."""
        return self._resized_shape != self._canonical_shape

    @cached_property
    def _canonical_shape(self) -> tuple[int, int]:
        return (self.columns, self.rows) if self.transpose else (self.rows, self.columns)

    @cached_property
    def _resized_shape(self) -> tuple[int, int]:
        shape = self._canonical_shape
        ratios = [spacing / self.working_spacing_mm for spacing in self.spacing_mm]
        is_near = all(abs(ratio - 1.0) <= self.tolerance for ratio in ratios)
        if is_near and shape[0] <= self.size[0] and shape[1] <= self.size[1]:
            return shape
        if self.transpose:
            ratios.reverse()
        return (max(1, round(shape[0] * ratios[0])), max(1, round(shape[1] * ratios[1])))

    @cached_property
    def _overlap(self) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Slices of the model image and of the resized image that coincide."""
        model, resized = [], []
        for have, want in zip(self._resized_shape, self.size, strict=True):
            pad, crop = max(0, (want - have) // 2), max(0, (have - want) // 2)
            extent = min(have, want)
            model.append(slice(pad, pad + extent))
            resized.append(slice(crop, crop + extent))
        return (model[0], model[1]), (resized[0], resized[1])

    def _canonical(self, slice_ji: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        view = slice_ji.T if self.transpose else slice_ji
        return view[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]

    def to_model(self, slice_ji: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
        """Bring a source slice into the network's frame.

        Parameters
        ----------
        slice_ji : numpy.ndarray
            Shape (rows, columns), any real dtype.

        Returns
        -------
        numpy.ndarray
            Shape `size`, float32, 0 outside the source.

        Raises
        ------
        ValueError
            If the slice has another shape than this grid.
        """
        if slice_ji.shape != (self.rows, self.columns):
            raise ValueError(f"slice is {slice_ji.shape}, grid {(self.rows, self.columns)}")
        image = self._canonical(self._resize(slice_ji) if self.is_resampled else slice_ji)
        model, resized = self._overlap
        out_HW = np.zeros(self.size, dtype=np.float32)
        out_HW[model] = image[resized]
        return out_HW

    def _resize(self, slice_ji: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
        """Resample before turning: a transposed view would have to be copied first."""
        import cv2

        height, width = self._resized_shape
        rows, columns = (width, height) if self.transpose else (height, width)
        shrinks = rows < self.rows or columns < self.columns
        resized = cv2.resize(
            np.ascontiguousarray(slice_ji, dtype=np.float32),
            (columns, rows),
            interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR,
        )
        return np.asarray(resized, dtype=np.float32)

    @cached_property
    def _sources(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Per canonical row and column: index in the resized image (nearest)."""
        indices = []
        for have, resized in zip(self._canonical_shape, self._resized_shape, strict=True):
            centres = (np.arange(have) + 0.5) * (resized / have)
            indices.append(np.minimum(centres.astype(np.intp), resized - 1))
        return indices[0], indices[1]

    def from_model(self, mask_HW: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """Bring a label mask back onto the source pixels.

        Nearest neighbour; the exact inverse of `to_model` where nothing was
        resampled or cropped. Source pixels that the network never saw are 0.

        Parameters
        ----------
        mask_HW : numpy.ndarray
            Labels, shape `size`.

        Returns
        -------
        numpy.ndarray
            Shape (rows, columns), C-contiguous, dtype of `mask_HW`.

        Raises
        ------
        ValueError
            If the mask has another shape than the network's input.
        """
        if mask_HW.shape != self.size:
            raise ValueError(f"mask is {mask_HW.shape}, the network's image {self.size}")
        model, resized = self._overlap
        image = np.zeros(self._resized_shape, dtype=mask_HW.dtype)
        image[resized] = mask_HW[model]
        if self.is_resampled:
            rows, columns = self._sources
            image = image[rows][:, columns]
        flipped = image[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]
        return np.ascontiguousarray(flipped.T if self.transpose else flipped)
