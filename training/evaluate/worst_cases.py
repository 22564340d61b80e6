"""Pictures of cases: Input, Ground truth, Prediction, Overlap.

They show patients: for the person who evaluates, never for the repository.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from training.audit.painting import Mask, grey, paint, paint_errors
from training.audit.style import RIGHT
from training.data.cache import ArrayCache, CachedCase

NUM_ROWS = 3
NUM_CASES = 4
TITLES = ("Input", "Ground truth", "Prediction", "Overlap")
HEADER_PX = 22


def comparison_row(slice_HW: npt.NDArray[np.generic], truth_HW: Mask, prediction_HW: Mask) -> npt.NDArray[np.uint8]:
    """Return the four pictures of a slice side by side, in OpenCV's order of colours."""
    image = grey(slice_HW)
    pictures = (
        image,
        paint(image, truth_HW, RIGHT),
        paint(image, prediction_HW, RIGHT),
        paint_errors(image, truth_HW, prediction_HW),
    )
    return np.hstack([(255.0 * picture[..., ::-1]).astype(np.uint8) for picture in pictures])


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
