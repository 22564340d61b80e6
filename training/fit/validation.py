"""Scoring of weights on validation patients, pooled per patient volume.

slice25d: Dice of the tumour. multimodal2d and volume3d: Dice of WT, TC and ET.
classifier: accuracy. The score of a run is the mean over data sets of the mean
over patients (and regions). Full evaluation of a finished network is in
`training.evaluate`.

Shape legend: S slices, H rows, W columns, L outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neuroscan_core.domain.model_card import ModelKind
from training.data.cache import ArrayCache, CachedCase
from training.inference import CaseOptions, Predictor, predict_case, predict_pictures
from training.metrics.overlap import overlap
from training.postprocessing import DEFAULT_THRESHOLD, raw_labels
from training.regions import REGIONS, region_masks

METRICS = {
    ModelKind.SLICE25D: ("dice",),
    ModelKind.MULTIMODAL2D: tuple(f"dice_{region}" for region in REGIONS),
    ModelKind.VOLUME3D: tuple(f"dice_{region}" for region in REGIONS),
    ModelKind.CLASSIFIER: ("accuracy", "validation_loss"),
}
# A figure to look at, no part of a run's score.
UNSCORED = ("validation_loss",)


@dataclass(frozen=True)
class CaseScore:
    """Metrics of one case, by name."""

    dataset: str
    values: dict[str, float]


def score_case(
    predict: Predictor,
    cache: ArrayCache,
    case: CachedCase,
    kind: ModelKind,
    options: CaseOptions,
    batch_size: int,
) -> CaseScore:
    """Return the Dice coefficients of one patient, at the threshold that the node has before one is chosen."""
    probabilities = predict_case(predict, cache, case, kind, options=options, batch_size=batch_size)
    truth_SHW = np.asarray(cache.labels_SHW[case.start : case.stop])
    labels_SHW = raw_labels(probabilities, kind, DEFAULT_THRESHOLD)
    if kind is ModelKind.SLICE25D:
        return CaseScore(case.dataset, {"dice": overlap(labels_SHW > 0, truth_SHW > 0).dice})
    predicted, truth = region_masks(labels_SHW), region_masks(truth_SHW)
    pairs = zip(REGIONS, predicted, truth, strict=True)
    return CaseScore(case.dataset, {f"dice_{name}": overlap(p, t).dice for name, p, t in pairs})


def score_pictures(
    predict: Predictor, cache: ArrayCache, cases: Sequence[CachedCase], size: int, batch_size: int
) -> list[CaseScore]:
    """Return whether each picture is put into its class (0 or 1), and its cross-entropy."""
    indices = [index for case in cases for index in range(case.start, case.stop)]
    datasets = [case.dataset for case in cases for _ in range(case.start, case.stop)]
    probabilities = predict_pictures(predict, cache, indices, size, batch_size=batch_size)
    scores = []
    for dataset, row, truth in zip(datasets, probabilities, cache.classes_S[indices], strict=True):
        loss = -float(np.log(max(row[truth], np.finfo(np.float32).tiny)))
        scores.append(CaseScore(dataset, {"accuracy": float(row.argmax() == truth), "validation_loss": loss}))
    return scores


def summarise(scores: Sequence[CaseScore]) -> dict[str, float]:
    """Return the mean over data sets of the mean over cases of each metric, and their mean as "score"."""
    names = list(scores[0].values)
    datasets = sorted({score.dataset for score in scores})
    means = {}
    for name in names:
        per_set = [np.mean([s.values[name] for s in scores if s.dataset == dataset]) for dataset in datasets]
        means[name] = float(np.mean(per_set))
    return {**means, "score": float(np.mean([means[name] for name in names if name not in UNSCORED]))}


def first_of_each_dataset(cases: Sequence[CachedCase], max_cases: int) -> list[CachedCase]:
    """Return at most so many cases of each data set, in order; 0 takes all."""
    taken: dict[str, int] = {}
    chosen = []
    for case in cases:
        taken[case.dataset] = taken.get(case.dataset, 0) + 1
        if not max_cases or taken[case.dataset] <= max_cases:
            chosen.append(case)
    return chosen
