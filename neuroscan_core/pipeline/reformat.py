"""Series acquired in another plane, seen as a stack of axial slices.

The voxels stay what they are: a reformat renames the axes of the stack (a cyclic permutation, so the frame stays
right-handed) and, where voxels are finer than the network needs, takes every n-th axial slice. The way back is exact
but for that stride. Resampling inside a slice is `grid`'s work.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.errors import RejectionCode, SeriesRejection
from neuroscan_core.domain.geometry import SliceGeometry, StackGeometry
from neuroscan_core.domain.volume import FrameKey, Slice
from neuroscan_core.pipeline.window25d import is_axial

MAX_IN_PLANE_SPACING_MM = 3.0
# Axial slices nearer than this add computing time but nothing that the network could see.
MIN_SLICE_SPACING_MM = 0.75

# Array axes (k, j, i) of the source for each choice of the source axis that becomes the new slice axis.
_CYCLES = {0: (0, 1, 2), 1: (1, 2, 0), 2: (2, 0, 1)}


@dataclass(frozen=True)
class AxialReformat:
    """Axial view of a stack.

    Parameters
    ----------
    source, axial : StackGeometry
        `axial` holds every `stride`-th slice across the new slice axis.
    axes : tuple of 3 int
        Axis of the source array (k, j, i) behind each axis of the axial array.
    stride : int
    """

    source: StackGeometry
    axial: StackGeometry
    axes: tuple[int, int, int]
    stride: int

    @classmethod
    def of(cls, source: StackGeometry, *, max_in_plane_mm: float = MAX_IN_PLANE_SPACING_MM) -> AxialReformat:
        """Find the permutation.

        Raises
        ------
        SeriesRejection
            ``unsupported-plane`` where no axis of the stack is near the patient's, or where slices are so thick that
            the axial view would be coarser than `max_in_plane_mm`.
        """
        affine = source.affine_lps
        # Columns of the affine are i, j, k; array axes are k, j, i.
        steps = affine[:3, [2, 1, 0]].T
        spacing_mm = np.linalg.norm(steps, axis=1)
        directions = steps / spacing_mm[:, None]
        axes = _CYCLES[int(np.argmax(np.abs(directions[:, 2])))]
        slice_axis, row_axis, column_axis = axes
        stride = max(1, int(1.0 / spacing_mm[slice_axis])) if spacing_mm[slice_axis] < MIN_SLICE_SPACING_MM else 1
        first = SliceGeometry(
            position_mm=source.first.position_mm,
            orientation=tuple(float(x) for x in (*directions[column_axis], *directions[row_axis])),  # type: ignore[arg-type]
            spacing_mm=(float(spacing_mm[row_axis]), float(spacing_mm[column_axis])),
            shape=(source.shape[row_axis], source.shape[column_axis]),
            frame_of_reference_uid=source.first.frame_of_reference_uid,
        )
        num_slices = -(-source.shape[slice_axis] // stride)
        _check(source, first, max_in_plane_mm)
        return cls(source, StackGeometry(first, float(spacing_mm[slice_axis]) * stride, num_slices), axes, stride)

    def slices(self, voxels_kji: npt.NDArray[np.float32]) -> Iterator[Slice]:
        """Axial slices of the source's voxels; keys only number them."""
        axial_kji = voxels_kji.transpose(self.axes)[:: self.stride]
        for k, (key, pixels_ji) in enumerate(zip(self.keys, axial_kji, strict=True)):
            yield Slice(key, self.axial.slice_geometry(k), pixels_ji)

    @property
    def keys(self) -> tuple[FrameKey, ...]:
        """Keys of the axial slices."""
        return tuple(FrameKey("axial", number + 1) for number in range(self.axial.num_slices))

    def to_source(self, axial_kji: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Bring axial labels back to the source's voxels, each to the voxels nearest to it."""
        num_source = self.source.shape[self.axes[0]]
        nearest = np.minimum((np.arange(num_source) + self.stride // 2) // self.stride, self.axial.num_slices - 1)
        full = axial_kji[nearest] if self.stride > 1 else axial_kji
        return np.ascontiguousarray(full.transpose(np.argsort(self.axes)))


def _check(source: StackGeometry, axial: SliceGeometry, max_in_plane_mm: float) -> None:
    plane = source.first.plane.value
    if not is_axial(axial):
        raise SeriesRejection(
            RejectionCode.UNSUPPORTED_PLANE,
            "The series is oblique to all planes of the patient by more than 45 degrees.",
        )
    if max(axial.spacing_mm) > max_in_plane_mm + 0.01:
        raise SeriesRejection(
            RejectionCode.UNSUPPORTED_PLANE,
            f"The series is {plane} with slices {source.spacing_mm:.1f} mm apart; seen axially it would be "
            f"coarser than {max_in_plane_mm:.0f} mm.",
            remedy="Send an axial series, or a 3D acquisition with thin slices.",
        )
