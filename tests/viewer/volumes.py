"""Label maps with a known lesion, in stacks of all directions, for the tests of what is shown; imports no ROS."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.geometry import SliceGeometry, StackGeometry
from neuroscan_core.domain.segmentation import ModelIdentity
from neuroscan_core.viewer.label_volume import LabelVolume

MODEL = ModelIdentity("m", "1", "0" * 64)
# On the patient's left, in front of and above the origin: LPS, millimetres.
CENTRE_LPS_MM = np.array((30.0, -20.0, 10.0))
RADIUS_MM = 12.0

_A, _B = np.cos(np.radians(25.0)), np.sin(np.radians(25.0))
ORIENTATIONS: dict[str, tuple[float, float, float, float, float, float]] = {
    "axial": (1, 0, 0, 0, 1, 0),
    "axial, rows from left to right": (-1, 0, 0, 0, 1, 0),
    "axial, feet first": (1, 0, 0, 0, -1, 0),
    "sagittal": (0, 1, 0, 0, 0, -1),
    "coronal": (1, 0, 0, 0, 0, -1),
    "oblique": (_A, _B, 0, -_B * _A, _A * _A, _B),
}


def stack(
    orientation: tuple[float, float, float, float, float, float],
    shape_kji: tuple[int, int, int] = (40, 96, 104),
    spacing_mm: tuple[float, float, float] = (3.0, 1.1, 1.0),
) -> StackGeometry:
    """A stack whose middle is the origin; spacing of slices, rows, columns."""
    unplaced = SliceGeometry((0, 0, 0), orientation, (spacing_mm[1], spacing_mm[2]), shape_kji[1:], "1.9")
    middle = StackGeometry(unplaced, spacing_mm[0], shape_kji[0]).affine_lps @ (
        *(np.array(shape_kji[::-1]) - 1) / 2, 1,
    )  # fmt: skip
    x, y, z = (float(-length) for length in middle[:3])
    first = SliceGeometry((x, y, z), orientation, (spacing_mm[1], spacing_mm[2]), shape_kji[1:], "1.9")
    return StackGeometry(first, spacing_mm[0], shape_kji[0])


def distances_mm(geometry: StackGeometry, centre_mm: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Of the centre of every voxel from a point; shape (k, j, i)."""
    k, j, i = np.indices(geometry.shape)
    positions = np.stack((i, j, k, np.ones_like(i)), axis=-1) @ geometry.affine_lps.T
    return np.asarray(np.linalg.norm(positions[..., :3] - centre_mm, axis=-1))


def lesion(geometry: StackGeometry, *, label: int = 1) -> npt.NDArray[np.uint8]:
    """A ball around `CENTRE_LPS_MM`."""
    return (label * (distances_mm(geometry, CENTRE_LPS_MM) < RADIUS_MM)).astype(np.uint8)


def lesion_volume(orientation: str, **arguments: tuple[float, float, float]) -> LabelVolume:
    """The ball in a stack of one of `ORIENTATIONS`."""
    geometry = stack(ORIENTATIONS[orientation], **arguments)  # type: ignore[arg-type]
    return LabelVolume.of(geometry, lesion(geometry), MODEL)
