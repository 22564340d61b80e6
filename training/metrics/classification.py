"""Figures of a classifier over pictures, by scikit-learn; what is a picture and which are tested is decided elsewhere.

Shape legend: N pictures, K classes, B bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from training.metrics.histogram import CALIBRATION_BINS, Reliability

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Classification:
    """Predictions of a classifier with their truth.

    Parameters
    ----------
    probabilities_NK : numpy.ndarray
        Rows sum to 1.
    truth_N : numpy.ndarray
        Class indices.
    class_names : sequence of str
    """

    probabilities_NK: npt.NDArray[np.float32]  # noqa: N815 - shape suffix
    truth_N: npt.NDArray[np.int64]  # noqa: N815 - shape suffix
    class_names: Sequence[str]

    def __post_init__(self) -> None:
        wanted = (len(self.truth_N), len(self.class_names))
        if self.probabilities_NK.shape != wanted or not wanted[0]:
            raise ValueError(f"probabilities are {self.probabilities_NK.shape}; {wanted} and at least one are needed")

    @property
    def predicted_N(self) -> npt.NDArray[np.int64]:  # noqa: N802 - shape suffix
        """Most probable class of each picture."""
        return self.probabilities_NK.argmax(axis=1)

    @property
    def is_right_N(self) -> npt.NDArray[np.bool_]:  # noqa: N802 - shape suffix
        """Whether the most probable class is the true one."""
        return np.asarray(self.predicted_N == self.truth_N)

    @property
    def confusion_KK(self) -> npt.NDArray[np.int64]:  # noqa: N802 - shape suffix
        """Pictures by true class (rows) and predicted class (columns)."""
        from sklearn.metrics import confusion_matrix

        return np.asarray(confusion_matrix(self.truth_N, self.predicted_N, labels=range(len(self.class_names))))

    def reliability(self, num_bins: int = CALIBRATION_BINS) -> Reliability:
        """Return how often the most probable class is right, by its probability."""
        confidence = self.probabilities_NK.max(axis=1).astype(np.float64)
        bins = np.clip(np.ceil(confidence * num_bins).astype(int) - 1, 0, num_bins - 1)
        counts = np.bincount(bins, minlength=num_bins).astype(np.float64)
        right = np.bincount(bins, weights=self.is_right_N, minlength=num_bins)
        total = np.bincount(bins, weights=confidence, minlength=num_bins)
        with np.errstate(invalid="ignore", divide="ignore"):
            return Reliability(total / counts, right / counts, counts)

    @property
    def brier(self) -> float:
        """Mean over pictures of the squared distance of all class probabilities from the truth (0 to 2)."""
        truth_NK = np.eye(len(self.class_names))[self.truth_N]
        return float(np.square(self.probabilities_NK - truth_NK).sum(axis=1).mean())

    def roc(self, index: int) -> tuple[Floats, Floats]:
        """Return false and true positive rates of one class against the others."""
        from sklearn.metrics import roc_curve

        false, true, _ = roc_curve(self.truth_N == index, self.probabilities_NK[:, index])
        return np.asarray(false), np.asarray(true)

    def auc(self, index: int) -> float:
        """Area under the ROC curve of one class against the others; nan where all or none belong to it."""
        from sklearn.metrics import roc_auc_score

        belongs = self.truth_N == index
        if belongs.all() or not belongs.any():
            return float("nan")
        return float(roc_auc_score(belongs, self.probabilities_NK[:, index]))

    def per_class(self) -> dict[str, dict[str, Any]]:
        """Return precision, recall, F1, AUC and number of pictures of each class."""
        from sklearn.metrics import precision_recall_fscore_support

        labels = range(len(self.class_names))
        columns = precision_recall_fscore_support(self.truth_N, self.predicted_N, labels=labels, zero_division=0.0)
        return {
            name: {
                "pictures": int(columns[3][index]),
                "precision": float(columns[0][index]),
                "recall": float(columns[1][index]),
                "f1": float(columns[2][index]),
                "roc_auc": self.auc(index),
            }
            for index, name in enumerate(self.class_names)
        }
