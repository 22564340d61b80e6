"""Two latencies of an engine: the engine alone, and from images to the result as the node computes it.

Shape legend: N batch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from neuroscan_core.domain.model_card import ModelKind
from neuroscan_core.domain.study import SEQUENCES, StudyVolume
from neuroscan_core.domain.volume import FrameKey, Slice, Volume
from neuroscan_core.inference.bundle import Bundle
from neuroscan_core.phantom import HeadPhantom, Weighting, head_phantom
from neuroscan_core.pipeline.classify import classify_volume
from neuroscan_core.pipeline.multimodal import segment_multimodal
from neuroscan_core.pipeline.streaming import StreamingSegmenter, segment_windows
from neuroscan_core.pipeline.volume3d import segment_volume3d
from neuroscan_core.ports import InferenceEngine

NUM_WARM_UPS = 3
NUM_SLICES = 48
Clock = Callable[[], float]


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
    image = np.resize(bundle.reference.image_NCHW, (batch, *bundle.reference.image_NCHW.shape[1:]))
    seconds = []
    for number in range(NUM_WARM_UPS + num_runs):
        start = clock()
        engine.run(image)
        if number >= NUM_WARM_UPS:
            seconds.append(clock() - start)
    return Latency.of("engine alone", batch, seconds)


def result_latency(
    engine: InferenceEngine, num_runs: int, num_slices: int = NUM_SLICES, clock: Clock = time.perf_counter
) -> Latency:
    """Time what the node does with images of a generated head.

    For slices that is one slice in, one mask out, at the pace of the scanner; for studies and classifiers, which wait
    for all images, the whole series.
    """
    phantom = head_phantom(num_slices=num_slices)
    if engine.card.kind is ModelKind.SLICE25D:
        return Latency.of("slice in, mask out", 1, list(_slices(engine, phantom, num_runs, clock)))
    what, run = _whole(engine, phantom)
    seconds = []
    for _ in range(1 + max(1, num_runs // num_slices)):
        start = clock()
        run()
        seconds.append(clock() - start)
    return Latency.of(what, 1, seconds[1:])


def _slices(engine: InferenceEngine, phantom: HeadPhantom, num_runs: int, clock: Clock) -> Iterator[float]:
    """Seconds of each step of a stream in which a slice came and a mask went, after a warm-up."""
    volume = _volume(phantom)
    num_left = NUM_WARM_UPS + num_runs
    while num_left > 0:
        segmenter = StreamingSegmenter(engine.card, slice_spacing_mm=volume.geometry.spacing_mm)
        for k, key in enumerate(volume.keys):
            start, num_masks = clock(), 0
            segmenter.add(Slice(key, volume.geometry.slice_geometry(k), volume.voxels_kji[k]))
            windows = segmenter.ready()
            for window, labels_ji in zip(windows, segment_windows(engine, windows), strict=True):
                num_masks += len(list(segmenter.accept(window, labels_ji)))
            if num_masks == 1 and num_left > 0:
                num_left -= 1
                if num_left < num_runs:
                    yield clock() - start


def _whole(engine: InferenceEngine, phantom: HeadPhantom) -> tuple[str, Callable[[], object]]:
    if engine.card.kind is ModelKind.CLASSIFIER:
        volume = _volume(phantom)
        return "series in, classes out", lambda: classify_volume(volume, engine)
    voxels_CKJI = np.stack([phantom.image(Weighting(name)).astype(np.float32) for name in SEQUENCES])
    study = StudyVolume(phantom.geometry, _keys(phantom), SEQUENCES, voxels_CKJI)
    segment = segment_volume3d if engine.card.kind is ModelKind.VOLUME3D else segment_multimodal
    return "study in, labels out", lambda: segment(study, engine)


def _volume(phantom: HeadPhantom) -> Volume:
    return Volume(phantom.geometry, _keys(phantom), phantom.image(Weighting.FLAIR).astype(np.float32))


def _keys(phantom: HeadPhantom) -> tuple[FrameKey, ...]:
    return tuple(FrameKey(f"2.25.{k}") for k in range(phantom.geometry.num_slices))
