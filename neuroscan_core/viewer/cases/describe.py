"""Segmentations in words and numbers, as `GET /api/cases/{id}` has them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from neuroscan_core.domain.geometry import SliceGeometry
from neuroscan_core.domain.model_card import ModelCard
from neuroscan_core.domain.segmentation import GLIOMA_REGIONS, Diameter, Segmentation, Triage
from neuroscan_core.domain.volume import FrameKey

# Where no card says more. Okabe and Ito's palette: told apart by people who are colour-blind.
SPARE_COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")
_TITLES = {region.name: region.title for region in GLIOMA_REGIONS}


def label_entry(value: int, card: ModelCard | None) -> dict[str, Any]:
    """Name and colour of a label, without measurements."""
    label = next((label for label in card.labels if label.value == value), None) if card else None
    colour = "#{:02x}{:02x}{:02x}".format(*label.colour_rgb) if label else SPARE_COLOURS[(value - 1) % 7]
    return {
        "value": value, "name": label.name if label else f"label {value}", "colour": colour,
        "volume_ml": None, "num_components": None, "long_mm": None, "short_mm": None, "slice": None,
    }  # fmt: skip


def label_entries(
    segmentation: Segmentation,
    card: ModelCard | None,
    number_of: Mapping[FrameKey, int],
    *,
    has_millimetres: bool = True,
) -> list[dict[str, Any]]:
    """Every label with its size.

    Parameters
    ----------
    number_of : mapping of FrameKey to int
        Arrival number of each slice.
    has_millimetres : bool
        Whether sizes mean anything.
    """
    return [
        {
            **label_entry(measured.label, card),
            **_size(measured.volume_ml, measured.num_components, measured.diameter, number_of, has_millimetres),
        }
        for measured in segmentation.measurements
    ]


def composite_entries(
    segmentation: Segmentation, number_of: Mapping[FrameKey, int], *, has_millimetres: bool = True
) -> list[dict[str, Any]]:
    """Labels taken together, each with its size."""
    return [
        {
            "name": measured.region,
            "title": _TITLES.get(measured.region, measured.region),
            **_size(measured.volume_ml, measured.num_components, measured.diameter, number_of, has_millimetres),
        }
        for measured in segmentation.composites
    ]


def triage_entry(triage: Triage | None) -> dict[str, Any] | None:
    """What a classifier said; None where none was asked."""
    if triage is None:
        return None
    return {
        "model": triage.model.name,
        "version": triage.model.version,
        "most_likely": triage.most_likely.meaning,
        "classes": [
            {"name": code.meaning, "probability": round(probability, 4)}
            for code, probability in zip(triage.classes, triage.probabilities, strict=True)
        ],
    }


def _size(
    volume_ml: float,
    num_components: int,
    diameter: Diameter | None,
    number_of: Mapping[FrameKey, int],
    has_millimetres: bool,
) -> dict[str, Any]:
    known = diameter is not None and has_millimetres
    return {
        "volume_ml": round(volume_ml, 3) if has_millimetres else None,
        "num_components": num_components,
        "long_mm": round(diameter.long_mm, 2) if diameter and known else None,
        "short_mm": round(diameter.short_mm, 2) if diameter and known else None,
        "slice": number_of.get(diameter.key) if diameter else None,
        "long_axis": list(diameter.long_axis_ij) if diameter else None,
        "short_axis": list(diameter.short_axis_ij) if diameter else None,
    }


def geometry_entry(slices: Sequence[SliceGeometry], spacing_mm: float | None) -> dict[str, Any]:
    """Where slices lie, by arrival number.

    Parameters
    ----------
    slices : sequence of SliceGeometry
    spacing_mm : float or None
        Distance of neighbouring slices, as far as it is known.
    """
    if not slices:
        return {
            "rows": 0, "columns": 0, "spacing_mm": None, "slice_spacing_mm": None, "orientation": None, "plane": "",
            "normal": None, "frame_of_reference": False, "positions_mm": [],
        }  # fmt: skip
    first = slices[0]
    return {
        "rows": first.shape[0],
        "columns": first.shape[1],
        "spacing_mm": list(first.spacing_mm),
        "slice_spacing_mm": spacing_mm if spacing_mm and math.isfinite(spacing_mm) else None,
        "orientation": list(first.orientation),
        "plane": first.plane.value,
        "normal": first.normal.tolist(),
        "frame_of_reference": bool(first.frame_of_reference_uid),
        "positions_mm": [list(geometry.position_mm) for geometry in slices],
    }
