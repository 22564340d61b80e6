"""An engine is gated before it serves, keeps items apart, and fails with our words."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from neuroscan_core.domain.errors import EngineRefused, EngineUnavailable
from neuroscan_core.inference.bundle import load_bundle
from neuroscan_core.inference.onnxruntime import OnnxRuntimeEngine
from neuroscan_core.inference.tensorrt.engine import Libraries
from neuroscan_core.inference.watched import WatchedEngine
from tests.inference.tensorrt.fake_gpu import FakeLibcuda, Gpu
from tests.inference.tensorrt.world import Machine
from tests.inference.tiny_model import TINY

GRAPH_CALLS = ["cuStreamBeginCapture_v2", "cuStreamEndCapture", "cuGraphInstantiate", "cuGraphDestroy"]


def images(num: int) -> np.ndarray:
    return np.random.default_rng(3).gamma(2.0, 0.5, (num, 3, 32, 32)).astype(np.float32)


@pytest.mark.parametrize("noise", [0.1, np.nan, np.inf])
def test_an_engine_that_computes_something_else_is_refused_and_leaves_nothing(noise: float, tmp_path: Path) -> None:
    machine, before = Machine(tmp_path, noise=noise), threading.active_count()
    with pytest.raises(EngineRefused, match="differs"):
        machine.open()
    assert machine.gpu.num_open == 0 and threading.active_count() == before
    with pytest.raises(EngineRefused, match="differs"):  # after a load, too
        machine.open()
    assert len(machine.faults.builds) == 1


def test_rounding_as_fp16_has_it_passes() -> None:
    with Machine(None, noise=2e-3).open() as engine:
        assert 0 < engine.agreement.probability < 5e-3


def test_large_batches_run_in_steps_of_the_profile() -> None:
    machine = Machine(None)
    with machine.open(max_batch=2) as engine:
        machine.gpu.calls.clear()
        logits = engine.run(images(5))
        assert machine.gpu.calls.count("execute") == 3
        assert np.array_equal(logits[4:], engine.run(images(5)[4:]))


@pytest.mark.parametrize("version", ["8.2.1.9", "10.3.0"])
def test_where_kernels_mix_items_they_run_one_by_one(version: str) -> None:
    machine = Machine(None, version, leaks_batch=True)
    with machine.open(max_batch=4) as engine:
        together = engine.run(images(3))
        assert all(np.array_equal(engine.run(images(3)[n : n + 1])[0], together[n]) for n in range(3))


@pytest.mark.parametrize("graphs", [False, True])
def test_no_more_is_computed_than_was_asked_for(graphs: bool) -> None:
    machine = Machine(None, graphs=graphs)
    with machine.open(max_batch=4) as engine:
        for num in (1, 4, 1, 2):
            engine.run(images(num))
        machine.gpu.num_items = 0
        for num in (1, 4, 1, 2):
            engine.run(images(num))
        assert machine.gpu.num_items == 8


def test_calls_of_one_execution_are_in_order() -> None:
    machine = Machine(None, "11.4.0.106")
    with machine.open() as engine:
        engine.run(images(1))
        machine.gpu.calls.clear()
        engine.run(images(1))
    assert machine.gpu.calls[:4] == ["memcpy_htod_async", "execute", "memcpy_dtoh_async", "synchronize"]
    assert machine.gpu.calls[4:] == ["free", "free", "pop", "detach"]


def test_a_batch_size_is_executed_once_then_recorded_then_only_started() -> None:
    machine = Machine(None, graphs=True)
    with machine.open(max_batch=7) as engine:
        machine.gpu.calls.clear()
        first = engine.run(images(6))
        run = ["memcpy_htod_async", "execute", "memcpy_dtoh_async"]
        recorded = [GRAPH_CALLS[0], *run, *GRAPH_CALLS[1:]]
        assert machine.gpu.calls == ["set shape", *run, "synchronize", *recorded, "cuGraphLaunch", "synchronize"]
        machine.gpu.calls.clear()
        assert np.array_equal(engine.run(images(6)), first)
        assert machine.gpu.calls == ["cuGraphLaunch", "synchronize"]
        assert not np.array_equal(engine.run(images(6)[::-1]), first)
    assert machine.gpu.num_open == 0


@pytest.mark.parametrize("refused", ["cuStreamBeginCapture_v2", "cuStreamEndCapture", "cuGraphInstantiate"])
def test_without_graphs_it_runs_all_the_same(refused: str) -> None:
    machine = Machine(None, graphs=True)
    machine.libcuda = FakeLibcuda(machine.gpu, refuses=refused)
    bundle = load_bundle(TINY)
    with machine.open(bundle) as engine:
        assert np.allclose(engine.run(bundle.reference.image_NCHW), bundle.reference.logits_NLHW, atol=1e-5)
        assert "cuGraphLaunch" not in machine.gpu.calls
    assert machine.gpu.num_open == 0 and machine.gpu.recording is None


def test_graphs_of_cuda_10_are_made_with_the_older_function() -> None:
    machine = Machine(None, "8.2.1.9", graphs=True)
    machine.libcuda = FakeLibcuda(machine.gpu, is_old=True)
    with machine.open(max_batch=1) as engine:
        engine.run(images(1))
    assert "cuGraphLaunch" in machine.gpu.calls and machine.gpu.num_open == 0


@pytest.mark.parametrize("version", ["8.2.1.9", "8.6.1"])
def test_before_10_a_profile_has_one_context_so_only_one_shape_is_recorded(version: str) -> None:
    machine = Machine(None, version, graphs=True)
    with machine.open(max_batch=2) as engine:
        engine.run(images(2))
    assert "cuGraphLaunch" not in machine.gpu.calls
    with machine.open(max_batch=1) as engine:
        engine.run(images(2))
    assert "cuGraphLaunch" in machine.gpu.calls and machine.gpu.num_open == 0


def test_only_so_many_batch_sizes_are_recorded() -> None:
    machine = Machine(None, graphs=True)
    with machine.open(max_batch=9) as engine:
        for num in range(1, 10):
            expected = engine.run(images(num))
            assert np.array_equal(engine.run(images(num)), expected)
        assert machine.gpu.calls.count("cuGraphInstantiate") == 4
        machine.gpu.calls.clear()
        engine.run(images(9))
        assert "cuGraphLaunch" not in machine.gpu.calls
    assert machine.gpu.num_open == 0


def test_engines_are_used_from_other_threads_than_the_one_that_opened_them() -> None:
    machine, answers = Machine(None, graphs=True), []
    with machine.open() as engine:
        expected = engine.run(images(2))
        thread = threading.Thread(target=lambda: answers.append(engine.run(images(2))))
        thread.start()
        thread.join()
    assert np.array_equal(answers[0], expected)


def test_a_gpu_that_fails_while_serving_is_said_so() -> None:
    machine = Machine(None)
    with machine.open() as engine:
        machine.gpu.fail_next = "memcpy_htod_async"
        with pytest.raises(EngineUnavailable, match="illegal memory access"):
            engine.run(images(1))


@pytest.mark.parametrize("refused", ["cuGraphLaunch", "cuGraphExecDestroy"])
def test_a_gpu_that_fails_over_a_recording_is_replaced_like_any_other(refused: str) -> None:
    machine = Machine(None, graphs=True)
    engine = WatchedEngine(machine.open(), lambda: OnnxRuntimeEngine(load_bundle(TINY), 1))
    engine.run(images(1))
    machine.libcuda._refuses = refused  # type: ignore[union-attr]
    if refused != "cuGraphLaunch":
        machine.gpu.calls.clear()
        machine.libcuda.cuGraphLaunch = lambda *_: 700  # type: ignore[union-attr, method-assign]
    with OnnxRuntimeEngine(load_bundle(TINY), 1) as processor:
        assert np.array_equal(engine.run(images(1)), processor.run(images(1)))
    assert engine.name == "onnxruntime-cpu" and "instead of tensorrt" in engine.problem
    assert machine.gpu.calls[-2:] == ["pop", "detach"]
    engine.close()


def test_a_gpu_that_fails_at_the_end_too_is_left_all_the_same() -> None:
    """pycuda aborts the process with a thread that still has a context."""
    machine, before = Machine(None), threading.active_count()
    engine = machine.open()
    machine.gpu.fail_next = "free"
    engine.close()
    assert machine.gpu.calls[-2:] == ["pop", "detach"] and threading.active_count() == before


@pytest.mark.parametrize("call", ["Stream", "mem_alloc", "pagelocked_empty", "Builder", "Runtime", "execute"])
def test_a_gpu_that_fails_while_an_engine_is_opened_is_left(call: str) -> None:
    machine = Machine(None)
    machine.gpu.fail_next = call
    with pytest.raises(EngineUnavailable, match="illegal memory access"):
        machine.open()
    assert machine.gpu.calls[-2:] == ["pop", "detach"]


def test_a_machine_without_a_gpu_is_unavailable() -> None:
    machine, before = Machine(None), threading.active_count()
    machine.gpu = Gpu(name="")
    with pytest.raises(EngineUnavailable, match="no CUDA-capable device"):
        machine.open()
    assert threading.active_count() == before


def test_missing_libraries_are_named_with_the_way_to_install_them() -> None:
    pytest.importorskip("onnxruntime")
    try:
        import pycuda.driver  # noqa: F401
        import tensorrt  # noqa: F401
    except ImportError:
        with pytest.raises(EngineUnavailable, match=r"(tensorrt|pycuda)") as refusal:
            Libraries.load(with_graphs=True)
        assert "JetPack" in refusal.value.remedy and "neuroscan[gpu]" in refusal.value.remedy
    else:
        pytest.skip("TensorRT and pycuda are installed here")
