"""Evaluation of a model bundle, per patient, with its protocol in words.

The ONNX file itself is evaluated, through ONNX Runtime, as the node runs it.
Threshold and postprocessing are chosen on validation patients only.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml
from rich.console import Console
from rich.progress import track
from rich.table import Table

from neuroscan_core.pipeline.postprocess import remove_small_components
from training.data.cache import CachedCase, SliceCache
from training.data.cases import BRATS, LGG
from training.inference import onnx_predictor, predict_case
from training.metrics import bootstrap_ci95, hd95_mm, overlap
from training.pictures import save_case_picture

# Slices, rows, columns. LGG records no spacing; 5 mm stands in for component volumes.
SPACING_MM = {BRATS: (1.0, 1.0, 1.0), LGG: (5.0, 1.0, 1.0)}
HAS_KNOWN_SPACING = {BRATS}
THRESHOLDS = (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7)
MIN_COMPONENTS_ML = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0)
DEFAULT_THRESHOLD = 0.5
CHOICE_TOLERANCE = 0.002
NUM_PICTURES = 4
PROTOCOL = (
    "Dice pooled over all slices of a patient (no slice left out), mean over patients; "
    "ONNX Runtime float32, single model, no test-time augmentation; 2.5D windows of adjacent slices"
)


@dataclass(frozen=True)
class PatientResult:
    """Figures of one patient; `raw_dice` is without postprocessing."""

    name: str
    dataset: str
    dice: float
    raw_dice: float
    iou: float
    precision: float
    recall: float
    hd95_mm: float | None


@dataclass(frozen=True)
class Postprocessing:
    """Choices that turn probabilities into a mask."""

    threshold: float = 0.5
    min_component_ml: float = 0.0

    def apply(self, probability_SHW: npt.NDArray[np.float32], dataset: str) -> npt.NDArray[np.bool_]:
        """Return the mask of a volume."""
        voxel_ml = float(np.prod(SPACING_MM[dataset])) / 1000.0
        mask = probability_SHW > self.threshold
        return remove_small_components(mask, voxel_ml, self.min_component_ml)[0]


def read_postprocessing(bundle: Path) -> Postprocessing:
    """Read threshold and component size from a bundle's card."""
    card = yaml.safe_load((bundle / "model.yaml").read_text(encoding="utf-8"))
    return Postprocessing(card["output"]["threshold"], card.get("postprocessing", {}).get("min_component_ml", 0.0))


def evaluate_bundle(
    bundle: Path,
    cache: SliceCache,
    cases: Sequence[CachedCase],
    part: str,
    choose: bool = False,
    out: Path | None = None,
    pictures: Path | None = None,
) -> dict[str, Any]:
    """Evaluate a bundle on cases.

    Parameters
    ----------
    part : str
        Name of the split's part, written into the result.
    choose : bool
        Choose threshold and component size on these cases first.
    out : pathlib.Path, optional
        Receives `<part>.json`, and `postprocessing.json` when chosen.
    pictures : pathlib.Path, optional
        Receives pictures of the worst patients.

    Raises
    ------
    ValueError
        If a choice is asked for on anything but validation cases.
    """
    if choose and part != "val":
        raise ValueError("threshold and postprocessing are chosen on validation cases only")
    predict = onnx_predictor(bundle / "model.onnx")
    probabilities = {
        case.name: predict_case(predict, cache, case)[0]
        for case in track(cases, description="predicting", console=Console(stderr=True))
    }
    chosen = choose_postprocessing(cache, cases, probabilities) if choose else read_postprocessing(bundle)
    patients = [evaluate_case(cache, case, probabilities[case.name], chosen) for case in cases]
    results = {
        "part": part,
        "protocol": PROTOCOL,
        "postprocessing": asdict(chosen),
        "sets": {
            name: summarise([p for p in patients if p.dataset == name])
            for name in sorted({p.dataset for p in patients})
        },
        "patients": [asdict(patient) for patient in patients],
    }
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / f"{part}.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
        if choose:
            content = json.dumps(asdict(chosen))
            (out / "postprocessing.json").write_text(content, encoding="utf-8")
    if pictures is not None:
        _draw_worst(cache, cases, patients, probabilities, chosen, pictures)
    return results


def evaluate_case(
    cache: SliceCache,
    case: CachedCase,
    probability_SHW: npt.NDArray[np.float32],
    postprocessing: Postprocessing,
) -> PatientResult:
    """Return the figures of one patient."""
    truth = cache.masks_SHW[case.start : case.stop] > 0
    mask = postprocessing.apply(probability_SHW, case.dataset)
    counts = overlap(mask, truth)
    raw = overlap(probability_SHW > postprocessing.threshold, truth)
    distance = None
    if case.dataset in HAS_KNOWN_SPACING:
        distance = hd95_mm(mask, truth, SPACING_MM[case.dataset])
    return PatientResult(
        case.name,
        case.dataset,
        counts.dice,
        raw.dice,
        counts.iou,
        counts.precision,
        counts.recall,
        distance,
    )


def choose_postprocessing(
    cache: SliceCache,
    cases: Sequence[CachedCase],
    probabilities: Mapping[str, npt.NDArray[np.float32]],
) -> Postprocessing:
    """Return the choice with the best mean (over sets) of mean patient Dice.

    Thresholds within `CHOICE_TOLERANCE` of the best are equal on so few
    patients: the one nearest to 0.5 is taken.
    """
    pairs = itertools.product(THRESHOLDS, MIN_COMPONENTS_ML)
    candidates = [Postprocessing(*pair) for pair in pairs]
    scores = []
    for candidate in candidates:
        dice: dict[str, list[float]] = {}
        for case in cases:
            truth = cache.masks_SHW[case.start : case.stop] > 0
            mask = candidate.apply(probabilities[case.name], case.dataset)
            dice.setdefault(case.dataset, []).append(overlap(mask, truth).dice)
        scores.append(float(np.mean([np.mean(values) for values in dice.values()])))
    good_enough = [n for n, score in enumerate(scores) if score >= max(scores) - CHOICE_TOLERANCE]
    nearest = min(good_enough, key=lambda n: (abs(candidates[n].threshold - DEFAULT_THRESHOLD), -scores[n]))
    return candidates[nearest]


def summarise(patients: Sequence[PatientResult]) -> dict[str, Any]:
    """Return means, medians and the bootstrap interval over patients."""
    dice = [p.dice for p in patients]
    raw = [p.raw_dice for p in patients]
    distances = [p.hd95_mm for p in patients if p.hd95_mm is not None]
    summary: dict[str, Any] = {
        "patients": len(patients),
        "dice_mean": float(np.mean(dice)),
        "dice_median": float(np.median(dice)),
        "ci95": list(bootstrap_ci95(dice)),
        "dice_mean_without_postprocessing": float(np.mean(raw)),
        "ci95_without_postprocessing": list(bootstrap_ci95(raw)),
        "iou_mean": float(np.mean([p.iou for p in patients])),
        "precision_mean": float(np.mean([p.precision for p in patients])),
        "recall_mean": float(np.mean([p.recall for p in patients])),
    }
    if distances:
        summary["hd95_mm_mean"] = float(np.mean(distances))
        summary["hd95_mm_median"] = float(np.median(distances))
    return summary


def _draw_worst(
    cache: SliceCache,
    cases: Sequence[CachedCase],
    patients: Sequence[PatientResult],
    probabilities: Mapping[str, npt.NDArray[np.float32]],
    postprocessing: Postprocessing,
    folder: Path,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    by_dice = sorted(zip(patients, cases, strict=True), key=lambda pair: pair[0].dice)
    for patient, case in by_dice[:NUM_PICTURES]:
        save_case_picture(
            cache.images_SHW[case.start : case.stop],
            cache.masks_SHW[case.start : case.stop] > 0,
            postprocessing.apply(probabilities[case.name], case.dataset),
            folder / f"worst-cases-{case.name}.png",
            f"{case.name} Dice {patient.dice:.3f}",
        )


def print_results(results: Mapping[str, Any], console: Console) -> None:
    """Print a row per patient and a line per set."""
    table = Table(title=f"{results['part']}: {results['postprocessing']}")
    for column in ("patient", "Dice", "raw", "IoU", "precision", "recall", "HD95 mm"):
        table.add_column(column)
    for patient in results["patients"]:
        keys = ("dice", "raw_dice", "iou", "precision", "recall")
        distance = patient["hd95_mm"]
        cells = [f"{patient[key]:.3f}" for key in keys]
        table.add_row(patient["name"], *cells, "" if distance is None else f"{distance:.1f}")
    console.print(table)
    console.print(results["protocol"])
    for name, summary in results["sets"].items():
        low, high = summary["ci95"]
        console.print(
            f"{name}: n={summary['patients']} Dice mean {summary['dice_mean']:.4f} "
            f"(95 % CI {low:.3f}-{high:.3f}) median {summary['dice_median']:.4f}, "
            f"without postprocessing {summary['dice_mean_without_postprocessing']:.4f}"
        )
