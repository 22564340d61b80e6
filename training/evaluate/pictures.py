"""Evaluation of a classifier over pictures of a part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.data.cache import ArrayCache, CachedCase
from training.evaluate.errors import NothingToEvaluate
from training.evaluate.model import TTA_VIEWS, Model
from training.metrics import Classification, bootstrap_ci95


@dataclass(frozen=True, eq=False)
class PictureEvaluation:
    """Predictions of all pictures of a part.

    Parameters
    ----------
    names : sequence of str
        Of the pictures.
    found, tta_found : Classification
        Without and with test-time augmentation; the latter None where it was not asked for.
    seconds, tta_seconds : float
        Time that the network took over all pictures.
    """

    model: Model
    part: str
    names: Sequence[str]
    found: Classification
    seconds: float
    tta_found: Classification | None = None
    tta_seconds: float = 0.0

    @property
    def protocol(self) -> str:
        """How the figures came about, in words."""
        return (
            "Accuracy over pictures, near-duplicates on one side of the split; "
            f"{self.model.executed_by}, single model, no test-time augmentation"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return what the JSON file holds."""
        results = {
            "part": self.part,
            "model": self.model.name,
            "kind": self.model.kind.value,
            "protocol": self.protocol,
            **summarise_pictures(self.found, self.seconds),
            "pictures": [
                {"name": name, "truth": int(truth), "probabilities": [round(float(p), 5) for p in row]}
                for name, truth, row in zip(self.names, self.found.truth_N, self.found.probabilities_NK, strict=True)
            ],
        }
        if self.tta_found is not None:
            cost = self.tta_seconds / self.seconds
            results["tta"] = {"views": TTA_VIEWS, "cost": cost, **summarise_pictures(self.tta_found, self.tta_seconds)}
        return results


def summarise_pictures(found: Classification, seconds: float) -> dict[str, Any]:
    """Return the figures of a classification."""
    is_right = found.is_right_N.astype(float).tolist()
    per_class = found.per_class()
    curve = found.reliability()
    summary = {
        "patients": len(is_right),  # the name that other kinds have, for readers of several
        "accuracy": float(np.mean(is_right)),
        "ci95": list(bootstrap_ci95(is_right)),
        "f1_macro": float(np.mean([entry["f1"] for entry in per_class.values()])),
        "roc_auc_macro": float(np.nanmean([entry["roc_auc"] for entry in per_class.values()])),
        "ece": curve.ece,
        "brier": found.brier,
    }
    return {
        "sets": {"pictures": summary},
        "classes": per_class,
        "class_names": list(found.class_names),
        "confusion": found.confusion_KK.tolist(),
        "reliability": curve.as_dict("pictures"),
        "seconds_per_picture": seconds / len(is_right),
    }


def evaluate_pictures(
    model: Model, cache: ArrayCache, cases: Sequence[CachedCase], part: str, *, tta: bool = False
) -> PictureEvaluation:
    """Classify the pictures of a part.

    Raises
    ------
    NothingToEvaluate
        If there are no pictures.
    """
    if not cases:
        raise NothingToEvaluate(f"Part {part} has no pictures.", remedy="Does the split belong to this data?")
    indices = [index for case in cases for index in range(case.start, case.stop)]
    names = [case.name for case in cases for _ in range(case.num_slices)]
    truth = np.asarray(cache.classes_S)[indices].astype(np.int64)
    model.classify(cache, indices[:1])  # the first call of an engine is slower than the others
    found, seconds = model.classify(cache, indices)
    plain = Classification(found, truth, model.class_names)
    if not tta:
        return PictureEvaluation(model, part, names, plain, seconds)
    tta_found, tta_seconds = model.classify(cache, indices, tta=True)
    return PictureEvaluation(
        model, part, names, plain, seconds, Classification(tta_found, truth, model.class_names), tta_seconds
    )
