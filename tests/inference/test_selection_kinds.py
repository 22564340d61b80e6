"""The engines execute every kind of model: small networks of each, on the processor and on a GPU that is none."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from neuroscan_core.config import SegmenterConfig
from neuroscan_core.domain.errors import EngineRefused, EngineUnavailable, InvalidBundle
from neuroscan_core.domain.model_card import ModelKind
from neuroscan_core.inference import onnxruntime as onnxruntime_engine
from neuroscan_core.inference import onnxruntime_cuda
from neuroscan_core.inference.bundle import Bundle, load_bundle
from neuroscan_core.inference.onnxruntime import OnnxRuntimeEngine, multiplies_bytes
from neuroscan_core.inference.onnxruntime_cuda import OnnxRuntimeCudaEngine
from tests.inference.tensorrt.world import Machine
from tests.pipeline.cards import classifier_mapping, multimodal_mapping, volume_mapping

onnx = pytest.importorskip("onnx", reason="the `training` extra, which writes networks, is not installed")

KINDS: dict[str, tuple[Callable[..., dict[str, Any]], tuple[int, ...], int]] = {
    "multimodal2d": (multimodal_mapping, (2, 4, 32, 32), 4),
    "volume3d": (volume_mapping, (2, 4, 16, 16, 16), 3),
    "classifier": (classifier_mapping, (3, 1, 24, 24), 4),
}


def network(shape: tuple[int, ...], num_outputs: int, weights: np.ndarray) -> bytes:
    """One convolution of 1 pixel; for classes (two axes come out) the mean over the picture after it."""
    from onnx import TensorProto, helper, numpy_helper

    axes = [] if num_outputs == 4 and shape[1] == 1 else list(shape[2:])
    nodes = [helper.make_node("Conv", ["image", "weights"], ["logits" if axes else "map"])]
    initialisers = [
        numpy_helper.from_array(
            weights.astype(np.float32).reshape(num_outputs, shape[1], *[1] * (len(shape) - 2)), "weights"
        )
    ]
    if not axes:
        initialisers.append(numpy_helper.from_array(np.array([2, 3]), "axes"))
        nodes.append(helper.make_node("ReduceMean", ["map", "axes"], ["logits"], keepdims=0))
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", *shape[1:]])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", num_outputs, *axes])],
        initialisers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    contents: bytes = model.SerializeToString()
    return contents


def bundle_of(kind: str, folder: Path, int8_error: float | None = None) -> Bundle:
    """A bundle with its reference computed by numpy, and another network as its INT8 file."""
    mapping, shape, num_outputs = KINDS[kind]
    rng = np.random.default_rng(11)
    image = rng.normal(0.0, 1.0, shape).astype(np.float32)
    weights = rng.normal(0.0, 2.0, (num_outputs, shape[1])).astype(np.float32)
    logits = np.einsum("nc...,lc->nl...", image, weights)
    folder.mkdir(exist_ok=True)
    contents = network(shape, num_outputs, weights)
    (folder / "model.onnx").write_bytes(contents)
    changes: dict[str, Any] = {"onnx": {"file": "model.onnx", "sha256": hashlib.sha256(contents).hexdigest()}}
    if int8_error is not None:
        other = network(shape, num_outputs, weights + np.float32(int8_error) * rng.normal(0.0, 1.0, weights.shape))
        (folder / "model.int8.onnx").write_bytes(other)
        entry = {"file": "model.int8.onnx", "precision": "int8", "engine": "onnxruntime"}
        changes["variants"] = [entry | {"sha256": hashlib.sha256(other).hexdigest()}]
    (folder / "model.yaml").write_text(yaml.safe_dump(mapping(**changes)))
    logits = logits.mean(axis=(2, 3)) if kind == "classifier" else logits
    np.savez_compressed(folder / "reference.npz", image=image, logits=logits.astype(np.float32))
    return load_bundle(folder)


def check(engine: Any, bundle: Bundle) -> None:
    """The engine computes the reference, item by item and together."""
    image, logits = bundle.reference.image_NCHW, bundle.reference.logits_NLHW
    together = engine.run(image)
    assert together.dtype == np.float32 and np.allclose(together, logits, atol=1e-4)  # sums of float32 in another order
    assert all(np.array_equal(engine.run(image[n : n + 1])[0], together[n]) for n in range(len(image)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("threads", [1, 2])
def test_onnx_runtime_executes_every_kind(kind: str, threads: int, tmp_path: Path) -> None:
    bundle = bundle_of(kind, tmp_path)
    with OnnxRuntimeEngine(bundle, threads) as engine:
        check(engine, bundle)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("graphs", [False, True])
def test_tensorrt_executes_every_kind(kind: str, graphs: bool, tmp_path: Path) -> None:
    bundle = bundle_of(kind, tmp_path / "bundle")
    machine = Machine(tmp_path / "plans", "10.3.0", graphs=graphs)
    with machine.open(bundle, max_batch=3) as engine:
        check(engine, bundle)
    assert machine.faults.builds[0].shapes[2][0] == (1 if bundle.card.kind is ModelKind.VOLUME3D else 3)


@pytest.mark.parametrize("kind", KINDS)
def test_an_engine_of_any_kind_that_computes_something_else_is_refused(kind: str, tmp_path: Path) -> None:
    bundle = bundle_of(kind, tmp_path)
    wrong = bundle.reference.logits_NLHW.copy()
    wrong[:, 1] += 0.2
    np.savez_compressed(tmp_path / "reference.npz", image=bundle.reference.image_NCHW, logits=wrong)
    with pytest.raises(EngineRefused, match="differs"):
        OnnxRuntimeEngine(load_bundle(tmp_path), 1)


@pytest.mark.filterwarnings("ignore:Duplicate provider")  # the processor's stands for CUDA's, and beside it
@pytest.mark.parametrize("kind", KINDS)
def test_the_cuda_engine_does_the_same_on_another_provider(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime_cuda, "PROVIDER", "CPUExecutionProvider")
    monkeypatch.setattr(onnxruntime_cuda, "OPTIONS", {})
    bundle = bundle_of(kind, tmp_path)
    with OnnxRuntimeCudaEngine(bundle, SegmenterConfig(max_batch=2)) as engine:
        check(engine, bundle)
    with pytest.raises(EngineUnavailable, match="fp32, not int8"):
        OnnxRuntimeCudaEngine(bundle, SegmenterConfig(precision="int8"))


@pytest.mark.parametrize("has_dot_products", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_an_int8_file_is_used_where_the_processor_is_made_for_it_or_where_it_is_asked_for(
    kind: str, has_dot_products: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime_engine, "multiplies_bytes", lambda: has_dot_products)
    bundle = bundle_of(kind, tmp_path, int8_error=0.01)
    image = bundle.reference.image_NCHW
    engines = {
        precision: bundle.open_engine(SegmenterConfig.model_validate({"engine": "onnxruntime", "precision": precision}))
        for precision in ("auto", "fp32", "int8")
    }
    names = {precision: engine.name for precision, engine in engines.items()}
    chosen = "int8" if has_dot_products else "fp32"
    assert (names["fp32"], names["int8"]) == ("onnxruntime-cpu", "onnxruntime-cpu-int8")
    assert names["auto"] == names[chosen]
    assert np.array_equal(engines["auto"].run(image), engines[chosen].run(image))
    assert not np.array_equal(engines["fp32"].run(image), engines["int8"].run(image))
    for engine in engines.values():
        engine.close()


def test_fp32_serves_where_an_int8_file_that_was_not_asked_for_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime_engine, "multiplies_bytes", lambda: True)
    bundle = bundle_of("multimodal2d", tmp_path, int8_error=3.0)
    engine = bundle.open_engine(SegmenterConfig(engine="onnxruntime"))
    assert engine.name == "onnxruntime-cpu"
    engine.close()
    with pytest.raises(EngineRefused, match="differs"):
        bundle.open_engine(SegmenterConfig(engine="onnxruntime", precision="int8"))


@pytest.mark.parametrize("contents", [None, b"half of it"])
def test_fp32_serves_where_an_int8_file_that_was_not_asked_for_is_missing_or_damaged(
    contents: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime_engine, "multiplies_bytes", lambda: True)
    bundle = bundle_of("multimodal2d", tmp_path, int8_error=0.01)
    (tmp_path / "model.int8.onnx").unlink()
    if contents is not None:
        (tmp_path / "model.int8.onnx").write_bytes(contents)
    engine = bundle.open_engine(SegmenterConfig(engine="onnxruntime"))
    assert engine.name == "onnxruntime-cpu"
    engine.close()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("flags\t\t: fpu avx2 avx512f avx512_vnni amx_int8", True),
        ("flags\t\t: fpu avx2 avx_vnni", True),
        ("Features\t: fp asimd crc32 asimddp", True),
        ("flags\t\t: fpu avx2 avx512f avx512_bf16", False),
    ],
)
def test_processors_are_known_by_their_features(flags: str, expected: bool, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{flags}\n")
    assert multiplies_bytes(tmp_path / "cpuinfo") is expected
    assert not multiplies_bytes(tmp_path / "missing")


def test_an_int8_file_that_segments_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineRefused, match="differs"):
        OnnxRuntimeEngine(bundle_of("volume3d", tmp_path, int8_error=3.0), 1, precision="int8")


def test_another_file_than_the_one_of_the_card_is_refused(tmp_path: Path) -> None:
    bundle = bundle_of("volume3d", tmp_path, int8_error=0.01)
    (tmp_path / "model.int8.onnx").write_bytes(bundle.onnx_path.read_bytes())
    with pytest.raises(InvalidBundle, match="SHA-256 differs"):
        OnnxRuntimeEngine(bundle, 1, precision="int8")
    (tmp_path / "model.int8.onnx").unlink()
    with pytest.raises(InvalidBundle, match="Cannot read"):
        OnnxRuntimeEngine(bundle, 1, precision="int8")
