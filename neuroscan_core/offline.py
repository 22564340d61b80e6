"""Segmentation of a volume that is there as a whole; the streamed result equals this one bit for bit."""

from __future__ import annotations

from neuroscan_core.domain.segmentation import Segmentation
from neuroscan_core.domain.volume import Slice, Volume
from neuroscan_core.pipeline.brainlike import require_brain
from neuroscan_core.pipeline.streaming import Check, StreamingSegmenter, segment_windows
from neuroscan_core.ports import InferenceEngine

BATCH = 8


def segment_volume(volume: Volume, engine: InferenceEngine, *, check: Check = require_brain) -> Segmentation:
    """Segment a volume.

    Parameters
    ----------
    volume : Volume
    engine : InferenceEngine
    check : callable
        Judges the stack before the network sees it; see `StreamingSegmenter`.

    Raises
    ------
    SeriesRejection
        The volume cannot be segmented: a plane that does not suit, or no head in it.
    """
    segmenter = StreamingSegmenter(engine.card, check=check)
    slices = enumerate(zip(volume.keys, volume.voxels_kji, strict=True))
    segmenter.add_all(Slice(key, volume.geometry.slice_geometry(k), pixels_ji) for k, (key, pixels_ji) in slices)
    segmenter.complete(volume.keys, volume.geometry)
    while windows := segmenter.ready(BATCH):
        for window, labels_ji in zip(windows, segment_windows(engine, windows), strict=True):
            segmenter.accept(window, labels_ji)
    return segmenter.result()
