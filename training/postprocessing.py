"""From probabilities of a volume to the mask that is reported."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage


def remove_small_components(
    mask_SHW: npt.NDArray[np.bool_], voxel_ml: float, min_component_ml: float
) -> npt.NDArray[np.bool_]:
    """Remove 26-connected components smaller than a volume.

    Parameters
    ----------
    voxel_ml : float
        Volume of a voxel.
    min_component_ml : float
        Smallest volume that stays; 0 keeps everything.
    """
    if min_component_ml <= 0.0 or not mask_SHW.any():
        return mask_SHW
    labels, _ = ndimage.label(mask_SHW, structure=np.ones((3, 3, 3)))
    keep = np.bincount(labels.ravel()) * voxel_ml >= min_component_ml
    keep[0] = False
    return np.asarray(keep[labels], dtype=np.bool_)
