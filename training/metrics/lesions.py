"""Lesion-wise scores as the BraTS 2023 challenge forms them.

Parts of the reference that grow together when dilated count as one lesion. A predicted part belongs to a lesion when
it touches the dilated lesion. Missed lesions and predicted parts that touch none count with Dice 0 and with the
challenge's penalty distance. Lesions of at most 50 cubic mm are left out on the side of the reference.
Source: github.com/rachitsaluja/BraTS-2023-Metrics (the challenge's definition), Kofler 2023, 10.48550/arXiv.2305.08992.

Connected components are scipy's; distances are those of `distance`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from neuroscan_core.pipeline.postprocess import bounding_box
from training.metrics.distance import hd95_mm
from training.metrics.overlap import Mask, overlap

NUM_DILATIONS = 3
MIN_LESION_MM3 = 50.0
# Diagonal of a BraTS volume, the challenge's distance for a lesion that has no counterpart.
PENALTY_MM = 374.0
_NEIGHBOURS_26 = ndimage.generate_binary_structure(3, 3)
_NEIGHBOURS_18 = ndimage.generate_binary_structure(3, 2)

Components = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Lesion:
    """One lesion of the reference; Dice 0 and the penalty distance where nothing touches it."""

    volume_ml: float
    dice: float
    hd95_mm: float
    is_found: bool


@dataclass(frozen=True)
class LesionScores:
    """Lesion-wise figures of a patient and region."""

    lesions: tuple[Lesion, ...]
    num_false_positive: int

    @property
    def num_found(self) -> int:
        """Lesions of the reference that a predicted part touches."""
        return sum(lesion.is_found for lesion in self.lesions)

    @property
    def num_missed(self) -> int:
        """Lesions of the reference that no predicted part touches."""
        return len(self.lesions) - self.num_found

    @property
    def dice(self) -> float:
        """Sum of lesion Dice over found, missed and invented lesions; 1 where there are none."""
        count = len(self.lesions) + self.num_false_positive
        return sum(lesion.dice for lesion in self.lesions) / count if count else 1.0

    @property
    def hd95_mm(self) -> float:
        """Mean distance over found, missed and invented lesions; 0 where there are none."""
        count = len(self.lesions) + self.num_false_positive
        total = sum(lesion.hd95_mm for lesion in self.lesions) + self.num_false_positive * PENALTY_MM
        return total / count if count else 0.0

    @property
    def f1(self) -> float:
        """Detection F1 over lesions; 1 where there are none."""
        total = 2 * self.num_found + self.num_false_positive + self.num_missed
        return 2 * self.num_found / total if total else 1.0


def lesion_scores(
    prediction_SHW: Mask,
    truth_SHW: Mask,
    spacing_mm: tuple[float, float, float],
    *,
    num_dilations: int = NUM_DILATIONS,
    min_lesion_mm3: float = MIN_LESION_MM3,
) -> LesionScores:
    """Match predicted parts with lesions and score each lesion.

    Parameters
    ----------
    prediction_SHW, truth_SHW : numpy.ndarray of bool
    spacing_mm : tuple of float
        Along S, H and W.
    num_dilations : int
        Steps in voxels within which parts belong together; the challenge uses 3 at 1 mm.
    min_lesion_mm3 : float
        Lesions of the reference up to this volume are not counted.
    """
    box = bounding_box(prediction_SHW | truth_SHW)
    if box is None:
        return LesionScores((), 0)
    # Room for the dilation, so that it cannot be cut off at the box.
    prediction, truth = (np.pad(mask[box], num_dilations) for mask in (prediction_SHW, truth_SHW))
    parts, num_parts = ndimage.label(prediction, structure=_NEIGHBOURS_26)
    lesions = _group_by_dilation(truth, num_dilations)
    voxel_mm3 = float(np.prod(spacing_mm))
    touched: set[int] = set()
    scored = []
    for value, around in enumerate(ndimage.find_objects(lesions), start=1):
        assert around is not None
        lesion, matched = _match(lesions, parts, value, around, num_dilations)
        touched |= set(matched)
        volume_mm3 = float(np.count_nonzero(lesion)) * voxel_mm3
        if volume_mm3 > min_lesion_mm3:
            scored.append(_score(lesion, parts, matched, spacing_mm, volume_mm3 / 1000.0))
    return LesionScores(tuple(scored), num_parts - len(touched))


def _group_by_dilation(truth: Mask, num_dilations: int) -> Components:
    groups, _ = ndimage.label(_dilated(truth, num_dilations), structure=_NEIGHBOURS_26)
    return np.where(truth, groups, 0).astype(np.int32)


def _dilated(mask: Mask, num_dilations: int) -> Mask:
    if not num_dilations:  # to scipy, 0 means "until nothing changes"
        return mask
    return np.asarray(ndimage.binary_dilation(mask, structure=_NEIGHBOURS_18, iterations=num_dilations))


def _match(
    lesions: Components, parts: Components, value: int, around: tuple[slice, ...], num_dilations: int
) -> tuple[Mask, list[int]]:
    """Return the lesion's mask and the predicted parts that touch it when it is dilated."""
    lesion = lesions == value
    wider = tuple(slice(max(0, s.start - num_dilations), s.stop + num_dilations) for s in around)
    matched = np.unique(parts[wider][_dilated(lesion[wider], num_dilations)])
    return lesion, [int(part) for part in matched if part]


def _score(
    lesion: Mask, parts: Components, matched: list[int], spacing_mm: tuple[float, float, float], volume_ml: float
) -> Lesion:
    if not matched:
        return Lesion(volume_ml, 0.0, PENALTY_MM, False)
    found = np.isin(parts, matched)
    return Lesion(volume_ml, overlap(found, lesion).dice, hd95_mm(found, lesion, spacing_mm), True)
