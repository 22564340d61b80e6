"""The list of what an audit shows: each chart with its title and how to read it, in the order of the pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from training.audit import case_pictures, classifier_charts, patient_charts, voxel_charts
from training.audit.evidence import Evidence, PictureEvidence


@dataclass(frozen=True)
class Chart:
    """One picture of an audit.

    Parameters
    ----------
    key : str
        For links.
    title : str
    caption : str
        How to read it.
    draw : callable
        Makes the figure; None where the evidence for it is missing.
    needs : str
        What to give so that it can be drawn; shown where it is missing.
    """

    key: str
    title: str
    caption: str
    draw: Callable[[Any], Any | None]
    needs: str = ""


SEGMENTATION: tuple[Chart, ...] = (
    Chart(
        "overlap",
        "Input, ground truth, prediction, overlap",
        "Cases evenly spread from the best to the worst, each in the slice with the largest tumour. In the last column "
        "green is right, red is invented and blue is missed, of the whole tumour.",
        case_pictures.overlap_rows,
    ),
    Chart(
        "best",
        "Best cases",
        "The cases with the highest Dice, in the slice with the largest tumour.",
        case_pictures.best_cases,
    ),
    Chart(
        "worst",
        "Worst cases",
        "The cases with the lowest Dice, in the slice with the most wrong pixels.",
        case_pictures.worst_cases,
    ),
    Chart(
        "montage",
        "Montage through a tumour",
        "The median case from the lowest to the highest slice with tumour: outlines of ground truth and prediction.",
        case_pictures.montage,
    ),
    Chart(
        "channels",
        "What the network sees",
        "All input channels of the median and of the worst case, with outlines.",
        case_pictures.channels,
    ),
    Chart(
        "training",
        "Loss and validation by step",
        "Loss of the training batches (thin: as logged, thick: mean of nine) and the validation figures.",
        voxel_charts.training_curves,
        "--run with a history.csv",
    ),
    Chart(
        "learning-rate",
        "Learning rate",
        "The learning rate of the decoder by step.",
        voxel_charts.learning_rate,
        "--run with a history.csv",
    ),
    Chart(
        "patients",
        "Dice of every patient",
        "Pooled over all slices of a patient. Line: mean of the set. Band: its 95 % interval over patients.",
        patient_charts.dice_bars,
    ),
    Chart(
        "boxes",
        "Dice and IoU by region",
        "Box: quartiles and median over patients; whiskers: 1.5 times the quartiles' distance; dots: patients.",
        patient_charts.box_plots,
    ),
    Chart(
        "confusion",
        "Confusion of voxels",
        "Rows are the truth; each row adds up to 100 %. Below, the number of voxels.",
        voxel_charts.confusion,
    ),
    Chart(
        "precision-recall",
        "Precision and recall",
        "Over all voxels of all patients, before postprocessing. Dots: the threshold in use.",
        voxel_charts.precision_recall,
    ),
    Chart(
        "roc",
        "ROC",
        "Over the tissue (air left out, which would flatter), before postprocessing.",
        voxel_charts.roc,
    ),
    Chart(
        "thresholds",
        "Dice by threshold",
        "Mean over patients before postprocessing; with one region, the band spans all patients. Dashed: the threshold "
        "in use, chosen on validation patients.",
        voxel_charts.thresholds,
    ),
    Chart(
        "reliability",
        "Reliability",
        "Of the voxels to which the network gives a probability, the share that truly is tumour. On the diagonal, "
        "probabilities mean what they say. Tissue only.",
        voxel_charts.reliability,
    ),
    Chart(
        "volumes",
        "Agreement of volumes",
        "Whole tumour. Left: predicted against true. Right: difference against mean, with the limits of agreement. "
        "Volumes of sets without known slice distance are estimates (5 mm).",
        patient_charts.volumes,
    ),
    Chart(
        "sizes",
        "Size and success",
        "Left: Dice of a patient's region against its volume. Right: single lesions (BraTS 2023: parts that grow "
        "together within 3 mm are one), found or missed.",
        patient_charts.sizes,
    ),
    Chart(
        "errors",
        "Where errors lie",
        "Mean share of invented and missed voxels along each line of sight, over all patients; outline: the head. "
        "Seen from above: front of the head at the top, patient's right at the left.",
        case_pictures.error_map,
    ),
    Chart(
        "probability",
        "Probability and uncertainty",
        "Best, median and worst case: probability of the whole tumour and its entropy, with the true outline. "
        "Uncertainty should lie along borders; an error without it is a confident one.",
        case_pictures.probability_maps,
    ),
    Chart(
        "tta",
        "Augmentation at test time",
        "Mean over the slice, its horizontal and its vertical flip, against the slice alone; and the time of both, "
        "measured in turns.",
        patient_charts.augmentation,
        "no --no-tta",
    ),
    Chart(
        "external",
        "External against internal",
        "Patients of a source that training never saw beside those of the sources that it did see. Diamond: mean with "
        "its 95 % interval.",
        patient_charts.external,
        "--external DATASET",
    ),
)

PICTURES: tuple[Chart, ...] = (
    Chart(
        "confusion",
        "Confusion of classes",
        "Rows are the truth; each row adds up to 100 %. Below, the number of pictures.",
        classifier_charts.confusion,
    ),
    Chart(
        "classes",
        "Precision, recall and F1",
        "Of each class; n is the number of pictures.",
        classifier_charts.classes,
    ),
    Chart("roc", "ROC", "Each class against all others.", classifier_charts.roc),
    Chart(
        "precision-recall",
        "Precision and recall",
        "Each class against all others; AP is the average precision.",
        classifier_charts.precision_recall,
    ),
    Chart(
        "reliability",
        "Reliability",
        "Of the pictures that it decides with a probability, the share that is right. Below the line it is too sure.",
        classifier_charts.reliability,
    ),
    Chart(
        "certainty",
        "Certainty, right and wrong",
        "A good classifier is uncertain where it is wrong.",
        classifier_charts.certainty,
    ),
    Chart(
        "coverage",
        "What leaving doubtful pictures to a person gains",
        "Accuracy over the pictures that it is most certain of.",
        classifier_charts.coverage,
    ),
    Chart(
        "worst",
        "Mistakes",
        "Pictures that it gets wrong, the most certain mistakes first.",
        classifier_charts.worst_pictures,
        "a mistake",
    ),
    Chart(
        "uncertain",
        "Least certain",
        "The pictures about which it is least certain.",
        classifier_charts.uncertain_pictures,
    ),
    Chart(
        "examples",
        "Examples of every class",
        "Drawn by lot, with what the classifier says and how sure it is.",
        classifier_charts.examples,
    ),
    Chart(
        "training",
        "Loss and accuracy by step",
        "Loss of the training batches (thin: as logged, thick: mean of nine) and the validation figures.",
        voxel_charts.training_curves,
        "--run with a history.csv",
    ),
    Chart(
        "learning-rate",
        "Learning rate",
        "The learning rate by step.",
        voxel_charts.learning_rate,
        "--run with a history.csv",
    ),
    Chart(
        "tta",
        "Augmentation at test time",
        "Mean over the picture, its horizontal and its vertical flip, against the picture alone; and the time of both.",
        classifier_charts.augmentation,
        "no --no-tta",
    ),
)


def charts_for(evidence: Evidence) -> Sequence[Chart]:
    """Return the charts of a kind of network."""
    return PICTURES if isinstance(evidence, PictureEvidence) else SEGMENTATION
