"""Two latencies of an engine: the engine alone, and from images to the result as the node computes it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from neuroscan_core.domain.model_card import ModelKind
from neuroscan_core.inference.bundle import Bundle
from neuroscan_core.ports import InferenceEngine
from training.compare.steps import Clock, engine_seconds, pipeline_seconds

NUM_WARM_UPS = 3
NUM_SLICES = 48


@dataclass(frozen=True)
class Latency:
    """Durations of one kind of run.

    Parameters
    ----------
    what : str
        What was done.
    batch : int
        Items in one run.
    median_ms, p95_ms : float
        Of one run.
    num_runs : int
    """

    what: str
    batch: int
    median_ms: float
    p95_ms: float
    num_runs: int

    @property
    def per_s(self) -> float:
        """Items in a second at the median."""
        return 1000.0 * self.batch / self.median_ms

    @classmethod
    def of(cls, what: str, batch: int, seconds: list[float]) -> Latency:
        """Summarise runs."""
        median, p95 = np.percentile(np.asarray(seconds) * 1000.0, (50, 95))
        return cls(what, batch, float(median), float(p95), len(seconds))


def engine_latency(
    engine: InferenceEngine, bundle: Bundle, batch: int, num_runs: int, clock: Clock = time.perf_counter
) -> Latency:
    """Time the engine alone: normalised images in, logits out, copies to and from a GPU included."""
    return Latency.of("engine alone", batch, _warm(engine_seconds(engine, bundle, batch, clock), num_runs))


def result_latency(
    engine: InferenceEngine, num_runs: int, num_slices: int = NUM_SLICES, clock: Clock = time.perf_counter
) -> Latency:
    """Time what the node does with images of a generated head.

    For slices that is one slice in, one mask out, at the pace of the scanner; for studies and classifiers, which wait
    for all images, the whole series.
    """
    kind, steps = engine.card.kind, pipeline_seconds(engine, num_slices, clock)
    if kind is ModelKind.SLICE25D:
        return Latency.of("slice in, mask out", 1, _warm(steps, num_runs))
    what = "series in, classes out" if kind is ModelKind.CLASSIFIER else "study in, labels out"
    return Latency.of(what, 1, _warm(steps, max(1, num_runs // num_slices), num_warm_ups=1))


def _warm(seconds: Iterator[float], num_runs: int, num_warm_ups: int = NUM_WARM_UPS) -> list[float]:
    return list(islice(seconds, num_warm_ups, num_warm_ups + num_runs))
