"""Tiny bundles of the four kinds, with networks that are executed: one convolution each, random but fixed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import yaml

from neuroscan_core.inference.bundle import Bundle, load_bundle
from tests.pipeline.cards import classifier_mapping, multimodal_mapping, volume_mapping
from tests.pipeline.stacks import card_mapping

KINDS = ("slice25d", "multimodal2d", "volume3d", "classifier")
SIZES = {"slice25d": [32, 32], "multimodal2d": [32, 32], "volume3d": [16, 16, 16], "classifier": [24, 24]}


def write_bundle(kind: str, folder: Path, *, opset: int = 13, size: list[int] | None = None) -> Bundle:
    """Write and load a bundle called `kind`."""
    folder.mkdir(parents=True, exist_ok=True)
    mappings = {
        "slice25d": card_mapping, "multimodal2d": multimodal_mapping, "volume3d": volume_mapping,
        "classifier": classifier_mapping,
    }  # fmt: skip
    card: dict[str, Any] = mappings[kind](name=kind)
    card["input"] = {**card["input"], "name": "image", "size": size or SIZES[kind]}
    card["output"] = {**card["output"], "name": "logits"}
    num_channels, num_outputs = len(card["input"]["channels"]), _num_outputs(card)
    content = _network(kind, num_channels, num_outputs, card["input"]["size"], opset)
    (folder / "model.onnx").write_bytes(content)
    card["onnx"] = {"file": "model.onnx", "sha256": hashlib.sha256(content).hexdigest(), "opset": opset}
    (folder / "model.yaml").write_text(yaml.safe_dump(card, sort_keys=False), encoding="utf-8")
    rng = np.random.default_rng(7)
    image = rng.uniform(-1, 1, (2, num_channels, *card["input"]["size"])).astype(np.float32)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    np.savez_compressed(folder / "reference.npz", image=image, logits=session.run(None, {"image": image})[0])
    return load_bundle(folder)


def _num_outputs(card: dict[str, Any]) -> int:
    if card["kind"] == "classifier":
        return len(card["classes"])
    if card["kind"] == "volume3d":
        return len(card["output"]["regions"])
    return len(card["labels"]) + (card["kind"] == "multimodal2d")


def _network(kind: str, num_channels: int, num_outputs: int, size: list[int], opset: int) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(5)
    kernel = [3] * len(size)
    weights = rng.normal(0.0, 0.7, (num_outputs, num_channels, *kernel)).astype(np.float32)
    is_classifier = kind == "classifier"
    nodes = [
        helper.make_node(
            "Conv",
            ["image", "weights"],
            ["map" if is_classifier else "logits"],
            pads=[1] * 2 * len(size),
            kernel_shape=kernel,
        )
    ]
    if is_classifier:
        nodes += [
            helper.make_node("GlobalMaxPool", ["map"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["logits"], axis=1),
        ]
    output_shape = ["batch", num_outputs, *([] if is_classifier else size)]
    graph = helper.make_graph(
        nodes,
        kind,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", num_channels, *size])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, output_shape)],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return bytes(model.SerializeToString())
