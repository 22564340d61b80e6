"""From figures of patients to figures of a set: means, medians, intervals over patients, curves over voxels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from training.evaluate.patient import CaseEvaluation, PatientResult, RegionFigures
from training.metrics import ProbabilityHistogram, bootstrap_ci95

Summary = dict[str, Any]
LESION_FIGURES = ("lesion_dice", "lesion_hd95_mm", "lesion_f1")
LESION_COUNTS = ("num_lesions", "num_missed_lesions", "num_invented_lesions")


def summarise(patients: Sequence[PatientResult]) -> Summary:
    """Return the figures of a set, flat: means over the regions, then the Dice and distance of each region."""
    figures = [patient.as_dict() for patient in patients]
    summary = _means(figures)
    regions = list(patients[0].regions)
    if len(regions) > 1:
        for name in regions:
            of_region = summarise_region([patient.regions[name] for patient in patients])
            summary |= {f"{key}_{name}": of_region[key] for key in ("dice_mean", "hd95_mm_mean") if key in of_region}
    return summary


def summarise_region(figures: Sequence[RegionFigures]) -> Summary:
    """Return the figures of one region or class over patients."""
    summary = _means([vars(entry) for entry in figures])
    if figures[0].lesion_dice is not None:
        for key in LESION_FIGURES:
            summary[f"{key}_mean"] = float(np.mean([getattr(entry, key) for entry in figures]))
        for key in LESION_COUNTS:
            summary[key] = int(sum(getattr(entry, key) for entry in figures))
    return summary


def _means(patients: Sequence[Summary]) -> Summary:
    dice = [p["dice"] for p in patients]
    raw = [p["raw_dice"] for p in patients]
    distances = [p["hd95_mm"] for p in patients if p["hd95_mm"] is not None]
    summary: Summary = {
        "patients": len(patients),
        "dice_mean": float(np.mean(dice)),
        "dice_median": float(np.median(dice)),
        "ci95": list(bootstrap_ci95(dice)),
        "dice_mean_without_postprocessing": float(np.mean(raw)),
        "ci95_without_postprocessing": list(bootstrap_ci95(raw)),
        "iou_mean": float(np.mean([p["iou"] for p in patients])),
        "precision_mean": float(np.mean([p["precision"] for p in patients])),
        "recall_mean": float(np.mean([p["recall"] for p in patients])),
    }
    if distances:
        summary["hd95_mm_mean"] = float(np.mean(distances))
        summary["hd95_mm_median"] = float(np.median(distances))
        summary["hd95_patients"] = len(distances)
    return summary


def calibration(cases: Sequence[CaseEvaluation], region: str) -> Summary:
    """Return ECE, Brier score, ROC AUC and the reliability curve of a region over the tissue of all cases."""
    histogram = sum((case.tissue[region] for case in cases), ProbabilityHistogram.empty())
    curve = histogram.reliability()
    return {
        "ece": curve.ece,
        "brier": histogram.brier,
        "roc_auc": None if np.isnan(histogram.auc) else histogram.auc,
        "voxels": int(histogram.num_voxels),
        "reliability": curve.as_dict("voxels"),
    }


def sets_of(cases: Sequence[CaseEvaluation]) -> dict[str, list[CaseEvaluation]]:
    """Group cases by data set, sorted by its name."""
    names = sorted({case.result.dataset for case in cases})
    return {name: [case for case in cases if case.result.dataset == name] for name in names}


def summarise_sets(cases: Sequence[CaseEvaluation]) -> Summary:
    """Return what the JSON holds of a run over cases: sets, regions, classes, calibration, patients, time."""
    groups = sets_of(cases)
    return {
        "sets": {name: summarise([case.result for case in group]) for name, group in groups.items()},
        "regions": {name: _by_name(group, "regions") for name, group in groups.items()},
        "classes": {name: _by_name(group, "classes") for name, group in groups.items()},
        "calibration": {
            name: {region: calibration(group, region) for region in group[0].tissue} for name, group in groups.items()
        },
        "seconds_per_slice": sum(case.seconds for case in cases) / sum(case.num_slices for case in cases),
        "patients": [case.result.as_dict() for case in cases],
    }


def _by_name(group: Sequence[CaseEvaluation], which: str) -> Summary:
    names = getattr(group[0].result, which)
    return {name: summarise_region([getattr(case.result, which)[name] for case in group]) for name in names}
