"""Closed surfaces of what is labelled, and of the head around it, by marching cubes.

Positions are in patient coordinates (LPS, mm). Surfaces are closed, look outwards and enclose about the volume of the
voxels that they were made of. Steps of the voxel grid are smoothed by Taubin's filter, which does not shrink.

Sources: Lewiner 2003, 10.1080/10867651.2003.10487582 (the variant of marching cubes that scikit-image has); Taubin
1995, 10.1145/218380.218473.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse

from neuroscan_core.domain.geometry import StackGeometry
from neuroscan_core.pipeline.postprocess import bounding_box

MAX_TRIANGLES = 40_000  # of all labels together; 1.4 MB to the browser
MAX_COARSENING = 8
HEAD_SPACING_MM = 3.0
HEAD_LEVEL = 0.12  # of the 99th percentile of the voxels: between noise and skin
SMOOTHING_STEPS = 8
TAUBIN_LAMBDA, TAUBIN_MU = 0.5, -0.53


@dataclass(frozen=True, eq=False)
class SurfacePart:
    """A closed surface.

    Parameters
    ----------
    label : int
        Value in the label map; 0 for the head.
    vertices_v3 : ndarray of float32, shape (vertices, 3)
        LPS, mm.
    triangles_t3 : ndarray of uint32, shape (triangles, 3)
        Indices of vertices, counter-clockwise seen from outside.
    """

    label: int
    vertices_v3: npt.NDArray[np.float32]
    triangles_t3: npt.NDArray[np.uint32]

    @property
    def volume_ml(self) -> float:
        """Volume inside, by the divergence theorem; negative where triangles look inwards."""
        if not len(self.vertices_v3):
            return 0.0
        vertices_v3 = self.vertices_v3.astype(np.float64)
        corners = (vertices_v3 - vertices_v3.mean(axis=0))[self.triangles_t3]
        return float(np.einsum("ij,ij->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6000.0)

    @property
    def normals_v3(self) -> npt.NDArray[np.float32]:
        """Unit vectors that point outwards, as the triangles around each vertex do on average; shape (vertices, 3)."""
        vertices_v3 = self.vertices_v3.astype(np.float64)
        a, b, c = (vertices_v3[self.triangles_t3[:, corner]] for corner in range(3))
        across_t3 = np.cross(b - a, c - a)
        normals_v3 = np.zeros_like(vertices_v3)
        for axis in range(3):
            for corner in range(3):
                normals_v3[:, axis] += np.bincount(
                    self.triangles_t3[:, corner], weights=across_t3[:, axis], minlength=len(vertices_v3)
                )
        lengths_v1 = np.linalg.norm(normals_v3, axis=1, keepdims=True)
        return np.asarray(normals_v3 / np.maximum(lengths_v1, 1e-30), dtype=np.float32)


def label_surfaces(
    labels_kji: npt.NDArray[np.uint8], geometry: StackGeometry, *, max_triangles: int = MAX_TRIANGLES
) -> list[SurfacePart]:
    """Enclose every label; nothing where nothing is labelled.

    Parameters
    ----------
    labels_kji : ndarray of uint8, shape (slices, rows, columns)
    geometry : StackGeometry
    max_triangles : int
        Where about so many are exceeded, voxels are taken together, first along the axes with the finest spacing.
    """
    box = bounding_box(labels_kji > 0)
    if box is None:
        return []
    inside_kji = labels_kji[box]
    origin_kji = np.array([part.start for part in box], dtype=np.float64)
    factors_kji = coarsening(inside_kji, _spacing_kji(geometry), max_triangles)
    affine = geometry.affine_lps
    return [
        _part(int(label), *enclose(inside_kji == label, factors_kji), origin_kji, affine)
        for label in np.unique(inside_kji[inside_kji > 0])
    ]


def head_surface(
    voxels_kji: npt.NDArray[np.generic], geometry: StackGeometry, *, spacing_mm: float = HEAD_SPACING_MM
) -> SurfacePart | None:
    """Coarse surface of the largest object in the images; None where there is none.

    Parameters
    ----------
    voxels_kji : ndarray, shape (slices, rows, columns)
        Any real numbers; air is darkest.
    spacing_mm : float
        About what voxels are brought to.
    """
    factors = np.maximum(1, np.round(spacing_mm / _spacing_kji(geometry))).astype(int)
    taken = voxels_kji
    for axis, factor in enumerate(factors):
        taken = take_together(taken, axis, int(factor))
    coarse_kji: npt.NDArray[np.float32] = np.asarray(taken, dtype=np.float32)
    dark, bright = (float(value) for value in np.percentile(coarse_kji, (1, 99)))
    if not bright > dark:
        return None
    tissue_kji = coarse_kji > dark + HEAD_LEVEL * (bright - dark)
    regions_kji, num_regions = ndimage.label(tissue_kji)
    if num_regions == 0:
        return None
    largest = 1 + int(np.argmax(np.bincount(regions_kji.reshape(-1))[1:]))
    head_kji = _filled(regions_kji == largest)
    positions_v3, triangles_t3 = enclose(head_kji, (1, 1, 1))
    positions_v3 = positions_v3 * factors + (factors - 1) / 2
    return _part(0, positions_v3, triangles_t3, np.zeros(3), geometry.affine_lps)


def coarsening(
    labels_kji: npt.NDArray[np.uint8], spacing_kji: npt.NDArray[np.float64], max_triangles: int
) -> tuple[int, int, int]:
    """How many voxels are to be taken together along each axis."""
    factors = np.ones(3, dtype=int)
    num_faces = sum(int(np.count_nonzero(np.diff(np.pad(labels_kji, 1), axis=axis))) for axis in range(3))
    num_triangles = 2.0 * num_faces  # exactly so for a flat surface along the grid
    for _ in range(MAX_COARSENING):
        if num_triangles <= max_triangles:
            break
        axis = int(np.argmin(spacing_kji * factors))
        factors[axis] *= 2
        num_triangles /= 2 ** (2 / 3)  # two of three directions of faces see the axis
    return int(factors[0]), int(factors[1]), int(factors[2])


def enclose(
    region_kji: npt.NDArray[np.bool_], factors_kji: tuple[int, int, int]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Surface of a region that is not empty.

    Returns
    -------
    vertices : ndarray of float64, shape (vertices, 3)
        (k, j, i) in voxel indices.
    triangles : ndarray of int64, shape (triangles, 3)
        They look outwards once x, y, z is made of i, j, k.
    """
    from skimage.measure import marching_cubes  # a second to import: not for every process that knows this module

    box = bounding_box(region_kji)
    assert box is not None, "nothing has no surface"
    start_kji = np.array([part.start for part in box], dtype=np.float64)
    filled: npt.NDArray[np.float32] = region_kji[box].astype(np.float32)
    for axis, factor in enumerate(factors_kji):
        filled = np.asarray(take_together(filled, axis, factor), dtype=np.float32)
    # Background all around closes the surface where the region reaches the border of the volume.
    filled = np.pad(filled, 1)
    level = _level(filled, int(np.count_nonzero(region_kji)), int(np.prod(factors_kji)))
    positions_v3, faces_t3, _, _ = marching_cubes(filled, level)
    factors = np.array(factors_kji, dtype=np.float64)
    positions_v3 = start_kji + (positions_v3.astype(np.float64) - 1) * factors + (factors - 1) / 2
    return positions_v3, faces_t3.astype(np.int64)


def take_together(values: npt.NDArray[np.generic], axis: int, factor: int) -> npt.NDArray[np.generic]:
    """Means over `factor` neighbours along an axis; what is missing at its end counts as 0."""
    if factor == 1:
        return values
    padding = [(0, 0)] * values.ndim
    padding[axis] = (0, -values.shape[axis] % factor)
    padded = np.pad(values, padding)
    shape = (*padded.shape[:axis], padded.shape[axis] // factor, factor, *padded.shape[axis + 1 :])
    return np.asarray(padded.reshape(shape).mean(axis=axis + 1, dtype=np.float32))


def _level(filled_kji: npt.NDArray[np.float32], num_voxels: int, num_together: int) -> float:
    """From which mean on a coarse voxel is inside, so that about as much is inside as was labelled.

    Not a value that a mean can have: a corner right on a voxel would tear the surface.
    """
    num_inside = min(max(1, round(num_voxels / num_together)), filled_kji.size)
    last = float(np.partition(filled_kji, -num_inside, axis=None)[-num_inside])
    return min(last, 0.5) - 0.1 / num_together if num_together > 1 else 0.5


def _part(
    label: int,
    positions_v3: npt.NDArray[np.float64],
    triangles_t3: npt.NDArray[np.int64],
    origin_kji: npt.NDArray[np.float64],
    affine: npt.NDArray[np.float64],
) -> SurfacePart:
    points_v3 = (positions_v3 + origin_kji)[:, ::-1] @ affine[:3, :3].T + affine[:3, 3]
    smooth_v3 = _smoothed(points_v3, triangles_t3)
    return SurfacePart(label, smooth_v3.astype(np.float32), triangles_t3.astype(np.uint32))


def _smoothed(points_v3: npt.NDArray[np.float64], triangles_t3: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Taubin's filter: each vertex moves towards the mean of its neighbours, then a little further back."""
    num_vertices = len(points_v3)
    starts = triangles_t3.reshape(-1)
    ends = np.roll(triangles_t3, -1, axis=1).reshape(-1)
    # Of a closed surface every edge is run along in both directions, so this is symmetric.
    edges = sparse.csr_matrix((np.ones(len(starts)), (starts, ends)), shape=(num_vertices, num_vertices))
    edges.data[:] = 1.0
    degrees_v1 = np.maximum(np.asarray(edges.sum(axis=1)), 1.0)
    centre = points_v3.mean(axis=0)
    smooth_v3 = points_v3 - centre
    for _ in range(SMOOTHING_STEPS):
        for step in (TAUBIN_LAMBDA, TAUBIN_MU):
            smooth_v3 = smooth_v3 + step * (edges @ smooth_v3 / degrees_v1 - smooth_v3)
    return np.asarray(smooth_v3 + centre)


def _filled(region_kji: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Close gaps of one voxel and fill what cannot be reached from outside of each slice."""
    closed = ndimage.binary_closing(np.pad(region_kji, 2), iterations=1)[2:-2, 2:-2, 2:-2] | region_kji
    return np.stack([ndimage.binary_fill_holes(slice_ji) for slice_ji in closed])


def _spacing_kji(geometry: StackGeometry) -> npt.NDArray[np.float64]:
    return np.array([geometry.spacing_mm, *geometry.first.spacing_mm])
