"""What networks say of a volume or a study, with probabilities kept: one function per kind of model.

Without mirrored views the labels equal those of `neuroscan_core.offline` and `pipeline.study` voxel by voxel: the
same windows, the same thresholds. Whether the input suits a model was judged before.

Shape legend: V views, L outputs, D, H, W slices, rows and columns of the network or of the canonical view, k, j, i
those of the series.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from neuroscan_core.diagnosis.case import ModelResult
from neuroscan_core.diagnosis.views import (
    IDENTITY,
    Tally,
    as_bytes,
    in_views,
    log_odds,
    sigmoid,
    softmax,
)
from neuroscan_core.domain.model_card import ModelCard, ModelKind
from neuroscan_core.domain.segmentation import ModelIdentity, Segmentation
from neuroscan_core.domain.study import StudyVolume
from neuroscan_core.domain.volume import Slice, Volume
from neuroscan_core.pipeline.measure import finish_segmentation
from neuroscan_core.pipeline.multimodal import labels_from_softmax, slices_through
from neuroscan_core.pipeline.orientation import CanonicalView
from neuroscan_core.pipeline.reformat import AxialReformat
from neuroscan_core.pipeline.streaming import StreamingSegmenter, Window
from neuroscan_core.pipeline.suitability import warnings_for
from neuroscan_core.pipeline.volume3d import nested_labels, region_probabilities, regions_through
from neuroscan_core.pipeline.window25d import (
    PreparedSlice,
    empty_labels,
    is_axial,
    labels_from_logits,
    labels_on_source,
    stack_window,
)
from neuroscan_core.ports import InferenceEngine

Labels = npt.NDArray[np.uint8]
Array = npt.NDArray[np.float32]
Progress = Callable[[int, int], None]
Found = tuple[Labels, npt.NDArray[np.uint8], Tally]  # raw labels, probability of any tumour, agreement of views

BATCH = 4


def accept_any(stack: Sequence[PreparedSlice]) -> None:
    """Look at no stack: the reader has judged it."""


def accept_any_study(study: StudyVolume) -> None:
    """Look at no study: the reader has judged it."""


def segment_with(
    engine: InferenceEngine, volume: Volume, study: StudyVolume | None, views: tuple[str, ...], progress: Progress
) -> ModelResult:
    """Segment with a model of any kind but a classifier.

    Parameters
    ----------
    engine : InferenceEngine
    volume : Volume
        What models of single series are given.
    study : StudyVolume or None
        What models of several sequences are given; on the grid of `volume`.
    views : tuple of str
        See `views.views_for`.
    progress : callable

    Raises
    ------
    SeriesRejection
        The images do not suit the model.
    """
    card = engine.card
    if card.kind is ModelKind.SLICE25D:
        labels_kji, probability_kji, tally = _by_windows(engine, volume, views, progress)
    else:
        assert study is not None, card.kind
        through = _by_patches if card.kind is ModelKind.VOLUME3D else _by_slices
        labels_kji, probability_kji, tally = through(engine, study, views, progress)
    segmentation = finish_segmentation(labels_kji, volume.geometry, volume.keys, card)
    agreement, entropy = tally.result(volume.geometry.voxel_volume_ml)
    return ModelResult(
        card,
        ModelIdentity.of(card, engine.name),
        _with_warnings(segmentation, card),
        probability_kji,
        agreement,
        entropy,
    )


def _with_warnings(segmentation: Segmentation, card: ModelCard) -> Segmentation:
    return replace(segmentation, warnings=(*segmentation.warnings, *warnings_for(card)))


# ----------------------------------------------------------------------------------------------- slice with neighbours


def _by_windows(engine: InferenceEngine, volume: Volume, views: tuple[str, ...], progress: Progress) -> Found:
    if is_axial(volume.geometry.first):
        return _by_axial_windows(engine, volume, views, progress)
    reformat = AxialReformat.of(volume.geometry)
    voxels_kji = np.stack([one.pixels_ji for one in reformat.slices(volume.voxels_kji)])
    axial = Volume(reformat.axial, reformat.keys, voxels_kji)
    labels_kji, probability_kji, tally = _by_axial_windows(engine, axial, views, progress)
    return reformat.to_source(labels_kji), reformat.to_source(probability_kji), tally


def _by_axial_windows(engine: InferenceEngine, volume: Volume, views: tuple[str, ...], progress: Progress) -> Found:
    card, run = engine.card, in_views(engine.run, views)
    segmenter = StreamingSegmenter(card, check=accept_any)
    slices = enumerate(zip(volume.keys, volume.voxels_kji, strict=True))
    segmenter.add_all(Slice(key, volume.geometry.slice_geometry(k), pixels_ji) for k, (key, pixels_ji) in slices)
    segmenter.complete(volume.keys, volume.geometry)
    number = {key: k for k, key in enumerate(volume.keys)}
    labels_kji = np.zeros(volume.geometry.shape, dtype=np.uint8)
    probability_kji = np.zeros(volume.geometry.shape, dtype=np.uint8)
    tally, done = Tally(views), 0
    while windows := segmenter.ready(BATCH):
        found = _logits_of(windows, run)
        for n, window in enumerate(windows):
            k = number[window.centre.key]
            if n in found:
                labels_HW, probability_HW = _merged_windows(found[n], card, views, tally)
                labels_kji[k] = labels_on_source(labels_HW, window.centre)
                probability_kji[k] = labels_on_source(probability_HW, window.centre)
            else:
                labels_kji[k] = empty_labels(window.centre)
        done += len(windows)
        progress(done, len(volume.keys))
    return labels_kji, probability_kji, tally


def _logits_of(windows: Sequence[Window], run: Callable[[Array], Array]) -> dict[int, Array]:
    """Logits (V, L, H, W) by number of the window; air is not shown to the network."""
    shown = [n for n, window in enumerate(windows) if not window.is_air]
    if not shown:
        return {}
    images_NCHW = np.stack([stack_window(windows[n].before, windows[n].centre, windows[n].after) for n in shown])
    return dict(zip(shown, run(images_NCHW), strict=True))


def _merged_windows(
    logits_VLHW: Array, card: ModelCard, views: tuple[str, ...], tally: Tally
) -> tuple[Labels, npt.NDArray[np.uint8]]:
    probability_VLHW = sigmoid(logits_VLHW)
    mean_LHW = probability_VLHW.mean(axis=0)
    alone = views == (IDENTITY,)
    labels_HW = labels_from_logits(logits_VLHW[0] if alone else log_odds(mean_LHW), card)
    any_HW = mean_LHW.max(axis=0)
    tally.add(probability_VLHW.max(axis=1) > card.threshold, labels_HW > 0, any_HW)
    return labels_HW, as_bytes(any_HW)


# -------------------------------------------------------------------------------------------- slices of four sequences


def _by_slices(engine: InferenceEngine, study: StudyVolume, views: tuple[str, ...], progress: Progress) -> Found:
    card, run, tally = engine.card, in_views(engine.run, views), Tally(views)
    view = CanonicalView.of(study.geometry)
    labels_kji = np.zeros(study.geometry.shape, dtype=np.uint8)
    probability_kji = np.zeros(study.geometry.shape, dtype=np.uint8)
    labels_DHW, probability_DHW = view.to_canonical(labels_kji), view.to_canonical(probability_kji)  # views
    for d, grid, logits_VLHW in slices_through(study, card, run, progress, check=accept_any_study, batch=BATCH):
        labels_HW, any_HW = _merged_classes(logits_VLHW, card, views, tally)
        labels_DHW[d] = grid.from_model(labels_HW)
        probability_DHW[d] = grid.from_model(any_HW)
    return labels_kji, probability_kji, tally


def _merged_classes(
    logits_VLHW: Array, card: ModelCard, views: tuple[str, ...], tally: Tally
) -> tuple[Labels, npt.NDArray[np.uint8]]:
    probability_VLHW = softmax(logits_VLHW, axis=1)
    mean_LHW = probability_VLHW.mean(axis=0)
    alone = views == (IDENTITY,)
    labels_HW = labels_from_softmax(
        logits_VLHW[0] if alone else np.log(np.maximum(mean_LHW, 1e-12)).astype(np.float32), card
    )
    any_HW = np.float32(1.0) - mean_LHW[0]
    tally.add(probability_VLHW[:, 0] < 1.0 - card.threshold, labels_HW > 0, any_HW)
    return labels_HW, as_bytes(any_HW)


# -------------------------------------------------------------------------------------------- volume of four sequences


def _by_patches(engine: InferenceEngine, study: StudyVolume, views: tuple[str, ...], progress: Progress) -> Found:
    card, run, tally = engine.card, in_views(engine.run, views), Tally(views)
    num_regions = len(card.regions)

    def predict(patch_NCDHW: Array) -> Array:
        logits_NVLDHW = run(patch_NCDHW)
        return logits_NVLDHW.reshape(1, len(views) * num_regions, *logits_NVLDHW.shape[3:])

    labels_kji = np.zeros(study.geometry.shape, dtype=np.uint8)
    probability_kji = np.zeros(study.geometry.shape, dtype=np.uint8)
    found = regions_through(study, card, predict, len(views) * num_regions, progress, check=accept_any_study)
    if found is None:
        return labels_kji, probability_kji, tally
    box, outputs = found
    logits_VLDHW = outputs.reshape(len(views), num_regions, *outputs.shape[1:])
    mean_LDHW = logits_VLDHW[0] if views == (IDENTITY,) else log_odds(sigmoid(logits_VLDHW).mean(axis=0))
    # A voxel is labelled where any region is found: regions should lie inside one another, but networks do not know.
    marked = [_any_region(region_probabilities(one_LDHW, box)) > card.threshold for one_LDHW in logits_VLDHW]
    regions = list(region_probabilities(mean_LDHW, box))
    labels_box, any_box = nested_labels(regions, card), _any_region(regions)
    tally.add(np.stack(marked), labels_box > 0, any_box)
    view = CanonicalView.of(study.geometry)
    view.to_canonical(labels_kji)[box] = labels_box
    view.to_canonical(probability_kji)[box] = as_bytes(any_box)
    return labels_kji, probability_kji, tally


def _any_region(probabilities: Iterable[Array]) -> Array:
    return functools.reduce(np.maximum, probabilities)
