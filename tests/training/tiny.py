"""Tiny caches and bundles of all four kinds, whose networks find what the synthetic cases show, not quite perfectly.

Every case is a head of 64 x 64 pixels with a tumour: a square of oedema, in it necrosis, in it an enhancing centre.
Each part is bright in one sequence of its own, which a 1x1 convolution can tell.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from neuroscan_core.pipeline.normalise import volume_statistics
from tests.pipeline.cards import classifier_mapping, multimodal_mapping, volume_mapping
from tests.pipeline.stacks import card_mapping
from training.data.cache import ArrayCache, CachedCase

SIZE = 64
NUM_SLICES = 8
HEAD, BRIGHT = 100, 400
NAMES = (
    ("TCGA_CS_1_1", "lgg", "TCGA_CS_1", (0.0, 1.0, 1.0)),
    ("TCGA_DU_2_1", "lgg", "TCGA_DU_2", (0.0, 1.0, 1.0)),
    ("Brats18_CBICA_A_1", "brats", "Brats18_CBICA_A", (1.0, 1.0, 1.0)),
    ("Brats18_CBICA_B_1", "brats", "Brats18_CBICA_B", (1.0, 1.0, 1.0)),
    ("Brats18_TCIA10_C_1", "brats", "Brats18_TCIA10_C", (1.0, 1.0, 1.0)),
)


def label_volume(number: int) -> np.ndarray:
    """The reference of a case, [S, H, W]; the tumour's place and size depend on its number."""
    labels = np.zeros((NUM_SLICES, SIZE, SIZE), np.uint8)
    row, column, side = 16 + 3 * number, 20 + 2 * number, 14 + number
    labels[2:6, row : row + side, column : column + side] = 2
    labels[2:6, row + 3 : row + side - 3, column + 3 : column + side - 3] = 1
    labels[2:6, row + 5 : row + side - 5, column + 5 : column + side - 5] = 3
    return labels


def segmentation_cache(view: str, num_cases: int = len(NAMES)) -> ArrayCache:
    """A cache of the view "flair" or "multimodal"."""
    rng = np.random.default_rng(7)
    num_channels = 1 if view == "flair" else 4
    images = np.zeros((num_cases * NUM_SLICES, num_channels, SIZE, SIZE), np.uint16)
    images[:, :, 8:56, 8:56] = rng.integers(HEAD - 20, HEAD + 20, (len(images), num_channels, 48, 48))
    labels = np.concatenate([label_volume(n) for n in range(num_cases)])
    bright = {0: labels > 0} if view == "flair" else {3: labels == 2, 2: labels == 1, 1: labels == 3}
    for channel, where in bright.items():
        # One column of each tumour is not bright: the networks miss it.
        images[:, channel][where] = BRIGHT
        images[:, channel, :, 30] = np.minimum(images[:, channel, :, 30], HEAD)
    volumes = images.reshape(num_cases, NUM_SLICES, num_channels, SIZE, SIZE)
    moments = [zip(*(volume_statistics(volume[:, c]) for c in range(num_channels)), strict=True) for volume in volumes]
    cases = tuple(
        CachedCase(name, dataset, n * NUM_SLICES, NUM_SLICES, patient, spacing, *moments[n])
        for n, (name, dataset, patient, spacing) in enumerate(NAMES[:num_cases])
    )
    return _cache(view, images, labels, cases)


def picture_cache(num_pictures: int = 24) -> ArrayCache:
    """Pictures of 48 x 48: class k has a bright square in quadrant k; every eighth is labelled wrongly."""
    rng = np.random.default_rng(3)
    images = rng.integers(0, 60, (num_pictures, 1, 48, 48)).astype(np.uint8)
    classes = np.arange(num_pictures) % 4
    for image, k in zip(images, classes, strict=True):
        image[0, 24 * (k // 2) :, 24 * (k % 2) :][:24, :24] += 150
    classes[::8] = (classes[::8] + 1) % 4
    cases = tuple(CachedCase(f"picture{n}", "pictures", n, 1, f"cluster{n}") for n in range(num_pictures))
    labels = np.zeros((0, 0, 0), np.uint8)
    return _cache("pictures", images, labels, cases, classes.astype(np.uint8))


def _cache(
    view: str,
    images: np.ndarray,
    labels: np.ndarray,
    cases: tuple[CachedCase, ...],
    classes: np.ndarray | None = None,
) -> ArrayCache:
    counts = [np.bincount(plane.ravel(), minlength=4) for plane in labels]
    return ArrayCache(
        view,
        images,
        labels,
        cases,
        scales_S=np.zeros(0, np.float32),
        foreground_S=np.count_nonzero(images[:, 0], axis=(1, 2)).astype(np.int32),
        label_counts_SL=np.asarray(counts, np.int32).reshape(len(labels), 4),
        classes_S=np.zeros(0, np.uint8) if classes is None else classes,
    )


def write_bundle(kind: str, folder: Path, name: str = "tiny", gain: float = 4.0, side: int = SIZE) -> Path:
    """Write a bundle; `gain` is the steepness of its network, `side` the size of slices that it sees."""
    from onnx import TensorProto, helper, numpy_helper, save

    mapping, nodes, weights, shapes = _NETWORKS[kind](gain, side)
    tensors = [numpy_helper.from_array(np.asarray(value, np.float32), key) for key, value in weights.items()]
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", *shapes[0]])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", *shapes[1]])],
        tensors,
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
    image = np.random.default_rng(1).normal(0, 1, (1, *shapes[0])).astype(np.float32)
    np.savez_compressed(folder / "reference.npz", image=image, logits=_run(path, image))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    card = mapping | {"name": name, "onnx": {"file": path.name, "sha256": sha256, "opset": 20, "parameters": 4}}
    (folder / "model.yaml").write_text(yaml.safe_dump(card, sort_keys=False), encoding="utf-8")
    return folder


def _run(path: Path, image: np.ndarray) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"image": image})[0])


Network = tuple[dict[str, Any], list[Any], dict[str, Any], tuple[Sequence[int], Sequence[int]]]


def _convolution(weights: np.ndarray, bias: Sequence[float]) -> tuple[list[Any], dict[str, Any]]:
    from onnx import helper

    return [helper.make_node("Conv", ["image", "w", "b"], ["logits"])], {"w": weights, "b": bias}


def _slice25d(gain: float, side: int) -> Network:
    mapping = card_mapping()
    mapping["input"]["size"] = [side, side]
    # The tissue's median is 1, the tumour 4; values are clipped at 4.
    nodes, tensors = _convolution(gain * np.array([[0.0, 1.0, 0.0]])[:, :, None, None], [-2.2 * gain])
    return mapping, nodes, tensors, ((3, side, side), (1, side, side))


def _multimodal2d(gain: float, side: int) -> Network:
    mapping = multimodal_mapping()
    mapping["input"]["size"] = [side, side]
    weights = np.zeros((4, 4, 1, 1))
    weights[1, 2], weights[2, 3], weights[3, 1] = gain, gain, gain
    nodes, tensors = _convolution(weights, [0.0, *(-2.0 * gain,) * 3])
    return mapping, nodes, tensors, ((4, side, side), (4, side, side))


def _volume3d(gain: float, _: int) -> Network:
    mapping = volume_mapping((8, 32, 32))
    mapping["input"]["spacing_mm"] = 1.0
    weights = np.zeros((3, 4, 1, 1, 1))
    weights[0, 1:], weights[1, 1:3], weights[2, 1] = gain, gain, gain
    nodes, tensors = _convolution(weights, [-2.0 * gain] * 3)
    return mapping, nodes, tensors, ((4, 8, 32, 32), (3, 8, 32, 32))


def _classifier(gain: float, _: int) -> Network:
    from onnx import helper

    nodes = [
        helper.make_node("AveragePool", ["image"], ["pooled"], kernel_shape=[12, 12], strides=[12, 12]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Mul", ["flat", "gain"], ["logits"]),
    ]
    return classifier_mapping(), nodes, {"gain": [gain]}, ((1, 24, 24), (4,))


_NETWORKS = {
    "slice25d": _slice25d,
    "multimodal2d": _multimodal2d,
    "volume3d": _volume3d,
    "classifier": _classifier,
}
