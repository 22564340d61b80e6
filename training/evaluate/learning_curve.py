"""How a metric grows with the number of patients: several runs, one table and one plot.

Each run was trained on another number of patients and evaluated on the same cases, by `test --out`. The figure whose
growth is drawn is a key of the sets in those results.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.evaluate.errors import EvaluationRefused


@dataclass(frozen=True, order=True)
class CurvePoint:
    """One run: a figure with its interval, at a number of training patients."""

    dataset: str
    num_patients: int
    value: float
    low: float
    high: float
    num_tested: int


def learning_curve(results: Sequence[tuple[int, dict[str, Any]]], figure: str = "dice_mean") -> list[CurvePoint]:
    """Return the points of the curve, by data set and number of patients.

    Parameters
    ----------
    results : sequence of (int, mapping)
        Number of training patients of a run, and its results as `evaluate` gives them.
    figure : str
        Key of a set's summary, for example ``dice_mean`` or ``accuracy``.

    Raises
    ------
    EvaluationRefused
        If the runs were not evaluated on the same cases, or a figure is missing.
    """
    tested = {tuple(sorted(_names(content))) for _, content in results}
    if len(tested) > 1:
        raise EvaluationRefused(
            "The runs were evaluated on different cases; figures of different cases make no curve.",
            remedy="Evaluate every run with the same --part and --split.",
        )
    points = []
    for num_patients, content in results:
        for name, summary in content["sets"].items():
            if figure not in summary:
                raise EvaluationRefused(f"The results have no {figure}.", remedy=f"They have {', '.join(summary)}.")
            low, high = summary["ci95"] if figure in ("dice_mean", "accuracy") else (summary[figure],) * 2
            points.append(CurvePoint(name, num_patients, summary[figure], low, high, summary["patients"]))
    return sorted(points)


def _names(content: dict[str, Any]) -> list[str]:
    return [entry["name"] for entry in content.get("patients") or content.get("pictures", [])]


def read_results(entries: Sequence[str]) -> list[tuple[int, dict[str, Any]]]:
    """Read results from entries ``PATIENTS=FILE``, as the command line gives them.

    Raises
    ------
    EvaluationRefused
        If an entry has another form.
    """
    found = []
    for entry in entries:
        count, _, path = entry.partition("=")
        if not count.isdigit() or not path:
            raise EvaluationRefused(f"'{entry}' is not PATIENTS=FILE.", remedy="For example 16=runs/16/eval/val.json.")
        found.append((int(count), json.loads(Path(path).read_text(encoding="utf-8"))))
    return found


def curve_table(points: Sequence[CurvePoint], figure: str = "dice_mean") -> str:
    """Return the curve as a Markdown table."""
    lines = [f"| set | training patients | {figure} | 95 % CI | evaluated |", "|---|---:|---:|---|---:|"]
    lines += [
        f"| {p.dataset} | {p.num_patients} | {p.value:.4f} | {p.low:.3f} to {p.high:.3f} | {p.num_tested} |"
        for p in points
    ]
    return "\n".join(lines) + "\n"


def save_curve(points: Sequence[CurvePoint], folder: Path, figure: str = "dice_mean") -> list[Path]:
    """Write `learning-curve.md` and `learning-curve.png`; return the files."""
    from training.audit.style import SERIES, new_figure, styled

    folder.mkdir(parents=True, exist_ok=True)
    table, picture = folder / "learning-curve.md", folder / "learning-curve.png"
    table.write_text(curve_table(points, figure), encoding="utf-8")
    with styled():
        drawing, axes = new_figure(7.0, 4.2)
        for colour, name in zip(SERIES, sorted({p.dataset for p in points}), strict=False):
            own = [p for p in points if p.dataset == name]
            counts, values = [p.num_patients for p in own], [p.value for p in own]
            errors = [[p.value - p.low for p in own], [p.high - p.value for p in own]]
            axes.errorbar(counts, values, yerr=errors, color=colour, marker="o", capsize=4, label=f"{name} (95 % CI)")
        counts = sorted({p.num_patients for p in points})
        axes.set_xscale("log", base=2)
        axes.set_xticks(counts, labels=[str(count) for count in counts])
        axes.set_xlabel("patients in training")
        axes.set_ylabel(figure.replace("_", " "))
        axes.legend(loc="lower right")
        drawing.savefig(picture, dpi=150)
    return [table, picture]
