"""Probabilities of many voxels in a histogram: thresholds, curves and calibration without keeping the voxels.

A histogram of a volume is a few kilobytes, and histograms of patients add up. Curves read from it have the resolution
of its bins: 1/1200, which is finer than any threshold that is chosen, and ever finer towards 0 and 1, where trained
networks put most voxels.

Shape legend: B bins, T thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

NUM_STEPS = 1200  # divisible by 10, 15 and 20
# The first and the last step are divided further, in equal ratios down to the smallest distance from 0 and 1.
NUM_TAIL_BINS = 120
SMALLEST = 1e-9
NUM_BINS = NUM_STEPS - 2 + 2 * NUM_TAIL_BINS
CALIBRATION_BINS = 15

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ProbabilityHistogram:
    """Voxels by probability and truth.

    Parameters
    ----------
    negatives_B, positives_B : numpy.ndarray
        Voxels whose truth is 0, and 1, in bins from 0 to 1; a step's upper edge belongs to it.
    sums_B : numpy.ndarray
        Sum of the probabilities in each bin.
    squared_error : float
        Sum of (probability - truth) squared.
    """

    negatives_B: Floats  # noqa: N815 - shape suffix
    positives_B: Floats  # noqa: N815 - shape suffix
    sums_B: Floats  # noqa: N815 - shape suffix
    squared_error: float

    @classmethod
    def of(cls, probability: npt.NDArray[np.float32], truth: npt.NDArray[np.bool_]) -> ProbabilityHistogram:
        """Count voxels.

        Parameters
        ----------
        probability : numpy.ndarray
            In [0, 1], any shape.
        truth : numpy.ndarray of bool
            The same shape.
        """
        p, y = probability.ravel(), truth.ravel()
        bins = _bins_of(p)
        counts = np.bincount(bins + NUM_BINS * y, minlength=2 * NUM_BINS).astype(np.float64)
        sums = np.bincount(bins, weights=p, minlength=NUM_BINS)
        error = float(np.square(p - y, dtype=np.float64).sum()) if p.size else 0.0
        return cls(counts[:NUM_BINS], counts[NUM_BINS:], sums, error)

    @classmethod
    def empty(cls) -> ProbabilityHistogram:
        """Return a histogram of no voxels."""
        nothing = np.zeros(NUM_BINS)
        return cls(nothing, nothing, nothing, 0.0)

    def __add__(self, other: ProbabilityHistogram) -> ProbabilityHistogram:
        return ProbabilityHistogram(
            self.negatives_B + other.negatives_B,
            self.positives_B + other.positives_B,
            self.sums_B + other.sums_B,
            self.squared_error + other.squared_error,
        )

    @property
    def num_voxels(self) -> float:
        """All voxels."""
        return float(self.negatives_B.sum() + self.positives_B.sum())

    @property
    def brier(self) -> float:
        """Mean squared difference of probability and truth (Brier 1950); 0 for no voxels."""
        return self.squared_error / self.num_voxels if self.num_voxels else 0.0

    def above(self, thresholds_T: Floats) -> tuple[Floats, Floats]:
        """Return true and false positives at each threshold, rounded to the bins."""
        first = _first_bin_above(np.round(np.asarray(thresholds_T) * NUM_STEPS).astype(int))
        true_from = np.append(np.cumsum(self.positives_B[::-1])[::-1], 0.0)
        false_from = np.append(np.cumsum(self.negatives_B[::-1])[::-1], 0.0)
        return true_from[first], false_from[first]

    def dice(self, thresholds_T: Floats) -> Floats:
        """Return Dice at each threshold; 1 where nothing is there and nothing is predicted."""
        true, false = self.above(thresholds_T)
        total = true + false + self.positives_B.sum()
        return np.where(total > 0, 2 * true / np.maximum(total, 1.0), 1.0)

    def precision_recall(self, thresholds_T: Floats) -> tuple[Floats, Floats]:
        """Return precision (1 where nothing is predicted) and recall at each threshold."""
        true, false = self.above(thresholds_T)
        predicted, wanted = true + false, self.positives_B.sum()
        precision = np.where(predicted > 0, true / np.maximum(predicted, 1.0), 1.0)
        return precision, true / wanted if wanted else np.ones_like(true)

    def precision_recall_curve(self) -> tuple[Floats, Floats]:
        """Return precision and recall at every edge of a bin, from few to all voxels."""
        true = np.cumsum(self.positives_B[::-1])
        predicted = true + np.cumsum(self.negatives_B[::-1])
        used = predicted > 0
        return true[used] / predicted[used], true[used] / max(float(self.positives_B.sum()), 1.0)

    def roc(self) -> tuple[Floats, Floats]:
        """Return false and true positive rates, from (0, 0) to (1, 1)."""
        true = np.concatenate([[0.0], np.cumsum(self.positives_B[::-1])])
        false = np.concatenate([[0.0], np.cumsum(self.negatives_B[::-1])])
        return false / max(false[-1], 1.0), true / max(true[-1], 1.0)

    @property
    def auc(self) -> float:
        """Area under the ROC curve; nan where one of the classes does not occur."""
        if not self.positives_B.sum() or not self.negatives_B.sum():
            return float("nan")
        false, true = self.roc()
        return float(np.trapezoid(true, false)) if hasattr(np, "trapezoid") else float(np.trapz(true, false))

    def reliability(self, num_bins: int = CALIBRATION_BINS) -> Reliability:
        """Return observed against predicted frequency in bins of equal width."""
        starts = _first_bin_above(np.arange(num_bins) * (NUM_STEPS // num_bins))
        arrays = (self.negatives_B, self.positives_B, self.sums_B)
        negatives, positives, sums = (np.add.reduceat(array, starts) for array in arrays)
        counts = negatives + positives
        with np.errstate(invalid="ignore", divide="ignore"):
            return Reliability(sums / counts, positives / counts, counts)


def _bins_of(p: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Return the bin of each probability."""
    # Upper edges belong to their step, as "above the threshold" leaves the threshold itself out.
    steps = np.clip(np.ceil(p * np.float32(NUM_STEPS)).astype(np.int64) - 1, 0, NUM_STEPS - 1)
    bins = steps + (NUM_TAIL_BINS - 1)
    low, high = steps == 0, steps == NUM_STEPS - 1
    bins[low] = _tail_bins(p[low])
    bins[high] = NUM_BINS - 1 - _tail_bins(np.float32(1.0) - p[high])
    return bins


def _tail_bins(distances: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Return the bin of distances from 0 within the first step."""
    logs = np.log(np.maximum(distances, np.float32(SMALLEST)) / np.float32(SMALLEST))
    share = logs / np.log(1.0 / NUM_STEPS / SMALLEST)
    return np.clip((share * NUM_TAIL_BINS).astype(np.int64), 0, NUM_TAIL_BINS - 1)


def _first_bin_above(steps: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the first bin above the lower edge of a step: 0 for step 0, none for the last edge."""
    return np.where(steps <= 0, 0, np.where(steps >= NUM_STEPS, NUM_BINS, steps + NUM_TAIL_BINS - 1))


@dataclass(frozen=True, eq=False)
class Reliability:
    """A reliability curve; nan in bins without voxels.

    Parameters
    ----------
    confidence_B : numpy.ndarray
        Mean predicted probability.
    frequency_B : numpy.ndarray
        Share of voxels that truly belong.
    counts_B : numpy.ndarray
    """

    confidence_B: Floats  # noqa: N815 - shape suffix
    frequency_B: Floats  # noqa: N815 - shape suffix
    counts_B: Floats  # noqa: N815 - shape suffix

    def as_dict(self, counted: str) -> dict[str, list[float]]:
        """Return the bins that hold something, for JSON; `counted` names what is in them."""
        used = self.counts_B > 0
        return {
            "confidence": self.confidence_B[used].tolist(),
            "frequency": self.frequency_B[used].tolist(),
            counted: self.counts_B[used].astype(int).tolist(),
        }

    @property
    def ece(self) -> float:
        """Expected calibration error: mean gap, weighted by voxels (Naeini 2015, Guo 2017)."""
        used = self.counts_B > 0
        if not used.any():
            return 0.0
        gaps = np.abs(self.confidence_B[used] - self.frequency_B[used])
        return float(np.average(gaps, weights=self.counts_B[used]))
