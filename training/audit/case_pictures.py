"""Pictures of cases: rows of errors, best and worst, montages, modalities, probabilities, where errors lie.

Shape legend: S slices, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.model_card import ModelKind
from training.audit.evidence import SegmentationEvidence, crop_to_head, largest_slice
from training.audit.painting import Image, Mask, grey, paint, paint_errors
from training.audit.style import (
    INVENTED,
    LABEL_COLOURS,
    MISSED,
    PREDICTION_LINE,
    RIGHT,
    TRUTH_LINE,
    legend_of,
    picture_grid,
)
from training.data.cache import CachedCase
from training.data.cases import SEQUENCES
from training.evaluate.worst_cases import TITLES
from training.regions import CLASSES

NUM_ROWS = 6
NUM_EXTREME = 3
ERROR_LEGEND = {
    "right (true positive)": RIGHT,
    "invented (false positive)": INVENTED,
    "missed (false negative)": MISSED,
}
CONTOUR_LEGEND = {"ground truth": TRUTH_LINE, "prediction": PREDICTION_LINE}


def paint_labels(image_HW3: Image, labels_HW: npt.NDArray[np.uint8], is_binary: bool) -> Image:
    """Return the image with a label map over it."""
    if is_binary:
        return paint(image_HW3, labels_HW > 0, RIGHT)
    for value, colour in enumerate(LABEL_COLOURS, start=1):
        image_HW3 = paint(image_HW3, labels_HW == value, colour)
    return image_HW3


def write_on(axes: Any, text: str) -> None:
    """Write on a picture, bottom left, legible whatever is there."""
    box = {"facecolor": "black", "alpha": 0.55, "edgecolor": "none", "pad": 1.5}
    axes.text(0.02, 0.02, text, transform=axes.transAxes, color="white", fontsize=7, va="bottom", bbox=box)


def contours(axes: Any, mask_HW: Mask, colour: str, width: float = 1.3) -> None:
    """Draw the outline of a mask."""
    outlines, _ = cv2.findContours(
        np.ascontiguousarray(mask_HW).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE
    )
    for outline in outlines:
        points = np.vstack([outline[:, 0], outline[:1, 0]])
        axes.plot(points[:, 0], points[:, 1], color=colour, linewidth=width)


def comparison_rows(evidence: SegmentationEvidence, chosen: Sequence[tuple[CachedCase, int, str]]) -> Any:
    """Return rows of Input, Ground truth, Prediction and Overlap: case, slice and caption of each."""
    figure, axes = picture_grid(len(chosen), 4)
    is_binary = evidence.kind is ModelKind.SLICE25D
    for row, (case, offset, caption) in zip(axes, chosen, strict=True):
        slice_HW = evidence.images(case)[offset, -1]
        box = crop_to_head(slice_HW)
        image = grey(slice_HW[box])
        truth, found = evidence.truth(case)[offset][box], evidence.labels(case)[offset][box]
        pictures = (
            image,
            paint_labels(image, truth, is_binary),
            paint_labels(image, found, is_binary),
            paint_errors(image, truth > 0, found > 0),
        )
        for entry, picture in zip(row, pictures, strict=True):
            entry.imshow(picture, interpolation="bilinear")
        write_on(row[0], caption)
    for entry, title in zip(axes[0], TITLES, strict=True):
        entry.set_title(title)
    labels = {} if is_binary else dict(zip(CLASSES.values(), LABEL_COLOURS, strict=True))
    legend_of(figure, labels | {key.split(" (")[0]: colour for key, colour in ERROR_LEGEND.items()})
    return figure


def overlap_rows(evidence: SegmentationEvidence) -> Any:
    """Cases evenly spread from best to worst, each in the slice with the largest tumour."""
    ranked = evidence.by_dice()
    positions = np.unique(np.linspace(0, len(ranked) - 1, min(NUM_ROWS, len(ranked))).round().astype(int))
    rows = []
    for position in positions:
        case, figures = ranked[position]
        rows.append((case, largest_slice(evidence.truth(case) > 0), _caption(case, figures.result.dice)))
    return comparison_rows(evidence, rows)


def best_cases(evidence: SegmentationEvidence) -> Any:
    """The best cases, each in the slice with the largest tumour."""
    return comparison_rows(
        evidence,
        [
            (case, largest_slice(evidence.truth(case) > 0), _caption(case, figures.result.dice))
            for case, figures in evidence.by_dice()[:NUM_EXTREME]
        ],
    )


def worst_cases(evidence: SegmentationEvidence) -> Any:
    """The worst cases, each in the slice with the most wrong pixels."""
    return comparison_rows(
        evidence,
        [
            (
                case,
                largest_slice((evidence.truth(case) > 0) ^ (evidence.labels(case) > 0)),
                _caption(case, figures.result.dice),
            )
            for case, figures in evidence.by_dice()[::-1][:NUM_EXTREME]
        ],
    )


def _caption(case: CachedCase, dice: float) -> str:
    return f"{case.name}\nDice {dice:.3f}"


def montage(evidence: SegmentationEvidence) -> Any:
    """Slices of the median case through its tumour, with outlines."""
    ranked = evidence.by_dice()
    case, _ = ranked[len(ranked) // 2]
    truth, found = evidence.truth(case) > 0, evidence.labels(case) > 0
    where = np.flatnonzero((truth | found).any(axis=(1, 2)))
    if not len(where):
        where = np.arange(case.num_slices)
    offsets = np.unique(np.linspace(where[0], where[-1], min(18, len(where))).round().astype(int))
    figure, axes = picture_grid((len(offsets) + 5) // 6, 6, 1.6)
    box = crop_to_head(evidence.images(case)[offsets, -1].max(axis=0))
    for entry, offset in zip(axes.flat, offsets, strict=False):
        entry.imshow(grey(evidence.images(case)[offset, -1][box]), interpolation="bilinear")
        contours(entry, truth[offset][box], TRUTH_LINE)
        contours(entry, found[offset][box], PREDICTION_LINE)
        write_on(entry, f"slice {offset + 1}")
    legend_of(figure, CONTOUR_LEGEND, lines=True)
    return figure


def channels(evidence: SegmentationEvidence) -> Any:
    """What the network sees of a slice, with outlines: the sequences, or the neighbouring slices."""
    ranked = evidence.by_dice()
    chosen = [ranked[len(ranked) // 2], ranked[-1]] if len(ranked) > 1 else ranked
    is_window = evidence.kind is ModelKind.SLICE25D
    titles = ("slice below (z-1)", "slice (z)", "slice above (z+1)") if is_window else SEQUENCES
    figure, axes = picture_grid(len(chosen), len(titles), 2.4)
    for row, (case, figures) in zip(axes, chosen, strict=True):
        truth, found = evidence.truth(case), evidence.labels(case)
        offset = largest_slice(truth > 0)
        images = evidence.images(case)
        neighbours = [min(max(offset + step, 0), case.num_slices - 1) for step in (-1, 0, 1)]
        planes = [images[n, 0] for n in neighbours] if is_window else list(images[offset])
        box = crop_to_head(planes[-1])
        for entry, plane in zip(row, planes, strict=True):
            entry.imshow(grey(plane[box]), interpolation="bilinear")
            _outlines(entry, truth[offset][box], found[offset][box], is_window)
        write_on(row[0], _caption(case, figures.result.dice))
    for entry, title in zip(axes[0], titles, strict=True):
        entry.set_title(title)
    names = dict(zip(CLASSES.values(), LABEL_COLOURS, strict=True))
    legend_of(figure, CONTOUR_LEGEND if is_window else {"ground truth": TRUTH_LINE} | names, lines=True)
    return figure


def _outlines(axes: Any, truth_HW: npt.NDArray[np.uint8], found_HW: npt.NDArray[np.uint8], is_binary: bool) -> None:
    contours(axes, truth_HW > 0, TRUTH_LINE)
    if is_binary:
        contours(axes, found_HW > 0, PREDICTION_LINE)
        return
    for value, colour in enumerate(LABEL_COLOURS, start=1):
        contours(axes, found_HW == value, colour, 1.0)


def probability_maps(evidence: SegmentationEvidence) -> Any:
    """Input, probability of the whole tumour, and its uncertainty (entropy in bits), of median and worst case."""
    ranked = evidence.by_dice()
    chosen = [ranked[0], ranked[len(ranked) // 2], ranked[-1]][-len(ranked) :]
    figure, axes = picture_grid(len(chosen), 3, 2.5)
    for row, (case, figures) in zip(axes, chosen, strict=True):
        truth = evidence.truth(case) > 0
        offset = largest_slice(truth | (evidence.labels(case) > 0))
        slice_HW = evidence.images(case)[offset, -1]
        box = crop_to_head(slice_HW)
        p = np.clip(np.asarray(evidence.whole_tumour(case)[offset][box], np.float64), 1e-7, 1 - 1e-7)
        entropy = -(p * np.log2(p) + (1 - p) * np.log2(1 - p))
        row[0].imshow(grey(slice_HW[box]), interpolation="bilinear")
        shown = (row[1].imshow(p, cmap="viridis", vmin=0, vmax=1), row[2].imshow(entropy, cmap="magma", vmin=0, vmax=1))
        # On the uncertainty an outline would hide what lies along it.
        contours(row[0], truth[offset][box], TRUTH_LINE, 1.0)
        contours(row[1], truth[offset][box], "#FFFFFF", 1.0)
        write_on(row[0], _caption(case, figures.result.dice))
    for entry, title in zip(axes[0], ("Input", "Probability", "Uncertainty (bits)"), strict=True):
        entry.set_title(title)
    for entry, picture in zip((axes[-1, 1], axes[-1, 2]), shown, strict=True):
        figure.colorbar(picture, ax=entry, location="bottom", shrink=0.8, pad=0.02)
    return figure


def error_map(evidence: SegmentationEvidence) -> Any:
    """Where errors lie in the head: mean invented and missed voxels, projected along the three axes."""
    wrong = [_projections(evidence, case) for case in evidence.cases]
    figure, axes = picture_grid(2, 3, 2.6)
    titles = ("from above", "from the front", "from the side")
    for row, (name, cmap) in enumerate((("invented", "Reds"), ("missed", "Blues"))):
        for n, title in enumerate(titles):
            mean = np.mean([entry[row][n] for entry in wrong], axis=0)
            picture = axes[row, n].imshow(mean, cmap=cmap, vmin=0, vmax=max(float(mean.max()), 1e-6))
            axes[row, n].set_title(f"{name}, {title}", fontsize=9)
            head = np.mean([entry[2][n] for entry in wrong], axis=0)
            axes[row, n].contour(head, levels=[0.5], colors=["#555555"], linewidths=0.8)
            figure.colorbar(picture, ax=axes[row, n], shrink=0.75, pad=0.02)
    return figure


_GRID = 64


def _projections(evidence: SegmentationEvidence, case: CachedCase) -> list[list[npt.NDArray[np.float64]]]:
    """Share of wrong voxels along each axis: invented, missed, and where the head is; on a common grid."""
    truth, found = evidence.truth(case) > 0, evidence.labels(case) > 0
    image = evidence.images(case)[:, -1]
    head = image > 0.1 * np.percentile(image, 99)
    result = []
    for mask, reduce in ((found & ~truth, "mean"), (truth & ~found, "mean"), (head, "any")):
        planes = [np.asarray(mask.any(axis=n) if reduce == "any" else mask.mean(axis=n)) for n in range(3)]
        result.append([_resized(plane, is_stack=n > 0) for n, plane in enumerate(planes)])
    return result


def _resized(plane: npt.NDArray[Any], is_stack: bool) -> npt.NDArray[np.float64]:
    """Bring a projection to the common grid; stacks run towards the head, so they are turned upside up."""
    turned = plane[::-1] if is_stack else plane
    return np.asarray(cv2.resize(turned.astype(np.float64), (_GRID, _GRID), interpolation=cv2.INTER_AREA))
