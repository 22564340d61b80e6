"""Triage of a series by a picture classifier: which slices it sees, and what their probabilities say of the series.

The classifier was trained on single pictures that somebody had chosen, so it is shown the slices that most resemble
those: where a segmentation found most, and the middle of the head. What it says stands beside the segmentation in the
report; it decides nothing.

The series' probabilities are the mean of its slices' probabilities, not of their logits: a mean of logits is a product
of probabilities, which one slice of which the network is wrongly certain would decide; and the slices are no
independent evidence that could be multiplied.

Shape legend: N pictures, D slices towards the head, H, W rows and columns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.errors import ModelError, SeriesRejection
from neuroscan_core.domain.geometry import StackGeometry
from neuroscan_core.domain.model_card import ModelKind
from neuroscan_core.domain.segmentation import ModelIdentity, Segmentation, Triage
from neuroscan_core.domain.volume import Volume
from neuroscan_core.log import get_logger
from neuroscan_core.pipeline.orientation import CanonicalView
from neuroscan_core.pipeline.picture import picture_from_slice
from neuroscan_core.pipeline.suitability import axial_grid
from neuroscan_core.ports import InferenceEngine

log = get_logger(__name__)

NUM_LARGEST = 5
NUM_MIDDLE = 4
# Between these shares of the head's height, from below, lie the slices that show most of the brain.
MIDDLE = (0.45, 0.8)
HEAD_SHARE = 0.88  # of the picture's side; median of 240 pictures for training


def with_opinion(segmentation: Segmentation, model: str, judge: Callable[[], Triage]) -> Segmentation:
    """Put a classifier's opinion beside a segmentation; one that cannot be had costs a warning, not the segmentation.

    Parameters
    ----------
    model : str
        Name of the classifier.
    judge : callable
        Opens and asks it.
    """
    try:
        return replace(segmentation, triage=judge())
    except (ModelError, SeriesRejection) as exc:
        log.warning("a classifier gives no opinion", model=model, reason=str(exc))
        why = exc.message if isinstance(exc, SeriesRejection) else "it could not be executed."
        return replace(segmentation, warnings=(*segmentation.warnings, f"There is no opinion of {model}: {why}"))


def classify_volume(
    volume: Volume,
    engine: InferenceEngine,
    segmentation: Segmentation | None = None,
    *,
    num_largest: int = NUM_LARGEST,
    num_middle: int = NUM_MIDDLE,
) -> Triage:
    """Show slices of a series to a ``classifier`` model.

    Parameters
    ----------
    volume : Volume
    engine : InferenceEngine
    segmentation : Segmentation, optional
        Of the same grid; tells where to look.
    num_largest, num_middle : int
        Slices with most of the segmentation, and slices of the middle of the head.

    Raises
    ------
    SeriesRejection
        ``unsupported-plane`` where the series, seen axially, is too coarse.
    """
    assert engine.card.kind is ModelKind.CLASSIFIER, engine.card.kind
    assert segmentation is None or segmentation.labels_kji.shape == volume.voxels_kji.shape
    view = CanonicalView.of(volume.geometry)
    labels_kji = None if segmentation is None else segmentation.labels_kji
    chosen = chosen_slices(volume.voxels_kji, labels_kji, view, num_largest=num_largest, num_middle=num_middle)
    probabilities_NL = _probabilities(volume.voxels_kji, view, volume.geometry, chosen, engine)
    return Triage(
        model=ModelIdentity.of(engine.card, engine.name),
        classes=tuple(entry.code for entry in engine.card.classes),
        probabilities=_rounded(probabilities_NL.mean(axis=0)),
        keys=tuple(volume.keys[k] for k in _source_slices(chosen, view, volume.geometry)),
        slice_probabilities=tuple(_rounded(row) for row in probabilities_NL),
    )


def chosen_slices(
    voxels_kji: npt.NDArray[np.float32],
    labels_kji: npt.NDArray[np.uint8] | None,
    view: CanonicalView,
    *,
    num_largest: int = NUM_LARGEST,
    num_middle: int = NUM_MIDDLE,
) -> list[int]:
    """Indices of slices towards the head (D), ascending, none twice; at least one."""
    chosen: set[int] = set()
    if labels_kji is not None:
        areas_D = np.count_nonzero(view.to_canonical(labels_kji), axis=(1, 2))
        by_area = np.argsort(-areas_D, kind="stable")[:num_largest]
        chosen.update(int(d) for d in by_area if areas_D[d] > 0)
    low, high = _head_extent(view.to_canonical(voxels_kji))
    for share in np.linspace(*MIDDLE, max(num_middle, 1 if not chosen else 0)):
        chosen.add(low + round(share * (high - 1 - low)))
    return sorted(chosen)


def _head_extent(volume_DHW: npt.NDArray[np.generic]) -> tuple[int, int]:
    """First slice of the head and the one after its last, by how much of each is brighter than the average voxel."""
    sample_DHW = np.asarray(volume_DHW[:, ::4, ::4], dtype=np.float32)
    shares_D = np.mean(sample_DHW > sample_DHW.mean(), axis=(1, 2))
    within = np.flatnonzero(shares_D > 0.25 * shares_D.max())
    return (int(within[0]), int(within[-1]) + 1) if len(within) else (0, len(volume_DHW))


def _probabilities(
    voxels_kji: npt.NDArray[np.float32],
    view: CanonicalView,
    geometry: StackGeometry,
    chosen: Sequence[int],
    engine: InferenceEngine,
) -> npt.NDArray[np.float64]:
    grid = axial_grid(view, geometry.shape)  # square pixels, whatever those of the series are
    volume_DHW = view.to_canonical(voxels_kji)
    size = engine.card.plane_size
    image_NCHW = np.stack([picture_from_slice(_framed(grid.to_model(volume_DHW[d])), size) for d in chosen])
    logits_NL = engine.run(image_NCHW).astype(np.float64)
    powers_NL = np.exp(logits_NL - logits_NL.max(axis=1, keepdims=True))
    return np.asarray(powers_NL / powers_NL.sum(axis=1, keepdims=True))


def _framed(image_HW: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Cut out the head and put black around it, as much as pictures for training have."""
    is_shown = image_HW > 0.1 * np.percentile(image_HW, 99)
    rows, columns = np.flatnonzero(is_shown.any(axis=1)), np.flatnonzero(is_shown.any(axis=0))
    if len(rows) == 0:
        return image_HW
    head_HW = image_HW[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    side = round(max(head_HW.shape) / HEAD_SHARE)
    top, left = (side - head_HW.shape[0]) // 2, (side - head_HW.shape[1]) // 2
    framed_HW = np.full((side, side), head_HW.min(), dtype=np.float32)
    framed_HW[top : top + head_HW.shape[0], left : left + head_HW.shape[1]] = head_HW
    return framed_HW


def _source_slices(chosen: Sequence[int], view: CanonicalView, geometry: StackGeometry) -> list[int]:
    """Slices of the series behind the pictures: the same ones where it is axial, else the middle one."""
    if view.axes[0] != 0:
        return [geometry.num_slices // 2] * len(chosen)
    last = geometry.num_slices - 1
    return [last - d if view.is_reversed[0] else d for d in chosen]


def _rounded(probabilities_L: npt.NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(round(float(probability), 6) for probability in probabilities_L)
