"""Pictures of cases: Input, Ground truth, Prediction, Overlap.

They show patients: for the person who evaluates, never for the repository.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from training.data.cache import ArrayCache, CachedCase

NUM_ROWS = 3
NUM_CASES = 4
TITLES = ("Input", "Ground truth", "Prediction", "Overlap")
# OpenCV's order: blue, green, red.
TRUE_POSITIVE_BGR = (0, 200, 0)
FALSE_POSITIVE_BGR = (0, 0, 230)
FALSE_NEGATIVE_BGR = (255, 80, 0)
OPACITY = 0.55
HEADER_PX = 22

Image = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


def to_grey(slice_HW: npt.NDArray[np.generic]) -> Image:
    """Return a slice as BGR, bright end at the 99.5th percentile."""
    image = slice_HW.astype(np.float32)
    top = max(float(np.percentile(image, 99.5)), 1.0)
    grey = np.clip(image / top, 0.0, 1.0) * 255.0
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)


def paint(image_HW3: Image, mask_HW: Mask, colour: tuple[int, int, int]) -> Image:
    """Return the image with the mask laid over it."""
    painted = image_HW3.astype(np.float32)
    painted[mask_HW] = (1.0 - OPACITY) * painted[mask_HW] + OPACITY * np.asarray(colour, dtype=np.float32)
    return painted.astype(np.uint8)


def agreement(image_HW3: Image, truth_HW: Mask, prediction_HW: Mask) -> Image:
    """Return the image with true positives green, false positives red and false negatives blue."""
    painted = paint(image_HW3, truth_HW & prediction_HW, TRUE_POSITIVE_BGR)
    painted = paint(painted, prediction_HW & ~truth_HW, FALSE_POSITIVE_BGR)
    return paint(painted, truth_HW & ~prediction_HW, FALSE_NEGATIVE_BGR)


def comparison_row(slice_HW: npt.NDArray[np.generic], truth_HW: Mask, prediction_HW: Mask) -> Image:
    """Return the four pictures of a slice side by side."""
    grey = to_grey(slice_HW)
    truth = paint(grey, truth_HW, TRUE_POSITIVE_BGR)
    prediction = paint(grey, prediction_HW, TRUE_POSITIVE_BGR)
    return np.hstack([grey, truth, prediction, agreement(grey, truth_HW, prediction_HW)])


def save_case_picture(
    images_SHW: npt.NDArray[np.generic],
    truth_SHW: Mask,
    prediction_SHW: Mask,
    path: Path,
    title: str,
) -> None:
    """Write the slices of a case with the most wrong pixels."""
    wrong = (truth_SHW ^ prediction_SHW).sum(axis=(1, 2))
    worst = sorted(np.argsort(wrong)[::-1][:NUM_ROWS].tolist())
    rows = [comparison_row(images_SHW[s], truth_SHW[s], prediction_SHW[s]) for s in worst]
    header = np.zeros((HEADER_PX, rows[0].shape[1], 3), dtype=np.uint8)
    width = rows[0].shape[1] // len(TITLES)
    for column, name in enumerate(TITLES):
        text = f"{name}  {title}" if column == 0 else name
        origin = (column * width + 4, HEADER_PX - 7)
        cv2.putText(header, text, origin, cv2.FONT_HERSHEY_SIMPLEX, 0.36, (255, 255, 255), 1)
    cv2.imwrite(str(path), np.vstack([header, *rows]))


def save_worst_cases(
    cache: ArrayCache,
    cases: Sequence[CachedCase],
    dice: Sequence[float],
    labels_of: Callable[[CachedCase], npt.NDArray[np.uint8]],
    folder: Path,
) -> None:
    """Write a picture of the whole tumour of each of the worst cases.

    Parameters
    ----------
    dice : sequence of float
        Of each case.
    labels_of : callable
        Gives the predicted label map of a case, shape (S, H, W).
    """
    folder.mkdir(parents=True, exist_ok=True)
    for score, case in sorted(zip(dice, cases, strict=True), key=lambda pair: pair[0])[:NUM_CASES]:
        save_case_picture(
            cache.images_SCHW[case.start : case.stop, -1],
            cache.labels_SHW[case.start : case.stop] > 0,
            labels_of(case) > 0,
            folder / f"worst-cases-{case.name}.png",
            f"{case.name} Dice {score:.3f}",
        )
