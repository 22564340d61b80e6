"""Confidence intervals by resampling patients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

NUM_RESAMPLES = 10_000


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
