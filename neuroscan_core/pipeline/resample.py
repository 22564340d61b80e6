"""A volume seen on the grid of another one, by trilinear interpolation.

Both grids may be rotated, oblique and of different spacing and extent; positions are compared in the patient's frame
(LPS, mm). Nothing is registered: what differs because the patient moved stays different. Work is done in slabs of
target slices, so that a caller can pause between them and memory stays small.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from neuroscan_core.domain.geometry import StackGeometry

SLAB_SLICES = 8
SAME_GRID_MM = 1e-3
# A target voxel larger than this many source voxels would skip some: the source is smoothed first.
MAX_DOWNSAMPLING = 1.5
PROBES_PER_AXIS = 24
# Half a voxel beyond the centre of the outermost voxels still belongs to the image; the border value is repeated there.
EDGE_VOXELS = 0.5

Pause = Callable[[], None]


def _no_pause() -> None:
    """Go on at once."""


def index_map(source: StackGeometry, target: StackGeometry) -> npt.NDArray[np.float64]:
    """4x4 matrix from voxel indices (k, j, i, 1) of the target to those of the source."""
    swap = np.eye(4)[[2, 1, 0, 3]]
    return np.asarray(swap @ np.linalg.inv(source.affine_lps) @ target.affine_lps @ swap)


def is_same_grid(source: StackGeometry, target: StackGeometry) -> bool:
    """Whether voxels of both coincide, to a thousandth of a millimetre at every corner."""
    if source.shape != target.shape:
        return False
    corners_ijk1 = np.array([(i, j, k, 1.0) for i in (0, source.shape[2] - 1) for j in (0, source.shape[1] - 1)
                             for k in (0, source.shape[0] - 1)])  # fmt: skip
    difference_mm = (corners_ijk1 @ source.affine_lps.T - corners_ijk1 @ target.affine_lps.T)[:, :3]
    return bool(np.abs(difference_mm).max() < SAME_GRID_MM)


def resample(
    voxels_kji: npt.NDArray[np.float32],
    source: StackGeometry,
    target: StackGeometry,
    *,
    pause: Pause = _no_pause,
) -> npt.NDArray[np.float32]:
    """Bring intensities onto another grid by trilinear interpolation.

    Parameters
    ----------
    voxels_kji : ndarray of float32
        On the grid of `source`; what is not finite counts as 0.
    pause : callable
        Called before each slab; may wait or raise.

    Returns
    -------
    ndarray of float32
        On the grid of `target`, 0 where the source does not reach; the voxels themselves where the grids are the same.
    """
    finite_kji = np.nan_to_num(voxels_kji, posinf=0.0, neginf=0.0) if not np.isfinite(voxels_kji).all() else voxels_kji
    if is_same_grid(source, target):
        return np.ascontiguousarray(finite_kji, dtype=np.float32)
    mapping = index_map(source, target)
    smooth_kji = _band_limited(np.asarray(finite_kji, dtype=np.float32), mapping)
    out_kji = np.empty(target.shape, dtype=np.float32)
    for slab, inside in _slabs(source, target, mapping, pause):
        matrix, offset = mapping[:3, :3], mapping[:3, 3] + mapping[:3, 0] * slab.start
        ndimage.affine_transform(smooth_kji, matrix, offset, output=out_kji[slab], order=1, mode="nearest",
                                 output_shape=out_kji[slab].shape)  # fmt: skip
        out_kji[slab][~inside] = 0.0
    return out_kji


def overlap(first: StackGeometry, second: StackGeometry) -> float:
    """Share of the smaller of two volumes that lies inside the other, 0 to 1, by a lattice of probes."""
    smaller, larger = sorted((first, second), key=_extent_ml)
    ticks = [np.linspace(0, size - 1, min(size, PROBES_PER_AXIS)) for size in smaller.shape]
    probes = np.stack(np.meshgrid(*ticks, indexing="ij"), axis=-1).reshape(-1, 3)
    mapping = index_map(larger, smaller)
    found = probes @ mapping[:3, :3].T + mapping[:3, 3]
    limits = np.array(larger.shape) - 1 + EDGE_VOXELS
    return float(np.mean(np.all((found >= -EDGE_VOXELS) & (found <= limits), axis=1)))


def _extent_ml(geometry: StackGeometry) -> float:
    return geometry.voxel_volume_ml * float(np.prod(geometry.shape))


def _band_limited(voxels_kji: npt.NDArray[np.float32], mapping: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Smooth along source axes of which the target takes only every second voxel or fewer."""
    step = np.linalg.norm(mapping[:3, :3], axis=1)  # source voxels per target voxel, along each source axis
    sigma = np.where(step > MAX_DOWNSAMPLING, 0.5 * np.sqrt(np.maximum(step**2 - 1.0, 0.0)) / np.sqrt(2 * np.log(2)), 0)
    if not sigma.any():
        return voxels_kji
    return np.asarray(ndimage.gaussian_filter(voxels_kji, sigma, mode="nearest", truncate=2.5), dtype=np.float32)


def _slabs(
    source: StackGeometry, target: StackGeometry, mapping: npt.NDArray[np.float64], pause: Pause
) -> Iterator[tuple[slice, npt.NDArray[np.bool_]]]:
    """Slabs of target slices, with which of their voxels lie inside the source."""
    num_slices, rows, columns = target.shape
    limits = np.array(source.shape) - 1 + EDGE_VOXELS
    for start in range(0, num_slices, SLAB_SLICES):
        pause()
        slab = slice(start, min(start + SLAB_SLICES, num_slices))
        inside_kji = np.ones((slab.stop - start, rows, columns), dtype=np.bool_)
        k = np.arange(start, slab.stop)[:, None, None]
        j, i = np.arange(rows)[None, :, None], np.arange(columns)[None, None, :]
        for row, limit in zip(mapping[:3], limits, strict=True):
            along = row[0] * k + row[1] * j + row[2] * i + row[3]
            inside_kji &= (along >= -EDGE_VOXELS - 1e-6) & (along <= limit + 1e-6)
        yield slab, inside_kji
