"""Overlap and distance of masks, pooled per patient volume.

Counts are pooled over all slices of a patient before a ratio is formed: a
slice without tumour adds its false positives and nothing else. The Hausdorff
distance is MONAI's.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

Mask = npt.NDArray[np.bool_]
NUM_RESAMPLES = 10_000


@dataclass(frozen=True)
class Overlap:
    """Voxel counts of a patient."""

    true_positive: int
    false_positive: int
    false_negative: int

    @property
    def dice(self) -> float:
        """2 TP / (2 TP + FP + FN); 1 when both masks are empty."""
        total = 2 * self.true_positive + self.false_positive + self.false_negative
        return 2 * self.true_positive / total if total else 1.0

    @property
    def iou(self) -> float:
        """TP / (TP + FP + FN); 1 when both masks are empty."""
        total = self.true_positive + self.false_positive + self.false_negative
        return self.true_positive / total if total else 1.0

    @property
    def precision(self) -> float:
        """TP / (TP + FP); 1 when nothing was predicted."""
        total = self.true_positive + self.false_positive
        return self.true_positive / total if total else 1.0

    @property
    def recall(self) -> float:
        """TP / (TP + FN); 1 when there is nothing to find."""
        total = self.true_positive + self.false_negative
        return self.true_positive / total if total else 1.0


def overlap(prediction_SHW: Mask, truth_SHW: Mask) -> Overlap:
    """Count agreement over a patient's volume.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    if prediction_SHW.shape != truth_SHW.shape:
        raise ValueError(f"prediction {prediction_SHW.shape}, truth {truth_SHW.shape}")
    prediction, truth = prediction_SHW.astype(bool), truth_SHW.astype(bool)
    both = int(np.count_nonzero(prediction & truth))
    return Overlap(both, int(np.count_nonzero(prediction)) - both, int(np.count_nonzero(truth)) - both)


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
    if not prediction_SHW.any() and not truth_SHW.any():
        return 0.0
    if not prediction_SHW.any() or not truth_SHW.any():
        return float("nan")
    import torch
    from monai.metrics import compute_hausdorff_distance

    box = tuple(slice(int(axis.min()), int(axis.max()) + 1) for axis in np.nonzero(prediction_SHW | truth_SHW))
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


def bootstrap_ci95(values: Sequence[float], seed: int = 42) -> tuple[float, float]:
    """Return the 95 % confidence interval of the mean over patients (percentile)."""
    data = np.asarray(values, dtype=np.float64)
    if len(data) < 2 or np.ptp(data) == 0.0:
        return float(data.mean()), float(data.mean())
    result = stats.bootstrap(
        (data,),
        np.mean,
        n_resamples=NUM_RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)
