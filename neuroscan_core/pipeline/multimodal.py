"""Segmentation of a study slice by slice: four sequences in, necrotic core, oedema and enhancing tumour out.

The whole study is there, so each channel is normalised over its whole volume. The study's own slices are shown to the
network where they are axial, reformatted ones otherwise. Studies are put together elsewhere; volumes as patches are
`volume3d`'s work.

Shape legend: N batch, C channels, L outputs (background and labels), D slices towards the head, H, W rows and columns
of the network's input.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.model_card import ModelCard
from neuroscan_core.domain.segmentation import Segmentation
from neuroscan_core.domain.study import StudyVolume
from neuroscan_core.pipeline.grid import InPlaneGrid
from neuroscan_core.pipeline.measure import finish_segmentation
from neuroscan_core.pipeline.normalise import normalise_volume, volume_statistics
from neuroscan_core.pipeline.orientation import CanonicalView
from neuroscan_core.pipeline.sliding import Progress, no_progress
from neuroscan_core.pipeline.suitability import (
    StudyCheck,
    axial_grid,
    channels_for,
    is_air,
    require_head,
    warnings_for,
)
from neuroscan_core.ports import InferenceEngine

BATCH = 8
Run = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]


def segment_multimodal(
    study: StudyVolume,
    engine: InferenceEngine,
    progress: Progress = no_progress,
    *,
    check: StudyCheck = require_head,
    batch: int = BATCH,
) -> Segmentation:
    """Segment a study with a ``multimodal2d`` model.

    Parameters
    ----------
    study : StudyVolume
    engine : InferenceEngine
    progress : callable
        Called after each batch with slices done and slices in all.
    check : callable
        Judges the study before the network sees it.
    batch : int
        Slices shown to the engine at once.

    Returns
    -------
    Segmentation
        On the study's grid, with composites and warnings.

    Raises
    ------
    SeriesRejection
        The study does not suit the model: a sequence is missing, too coarse, or no head is in it.
    """
    card = engine.card
    labels_kji = np.zeros(study.geometry.shape, dtype=np.uint8)
    labels_DHW = CanonicalView.of(study.geometry).to_canonical(labels_kji)  # a view: written slice by slice
    for d, grid, logits_LHW in slices_through(study, card, engine.run, progress, check=check, batch=batch):
        labels_DHW[d] = grid.from_model(labels_from_softmax(logits_LHW, card))
    return replace(finish_segmentation(labels_kji, study.geometry, study.keys, card), warnings=warnings_for(card))


def slices_through(
    study: StudyVolume,
    card: ModelCard,
    run: Run,
    progress: Progress = no_progress,
    *,
    check: StudyCheck = require_head,
    batch: int = BATCH,
) -> Iterator[tuple[int, InPlaneGrid, npt.NDArray[np.float32]]]:
    """Show a study's slices to a network; those that hold nothing are left out.

    Parameters
    ----------
    run : callable
        Takes a batch (N, C, H, W), gives an array whose first axis is N.
    progress, check, batch
        As for `segment_multimodal`.

    Yields
    ------
    int
        Number of the slice, towards the head.
    InPlaneGrid
        Way back to its pixels.
    ndarray of float32
        What `run` gave for it.
    """
    chosen = channels_for(study, card)
    check(study)
    view = CanonicalView.of(study.geometry)
    grid = axial_grid(view, study.geometry.shape, card)
    statistics = [volume_statistics(view.to_canonical(study.voxels_CKJI[c])) for c in chosen]
    num_slices, done = study.geometry.shape[view.axes[0]], 0
    for batch_of in _batches(num_slices, batch):
        images = {d: _raw_slice(study, chosen, view, grid, d) for d in batch_of}
        shown = {d: image_CHW for d, image_CHW in images.items() if not is_air(image_CHW)}
        if shown:
            image_NCHW = np.stack([_normalised(image_CHW, statistics) for image_CHW in shown.values()])
            for d, found in zip(shown, run(image_NCHW), strict=True):
                yield d, grid, found
        done += len(batch_of)
        progress(done, num_slices)


def labels_from_softmax(logits_LHW: npt.NDArray[np.float32], card: ModelCard) -> npt.NDArray[np.uint8]:
    """Return the label map of logits whose first channel is background.

    A voxel gets its likeliest label where the labels together are likelier than the card's threshold. At a threshold
    of 0.5 that finds a little more than the likeliest of all classes does, where labels compete with one another.

    Parameters
    ----------
    logits_LHW : ndarray of float32
        Background and the card's labels on the first axis; any number of further axes.
    """
    foreground = logits_LHW[1:]
    highest = foreground.max(axis=0)
    together = highest + np.log(np.exp(foreground - highest).sum(axis=0))
    values = np.array([label.value for label in card.labels], dtype=np.uint8)
    is_found = together - logits_LHW[0] > math.log(card.threshold / (1.0 - card.threshold))
    return np.asarray(np.where(is_found, values[foreground.argmax(axis=0)], np.uint8(0)))


def _batches(num_slices: int, batch: int) -> Iterator[range]:
    for start in range(0, num_slices, batch):
        yield range(start, min(start + batch, num_slices))


def _raw_slice(
    study: StudyVolume, chosen: list[int], view: CanonicalView, grid: InPlaneGrid, d: int
) -> npt.NDArray[np.float32]:
    """Slice `d` in the network's frame, intensities as they are, shape (C, H, W)."""
    return np.stack([grid.to_model(view.to_canonical(study.voxels_CKJI[c])[d]) for c in chosen])


def _normalised(image_CHW: npt.NDArray[np.float32], statistics: list[tuple[float, float]]) -> npt.NDArray[np.float32]:
    return np.stack([normalise_volume(image_HW, of) for image_HW, of in zip(image_CHW, statistics, strict=True)])
