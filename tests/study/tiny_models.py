"""Writes `models/`: one bundle per kind whose network is a formula that finds the phantom's tumour, roughly.

Run as ``python -m tests.study.tiny_models`` where the `onnx` package is; the files are kept, so tests need it not.

The formulas, on z-scores of tissue: oedema is bright in FLAIR and dark in T1, what enhances is brighter with contrast
agent than without, and necrosis is bright in T2 and dark with contrast agent inside of that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from tests.pipeline.cards import classifier_mapping, multimodal_mapping, volume_mapping

MODELS = Path(__file__).parent / "models"
Array = npt.NDArray[np.float32]

# Rows: outputs; columns: T1, T1ce, T2, FLAIR.
LABEL_WEIGHTS = np.array([[0, 0, 0, 0], [-4, -4, 3, 3], [-4, 0, 0, 4], [-8, 8, 0, 0]], np.float32)
LABEL_BIAS = np.array([0, -14, -7, -9], np.float32)
REGION_WEIGHTS = np.array([[-4, 0, 0, 4], [-8, 8, 0, 0], [-8, 8, 0, 0]], np.float32)
REGION_BIAS = np.array([-7, -9, -9], np.float32)
CLASS_WEIGHTS = np.array([[3.0], [1.0], [-2.0], [0.5]], np.float32)
CLASS_BIAS = np.array([0.5, 0.0, 0.0, -0.5], np.float32)


def _conv(name: str, shape: list[int], num_outputs: int, weights: Array, bias: Array) -> Any:
    """A 1x1 convolution as an ONNX model."""
    from onnx import TensorProto, helper, numpy_helper

    kernel = weights.reshape(*weights.shape, *([1] * (len(shape) - 1)))
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "weights", "bias"], ["logits"])],
        name,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", *shape])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", num_outputs, *shape[1:]])],
        [numpy_helper.from_array(kernel, "weights"), numpy_helper.from_array(bias, "bias")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def _pooled(name: str, shape: list[int]) -> Any:
    """Mean of a picture times a weight per class, as an ONNX model."""
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["image"], ["mean"]),
            helper.make_node("Flatten", ["mean"], ["flat"]),
            helper.make_node("Gemm", ["flat", "weights", "bias"], ["logits"], transB=1),
        ],
        name,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", *shape])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(CLASS_WEIGHTS, "weights"), numpy_helper.from_array(CLASS_BIAS, "bias")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def _image(shape: list[int]) -> Array:
    """A reference input that is nearly all zero, so that its file is small."""
    image = np.zeros((1, *shape), np.float32)
    values = np.random.default_rng(5).normal(0.0, 1.5, (1, *shape)).round(2).astype(np.float32)
    corner = (slice(None), slice(None), *([slice(0, 4)] * (len(shape) - 1)))
    image[corner] = values[corner]
    return image


def _linear(weights: Array, bias: Array) -> Callable[[Array], Array]:
    def logits(image: Array) -> Array:
        mapped = np.einsum("lc,nc...->nl...", weights, image)
        return np.asarray(mapped + bias.reshape(1, -1, *([1] * (image.ndim - 2))), dtype=np.float32)

    return logits


def _write(folder: Path, mapping: dict[str, Any], model: Any, image: Array, logits: Array) -> None:
    from onnx import save

    folder.mkdir(parents=True, exist_ok=True)
    save(model, folder / "model.onnx")
    sha256 = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    card = mapping | {"name": folder.name, "onnx": {"file": "model.onnx", "sha256": sha256, "opset": 20}}
    (folder / "model.yaml").write_text(yaml.safe_dump(card, sort_keys=False), encoding="utf-8")
    np.savez_compressed(folder / "reference.npz", image=image, logits=logits)


def write(folder: Path = MODELS) -> None:
    """Make the bundles anew."""
    flat = multimodal_mapping(postprocessing={"min_component_ml": 0.3})
    flat["input"] |= {"size": [128, 128], "spacing_mm": 2.0, "skull": "any"}
    image = _image([4, 128, 128])
    _write(
        folder / "unet-tiny",
        flat,
        _conv("unet-tiny", [4, 128, 128], 4, LABEL_WEIGHTS, LABEL_BIAS),
        image,
        _linear(LABEL_WEIGHTS, LABEL_BIAS)(image),
    )
    deep = volume_mapping((32, 32, 32), postprocessing={"min_component_ml": 0.3})
    deep["input"] |= {"spacing_mm": 4.0, "skull": "any"}
    image = _image([4, 32, 32, 32])
    _write(
        folder / "segresnet-tiny",
        deep,
        _conv("segresnet-tiny", [4, 32, 32, 32], 3, REGION_WEIGHTS, REGION_BIAS),
        image,
        _linear(REGION_WEIGHTS, REGION_BIAS)(image),
    )
    image = _image([1, 24, 24])
    classes = image.mean(axis=(2, 3)) @ CLASS_WEIGHTS.T + CLASS_BIAS
    _write(
        folder / "classifier-tiny", classifier_mapping(), _pooled("classifier-tiny", [1, 24, 24]), image,
        classes.astype(np.float32),
    )  # fmt: skip


if __name__ == "__main__":
    write()
