"""A model card as one row of a table for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from neuroscan_core.domain.model_card import ModelCard

MODEL_COLUMNS = ("Name", "Version", "Task", "Input", "Results as its card states them", "Licence")


def model_row(card: ModelCard) -> tuple[str, ...]:
    """Cells in the order of `MODEL_COLUMNS`."""
    planes = "/".join(plane.value for plane in card.planes)
    image = f"{card.sequence}, {planes}, {card.size[0]}x{card.size[1]} at {card.spacing_mm:g} mm"
    return card.name, card.version, card.task, image, "\n".join(_results(card.raw)), card.licence


def _results(raw: Mapping[str, Any]) -> list[str]:
    """One line for each data set that the card was measured on."""
    entries = raw.get("metrics", ())
    lines = []
    for entry in entries if isinstance(entries, list) else ():
        numbers = [f"Dice {entry['dice_mean']:.3f}"] if "dice_mean" in entry else []
        if "ci95" in entry:
            numbers.append("95 % CI {:.3f} to {:.3f}".format(*entry["ci95"]))
        lines.append(f"{entry.get('data', '?')}: {', '.join(numbers)} ({entry.get('patients', '?')} patients)")
    return lines or ["none stated"]
