"""Stacks of any orientation, seen as networks of volumes want them: slices towards the head, rows from the front to
the back, columns from the patient's right to the left.

Axes are exchanged and reversed, nothing is interpolated: an oblique stack stays oblique, as its slices follow the
anatomy more often than the axes of the scanner do. Spacing is `grid`'s and `volume3d`'s work.

Shape legend: D, H, W slices, rows and columns in that order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.geometry import StackGeometry

# Patient axes (LPS) along which D, H and W grow: towards the head, the back and the patient's left.
_SUPERIOR, _POSTERIOR, _LEFT = 2, 1, 0


@dataclass(frozen=True)
class CanonicalView:
    """How a stack's array (k, j, i) becomes (D, H, W) and back.

    Parameters
    ----------
    axes : tuple of 3 int
        Axis of the stack's array behind each of D, H, W.
    is_reversed : tuple of 3 bool
        Whether it runs the other way, for each of D, H, W.
    spacing_mm : tuple of 3 float
        Along D, H, W.
    """

    axes: tuple[int, int, int]
    is_reversed: tuple[bool, bool, bool]
    spacing_mm: tuple[float, float, float]

    @classmethod
    def of(cls, geometry: StackGeometry) -> CanonicalView:
        """Find the axes of a stack that are nearest to the patient's."""
        steps = geometry.affine_lps[:3, [2, 1, 0]].T  # millimetres (x, y, z) per voxel along k, j, i
        lengths_mm = np.linalg.norm(steps, axis=1)
        cosines = steps / lengths_mm[:, None]
        free = [0, 1, 2]
        axes: list[int] = []
        for patient_axis in (_SUPERIOR, _POSTERIOR, _LEFT):
            axes.append(max(free, key=lambda axis: abs(cosines[axis, patient_axis])))
            free.remove(axes[-1])
        k, j, i = axes
        return cls(
            (k, j, i),
            (cosines[k, _SUPERIOR] < 0, cosines[j, _POSTERIOR] < 0, cosines[i, _LEFT] < 0),
            (float(lengths_mm[k]), float(lengths_mm[j]), float(lengths_mm[i])),
        )

    def to_canonical(self, voxels_kji: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """View of an array of the stack as (D, H, W)."""
        turned = voxels_kji.transpose(self.axes)
        return np.asarray(turned[tuple(slice(None, None, -1 if reverse else 1) for reverse in self.is_reversed)])

    def to_source(self, array_DHW: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """The same voxels as (k, j, i), C-contiguous."""
        straight = array_DHW[tuple(slice(None, None, -1 if reverse else 1) for reverse in self.is_reversed)]
        return np.ascontiguousarray(straight.transpose(np.argsort(self.axes)))
