"""The content of `model.yaml`; read by `neuroscan_core.domain.model_card`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from neuroscan_core.domain import codes
from neuroscan_core.domain.codes import Code
from neuroscan_core.domain.model_card import ModelKind
from neuroscan_core.domain.segmentation import GLIOMA_REGIONS
from neuroscan_core.pipeline.grid import SPACING_TOLERANCE
from training.bundle.feed import Feed
from training.bundle.words import INTENDED_USE, LIMITS, SET_NAMES, TASKS, licence, training_data
from training.data.splits import Split
from training.export.onnx_file import INPUT_NAME, OUTPUT_NAME

MODEL_FILE, CARD_FILE, REFERENCE_FILE, PAGE_FILE = "model.onnx", "model.yaml", "reference.npz", "README.md"
DEFAULT_POSTPROCESSING = {"threshold": 0.5, "min_component_ml": 0.5}
# Okabe and Ito 2008: told apart by colour-blind people, too.
WHOLE_TUMOUR = (1, "whole tumour", codes.NEOPLASM, (230, 159, 0))
GLIOMA_PARTS = (
    (1, "necrotic core", codes.NECROSIS, (213, 94, 0)),
    (2, "oedema", codes.EDEMA, (0, 158, 115)),
    (3, "enhancing tumour", codes.ENHANCING_LESION, (240, 228, 66)),
)
CLASSES = (
    ("glioma", codes.GLIOMA),
    ("meningioma", codes.MENINGIOMA),
    ("no tumour", codes.NO_TUMOUR),
    ("pituitary", codes.PITUITARY_NEOPLASM),
)


@dataclass(frozen=True)
class OnnxFacts:
    """What a card says of its ONNX file."""

    sha256: str
    opset: int
    parameters: int


@dataclass(frozen=True)
class CardFacts:
    """What a card is made of.

    Parameters
    ----------
    name, version : str
    kind : ModelKind
    feed : Feed
    onnx : OnnxFacts
    split : Split
    postprocessing : mapping
        `threshold` and `min_component_ml`, chosen on validation; not for classifiers.
    metrics : sequence of mapping
        From `metrics_of`.
    training : mapping
        Experiment, network, step and validation score.
    variants : sequence of mapping
        Other files with the same network.
    torchscript : mapping or None
        File and SHA-256.
    """

    name: str
    version: str
    kind: ModelKind
    feed: Feed
    onnx: OnnxFacts
    split: Split
    postprocessing: Mapping[str, float] = field(default_factory=lambda: dict(DEFAULT_POSTPROCESSING))
    metrics: Sequence[Mapping[str, Any]] = ()
    training: Mapping[str, Any] = field(default_factory=dict)
    variants: Sequence[Mapping[str, Any]] = ()
    torchscript: Mapping[str, str] | None = None


def make_card(facts: CardFacts) -> dict[str, Any]:
    """Return the content of `model.yaml`."""
    is_classifier = facts.kind is ModelKind.CLASSIFIER
    card: dict[str, Any] = {
        "name": facts.name,
        "version": facts.version,
        "kind": facts.kind.value,
        "task": TASKS[facts.kind],
        "modality": "MR",
        "input": _input(facts),
        "output": _output(facts),
    }
    if is_classifier:
        card["classes"] = [{"name": name, "code": _triple(code)} for name, code in CLASSES]
    else:
        card["postprocessing"] = {"min_component_ml": facts.postprocessing["min_component_ml"]}
        card["labels"] = [_label(*entry) for entry in _labels(facts.kind)]
    card |= {
        "intended_use": INTENDED_USE[facts.kind],
        "limits": list(LIMITS[facts.kind]),
        "training": {"split": facts.split.name, **facts.training},
        "training_data": training_data(facts.split, facts.kind),
        "metrics": [dict(entry) for entry in facts.metrics],
        "licence": licence(facts.split, facts.kind),
        "onnx": {
            "file": MODEL_FILE,
            "sha256": facts.onnx.sha256,
            "opset": facts.onnx.opset,
            "parameters": facts.onnx.parameters,
        },
        "reference": {"file": REFERENCE_FILE},
    }
    if facts.variants:
        card["variants"] = [dict(entry) for entry in facts.variants]
    if facts.torchscript:
        card["torchscript"] = dict(facts.torchscript)
    return card


def _input(facts: CardFacts) -> dict[str, Any]:
    feed = facts.feed
    content: dict[str, Any] = {
        "name": INPUT_NAME,
        "channels": list(feed.channels),
        "sequence": feed.sequence,
        "size": list(feed.size),
        "normalisation": feed.normalisation,
        "skull": feed.skull,
    }
    if facts.kind is not ModelKind.CLASSIFIER:
        content |= {"spacing_mm": feed.spacing_mm, "spacing_tolerance": SPACING_TOLERANCE, "planes": ["axial"]}
    return content


def _output(facts: CardFacts) -> dict[str, Any]:
    is_softmax = facts.kind in (ModelKind.MULTIMODAL2D, ModelKind.CLASSIFIER)
    content: dict[str, Any] = {"name": OUTPUT_NAME, "activation": "softmax" if is_softmax else "sigmoid"}
    if facts.kind is not ModelKind.CLASSIFIER:
        content["threshold"] = facts.postprocessing["threshold"]
    if facts.kind is ModelKind.VOLUME3D:
        content["regions"] = [{"name": region.name, "labels": list(region.labels)} for region in GLIOMA_REGIONS]
    return content


def _labels(kind: ModelKind) -> Sequence[tuple[int, str, Code, tuple[int, int, int]]]:
    return (WHOLE_TUMOUR,) if kind is ModelKind.SLICE25D else GLIOMA_PARTS


def _label(value: int, name: str, code: Code, colour_rgb: tuple[int, int, int]) -> dict[str, Any]:
    return {
        "value": value,
        "name": name,
        "category": _triple(codes.MORPHOLOGICALLY_ABNORMAL_STRUCTURE),
        "type": _triple(code),
        "region": _triple(codes.BRAIN),
        "colour_rgb": list(colour_rgb),
    }


def _triple(code: Code) -> list[str]:
    return [code.value, code.scheme, code.meaning]


def metrics_of(results: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return a card's figures from the results of an evaluation, one entry per set.

    Parameters
    ----------
    results : mapping or None
        `test.json` or `val.json`: ``part``, ``protocol`` and, by set, ``sets``. Numbers are rounded to four decimals;
        nested tables (patients, curves) stay in that file.
    """
    if results is None:
        return []
    part = {"val": "validation", "test": "test"}.get(results["part"], results["part"])
    entries = []
    for name, summary in results["sets"].items():
        # Evaluations count both under one name.
        unit = "pictures" if "accuracy" in summary else "patients"
        figures = {
            unit if key == "patients" else key: _rounded(value) for key, value in summary.items() if _is_figure(value)
        }
        data = f"{SET_NAMES.get(name, name)}, {part} {unit}"
        entries.append({"data": data, "protocol": results["protocol"], **figures})
    return entries


def _is_figure(value: object) -> bool:
    if isinstance(value, list):
        return len(value) == 2 and all(isinstance(v, int | float) for v in value)
    return isinstance(value, int | float | str)


def _rounded(value: Any) -> Any:  # a number, two of them, or a word
    if isinstance(value, list):
        return [_rounded(v) for v in value]
    return round(value, 4) if isinstance(value, float) else value
