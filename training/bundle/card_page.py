"""The model card as a page for people: `README.md` beside `model.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FIGURES = (
    ("dice_mean", "Dice, mean"),
    ("accuracy", "Accuracy"),
    ("ci95", "95 % CI of the mean"),
    ("dice_median", "Dice, median"),
    ("dice_mean_WT", "Dice of the whole tumour, mean"),
    ("dice_mean_TC", "Dice of the tumour core, mean"),
    ("dice_mean_ET", "Dice of the enhancing tumour, mean"),
    ("dice_mean_without_postprocessing", "Dice, mean, without postprocessing"),
    ("iou_mean", "IoU, mean"),
    ("precision_mean", "Precision, mean"),
    ("recall_mean", "Recall, mean"),
    ("hd95_mm_median", "HD95, median, mm"),
    ("hd95_mm_mean_WT", "HD95 of the whole tumour, mean, mm"),
    ("hd95_mm_mean_TC", "HD95 of the tumour core, mean, mm"),
    ("hd95_mm_mean_ET", "HD95 of the enhancing tumour, mean, mm"),
    ("f1_macro", "F1, mean over classes"),
    ("roc_auc_macro", "ROC AUC, mean over classes"),
    ("ece", "Expected calibration error"),
)


def card_page(card: Mapping[str, Any]) -> str:
    """Return Markdown that repeats a card: what it does, on what, how well, under which terms."""
    onnx = card["onnx"]
    lines = [
        f"# {card['name']} {card['version']}",
        "",
        f"{card['task']}. {onnx['parameters']:,} parameters, ONNX opset {onnx['opset']}.",
        "",
        f"Input: {_input(card)}. Output: {_output(card)}.",
        "",
    ]
    if "intended_use" in card:
        lines += ["## Use and limits", "", card["intended_use"], "", *(f"- {limit}" for limit in card["limits"]), ""]
    lines += [*_metrics_table(card["metrics"]), "## Training data", ""]
    lines += [_source(source) for source in card["training_data"]]
    lines += [*_files(card), "", "## Terms", "", card["licence"], ""]
    return "\n".join(lines)


def _input(card: Mapping[str, Any]) -> str:
    image = card["input"]
    size = " x ".join(str(length) for length in image["size"])
    tail = f"normalised by `{image['normalisation']}`"
    if card["kind"] == "classifier":
        return f"one grey picture, {size} pixels, {tail}"
    channels = ", ".join(image["channels"])
    tail += ", of brains without skull" if image.get("skull") == "stripped" else ""
    if card["kind"] == "volume3d":
        return f"{channels} as channels, patches of {size} voxels of {image['spacing_mm']} mm, {tail}"
    if card["kind"] == "multimodal2d":
        return f"axial slices of {channels} as channels, {size} pixels of about {image['spacing_mm']} mm, {tail}"
    pixels = f"{size} pixels of about {image['spacing_mm']} mm"
    return f"axial {image['sequence']} slices {channels} as channels, {pixels}, {tail}"


def _output(card: Mapping[str, Any]) -> str:
    if card["kind"] == "classifier":
        return f"one logit per class ({', '.join(entry['name'] for entry in card['classes'])}), softmax"
    threshold, smallest = card["output"]["threshold"], card["postprocessing"]["min_component_ml"]
    removed = f"connected parts below {smallest} ml are removed"
    if card["kind"] == "volume3d":
        regions = ", ".join(region["name"] for region in card["output"]["regions"])
        return f"one logit per voxel for {regions}, which overlap; each from probability {threshold}; {removed}"
    if card["kind"] == "multimodal2d":
        labels = ", ".join(label["name"] for label in card["labels"])
        return f"logits of background, {labels} per pixel, softmax; tumour above probability {threshold}; {removed}"
    return f"one logit per pixel of the slice z; tumour above probability {threshold}; {removed}"


def _source(source: Mapping[str, Any]) -> str:
    unit = "patient" if "patients" in source else "cluster of near-duplicates"
    counts = source["patients"] if "patients" in source else source["pictures"]
    parts = ", ".join(f"{count} {part}" for part, count in counts.items())
    return f"- {source['name']}; split by {unit}: {parts}. Licence: {source['licence']}. Cite: {source['citation']}."


def _files(card: Mapping[str, Any]) -> list[str]:
    """Files with the same network, beside the ONNX file."""
    lines = []
    for variant in card.get("variants", ()):
        note = f" ({variant['note']})" if variant.get("note") else ""
        lines.append(f"- `{variant['file']}`: {variant['precision']} for {variant['engine']}{note}")
    if "torchscript" in card:
        lines.append(
            f"- `{card['torchscript']['file']}`: TorchScript, for programs that run PyTorch; not read by the node"
        )
    return ["", "## Other files with this network", "", *lines] if lines else []


def _metrics_table(metrics: list[Mapping[str, Any]]) -> list[str]:
    if not metrics:
        return ["Not evaluated yet.", ""]
    heads = (f"{m['data']} (n={m.get('patients', m.get('pictures', '?'))})" for m in metrics)
    lines = ["## Figures", "", "| | " + " | ".join(heads) + " |"]
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
