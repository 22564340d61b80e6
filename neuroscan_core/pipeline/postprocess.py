"""From raw labels of a volume to those that are reported: small connected parts are removed.

Components are 26-connected, on the source grid, per label or of all labels together. Measuring what remains is
`measure`'s work.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

_NEIGHBOURS_26 = np.ones((3, 3, 3), dtype=np.uint8)


def bounding_box(mask_kji: npt.NDArray[np.bool_]) -> tuple[slice, slice, slice] | None:
    """Return the smallest box that holds all of a mask; None where it is empty."""
    has_k = np.any(mask_kji, axis=(1, 2))
    if not has_k.any():
        return None
    flat_ji = np.any(mask_kji[has_k], axis=0)
    bounds = []
    for line in (has_k, flat_ji.any(axis=1), flat_ji.any(axis=0)):
        where = np.flatnonzero(line)
        bounds.append(slice(int(where[0]), int(where[-1]) + 1))
    return bounds[0], bounds[1], bounds[2]


def remove_small_components(
    mask_kji: npt.NDArray[np.bool_], voxel_volume_ml: float, min_component_ml: float
) -> tuple[npt.NDArray[np.bool_], int]:
    """Remove connected parts that are smaller than a volume.

    Parameters
    ----------
    mask_kji : ndarray of bool
    voxel_volume_ml : float
    min_component_ml : float
        Parts of exactly this volume stay; 0 keeps everything.

    Returns
    -------
    mask_kji : ndarray of bool
    num_components : int
        Parts that remain.
    """
    box = bounding_box(mask_kji)
    if box is None:
        return mask_kji, 0
    components = np.empty(mask_kji[box].shape, dtype=np.int32)
    num_all = ndimage.label(mask_kji[box], structure=_NEIGHBOURS_26, output=components)
    inside = components[mask_kji[box]]
    sizes = np.bincount(inside, minlength=num_all + 1)
    # The slack is for rounding: a part of exactly the limit stays.
    is_kept = sizes * voxel_volume_ml >= min_component_ml * (1 - 1e-6)
    is_kept[0] = False
    num_kept = int(is_kept.sum())
    if num_kept == num_all:
        return mask_kji, num_all
    kept_kji = np.zeros(mask_kji.shape, dtype=np.bool_)
    # Boolean indexing visits voxels in the same order on both sides.
    kept_box = kept_kji[box]
    kept_box[mask_kji[box]] = is_kept[inside]
    return kept_kji, num_kept


def remove_small_tumours(
    labels_kji: npt.NDArray[np.uint8], voxel_volume_ml: float, min_component_ml: float
) -> npt.NDArray[np.uint8]:
    """Remove connected parts of all labels together that are smaller than a volume.

    A few voxels of necrosis inside a tumour are part of it; a few voxels of tumour apart from it are not.
    """
    box = bounding_box(labels_kji > 0)
    if box is None or min_component_ml <= 0:
        return labels_kji
    kept_kji, _ = remove_small_components(labels_kji[box] > 0, voxel_volume_ml, min_component_ml)
    final_kji = np.zeros_like(labels_kji)
    final_kji[box] = labels_kji[box] * kept_kji.view(np.uint8)
    return final_kji
