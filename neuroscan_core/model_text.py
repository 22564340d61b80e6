"""A model card as text for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from neuroscan_core.domain.model_card import ModelCard, ModelKind


def model_lines(card: ModelCard) -> Iterator[str]:
    """What the card says of task, input, measured quality, training data and licence, line by line."""
    planes = "/".join(plane.value for plane in card.planes)
    size = "x".join(str(length) for length in card.size)
    spacing = "" if card.kind is ModelKind.CLASSIFIER else f" at {card.spacing_mm:g} mm"
    yield f"{card.name} {card.version}: {card.task}"
    yield f"  Input    {card.sequence}, {planes}, {size}{spacing}"
    yield from (f"  Trained  {entry.get('name', '?')}" for entry in _entries(card, "training_data"))
    for entry in _entries(card, "metrics"):
        unit = "pictures" if "pictures" in entry else "patients"
        yield f"  Result   {entry.get('data', '?')}: {_numbers(entry)} ({entry.get(unit, '?')} {unit})"
    if card.variants:
        yield f"  Also in  {', '.join(f'{one.precision.upper()} for {one.engine}' for one in card.variants)}"
    yield f"  Licence  {card.licence}"
    yield f"  SHA-256  {card.onnx_sha256}"


def _entries(card: ModelCard, key: str) -> list[dict[str, Any]]:
    entries = card.raw.get(key)
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _numbers(entry: dict[str, Any]) -> str:
    name, key = ("accuracy", "accuracy") if "accuracy" in entry else ("Dice", "dice_mean")
    if key not in entry:
        return "no Dice stated"
    text = f"{name} {entry[key]:.3f}"
    if "ci95" in entry:
        text += " (95 % CI {:.3f} to {:.3f})".format(*entry["ci95"])
    return text
