"""Segmentation of a study as a volume: whole tumour, core and enhancing part, nested into one label map.

The head is cut out, brought to the network's isotropic spacing, segmented patch by patch, and the probabilities are
brought back to the study's grid, on which they become labels. Studies are put together elsewhere; patches and their
weights are in `sliding`.

Shape legend: C channels, L regions, D slices towards the head, H rows towards the back, W columns towards the
patient's left.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.model_card import ModelCard
from neuroscan_core.domain.segmentation import Segmentation
from neuroscan_core.domain.study import StudyVolume
from neuroscan_core.pipeline.measure import finish_segmentation
from neuroscan_core.pipeline.normalise import STATISTIC_STRIDE, normalise_volume, tissue_level, volume_statistics
from neuroscan_core.pipeline.orientation import CanonicalView
from neuroscan_core.pipeline.postprocess import bounding_box
from neuroscan_core.pipeline.sliding import Predict, Progress, no_progress, slide
from neuroscan_core.pipeline.suitability import StudyCheck, channels_for, require_head, warnings_for
from neuroscan_core.ports import InferenceEngine

Box = tuple[slice, slice, slice]
# What each region leaves in the label map where none that lies inside it does: oedema, necrotic core, enhancing tumour.
NESTING = {"WT": 2, "TC": 1, "ET": 3}
MARGIN_MM = 8.0  # air kept around the head: networks saw some in training


def segment_volume3d(
    study: StudyVolume,
    engine: InferenceEngine,
    progress: Progress = no_progress,
    *,
    check: StudyCheck = require_head,
) -> Segmentation:
    """Segment a study with a ``volume3d`` model.

    Parameters
    ----------
    study : StudyVolume
    engine : InferenceEngine
    progress : callable
        Called after each patch with patches done and patches in all.
    check : callable
        Judges the study before the network sees it.

    Returns
    -------
    Segmentation
        On the study's grid, with composites and warnings.

    Raises
    ------
    SeriesRejection
        The study does not suit the model: a sequence is missing, or no head is in it.
    """
    card = engine.card
    labels_kji = np.zeros(study.geometry.shape, dtype=np.uint8)
    found = regions_through(study, card, engine.run, len(card.regions), progress, check=check)
    if found is not None:
        box, logits_LDHW = found
        labels_DHW = CanonicalView.of(study.geometry).to_canonical(labels_kji)  # a view
        labels_DHW[box] = nested_labels(region_probabilities(logits_LDHW, box), card)
    return replace(finish_segmentation(labels_kji, study.geometry, study.keys, card), warnings=warnings_for(card))


def regions_through(
    study: StudyVolume,
    card: ModelCard,
    run: Predict,
    num_outputs: int,
    progress: Progress = no_progress,
    *,
    check: StudyCheck = require_head,
) -> tuple[Box, npt.NDArray[np.float32]] | None:
    """Show the head to a network, patch by patch.

    Parameters
    ----------
    run : callable
        Patches (1, C, D, H, W) to outputs (1, `num_outputs`, D, H, W), which are blended where patches overlap.
    progress, check
        As for `segment_volume3d`.

    Returns
    -------
    tuple
        Box of the head in the canonical view, and the outputs in it at the network's spacing; None where the study
        holds no tissue.
    """
    chosen = channels_for(study, card)
    check(study)
    view = CanonicalView.of(study.geometry)
    channels_DHW = [view.to_canonical(study.voxels_CKJI[c]).astype(np.float32, copy=False) for c in chosen]
    box = head_box(channels_DHW, view.spacing_mm, card.spacing_mm)
    if box is None:
        return None
    volume_CDHW = at_spacing(channels_DHW, box, view.spacing_mm, card.spacing_mm, card.spacing_tolerance)
    depth, height, width = card.size
    return box, slide(volume_CDHW, run, (depth, height, width), num_outputs, progress=progress)


def head_box(
    channels_DHW: list[npt.NDArray[np.float32]], spacing_mm: tuple[float, float, float], network_mm: float
) -> Box | None:
    """Return the box of all tissue with some air around it; None where there is no tissue.

    Where several voxels become one of the network, the box begins with the first of such a group, so that the head is
    resampled as the whole volume would be.
    """
    boxes = [box for box in (bounding_box(_tissue(volume_DHW)) for volume_DHW in channels_DHW) if box is not None]
    if not boxes:
        return None
    bounds = []
    for axis, (length, step_mm) in enumerate(zip(channels_DHW[0].shape, spacing_mm, strict=True)):
        margin, group = int(np.ceil(MARGIN_MM / step_mm)), max(1, round(network_mm / step_mm))
        start = max(0, min(box[axis].start for box in boxes) - margin) // group * group
        stop = -(-(max(box[axis].stop for box in boxes) + margin) // group) * group
        bounds.append(slice(start, min(length, stop)))
    return bounds[0], bounds[1], bounds[2]


def resized(volume_DHW: npt.NDArray[np.float32], shape: tuple[int, int, int]) -> npt.NDArray[np.float32]:
    """Resize trilinearly about voxel centres; halving is the mean of 2 x 2 x 2 voxels, as in training.

    Where an axis shrinks to less than half, voxels in between are averaged instead of left out.
    """
    if volume_DHW.shape == shape:
        return volume_DHW
    depth, height, width = shape
    out_DHW = np.empty(shape, dtype=np.float32)
    weights = _axis_weights(len(volume_DHW), depth)
    is_area = 2 * height <= volume_DHW.shape[1] or 2 * width <= volume_DHW.shape[2]
    for d, (first, shares) in enumerate(weights):
        image_HW = np.ascontiguousarray(np.tensordot(shares, volume_DHW[first : first + len(shares)], axes=1))
        interpolation = cv2.INTER_AREA if is_area else cv2.INTER_LINEAR
        out_DHW[d] = cv2.resize(image_HW, (width, height), interpolation=interpolation)
    return out_DHW


def _axis_weights(length: int, wanted: int) -> list[tuple[int, npt.NDArray[np.float32]]]:
    """First source slice and shares of it and its successors, for each wanted slice."""
    ratio = length / wanted
    weights = []
    for n in range(wanted):
        low, high = n * ratio, (n + 1) * ratio
        if ratio >= 2:
            first, last = int(low), min(length, int(np.ceil(high)))
            edges = np.clip(np.arange(first, last + 1), low, high)
            weights.append((first, np.diff(edges).astype(np.float32) / np.float32(ratio)))
            continue
        centre = min(max((low + high) / 2 - 0.5, 0.0), length - 1.0)
        first = min(int(centre), max(length - 2, 0))
        share = np.float32(centre - first)
        weights.append((first, np.array([1 - share, share][: length - first], dtype=np.float32)))
    return weights


def _tissue(volume_DHW: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    return np.asarray(volume_DHW > tissue_level(volume_DHW[:, ::STATISTIC_STRIDE, ::STATISTIC_STRIDE]))


def at_spacing(
    channels_DHW: list[npt.NDArray[np.float32]],
    box: Box,
    spacing_mm: tuple[float, float, float],
    network_mm: float,
    tolerance: float = 0.0,
) -> npt.NDArray[np.float32]:
    """Cut out, normalised over the whole channel, at the network's spacing where it is not near it already."""
    shape = tuple(along.stop - along.start for along in box)
    ratios = [step_mm / network_mm for step_mm in spacing_mm]
    if any(abs(ratio - 1.0) > tolerance for ratio in ratios):
        shape = tuple(max(1, round(length * ratio)) for length, ratio in zip(shape, ratios, strict=True))
    depth, height, width = shape
    volume_CDHW = np.empty((len(channels_DHW), depth, height, width), dtype=np.float32)
    for c, volume_DHW in enumerate(channels_DHW):
        cut_DHW = normalise_volume(volume_DHW[box], volume_statistics(volume_DHW))
        volume_CDHW[c] = resized(cut_DHW, (depth, height, width))
    return volume_CDHW


def region_probabilities(logits_LDHW: npt.NDArray[np.float32], box: Box) -> Iterator[npt.NDArray[np.float32]]:
    """Bring logits of regions back to the voxels of a box as probabilities, one region after the other."""
    depth, height, width = (along.stop - along.start for along in box)
    for logits_DHW in logits_LDHW:
        probability_DHW = np.float32(0.5) * (np.float32(1) + np.tanh(np.float32(0.5) * logits_DHW))
        yield resized(probability_DHW, (depth, height, width))


def nested_labels(probabilities: Iterable[npt.NDArray[np.float32]], card: ModelCard) -> npt.NDArray[np.uint8]:
    """Nest the regions of a card, the innermost on top.

    Parameters
    ----------
    probabilities : iterable of ndarray
        One per region of the card, in its order.
    """
    labels_DHW: npt.NDArray[np.uint8] | None = None
    for region, probability_DHW in zip(card.regions, probabilities, strict=True):
        if labels_DHW is None:
            labels_DHW = np.zeros(probability_DHW.shape, dtype=np.uint8)
        labels_DHW[probability_DHW > card.threshold] = NESTING[region.name]
    assert labels_DHW is not None, "the card of a volume model has regions"
    return labels_DHW
