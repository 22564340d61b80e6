"""What an audit is drawn from: an evaluation with its cases, labels and probabilities, a run's history, other sets.

Shape legend: L outputs of the network, S slices, C channels, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.model_card import ModelKind
from training.data.cache import ArrayCache, CachedCase
from training.evaluate.model import Model, PredictionStore
from training.evaluate.patient import CaseEvaluation, probabilities_by_region, region_names, truth_labels
from training.evaluate.pictures import PictureEvaluation
from training.evaluate.segmentation import Evaluation
from training.evaluate.summary import sets_of
from training.postprocessing import Labels


@dataclass
class SegmentationEvidence:
    """Evidence of a segmenting network.

    Parameters
    ----------
    evaluation : Evaluation
        Of `cases`, with test-time augmentation.
    store : PredictionStore
        Holds the probabilities of `cases`.
    history : sequence of dict
        Rows of the run's `history.csv`; empty without a run.
    external : Evaluation, optional
        Of a data set that training never saw.
    """

    evaluation: Evaluation
    store: PredictionStore
    cases: Sequence[CachedCase]
    history: Sequence[dict[str, str]] = ()
    external: Evaluation | None = None
    _labels: dict[str, Labels] = field(default_factory=dict)

    @property
    def model(self) -> Model:
        """The network."""
        return self.evaluation.model

    @property
    def kind(self) -> ModelKind:
        """How it is fed."""
        return self.model.kind

    @property
    def cache(self) -> ArrayCache:
        """Slices of all cases."""
        return self.store.cache

    @property
    def regions(self) -> tuple[str, ...]:
        """Regions that it finds."""
        return region_names(self.kind)

    def by_dice(self) -> list[tuple[CachedCase, CaseEvaluation]]:
        """Return the cases with their figures, the best first."""
        pairs = zip(self.cases, self.evaluation.cases, strict=True)
        return sorted(pairs, key=lambda pair: pair[1].result.dice, reverse=True)

    def images(self, case: CachedCase) -> npt.NDArray[Any]:
        """Return the slices of a case, shape (S, C, H, W), as cached."""
        return self.cache.images_SCHW[case.start : case.stop]

    def truth(self, case: CachedCase) -> Labels:
        """Return the reference, shape (S, H, W)."""
        return truth_labels(self.cache, case)

    def labels(self, case: CachedCase) -> Labels:
        """Return the label map that the network and its postprocessing give, shape (S, H, W)."""
        if case.name not in self._labels:
            self._labels[case.name] = self.store.labels(self.evaluation.postprocessing, case)
        return self._labels[case.name]

    def whole_tumour(self, case: CachedCase) -> npt.NDArray[np.float32]:
        """Return the probability of the whole tumour, shape (S, H, W)."""
        return probabilities_by_region(self.store.get(case), self.kind)[0]

    def sets(self) -> Iterator[tuple[str, list[CaseEvaluation]]]:
        """Group the figures by data set."""
        yield from sets_of(self.evaluation.cases).items()


@dataclass
class PictureEvidence:
    """Evidence of a classifier.

    Parameters
    ----------
    indices : sequence of int
        Positions of the pictures in the cache, in the order of the evaluation.
    """

    evaluation: PictureEvaluation
    cache: ArrayCache
    indices: Sequence[int]
    history: Sequence[dict[str, str]] = ()

    @property
    def model(self) -> Model:
        """The network."""
        return self.evaluation.model

    def picture(self, position: int) -> npt.NDArray[np.generic]:
        """Return a picture, shape (H, W)."""
        return self.cache.images_SCHW[self.indices[position], 0]


Evidence = SegmentationEvidence | PictureEvidence


def read_history(run: Path | None) -> list[dict[str, str]]:
    """Return the rows of a run's history; none where there is no run or no history."""
    if run is None:
        return []
    # With these comes Lightning, which an audit without a run does without.
    from training.fit.history import read_history as rows_of
    from training.fit.state import HISTORY

    return rows_of(run / HISTORY)


def column(history: Sequence[dict[str, str]], name: str) -> tuple[list[float], list[float]]:
    """Return steps and values of a column, where it has one."""
    pairs = [(float(row["step"]), float(row[name])) for row in history if row.get(name) not in (None, "")]
    return [step for step, _ in pairs], [value for _, value in pairs]


def columns_but(history: Sequence[dict[str, str]], *left_out: str) -> list[str]:
    """Return the names of columns that hold a value somewhere, without those named."""
    names = list(history[0]) if history else []
    return [name for name in names if name not in left_out and column(history, name)[0]]


def largest_slice(mask_SHW: npt.NDArray[np.bool_]) -> int:
    """Return the slice with the largest area; the middle one where there is none."""
    areas = np.count_nonzero(mask_SHW, axis=(1, 2))
    return int(areas.argmax()) if areas.any() else len(mask_SHW) // 2


def crop_to_head(image_HW: npt.NDArray[Any], margin: int = 4) -> tuple[slice, slice]:
    """Return the square around the head in a slice, so that pictures show little air."""
    rows, columns = np.nonzero(image_HW > 0.05 * float(image_HW.max() or 1))
    if not len(rows):
        return slice(0, image_HW.shape[0]), slice(0, image_HW.shape[1])
    side = min(max(np.ptp(rows), np.ptp(columns)) + 2 * margin, *image_HW.shape)
    starts = [
        int(np.clip((values.min() + values.max() - side) // 2, 0, length - side))
        for values, length in zip((rows, columns), image_HW.shape, strict=True)
    ]
    return slice(starts[0], starts[0] + int(side)), slice(starts[1], starts[1] + int(side))


def summary_of(evidence: Evidence) -> dict[str, Any]:
    """Return the results as `test` writes them."""
    return evidence.evaluation.as_dict()
