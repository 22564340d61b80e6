"""The surface of what is labelled, by marching cubes; NumPy and scikit-image, no messages.

Source: Lewiner 2003, 10.1080/10867651.2003.10487582 (the variant of marching cubes that scikit-image has).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from skimage.measure import marching_cubes

from neuroscan_core.viewer.label_volume import LabelVolume, filled_box
from neuroscan_ros.frames import affine_to_metres

MAX_TRIANGLES = 20_000  # 2.4 MB as a marker; more is made coarser
MAX_COARSENING = 6


@dataclass(frozen=True, eq=False)
class Surface:
    """A closed surface around each label.

    Parameters
    ----------
    vertices_v3 : ndarray of float64
        In the frame `PATIENT_LPS`, in metres.
    triangles_t3 : ndarray of int64
        Indices of vertices, counter-clockwise seen from outside.
    labels_v : ndarray of uint8
        Label that each vertex belongs to.
    """

    vertices_v3: npt.NDArray[np.float64]
    triangles_t3: npt.NDArray[np.int64]
    labels_v: npt.NDArray[np.uint8]

    @property
    def volume_ml(self) -> float:
        """Volume inside, by the divergence theorem; negative where triangles look inwards."""
        corners = self.vertices_v3[self.triangles_t3] - (self.vertices_v3.mean(axis=0) if len(self.vertices_v3) else 0)
        return float(np.einsum("ij,ij->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6.0 * 1e6)

    @property
    def normals_v3(self) -> npt.NDArray[np.float64]:
        """Unit vectors that point outwards, as the triangles around each vertex do on average."""
        a, b, c = (self.vertices_v3[self.triangles_t3[:, corner]] for corner in range(3))
        across_t3 = np.cross(b - a, c - a)
        normals_v3 = np.zeros_like(self.vertices_v3)
        for corner in range(3):
            np.add.at(normals_v3, self.triangles_t3[:, corner], across_t3)
        return np.asarray(normals_v3 / np.maximum(np.linalg.norm(normals_v3, axis=1, keepdims=True), 1e-30))


def tumour_surface(volume: LabelVolume, *, max_triangles: int = MAX_TRIANGLES) -> Surface:
    """Enclose every label; without triangles where nothing is labelled.

    Parameters
    ----------
    volume : LabelVolume
    max_triangles : int
        Where about so many are exceeded, voxels are taken together, first along the axes with the finest spacing.
    """
    spacing_mm = np.linalg.norm(volume.geometry.affine_lps[:3, :3], axis=0)[::-1]
    factors_kji = _coarsening(volume.labels_kji, spacing_mm, max_triangles)
    vertices: list[npt.NDArray[np.float64]] = [np.zeros((0, 3))]
    triangles: list[npt.NDArray[np.int64]] = [np.zeros((0, 3), np.int64)]
    labels: list[npt.NDArray[np.uint8]] = [np.zeros(0, np.uint8)]
    num_vertices = 0
    for label in np.unique(volume.labels_kji[volume.labels_kji > 0]):
        positions_v3, faces_t3 = _enclose(volume.labels_kji == label, factors_kji)
        vertices.append(positions_v3)
        triangles.append(faces_t3 + num_vertices)
        labels.append(np.full(len(positions_v3), label, np.uint8))
        num_vertices += len(positions_v3)
    affine = affine_to_metres(volume.affine_lps)
    positions_ijk = np.concatenate(vertices)[:, ::-1]
    points_v3 = positions_ijk @ affine[:3, :3].T + affine[:3, 3]
    return Surface(np.asarray(points_v3), np.concatenate(triangles), np.concatenate(labels))


def _coarsening(
    labels_kji: npt.NDArray[np.uint8], spacing_mm: npt.NDArray[np.float64], max_triangles: int
) -> tuple[int, int, int]:
    """How many voxels are taken together along each axis."""
    factors = np.ones(3, dtype=int)
    num_faces = sum(int(np.count_nonzero(np.diff(np.pad(labels_kji, 1), axis=axis))) for axis in range(3))
    num_triangles = 2.0 * num_faces  # exactly so for a flat surface along the grid
    for _ in range(MAX_COARSENING):
        if num_triangles <= max_triangles:
            break
        axis = int(np.argmin(spacing_mm * factors))
        factors[axis] *= 2
        num_triangles /= 2 ** (2 / 3)  # two of three directions of faces see the axis
    return int(factors[0]), int(factors[1]), int(factors[2])


def _enclose(
    region_kji: npt.NDArray[np.bool_], factors_kji: tuple[int, int, int]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Vertices (k, j, i) in voxel indices, and triangles that look outwards once x, y, z is made of i, j, k."""
    box = filled_box(region_kji.view(np.uint8))
    start_kji = np.array([part.start for part in box], dtype=np.float64)
    filled = region_kji[box].astype(np.float32)
    for axis, factor in enumerate(factors_kji):
        filled = _take_together(filled, axis, factor)
    # Background all around closes the surface where the region reaches the border of the volume.
    filled = np.pad(filled, 1)
    level = _level(filled, int(np.count_nonzero(region_kji)), int(np.prod(factors_kji)))
    positions_v3, faces_t3, _, _ = marching_cubes(filled, level)
    factors = np.array(factors_kji, dtype=np.float64)
    positions_v3 = start_kji + (positions_v3.astype(np.float64) - 1) * factors + (factors - 1) / 2
    return positions_v3, faces_t3.astype(np.int64)


def _level(filled_kji: npt.NDArray[np.float32], num_voxels: int, num_together: int) -> float:
    """From which mean on a coarse voxel is inside, so that about as much is inside as was labelled.

    Not a value that a mean can have: a corner right on a voxel would tear the surface.
    """
    num_inside = min(max(1, round(num_voxels / num_together)), filled_kji.size)
    last = float(np.partition(filled_kji, -num_inside, axis=None)[-num_inside])
    return min(last, 0.5) - 0.1 / num_together if num_together > 1 else 0.5


def _take_together(values: npt.NDArray[np.float32], axis: int, factor: int) -> npt.NDArray[np.float32]:
    """Means over `factor` neighbours along an axis."""
    if factor == 1:
        return values
    padding = [(0, 0)] * values.ndim
    padding[axis] = (0, -values.shape[axis] % factor)
    values = np.pad(values, padding)
    shape = (*values.shape[:axis], values.shape[axis] // factor, factor, *values.shape[axis + 1 :])
    return np.asarray(values.reshape(shape).mean(axis=axis + 1), dtype=np.float32)
