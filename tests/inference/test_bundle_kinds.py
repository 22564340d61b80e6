"""Bundles of every kind of model are read; cards that the node could not feed are refused, with the reason."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from neuroscan_core.domain.errors import InvalidBundle
from neuroscan_core.domain.model_card import ModelKind, Region, Variant
from neuroscan_core.inference.bundle import load_bundle
from neuroscan_core.model_text import model_lines
from tests.pipeline.cards import classifier_mapping, multimodal_mapping, volume_mapping

Mapping = dict[str, Any]
SHAPES = {
    "multimodal2d": ((2, 4, 32, 32), (2, 4, 32, 32)),
    "volume3d": ((1, 4, 16, 16, 16), (1, 3, 16, 16, 16)),
    "classifier": ((5, 1, 24, 24), (5, 4)),
}
MAPPINGS: dict[str, Callable[[], Mapping]] = {
    "multimodal2d": multimodal_mapping,
    "volume3d": volume_mapping,
    "classifier": classifier_mapping,
}


def write(folder: Path, mapping: Mapping, shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> Path:
    """A bundle whose network is never executed."""
    folder.mkdir(exist_ok=True)
    (folder / "model.onnx").write_bytes(b"network")
    mapping = mapping | {"onnx": {"file": "model.onnx", "sha256": hashlib.sha256(b"network").hexdigest()}}
    (folder / "model.yaml").write_text(yaml.safe_dump(mapping))
    image, logits = (np.zeros(shape, np.float32) for shape in shapes)
    np.savez_compressed(folder / "reference.npz", image=image, logits=logits)
    return folder


@pytest.mark.parametrize("kind", SHAPES)
def test_a_bundle_of_each_kind_is_read(kind: str, tmp_path: Path) -> None:
    bundle = load_bundle(write(tmp_path, MAPPINGS[kind](), SHAPES[kind]))
    assert bundle.card.kind is ModelKind(kind)
    assert (bundle.reference.image_NCHW.shape, bundle.reference.logits_NLHW.shape) == SHAPES[kind]
    assert (bundle.card.input_shape, bundle.card.output_shape) == tuple(shape[1:] for shape in SHAPES[kind])
    assert "x".join(str(length) for length in bundle.card.size) in " ".join(model_lines(bundle.card))


def test_what_a_card_of_regions_classes_and_variants_says_is_there(tmp_path: Path) -> None:
    variant = {"file": "model.int8.onnx", "sha256": "AB" * 32, "precision": "int8", "engine": "onnxruntime"}
    volume = load_bundle(write(tmp_path, volume_mapping(variants=[variant]), SHAPES["volume3d"])).card
    assert volume.regions == (Region("WT", (1, 2, 3)), Region("TC", (1, 3)), Region("ET", (3,)))
    assert volume.variants == (Variant("model.int8.onnx", "ab" * 32, "int8", "onnxruntime"),)
    assert volume.needs_stripped
    assert "  Also in  INT8 for onnxruntime" in list(model_lines(volume))
    classifier = load_bundle(write(tmp_path, classifier_mapping(), SHAPES["classifier"])).card
    assert [entry.name for entry in classifier.classes] == ["glioma", "meningioma", "no tumour", "pituitary"]
    assert classifier.labels == () and math.isnan(classifier.spacing_mm) and not classifier.needs_stripped


@pytest.mark.parametrize("kind", SHAPES)
def test_a_reference_of_another_shape_is_refused(kind: str, tmp_path: Path) -> None:
    image, logits = SHAPES[kind]
    for shapes in ((image, (*logits[:-1], logits[-1] + 1)), (image[:-1], logits), ((), ())):
        with pytest.raises(InvalidBundle, match="Shapes"):
            load_bundle(write(tmp_path, MAPPINGS[kind](), shapes))


def change_input(**values: Any) -> Callable[[Mapping], None]:
    return lambda card: card["input"].update(values)


def change_output(**values: Any) -> Callable[[Mapping], None]:
    return lambda card: card["output"].update(values)


def swap_regions(card: Mapping) -> None:
    card["output"]["regions"].reverse()


def two_alike(card: Mapping) -> None:
    card["classes"][1]["name"] = "glioma"


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("multimodal2d", change_input(channels=["FLAIR", "T1", "T1ce", "T2"]), "in this order"),
        ("multimodal2d", change_input(channels=["T1", "T2"]), "2 channels"),
        ("multimodal2d", change_output(activation="sigmoid"), "softmax"),
        ("multimodal2d", change_input(normalisation="foreground-median-v1"), "foreground-zscore-v1"),
        ("multimodal2d", lambda card: card["labels"].pop(), r"labels \(1, 2\)"),
        ("multimodal2d", lambda card: card["labels"][0].update(value=2), "are different"),
        ("multimodal2d", lambda card: card["labels"][0].update(value=300), "1 to 255"),
        ("multimodal2d", change_input(spacing_mm=0), "spacing"),
        ("volume3d", change_input(size=[32, 32]), "3 positive lengths"),
        ("volume3d", change_input(size=[0, 16, 16]), "3 positive lengths"),
        ("volume3d", change_output(regions=[{"name": "WT", "labels": [1, 2, 4]}]), r"labels \[4\]"),
        ("volume3d", swap_regions, "nests"),
        ("volume3d", lambda card: card["output"].pop("regions"), "regions"),
        ("volume3d", change_output(activation="softmax"), "sigmoid"),
        ("classifier", lambda card: card.pop("classes"), "classes"),
        ("classifier", two_alike, "two or more classes"),
        ("classifier", lambda card: card["classes"][0].update(code=["1"]), "cannot be used"),
        ("classifier", change_input(normalisation="divided by 255"), "picture-window-v1"),
        ("classifier", change_input(channels=["r", "g", "b"]), "3 channels"),
        ("classifier", lambda card: card.update(labels=multimodal_mapping()["labels"]), "no labels"),
        ("multimodal2d", change_input(skull="perhaps"), "skull"),
        ("multimodal2d", lambda card: card.update(variants=[{"file": "x"}]), "sha256"),
    ],
)
def test_a_card_that_the_node_could_not_feed_is_refused(
    kind: str, change: Callable[[Mapping], None], message: str, tmp_path: Path
) -> None:
    mapping = MAPPINGS[kind]()
    change(mapping)
    with pytest.raises(InvalidBundle, match=message):
        load_bundle(write(tmp_path, mapping, SHAPES[kind]))
