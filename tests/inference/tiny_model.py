"""Writes `tiny/`: a bundle with a one-layer network, for tests of what reads and executes bundles.

Run as ``python -m tests.inference.tiny_model`` where the `onnx` package is; the files are kept, so tests need it not.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import yaml

from tests.pipeline.stacks import card_mapping

TINY = Path(__file__).parent / "tiny"


def write(folder: Path = TINY) -> None:
    """Make the bundle anew."""
    from onnx import TensorProto, helper, numpy_helper, save

    rng = np.random.default_rng(5)
    weights = rng.normal(0.0, 0.4, (1, 3, 3, 3)).astype(np.float32)
    bias = np.array([-0.2], np.float32)
    nodes = [helper.make_node("Conv", ["image", "weights", "bias"], ["logits"], pads=[1, 1, 1, 1])]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 32, 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 1, 32, 32])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(bias, "bias")],
    )
    folder.mkdir(exist_ok=True)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), folder / "model.onnx")
    image = np.round(rng.gamma(2.0, 0.5, (2, 3, 32, 32)), 2).astype(np.float32)
    padded = np.pad(image, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    logits = np.einsum("nchwyx,lcyx->nlhw", windows, weights) + bias
    np.savez_compressed(folder / "reference.npz", image=image, logits=logits.astype(np.float32))
    sha256 = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    card = card_mapping(onnx={"file": "model.onnx", "sha256": sha256, "opset": 20})
    (folder / "model.yaml").write_text(yaml.safe_dump(card, sort_keys=False), encoding="utf-8")


if __name__ == "__main__":
    write()
