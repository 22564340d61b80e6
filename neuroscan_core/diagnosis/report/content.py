"""What the report says: one structure of plain values that JSON, HTML and PDF are made from.

Nothing of a patient's identity is in it unless it is put in by name (`identity`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from neuroscan_core import __version__
from neuroscan_core.diagnosis.agent import AgentState
from neuroscan_core.diagnosis.case import CaseFile, ModelResult, Reading
from neuroscan_core.diagnosis.facts import plane_text, size_facts
from neuroscan_core.diagnosis.location import NO_ATLAS, Location
from neuroscan_core.domain.segmentation import CompositeMeasurement, RegionMeasurement
from neuroscan_core.domain.volume import FrameKey

SCHEMA = "neuroscan-diagnosis/1"
RESEARCH_USE = "Research use only. Not a medical device; not for diagnosis or treatment."
CONFIDENCE = (
    "The confidence of an agent is a grade by fixed rules (agreement, probability, correlation), not a measured "
    "frequency of being right."
)


def content_of(case: CaseFile, *, identity: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Everything that is reported, JSON-ready.

    Parameters
    ----------
    case : CaseFile
    identity : mapping of str to str, optional
        Name and value of what identifies the patient, where the person asked for it.
    """
    reading = case.reading
    verdict = case.verdict
    return {
        "schema": SCHEMA,
        "software": f"NeuroScan {__version__}",
        "notice": RESEARCH_USE,
        "identity": dict(identity) if identity else None,
        "series": None if reading is None else _series(reading),
        "triage": None if case.triage is None else {
            "model": case.triage.model.name,
            "version": case.triage.model.version,
            "num_slices": len(case.triage.keys),
            "classes": [
                {"name": code.meaning, "probability": round(probability, 4)}
                for code, probability in zip(case.triage.classes, case.triage.probabilities, strict=True)
            ],
        },
        "results": [] if reading is None else [
            _result(one, reading, case.locations.get(one.card.name)) for one in case.results
        ],
        "agreement": [{"models": list(pair), "dice": value} for pair, value in case.between.items()],
        "verdict": None if verdict is None else {
            "word": verdict.word,
            "checks": [{"name": c.name, "state": c.state, "sentence": c.sentence} for c in verdict.checks],
        },
        # The reporter itself is at work while this is written.
        "agents": [one.as_json() for one in case.records if one.state is not AgentState.RUNNING],
        "about_confidence": CONFIDENCE,
    }  # fmt: skip


def _series(reading: Reading) -> dict[str, Any]:
    geometry, quality = reading.volume.geometry, reading.quality
    has_mm = reading.has_millimetres
    return {
        "kind": reading.source.kind.value,
        "name": reading.source.name,
        "modality": reading.source.modality,
        "sequence": reading.source.sequence,
        "sequences_of_study": list(reading.study.channels) if reading.study is not None else [],
        "reasons": list(reading.source.reasons),
        "facts": [list(pair) for pair in reading.source.facts],
        "num_slices": geometry.num_slices,
        "rows": geometry.first.shape[0],
        "columns": geometry.first.shape[1],
        "plane": plane_text(geometry) if has_mm else None,
        "voxel_mm": [round(value, 4) for value in quality.voxel_mm] if has_mm else None,
        "quality": {
            "noise": quality.noise,
            "is_noise_from_air": quality.is_noise_from_air,
            "snr": None if quality.snr is None else round(quality.snr, 2),
            "clipped": round(quality.clipped, 5),
            "ghost": None if quality.ghost is None else round(quality.ghost, 5),
            "levels": quality.levels,
            "anisotropy": round(quality.anisotropy, 3) if has_mm else None,
            "head_mm": [round(value, 1) for value in quality.head_mm] if has_mm else None,
            "touches": list(quality.touches),
        },
        "objection": reading.objection,
    }


def _result(one: ModelResult, reading: Reading, location: Location | None) -> dict[str, Any]:
    found, has_mm = one.segmentation, reading.has_millimetres
    names = {label.value: label for label in one.card.labels}
    number = {key: k for k, key in enumerate(found.keys)}
    return {
        "model": one.card.name,
        "version": one.card.version,
        "sha256": one.identity.sha256,
        "engine": one.identity.engine,
        "licence": one.card.licence,
        "is_empty": found.is_empty,
        "summary": [list(pair) for pair in size_facts(one, reading)],
        "labels": [
            {
                "value": m.label,
                "name": names[m.label].name,
                "colour": "#{:02x}{:02x}{:02x}".format(*names[m.label].colour_rgb),
                **_size(m, number, has_mm),
            }
            for m in found.measurements
        ],
        "composites": [{"name": m.region, **_size(m, number, has_mm)} for m in found.composites],
        "views": [{"name": view.name, "dice": view.dice} for view in one.views],
        "entropy_bit": round(one.entropy, 4),
        "location": None if location is None else _location(location, has_mm),
        "warnings": [*found.warnings, *one.notes],
    }


def _size(m: RegionMeasurement | CompositeMeasurement, number: Mapping[FrameKey, int], has_mm: bool) -> dict[str, Any]:
    diameter = m.diameter if has_mm else None
    return {
        "volume_ml": round(m.volume_ml, 3) if has_mm else None,
        "num_components": m.num_components,
        "long_mm": None if diameter is None else round(diameter.long_mm, 2),
        "short_mm": None if diameter is None else round(diameter.short_mm, 2),
        "slice": None if m.diameter is None else number[m.diameter.key] + 1,
    }


def _location(location: Location, has_mm: bool) -> dict[str, Any]:
    if not has_mm:
        return {"share_on_the_right_of_the_picture": round(location.left_share, 4)}
    return {
        "side": location.side,
        "sentence": location.sentence,
        "left_share": round(location.left_share, 4),
        "near_midline_share": round(location.near_midline_share, 4),
        "midline_correlation": round(location.midline.correlation, 4),
        "midline_sureness": location.midline.sureness,
        "box_lps_mm": list(location.box_mm),
        "centre_lps_mm": [round(value, 1) for value in location.centre_mm],
        "place": location.place_words,
        "about_place": NO_ATLAS,
    }
