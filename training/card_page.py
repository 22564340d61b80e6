"""The model card as a page for people: `README.md` beside `model.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FIGURES = (
    ("dice_mean", "Dice, mean"),
    ("ci95", "95 % CI of the mean"),
    ("dice_median", "Dice, median"),
    ("dice_mean_without_postprocessing", "Dice, mean, without postprocessing"),
    ("iou_mean", "IoU, mean"),
    ("precision_mean", "Precision, mean"),
    ("recall_mean", "Recall, mean"),
    ("hd95_mm_median", "HD95, median, mm"),
)


def card_page(card: Mapping[str, Any]) -> str:
    """Return Markdown that repeats a card: what it does, on what, how well, under which terms."""
    size = " x ".join(str(length) for length in card["input"]["size"])
    lines = [
        f"# {card['name']} {card['version']}",
        "",
        f"{card['task']}. {card['onnx']['parameters']:,} parameters, ONNX opset {card['onnx']['opset']}.",
        "",
        f"Input: axial {card['input']['sequence']} slices {', '.join(card['input']['channels'])} as channels, {size} "
        f"pixels of about {card['input']['spacing_mm']} mm, normalised by `{card['input']['normalisation']}`. "
        f"Output: one logit per pixel of the slice z; tumour above probability {card['output']['threshold']}; "
        f"connected parts below {card['postprocessing']['min_component_ml']} ml are removed.",
        "",
        *_metrics_table(card["metrics"]),
        "## Training data",
        "",
    ]
    for source in card["training_data"]:
        parts = ", ".join(f"{count} {part}" for part, count in source["patients"].items())
        lines += [
            f"- {source['name']}; split by patient: {parts}. Licence: {source['licence']}. Cite: {source['citation']}."
        ]
    lines += ["", "## Terms", "", card["licence"], ""]
    return "\n".join(lines)


def _metrics_table(metrics: list[Mapping[str, Any]]) -> list[str]:
    if not metrics:
        return ["Not evaluated yet.", ""]
    lines = ["## Figures", "", "| | " + " | ".join(f"{m['data']} (n={m['patients']})" for m in metrics) + " |"]
    lines.append("|---|" + "---|" * len(metrics))
    for key, title in FIGURES:
        if any(key in entry for entry in metrics):
            lines.append(f"| {title} | " + " | ".join(_figure(entry.get(key)) for entry in metrics) + " |")
    return [*lines, "", f"Protocol: {metrics[0]['protocol']}.", ""]


def _figure(value: float | list[float] | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return " to ".join(f"{v:.3f}" for v in value)
    return f"{value:.3f}"
