"""Results of an evaluation as JSON, as CSV and as a table on the screen."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

Results = Mapping[str, Any]
COUNTED = ("truth_ml", "predicted_ml", "lesion_dice", "lesion_hd95_mm", "lesion_f1")
CSV_FIGURES = ("dice", "raw_dice", "iou", "precision", "recall", "hd95_mm", *COUNTED)
CSV_COUNTS = ("num_lesions", "num_missed_lesions", "num_invented_lesions")


def write_results(results: Results, out: Path) -> list[Path]:
    """Write `<part>.json` and `<part>.csv`, and `postprocessing.json` where it was chosen; return the files."""
    out.mkdir(parents=True, exist_ok=True)
    part = results["part"]
    files = {out / f"{part}.json": json.dumps(_without_nan(results), indent=1, allow_nan=False)}
    if results.get("is_chosen_here"):
        files[out / "postprocessing.json"] = json.dumps(results["postprocessing"])
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
    rows = list(_picture_rows(results) if "pictures" in results else _patient_rows(results))
    table = out / f"{part}.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return [*files, table]


def _without_nan(value: Any) -> Any:
    """Return the same with None for numbers that are none: JSON knows no nan."""
    if isinstance(value, Mapping):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _patient_rows(results: Results) -> Iterator[dict[str, Any]]:
    for tta, content in ((False, results), (True, results.get("tta"))):
        for patient in content["patients"] if content else ():
            for region, figures in {**patient["regions"], **patient["classes"]}.items():
                yield {
                    "part": results["part"],
                    "set": patient["dataset"],
                    "case": patient["name"],
                    "region": region,
                    "tta": int(tta),
                    **{key: _rounded(figures.get(key)) for key in (*CSV_FIGURES, *CSV_COUNTS)},
                }


def _picture_rows(results: Results) -> Iterator[dict[str, Any]]:
    names = results["class_names"]
    for picture in results["pictures"]:
        found = picture["probabilities"]
        yield {
            "part": results["part"],
            "picture": picture["name"],
            "truth": names[picture["truth"]],
            "predicted": names[found.index(max(found))],
            **dict(zip(names, found, strict=True)),
        }


def _rounded(value: float | None) -> float | str:
    return "" if value is None else round(value, 5)


def print_results(results: Results, console: Console) -> None:
    """Print a row per patient or class, and a line per set."""
    console.print(_class_table(results) if "pictures" in results else _patient_table(results))
    console.print(results["protocol"])
    for tta, content in (("", results), (" with TTA", results.get("tta"))):
        if content:
            for line in _set_lines(content):
                console.print(line + tta)
    if "tta" in results:
        console.print(f"TTA ({results['tta']['views']}) takes {results['tta']['cost']:.2f} times as long")


def _patient_table(results: Results) -> Table:
    chosen = results["postprocessing"]
    title = f"{results['part']}: threshold {chosen['threshold']:g}, parts from {chosen['min_component_ml']:g} ml"
    table = Table(title=title)
    for column in ("patient", "region", "Dice", "raw", "IoU", "precision", "recall", "HD95 mm", "lesions found"):
        table.add_column(column, justify="left" if column in ("patient", "region") else "right")
    for patient in results["patients"]:
        for region, figures in {**patient["regions"], **patient["classes"]}.items():
            cells = [f"{figures[key]:.3f}" for key in ("dice", "raw_dice", "iou", "precision", "recall")]
            distance = figures["hd95_mm"]
            cells.append("" if distance is None else f"{distance:.1f}")
            table.add_row(patient["name"], region, *cells, _lesions(figures))
    return table


def _lesions(figures: Results) -> str:
    if figures.get("num_lesions") is None:
        return ""
    invented = figures["num_invented_lesions"]
    found = figures["num_lesions"] - figures["num_missed_lesions"]
    return f"{found}/{figures['num_lesions']}" + (f" +{invented}" if invented else "")


def _class_table(results: Results) -> Table:
    table = Table(title=f"{results['part']}: {len(results['pictures'])} pictures")
    for column in ("class", "pictures", "precision", "recall", "F1", "ROC AUC"):
        table.add_column(column, justify="left" if column == "class" else "right")
    for name, figures in results["classes"].items():
        cells = [f"{figures[key]:.3f}" for key in ("precision", "recall", "f1", "roc_auc")]
        table.add_row(name, str(figures["pictures"]), *cells)
    return table


def _set_lines(content: Results) -> Iterator[str]:
    for name, summary in content["sets"].items():
        low, high = summary["ci95"]
        interval = f"(95 % CI {low:.3f}-{high:.3f})"
        if "accuracy" in summary:
            yield (
                f"{name}: n={summary['patients']} accuracy {summary['accuracy']:.4f} {interval} "
                f"F1 {summary['f1_macro']:.3f} ROC AUC {summary['roc_auc_macro']:.3f} ECE {summary['ece']:.3f}, "
                f"{1000 * content['seconds_per_picture']:.1f} ms per picture"
            )
            continue
        regions = [f"{region} {figures['dice_mean']:.3f}" for region, figures in content["regions"][name].items()]
        yield (
            f"{name}: n={summary['patients']} Dice mean {summary['dice_mean']:.4f} {interval} "
            f"median {summary['dice_median']:.4f}, without postprocessing "
            f"{summary['dice_mean_without_postprocessing']:.4f}; {', '.join(regions)}; "
            f"{1000 * content['seconds_per_slice']:.0f} ms per slice"
        )
