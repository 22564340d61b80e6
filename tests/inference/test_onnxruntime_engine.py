"""ONNX Runtime computes what the bundle's reference says, slice by slice."""

from __future__ import annotations

import random
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neuroscan_core
from neuroscan_core.domain.errors import EngineRefused, InvalidBundle
from neuroscan_core.domain.model_card import ModelKind
from neuroscan_core.inference.bundle import Bundle, Reference, load_bundle
from neuroscan_core.inference.gate import check_against_reference, limits_for
from neuroscan_core.inference.onnxruntime import OnnxRuntimeEngine, has_quantised_file
from neuroscan_core.offline import segment_volume
from neuroscan_core.pipeline.streaming import StreamingSegmenter, segment_windows
from tests.inference.test_bundle import change_card
from tests.inference.tiny_model import TINY
from tests.pipeline.stacks import accept_anything, random_volume, slices_of, stack_geometry

BUNDLED = sorted(card.parent for card in (Path(neuroscan_core.__file__).parent / "models").glob("*/model.yaml"))
MAX_DICE = {"fp32": 1e-5, "int8": 0.05}


def windows(num: int) -> np.ndarray:
    return np.random.default_rng(3).gamma(2.0, 0.5, (num, 3, 32, 32)).astype(np.float32)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_a_slice_does_not_depend_on_its_batch(threads: int) -> None:
    with OnnxRuntimeEngine(load_bundle(TINY), threads) as engine:
        image = windows(7)
        together = engine.run(image)
        alone = np.concatenate([engine.run(image[n : n + 1]) for n in range(7)])
        assert np.array_equal(together, alone)
        assert np.array_equal(engine.run(image[2:5]), together[2:5])


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("folder", BUNDLED, ids=lambda folder: folder.name)
def test_every_bundled_model_agrees_with_its_reference_and_keeps_slices_apart(folder: Path, precision: str) -> None:
    bundle = load_bundle(folder)
    if precision == "int8" and not has_quantised_file(bundle):
        pytest.skip("it has no INT8 file")
    with OnnxRuntimeEngine(bundle, precision=precision) as engine:  # refuses what is not the reference
        if bundle.card.kind is not ModelKind.VOLUME3D:  # patches run alone anyway, and take seconds each
            assert check_against_reference(engine, bundle.reference, limits_for(precision)).dice < MAX_DICE[precision]
            image = bundle.reference.image_NCHW
            alone = np.concatenate([engine.run(image[n : n + 1]) for n in range(len(image))])
            assert np.array_equal(engine.run(image), alone)


def test_views_that_are_not_contiguous_are_taken() -> None:
    with OnnxRuntimeEngine(load_bundle(TINY), 1) as engine:
        image = windows(2)
        turned = np.ascontiguousarray(image.transpose(0, 1, 3, 2)).transpose(0, 1, 3, 2)
        assert np.array_equal(engine.run(turned), engine.run(image))


def test_an_engine_that_computes_something_else_is_refused_and_leaves_no_thread() -> None:
    good = load_bundle(TINY)
    wrong = Reference(good.reference.image_NCHW, good.reference.logits_NLHW + 0.1)
    before = threading.active_count()
    with pytest.raises(EngineRefused, match="differs"):
        OnnxRuntimeEngine(Bundle(good.card, good.folder, good.onnx_path, wrong), 2)
    assert threading.active_count() == before


def test_logits_that_are_no_numbers_are_refused() -> None:
    good = load_bundle(TINY)
    broken = Reference(good.reference.image_NCHW, np.full_like(good.reference.logits_NLHW, np.nan))
    with pytest.raises(EngineRefused):
        OnnxRuntimeEngine(Bundle(good.card, good.folder, good.onnx_path, broken), 1)


def test_a_file_that_is_no_network_is_refused(tmp_path: Path) -> None:
    good = load_bundle(TINY)
    (tmp_path / "model.onnx").write_bytes(b"no network")
    with pytest.raises(InvalidBundle, match="cannot load"):
        OnnxRuntimeEngine(Bundle(good.card, tmp_path, tmp_path / "model.onnx", good.reference), 1)


def test_tensors_that_the_card_does_not_name_are_refused(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(TINY, tmp_path / "tiny"))
    change_card(folder, lambda card: card["output"].update(name="probabilities"))
    with pytest.raises(InvalidBundle, match="Tensors"):
        OnnxRuntimeEngine(load_bundle(folder), 1)


@settings(max_examples=25, deadline=None)
@given(num_slices=st.integers(1, 12), seed=st.integers(0, 2**16), batch=st.integers(1, 5), threads=st.integers(1, 3))
def test_streamed_equals_batch_on_the_real_engine(num_slices: int, seed: int, batch: int, threads: int) -> None:
    volume = random_volume(stack_geometry(num_slices), seed)
    arrivals = slices_of(volume)
    random.Random(seed).shuffle(arrivals)
    with OnnxRuntimeEngine(load_bundle(TINY), threads) as engine:
        streaming = StreamingSegmenter(engine.card, check=accept_anything)

        def run(limit: int) -> int:
            due = streaming.ready(limit)
            for window, labels in zip(due, segment_windows(engine, due), strict=True):
                streaming.accept(window, labels)
            return len(due)

        for arrived in arrivals:
            streaming.add(arrived)
            run(batch)
        streaming.complete(volume.keys, volume.geometry)
        while run(batch):
            pass
        streamed = streaming.result()
        whole = segment_volume(volume, engine, check=accept_anything)
    assert np.array_equal(streamed.labels_kji, whole.labels_kji)
    assert streamed.measurements == whole.measurements
