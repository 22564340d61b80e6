"""Measures of agreement between a prediction and its reference; which cases are measured is decided in `evaluate`."""

from training.metrics.classification import Classification
from training.metrics.distance import hd95_mm
from training.metrics.histogram import ProbabilityHistogram, Reliability
from training.metrics.intervals import bootstrap_ci95
from training.metrics.lesions import Lesion, LesionScores, lesion_scores
from training.metrics.overlap import Mask, Overlap, overlap

__all__ = [
    "Classification",
    "Lesion",
    "LesionScores",
    "Mask",
    "Overlap",
    "ProbabilityHistogram",
    "Reliability",
    "bootstrap_ci95",
    "hd95_mm",
    "lesion_scores",
    "overlap",
]
