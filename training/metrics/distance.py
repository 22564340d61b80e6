"""Distance of the surfaces of two masks, in mm: MONAI's Hausdorff distance."""

from __future__ import annotations

import warnings

import numpy as np

from neuroscan_core.pipeline.postprocess import bounding_box
from training.metrics.overlap import Mask


def hd95_mm(prediction_SHW: Mask, truth_SHW: Mask, spacing_mm: tuple[float, float, float]) -> float:
    """Return the 95th percentile of the symmetric surface distance.

    Parameters
    ----------
    spacing_mm : tuple of float
        Along S, H and W.

    Returns
    -------
    float
        In mm; nan when exactly one of the masks is empty, 0 when both are.
    """
    box = bounding_box(prediction_SHW | truth_SHW)
    if box is None:
        return 0.0
    if not prediction_SHW.any() or not truth_SHW.any():
        return float("nan")
    import torch
    from monai.metrics import compute_hausdorff_distance

    prediction, truth = (
        torch.from_numpy(np.pad(mask[box], 1)[None, None].astype(np.float32)) for mask in (prediction_SHW, truth_SHW)
    )
    with warnings.catch_warnings():
        # MONAI 1.5 and 1.6 warn about an argument that MONAI itself passes.
        warnings.simplefilter("ignore", FutureWarning)
        distance = compute_hausdorff_distance(
            prediction, truth, include_background=True, percentile=95, spacing=list(spacing_mm)
        )
    return float(distance.item())
