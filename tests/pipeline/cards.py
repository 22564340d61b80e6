"""Cards of small models of the kinds that see several sequences, or pictures."""

from __future__ import annotations

from typing import Any

from neuroscan_core.domain import codes
from neuroscan_core.domain.model_card import ModelCard
from tests.pipeline.stacks import card_mapping

GLIOMA_LABELS = [
    (1, "necrotic core", codes.NECROSIS, [220, 50, 47]),
    (2, "oedema", codes.EDEMA, [0, 158, 115]),
    (3, "enhancing tumour", codes.ENHANCING_LESION, [240, 228, 66]),
]
CLASSES = [
    ("glioma", codes.GLIOMA),
    ("meningioma", codes.MENINGIOMA),
    ("no tumour", codes.NO_TUMOUR),
    ("pituitary", codes.PITUITARY_NEOPLASM),
]


def triple(code: codes.Code) -> list[str]:
    return [code.value, code.scheme, code.meaning]


def labels() -> list[dict[str, Any]]:
    return [
        {
            "value": value,
            "name": name,
            "category": triple(codes.MORPHOLOGICALLY_ABNORMAL_STRUCTURE),
            "type": triple(kind),
            "region": triple(codes.BRAIN),
            "colour_rgb": colour,
        }
        for value, name, kind, colour in GLIOMA_LABELS
    ]


def multimodal_mapping(**changes: Any) -> dict[str, Any]:
    """A `multimodal2d` model that sees 32 x 32 pixels."""
    mapping = card_mapping()
    image = mapping["input"] | {
        "channels": ["T1", "T1ce", "T2", "FLAIR"],
        "sequence": "T1,T1ce,T2,FLAIR",
        "normalisation": "foreground-zscore-v1",
        "skull": "stripped",
    }
    output = {"name": "logits", "activation": "softmax", "threshold": 0.5}
    return mapping | {"kind": "multimodal2d", "input": image, "output": output, "labels": labels()} | changes


def volume_mapping(size: tuple[int, int, int] = (16, 16, 16), **changes: Any) -> dict[str, Any]:
    """A `volume3d` model that sees patches at 2 mm."""
    mapping = multimodal_mapping()
    image = mapping["input"] | {"size": list(size), "spacing_mm": 2.0}
    output = {
        "name": "logits",
        "activation": "sigmoid",
        "threshold": 0.5,
        "regions": [
            {"name": "WT", "labels": [1, 2, 3]},
            {"name": "TC", "labels": [1, 3]},
            {"name": "ET", "labels": [3]},
        ],
    }
    return mapping | {"kind": "volume3d", "input": image, "output": output} | changes


def classifier_mapping(**changes: Any) -> dict[str, Any]:
    """A `classifier` that sees pictures of 24 x 24 pixels."""
    mapping = card_mapping()
    image = {
        "name": "image",
        "channels": ["grey"],
        "sequence": "any",
        "size": [24, 24],
        "normalisation": "picture-window-v1",
    }
    del mapping["labels"], mapping["postprocessing"]
    classes = [{"name": name, "code": triple(code)} for name, code in CLASSES]
    output = {"name": "logits", "activation": "softmax"}
    return mapping | {"kind": "classifier", "input": image, "output": output, "classes": classes} | changes


MULTIMODAL = ModelCard.from_mapping(multimodal_mapping())
VOLUME = ModelCard.from_mapping(volume_mapping())
CLASSIFIER = ModelCard.from_mapping(classifier_mapping())
