"""Choice of threshold and smallest part, on validation patients only."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from neuroscan_core.domain.model_card import ModelKind
from neuroscan_core.pipeline.postprocess import bounding_box
from training.data.cache import ArrayCache, CachedCase
from training.evaluate.errors import ChoiceRefused
from training.evaluate.patient import mean_dice, truth_labels, voxel_ml
from training.postprocessing import DEFAULT_THRESHOLD, Labels, Postprocessing, Probabilities, raw_labels

THRESHOLDS = (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7)
MIN_COMPONENTS_ML = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0)
CHOICE_TOLERANCE = 0.002


def require_validation(part: str) -> None:
    """Refuse any part but validation.

    Raises
    ------
    ChoiceRefused
        Always, but for ``val``.
    """
    if part != "val":
        raise ChoiceRefused(
            f"Threshold and postprocessing are chosen on validation cases only, not on {part}: figures of cases that "
            "were chosen on say nothing.",
            remedy="Use --part val.",
        )


def choose_postprocessing(
    cache: ArrayCache,
    cases: Sequence[CachedCase],
    probabilities_of: Callable[[CachedCase], Probabilities],
    kind: ModelKind,
) -> Postprocessing:
    """Return the choice with the best mean (over sets) of mean patient Dice (over regions).

    Thresholds within `CHOICE_TOLERANCE` of the best are equal on so few patients: the one nearest to 0.5 is taken.

    Parameters
    ----------
    probabilities_of : callable
        Gives the probabilities of a case, shape (L, S, H, W).
    """
    candidates = [Postprocessing(*pair) for pair in itertools.product(THRESHOLDS, MIN_COMPONENTS_ML)]
    dice: dict[str, list[list[float]]] = {}
    for case in cases:
        dice.setdefault(case.dataset, []).append(
            _dice_of_candidates(cache, case, probabilities_of(case), kind, candidates)
        )
    scores = np.mean([np.mean(rows, axis=0) for rows in dice.values()], axis=0)
    good_enough = [n for n, score in enumerate(scores) if score >= max(scores) - CHOICE_TOLERANCE]
    nearest = min(good_enough, key=lambda n: (abs(candidates[n].threshold - DEFAULT_THRESHOLD), -scores[n]))
    return candidates[nearest]


def _dice_of_candidates(
    cache: ArrayCache,
    case: CachedCase,
    probabilities_LSHW: Probabilities,
    kind: ModelKind,
    candidates: Sequence[Postprocessing],
) -> list[float]:
    truth = truth_labels(cache, case)
    probabilities_LSHW, truth = _cropped(probabilities_LSHW, truth, kind)
    raw = {t: raw_labels(probabilities_LSHW, kind, t) for t in {c.threshold for c in candidates}}
    return [mean_dice(c.without_small_parts(raw[c.threshold], voxel_ml(case)), truth, kind) for c in candidates]


def _cropped(probabilities_LSHW: Probabilities, truth_SHW: Labels, kind: ModelKind) -> tuple[Probabilities, Labels]:
    """Leave out what no candidate can find: it costs time and changes nothing."""
    tumour = probabilities_LSHW[1:].sum(axis=0) if kind is ModelKind.MULTIMODAL2D else probabilities_LSHW.max(axis=0)
    box = bounding_box((tumour > min(THRESHOLDS)) | (truth_SHW > 0))
    if box is None:
        return probabilities_LSHW, truth_SHW
    along_s, along_h, along_w = box
    return probabilities_LSHW[:, along_s, along_h, along_w], truth_SHW[box]
