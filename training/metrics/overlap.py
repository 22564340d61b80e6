"""Voxel counts of a patient, and the ratios that are formed of them.

Counts are pooled over all slices of a patient before a ratio is formed: a slice without tumour adds its false
positives and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]


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
