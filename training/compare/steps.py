"""What is timed: the engine alone, and the node's own way from images to a result, on a generated head.

No PyTorch is imported here: the process that is measured holds what the node holds, and no more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

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

NUM_SLICES = 24
Clock = Callable[[], float]
PIPELINES = {
    ModelKind.SLICE25D: "slice in, mask out",
    ModelKind.MULTIMODAL2D: f"study of {NUM_SLICES} slices in, labels out",
    ModelKind.VOLUME3D: f"study of {NUM_SLICES} slices in, labels out",
    ModelKind.CLASSIFIER: f"series of {NUM_SLICES} slices in, classes out",
}


def engine_seconds(
    engine: InferenceEngine, bundle: Bundle, batch: int = 1, clock: Clock = time.perf_counter
) -> Iterator[float]:
    """Yield the duration of runs of the engine alone, without end: normalised images in, logits out."""
    image = np.resize(bundle.reference.image_NCHW, (batch, *bundle.reference.image_NCHW.shape[1:]))
    while True:
        began = clock()
        engine.run(image)
        yield clock() - began


def pipeline_seconds(
    engine: InferenceEngine, num_slices: int = NUM_SLICES, clock: Clock = time.perf_counter
) -> Iterator[float]:
    """Yield the duration of the node's work for a result, without end.

    For slices that is one slice in, one mask out; for studies and classifiers, which wait for all images, all of it.
    """
    phantom = head_phantom(num_slices=num_slices)
    if engine.card.kind is ModelKind.SLICE25D:
        while True:
            yield from _slices(engine, phantom, clock)
    run = _whole(engine, phantom)
    while True:
        began = clock()
        run()
        yield clock() - began


def _slices(engine: InferenceEngine, phantom: HeadPhantom, clock: Clock) -> Iterator[float]:
    """Yield the seconds of each step of a stream in which one slice came and one mask went."""
    volume = _volume(phantom)
    segmenter = StreamingSegmenter(engine.card, slice_spacing_mm=volume.geometry.spacing_mm)
    for k, key in enumerate(volume.keys):
        began = clock()
        segmenter.add(Slice(key, volume.geometry.slice_geometry(k), volume.voxels_kji[k]))
        windows = segmenter.ready()
        found = zip(windows, segment_windows(engine, windows), strict=True)
        num_masks = sum(len(segmenter.accept(window, labels_ji)) for window, labels_ji in found)
        if num_masks == 1:
            yield clock() - began


def _whole(engine: InferenceEngine, phantom: HeadPhantom) -> Callable[[], object]:
    if engine.card.kind is ModelKind.CLASSIFIER:
        volume = _volume(phantom)
        return lambda: classify_volume(volume, engine)
    voxels_CKJI = np.stack([phantom.image(Weighting(name)).astype(np.float32) for name in SEQUENCES])
    study = StudyVolume(phantom.geometry, _keys(phantom), SEQUENCES, voxels_CKJI)
    segment = segment_volume3d if engine.card.kind is ModelKind.VOLUME3D else segment_multimodal
    return lambda: segment(study, engine)


def _volume(phantom: HeadPhantom) -> Volume:
    return Volume(phantom.geometry, _keys(phantom), phantom.image(Weighting.FLAIR).astype(np.float32))


def _keys(phantom: HeadPhantom) -> tuple[FrameKey, ...]:
    return tuple(FrameKey(f"2.25.{k}") for k in range(phantom.geometry.num_slices))
