"""Evaluation of a segmenting network over the cases of a part, per patient, with its protocol in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.progress import track

from neuroscan_core.domain.model_card import ModelKind
from training.data.cache import CachedCase
from training.evaluate.choice import choose_postprocessing, require_validation
from training.evaluate.errors import NothingToEvaluate
from training.evaluate.model import TTA_VIEWS, Model, PredictionStore
from training.evaluate.patient import CaseEvaluation, evaluate_case
from training.evaluate.summary import summarise_sets
from training.postprocessing import Postprocessing

INPUTS = {
    ModelKind.SLICE25D: "2.5D windows of adjacent slices",
    ModelKind.MULTIMODAL2D: "single axial slices of four sequences",
    ModelKind.VOLUME3D: "overlapping 3D patches of four sequences, Gaussian weights",
}


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Figures of all cases of a part.

    Parameters
    ----------
    part : str
        Name of the split's part, or ``external``.
    cases, tta_cases : sequence of CaseEvaluation
        Without and with test-time augmentation; the latter empty where it was not asked for.
    """

    model: Model
    part: str
    postprocessing: Postprocessing
    cases: Sequence[CaseEvaluation]
    tta_cases: Sequence[CaseEvaluation] = ()

    @property
    def protocol(self) -> str:
        """How the figures came about, in words."""
        regions = "" if self.model.kind is ModelKind.SLICE25D else "mean over WT, TC and ET, then "
        return (
            f"Dice pooled over all slices of a patient (no slice left out), {regions}mean over patients; "
            f"{self.model.executed_by}, single model, no test-time augmentation; {INPUTS[self.model.kind]}"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return what the JSON file holds."""
        results = {
            "part": self.part,
            "model": self.model.name,
            "kind": self.model.kind.value,
            "protocol": self.protocol,
            "postprocessing": asdict(self.postprocessing),
            **summarise_sets(self.cases),
        }
        if self.tta_cases:
            tta = summarise_sets(self.tta_cases)
            cost = tta["seconds_per_slice"] / results["seconds_per_slice"]
            results["tta"] = {"views": TTA_VIEWS, "cost": cost, **tta}
        return results


def evaluate_segmentation(
    store: PredictionStore,
    cases: Sequence[CachedCase],
    part: str,
    *,
    choose: bool = False,
    tta: bool = False,
    console: Console | None = None,
) -> Evaluation:
    """Evaluate a network on cases.

    Parameters
    ----------
    store : PredictionStore
        Of the network; holds the probabilities afterwards.
    part : str
        Name of the split's part, written into the result.
    choose : bool
        Choose threshold and component size on these cases first.
    tta : bool
        Evaluate with test-time augmentation too; both ways take turns, so that their times compare.

    Raises
    ------
    ChoiceRefused
        If a choice is asked for on anything but validation cases.
    NothingToEvaluate
        If there are no cases.
    """
    if choose:
        require_validation(part)
    if not cases:
        raise NothingToEvaluate(f"Part {part} has no cases.", remedy="Does the split belong to this data?")
    console, model = console or Console(stderr=True), store.model
    settings = (False, True) if tta else (False,)
    for case in track(cases, description="predicting", console=console):
        for setting in settings:
            store.get(case, tta=setting)
    chosen = choose_postprocessing(store.cache, cases, store.get, model.kind) if choose else model.postprocessing

    def evaluate(setting: bool) -> list[CaseEvaluation]:
        return [
            evaluate_case(store.cache, c, store.get(c, tta=setting), model.kind, chosen, store.seconds(c, tta=setting))
            for c in track(cases, description="measuring", console=console)
        ]

    return Evaluation(model, part, chosen, evaluate(False), evaluate(True) if tta else ())
