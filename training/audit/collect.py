"""Collects the evidence of an audit: runs the network over the cases, reads the run's history."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from training.audit.evidence import PictureEvidence, SegmentationEvidence, read_history
from training.data.cache import ArrayCache, CachedCase
from training.evaluate.model import Model, PredictionStore
from training.evaluate.pictures import evaluate_pictures
from training.evaluate.segmentation import evaluate_segmentation


def collect_segmentation(
    model: Model,
    cache: ArrayCache,
    cases: Sequence[CachedCase],
    part: str,
    folder: Path,
    run: Path | None = None,
    external: Sequence[CachedCase] = (),
    *,
    tta: bool = True,
) -> SegmentationEvidence:
    """Return the evidence of a segmenting network.

    Parameters
    ----------
    folder : pathlib.Path
        Keeps probabilities until the pages are drawn; the caller removes it.
    external : sequence of CachedCase
        Cases of a data set that training never saw.
    """
    store = PredictionStore(model, cache, folder)
    evaluation = evaluate_segmentation(store, cases, part, tta=tta)
    other = evaluate_segmentation(store, external, "external") if external else None
    return SegmentationEvidence(evaluation, store, cases, read_history(run), other)


def collect_pictures(
    model: Model,
    cache: ArrayCache,
    cases: Sequence[CachedCase],
    part: str,
    run: Path | None = None,
    *,
    tta: bool = True,
) -> PictureEvidence:
    """Return the evidence of a classifier."""
    evaluation = evaluate_pictures(model, cache, cases, part, tta=tta)
    indices = [index for case in cases for index in range(case.start, case.stop)]
    return PictureEvidence(evaluation, cache, indices, read_history(run))
