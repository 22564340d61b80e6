"""Figures of one patient: overlap, distances, lesions, calibration, per region and per class.

Shape legend: L outputs of the network, R regions, S slices, H rows, W columns.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.model_card import ModelKind
from neuroscan_core.pipeline.normalise import tissue_level
from training.data.cache import ArrayCache, CachedCase
from training.metrics import ProbabilityHistogram, hd95_mm, lesion_scores, overlap
from training.postprocessing import Labels, Postprocessing, Probabilities, raw_labels
from training.regions import CLASSES, REGIONS, region_mask, region_probabilities

# Stands in where a source does not record the distance between slices (LGG): volumes there are estimates.
SUBSTITUTE_SPACING_MM = (5.0, 1.0, 1.0)
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class RegionFigures:
    """Figures of one region or class of a patient.

    Parameters
    ----------
    raw_dice : float
        Dice without removal of small parts.
    hd95_mm : float, optional
        None where the spacing is unknown, or where exactly one of the masks is empty.
    truth_ml, predicted_ml : float
        Volumes of reference and prediction.
    lesion_* : optional
        Lesion-wise scores (BraTS 2023); None where the spacing is unknown, and for single classes.
    """

    dice: float
    raw_dice: float
    iou: float
    precision: float
    recall: float
    hd95_mm: float | None
    truth_ml: float
    predicted_ml: float
    lesion_dice: float | None = None
    lesion_hd95_mm: float | None = None
    lesion_f1: float | None = None
    num_lesions: int | None = None
    num_missed_lesions: int | None = None
    num_invented_lesions: int | None = None


@dataclass(frozen=True)
class PatientResult:
    """Figures of one patient."""

    name: str
    dataset: str
    patient: str
    regions: dict[str, RegionFigures]
    classes: dict[str, RegionFigures]
    lesions: dict[str, list[dict[str, Any]]]

    @property
    def dice(self) -> float:
        """Mean Dice over the regions."""
        return self.mean("dice")

    def mean(self, figure: str) -> float:
        """Return the mean of a figure over the regions."""
        return float(np.mean([getattr(figures, figure) for figures in self.regions.values()]))

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for JSON: means over the regions first, then each region."""
        distances = [figures.hd95_mm for figures in self.regions.values() if figures.hd95_mm is not None]
        return {
            "name": self.name,
            "dataset": self.dataset,
            **{key: self.mean(key) for key in ("dice", "raw_dice", "iou", "precision", "recall")},
            "hd95_mm": float(np.mean(distances)) if distances else None,
            "regions": {name: asdict(figures) for name, figures in self.regions.items()},
            "classes": {name: asdict(figures) for name, figures in self.classes.items()},
            "lesions": self.lesions,
        }


@dataclass(frozen=True, eq=False)
class CaseEvaluation:
    """A patient's figures with what the curves over all patients are made of.

    Parameters
    ----------
    tissue : dict
        Per region, the probabilities of the tissue (air left out): ROC and calibration.
    volume : dict
        Per region, the probabilities of all voxels: Dice by threshold, precision and recall.
    seconds : float
        Time that the network took, reading and normalising included.
    """

    result: PatientResult
    tissue: dict[str, ProbabilityHistogram]
    volume: dict[str, ProbabilityHistogram]
    seconds: float
    num_slices: int


def region_names(kind: ModelKind) -> tuple[str, ...]:
    """Return the regions that a kind of network finds."""
    return ("WT",) if kind is ModelKind.SLICE25D else tuple(REGIONS)


def probabilities_by_region(probabilities_LSHW: Probabilities, kind: ModelKind) -> Probabilities:
    """Return the probability of each region, shape (R, S, H, W)."""
    return region_probabilities(probabilities_LSHW) if kind is ModelKind.MULTIMODAL2D else probabilities_LSHW


def truth_labels(cache: ArrayCache, case: CachedCase) -> Labels:
    """Return the reference of a case, shape (S, H, W)."""
    return np.asarray(cache.labels_SHW[case.start : case.stop])


def mean_dice(labels: Labels, truth: Labels, kind: ModelKind) -> float:
    """Return the mean Dice over the regions that a kind of network finds."""
    names = region_names(kind)
    return float(np.mean([overlap(region_mask(labels, name), region_mask(truth, name)).dice for name in names]))


def has_known_spacing(case: CachedCase) -> bool:
    """Whether the source says how far apart slices, rows and columns are: only then distances are given."""
    return min(case.spacing_mm) > 0


def spacing_mm(case: CachedCase) -> tuple[float, float, float]:
    """Return the distances along S, H and W, with a substitute for each that is unknown."""
    along_s, along_h, along_w = (
        known if known > 0 else substitute
        for known, substitute in zip(case.spacing_mm, SUBSTITUTE_SPACING_MM, strict=True)
    )
    return along_s, along_h, along_w


def voxel_ml(case: CachedCase) -> float:
    """Return the volume of a voxel."""
    return math.prod(spacing_mm(case)) / 1000.0


def tissue_mask(images_SCHW: npt.NDArray[Any]) -> Mask:
    """Return where the last channel (FLAIR) is tissue, shape (S, H, W): above a tenth of its bright end."""
    image_SHW = images_SCHW[:, -1]
    return np.asarray(image_SHW > tissue_level(image_SHW))


def evaluate_case(
    cache: ArrayCache,
    case: CachedCase,
    probabilities_LSHW: Probabilities,
    kind: ModelKind,
    postprocessing: Postprocessing,
    seconds: float = 0.0,
) -> CaseEvaluation:
    """Return the figures of one patient.

    Parameters
    ----------
    probabilities_LSHW : numpy.ndarray
        As `inference.predict_case` returns them.
    """
    truth = truth_labels(cache, case)
    raw = raw_labels(probabilities_LSHW, kind, postprocessing.threshold)
    labels = postprocessing.without_small_parts(raw, voxel_ml(case))
    names = region_names(kind)
    masks = {name: region_mask(truth, name) for name in names}
    lesions: dict[str, list[dict[str, Any]]] = {}
    regions = {
        name: _figures(
            case, region_mask(labels, name), region_mask(raw, name), masks[name], lesions.setdefault(name, [])
        )
        for name in names
    }
    classes = {
        name: _figures(case, labels == value, raw == value, truth == value)
        for value, name in CLASSES.items()
        if kind is not ModelKind.SLICE25D
    }
    result = PatientResult(case.name, case.dataset, case.patient, regions, classes, lesions)
    tissue = tissue_mask(cache.images_SCHW[case.start : case.stop])
    by_region = dict(zip(names, probabilities_by_region(probabilities_LSHW, kind), strict=True))
    return CaseEvaluation(
        result,
        {name: ProbabilityHistogram.of(by_region[name][tissue], masks[name][tissue]) for name in names},
        {name: ProbabilityHistogram.of(by_region[name], masks[name]) for name in names},
        seconds,
        case.num_slices,
    )


def _figures(
    case: CachedCase, mask: Mask, raw: Mask, truth: Mask, lesions: list[dict[str, Any]] | None = None
) -> RegionFigures:
    """Compare one mask; `lesions` receives the lesions of the reference where they can be told."""
    counts = overlap(mask, truth)
    is_known = has_known_spacing(case)
    distance = hd95_mm(mask, truth, spacing_mm(case)) if is_known else math.nan
    extra: dict[str, Any] = {}
    if is_known and lesions is not None:
        scores = lesion_scores(mask, truth, spacing_mm(case))
        lesions += [asdict(lesion) for lesion in scores.lesions]
        extra = {
            "lesion_dice": scores.dice,
            "lesion_hd95_mm": scores.hd95_mm,
            "lesion_f1": scores.f1,
            "num_lesions": len(scores.lesions),
            "num_missed_lesions": scores.num_missed,
            "num_invented_lesions": scores.num_false_positive,
        }
    return RegionFigures(
        dice=counts.dice,
        raw_dice=overlap(raw, truth).dice,
        iou=counts.iou,
        precision=counts.precision,
        recall=counts.recall,
        hd95_mm=None if math.isnan(distance) else distance,
        truth_ml=float(np.count_nonzero(truth)) * voxel_ml(case),
        predicted_ml=float(np.count_nonzero(mask)) * voxel_ml(case),
        **extra,
    )
