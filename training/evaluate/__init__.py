"""Evaluation of networks per patient: what is measured on which cases, and how it is written down.

Measures themselves are in `metrics`; pictures and pages for people are in `audit`; engines are compared in `compare`.
"""

from training.evaluate.bundle import evaluate_bundle, evaluate_model
from training.evaluate.choice import choose_postprocessing
from training.evaluate.errors import ChoiceRefused, EvaluationRefused, NotExternal, NothingToEvaluate
from training.evaluate.external import external_set, seen_by_split
from training.evaluate.model import Model, open_bundle, open_run
from training.evaluate.report import print_results, write_results

__all__ = [
    "ChoiceRefused",
    "EvaluationRefused",
    "Model",
    "NotExternal",
    "NothingToEvaluate",
    "choose_postprocessing",
    "evaluate_bundle",
    "evaluate_model",
    "external_set",
    "open_bundle",
    "open_run",
    "print_results",
    "seen_by_split",
    "write_results",
]
