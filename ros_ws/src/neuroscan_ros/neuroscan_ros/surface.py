"""The surface of what is labelled, as rviz shows it: in metres, without smoothing; no messages.

How a region is enclosed is `neuroscan_core.pipeline.surface`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from neuroscan_core.pipeline.surface import coarsening, enclose
from neuroscan_core.viewer.label_volume import LabelVolume
from neuroscan_ros.frames import affine_to_metres

MAX_TRIANGLES = 20_000  # 2.4 MB as a marker; more is made coarser


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
    factors_kji = coarsening(volume.labels_kji, spacing_mm, max_triangles)
    vertices: list[npt.NDArray[np.float64]] = [np.zeros((0, 3))]
    triangles: list[npt.NDArray[np.int64]] = [np.zeros((0, 3), np.int64)]
    labels: list[npt.NDArray[np.uint8]] = [np.zeros(0, np.uint8)]
    num_vertices = 0
    for label in np.unique(volume.labels_kji[volume.labels_kji > 0]):
        positions_v3, faces_t3 = enclose(volume.labels_kji == label, factors_kji)
        vertices.append(positions_v3)
        triangles.append(faces_t3 + num_vertices)
        labels.append(np.full(len(positions_v3), label, np.uint8))
        num_vertices += len(positions_v3)
    affine = affine_to_metres(volume.affine_lps)
    positions_ijk = np.concatenate(vertices)[:, ::-1]
    points_v3 = positions_ijk @ affine[:3, :3].T + affine[:3, 3]
    return Surface(np.asarray(points_v3), np.concatenate(triangles), np.concatenate(labels))
