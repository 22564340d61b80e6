"""Evaluation of a model bundle of any kind: the ONNX file itself, as the node runs it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from neuroscan_core.domain.model_card import ModelKind
from training.data.cache import ArrayCache, CachedCase
from training.evaluate.choice import require_validation
from training.evaluate.errors import EvaluationRefused
from training.evaluate.model import Model, PredictionStore, open_bundle
from training.evaluate.pictures import evaluate_pictures
from training.evaluate.report import write_results
from training.evaluate.segmentation import evaluate_segmentation
from training.evaluate.worst_cases import save_worst_cases


def evaluate_model(
    model: Model,
    cache: ArrayCache,
    cases: Sequence[CachedCase],
    part: str,
    *,
    choose: bool = False,
    tta: bool = False,
    pictures: Path | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Evaluate a network of any kind on cases; return what the JSON file holds.

    Parameters
    ----------
    part : str
        Name of the split's part, or ``external-<data set>``; written into the result.
    choose : bool
        Choose threshold and component size on these cases first.
    tta : bool
        Evaluate with test-time augmentation too, with its cost.
    pictures : pathlib.Path, optional
        Receives pictures of the worst patients.

    Raises
    ------
    EvaluationRefused
        If a choice is asked for on anything but validation cases or for a classifier, or there are no cases.
    """
    if choose:
        require_validation(part)
    if model.kind is ModelKind.CLASSIFIER:
        if choose or pictures is not None:
            raise EvaluationRefused(
                "A classifier has no threshold and no masks: nothing to choose, no pictures of worst patients.",
                remedy="Leave --choose and --pictures out.",
            )
        return evaluate_pictures(model, cache, cases, part, tta=tta).as_dict()
    with tempfile.TemporaryDirectory(prefix="predictions-") as folder:
        store = PredictionStore(model, cache, Path(folder))
        evaluation = evaluate_segmentation(store, cases, part, choose=choose, tta=tta, console=console)
        if pictures is not None:
            dice = [entry.result.dice for entry in evaluation.cases]
            save_worst_cases(cache, cases, dice, partial(store.labels, evaluation.postprocessing), pictures)
    return evaluation.as_dict() | {"is_chosen_here": choose}


def evaluate_bundle(
    bundle: Path,
    cache: ArrayCache,
    cases: Sequence[CachedCase],
    part: str,
    choose: bool = False,
    out: Path | None = None,
    pictures: Path | None = None,
    *,
    tta: bool = False,
    num_threads: int = 1,
) -> dict[str, Any]:
    """Evaluate the ONNX file of a bundle; `out` receives the results as files. See `evaluate_model`."""
    if choose:
        require_validation(part)
    results = evaluate_model(
        open_bundle(bundle, num_threads), cache, cases, part, choose=choose, tta=tta, pictures=pictures
    )
    if out is not None:
        write_results(results, out)
    return results
