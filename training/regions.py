"""Tumour regions: from label values to overlapping regions and back.

Label values everywhere: 0 background, 1 necrotic core, 2 oedema, 3 enhancing tumour. Regions as the BraTS challenge
defines them (Menze 2015, 10.1109/TMI.2014.2377694): WT whole tumour, TC tumour core, ET enhancing tumour. What a
metric makes of them is in `metrics`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.segmentation import GLIOMA_REGIONS
from neuroscan_core.pipeline.volume3d import NESTING

REGIONS = {region.name: region.labels for region in GLIOMA_REGIONS}
CLASSES: dict[int, str] = {1: "necrotic core", 2: "oedema", 3: "enhancing tumour"}


def region_mask(labels: npt.NDArray[np.integer], region: str) -> npt.NDArray[np.bool_]:
    """Return where a label map belongs to a region.

    Parameters
    ----------
    labels : numpy.ndarray
        Label values, any shape.
    region : str
        ``WT``, ``TC`` or ``ET``.
    """
    table = np.zeros(256, dtype=np.bool_)
    table[list(REGIONS[region])] = True
    return np.asarray(table[np.asarray(labels, dtype=np.uint8)])


def region_masks(labels: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    """Return the masks of WT, TC and ET on a new first axis."""
    return np.stack([region_mask(labels, region) for region in REGIONS])


def labels_from_regions(masks: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Return the label map of region masks: WT is painted first, TC over it, ET last.

    Parameters
    ----------
    masks : numpy.ndarray
        bool, WT, TC and ET on the first axis; they need not be nested.
    """
    labels = np.zeros(masks.shape[1:], dtype=np.uint8)
    for mask, value in zip(masks, NESTING.values(), strict=True):
        labels[mask] = value
    return labels


def region_probabilities(probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the probabilities of WT, TC and ET from those of the four exclusive classes.

    Parameters
    ----------
    probabilities : numpy.ndarray
        Background and the three classes on the first axis; they sum to 1.
    """
    return np.stack([probabilities[list(values)].sum(axis=0) for values in REGIONS.values()]).astype(np.float32)
