"""A comparison as Markdown, as CSV and as a plot."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from neuroscan_core.domain.model_card import ModelKind
from training.compare.steps import PIPELINES

Record = Mapping[str, Any]
TITLES = {
    "network": "network",
    "engine": "engine",
    "precision": "precision",
    "parameters": "parameters, M",
    "gmac": "GMAC",
    "engine_p50_ms": "engine p50, ms",
    "engine_p99_ms": "p99",
    "engine_per_s": "per s",
    "engine_ratio": "ratio",
    "pipeline_p50_ms": "node p50, ms",
    "pipeline_p99_ms": "p99",
    "pipeline_ratio": "ratio",
    "onnx_mib": "ONNX, MiB",
    "engine_mib": "engine, MiB",
    "peak_memory_mib": "peak memory, MiB",
}
DIGITS = {"gmac": 2, "engine_ratio": 2, "pipeline_ratio": 2, "onnx_mib": 2, "engine_mib": 2, "peak_memory_mib": 0}
NOT_SHOWN = ("kind", "tta", "memory_before_mib", "open_s")


def markdown(records: Sequence[Record], device: Sequence[str], num_rounds: int) -> str:
    """Return the comparison: what it was measured on, then a table per kind of network."""
    lines = ["# Networks side by side", "", *(f"- {line}" for line in device), ""]
    for kind in dict.fromkeys(record["kind"] for record in records):
        own = [record for record in records if record["kind"] == kind]
        columns = [key for key in dict.fromkeys(key for r in own for key in r) if key not in NOT_SHOWN]
        columns = [key for key in columns if any(record.get(key) is not None for record in own)]
        lines += [f"## {kind}", "", "| " + " | ".join(_title(key, kind) for key in columns) + " |"]
        lines.append(
            "|" + "|".join("---" if key in ("network", "engine", "precision") else "---:" for key in columns) + "|"
        )
        lines += ["| " + " | ".join(_cell(record, key) for key in columns) + " |" for record in own]
        lines += ["", f"Node: {PIPELINES[ModelKind(kind)]}, by the node's own functions.", ""]
    lines += [
        f"Candidates took turns in {num_rounds} rounds, each in a process of its own; ratios are medians over rounds, "
        "to the first row. Engine: one normalised input in, logits out (with TTA: three views). Peak memory is that of "
        "the process, Python and the node's libraries included.",
        "",
    ]
    return "\n".join(lines)


def _title(key: str, kind: str) -> str:
    if key in TITLES:
        return TITLES[key]
    return f"{'accuracy' if kind == ModelKind.CLASSIFIER.value else 'Dice'} {key}"


def _cell(record: Record, key: str) -> str:
    value = record.get(key)
    if value is None:
        return ""
    if key == "network":
        return f"{value} + TTA" if record["tta"] else str(value)
    if key == "parameters":
        return f"{value / 1e6:.2f}"
    if isinstance(value, str):
        return value
    if key not in TITLES:
        return f"{value:.4f}"
    return f"{value:.{DIGITS.get(key, 1)}f}"


def write_comparison(records: Sequence[Record], device: Sequence[str], num_rounds: int, out: Path) -> list[Path]:
    """Write `comparison.md`, `comparison.csv` and `comparison.png`; return the files."""
    out.mkdir(parents=True, exist_ok=True)
    text, table, picture = (out / f"comparison.{ending}" for ending in ("md", "csv", "png"))
    text.write_text(markdown(records, device, num_rounds), encoding="utf-8")
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(dict.fromkeys(key for r in records for key in r)), restval="")
        writer.writeheader()
        writer.writerows(records)
    _plot(records, picture)
    return [text, table, picture]


def _plot(records: Sequence[Record], path: Path) -> None:
    """Draw a row per kind of network: latency of each candidate, and accuracy against latency."""
    from training.audit.style import new_figure, styled

    kinds = list(dict.fromkeys(record["kind"] for record in records))
    heights = [1.3 + 0.6 * max(sum(r["kind"] == kind and not r["tta"] for r in records), 3) for kind in kinds]
    with styled():
        figure, axes = new_figure(12.0, sum(heights), len(kinds), 2, squeeze=False, height_ratios=heights)
        for (left, right), kind in zip(axes, kinds, strict=True):
            own = [record for record in records if record["kind"] == kind]
            _plot_latency(left, [record for record in own if not record["tta"]][::-1])
            left.set_title(f"{kind}: latency")
            _plot_accuracy(right, own)
        figure.savefig(path, dpi=150)


def _plot_latency(axes: Any, records: Sequence[Record]) -> None:
    from training.audit.style import INK, SERIES

    for n, (run, label) in enumerate((("pipeline", "node, images to result"), ("engine", "engine alone"))):
        places = [place + 0.2 - 0.4 * n for place in range(len(records))]
        medians = [record[f"{run}_p50_ms"] for record in records]
        tails = [[0.0] * len(records), [record[f"{run}_p99_ms"] - record[f"{run}_p50_ms"] for record in records]]
        whiskers = {"elinewidth": 1.2, "ecolor": INK, "capsize": 3}
        axes.barh(places, medians, height=0.36, color=SERIES[1 - n], label=label, xerr=tails, error_kw=whiskers)
        for place, record in zip(places, records, strict=True):
            axes.annotate(
                _duration(record[f"{run}_p50_ms"]),
                (record[f"{run}_p99_ms"], place),
                (7, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
    names = [f"{record['network']}\n{record['engine']} {record['precision']}" for record in records]
    axes.set_yticks(range(len(records)), labels=names, fontsize=8)
    axes.set_xlabel("ms, median and 99th percentile")
    axes.set_xlim(0, 1.25 * max(record[f"{run}_p99_ms"] for record in records for run in ("engine", "pipeline")))
    axes.legend(loc="lower right", fontsize=8)
    axes.grid(axis="y", visible=False)


def _duration(milliseconds: float) -> str:
    return f"{milliseconds / 1000:.1f} s" if milliseconds >= 1000 else f"{milliseconds:.3g} ms"


def _plot_accuracy(axes: Any, records: Sequence[Record]) -> None:
    from training.audit.style import FAINT, SERIES

    for n, record in enumerate(records):
        scores = [value for key, value in record.items() if " " in key]
        if not scores:
            continue
        mean = sum(scores) / len(scores)
        marker = "^" if record["tta"] else "o"
        axes.scatter(record["engine_p50_ms"], mean, s=60, marker=marker, color=SERIES[n % len(SERIES)], zorder=3)
        name = f"{record['network']} {record['precision']}{' + TTA' if record['tta'] else ''}"
        axes.annotate(name, (record["engine_p50_ms"], mean), (6, 5), textcoords="offset points", fontsize=8)
    if not axes.collections:
        axes.text(0.5, 0.5, "accuracy was not measured", transform=axes.transAxes, ha="center", color=FAINT)
        axes.set_axis_off()
        return
    axes.margins(0.25)
    axes.set(xlabel="engine, ms (median)", ylabel="Dice or accuracy, mean of the sets")
    axes.set_title("Accuracy against latency")
