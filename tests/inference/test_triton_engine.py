"""What the node makes of a Triton server: what it asks, what it trusts, and what it does when nobody answers."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from neuroscan_core.config import SegmenterConfig, TritonConfig
from neuroscan_core.domain.errors import EngineRefused, EngineUnavailable
from neuroscan_core.inference.bundle import load_bundle
from neuroscan_core.inference.onnxruntime import OnnxRuntimeEngine
from neuroscan_core.inference.triton import SHA256_PARAMETER, TritonEngine
from neuroscan_core.inference.triton_wire import Image, WireFailure
from tests.inference.tiny_model import TINY

BUNDLE = load_bundle(TINY)
BRIEF = TritonConfig(timeout_s=0.3)


class FakeServer:
    """A Triton server as the client sees it; `fail` makes the next requests fail, `is_up` takes it off."""

    def __init__(self, **configuration: Any) -> None:
        self.is_up = True
        self.fail = 0
        self.batches: list[list[int]] = []
        self.num_clients = self.num_closed = 0
        self.has_failed = threading.Event()
        self.tensors: dict[str, Any] = {
            "inputs": [{"name": "image", "datatype": "FP32", "shape": ["-1", "3", "32", "32"]}],
            "outputs": [{"name": "logits", "datatype": "FP32", "shape": ["-1", "1", "32", "32"]}],
        }
        self.config = {"max_batch_size": 4, "instance_group": [{"count": 1}], **configuration}
        self.network = OnnxRuntimeEngine(BUNDLE, 1)
        self.compute: Callable[[Image], Image] = self.network.run

    def dial(self, _: TritonConfig) -> FakeClient:
        self.num_clients += 1
        return FakeClient(self)

    def served(self) -> list[list[int]]:
        """Sizes of the batches that were asked for together since the last call."""
        batches, self.batches = self.batches, []
        return batches


class FakeClient:
    """A connection to the fake server."""

    def __init__(self, server: FakeServer) -> None:
        self.server = server

    def is_ready(self, model: str) -> bool:
        return self.server.is_up and model == "tiny"

    def metadata(self, model: str) -> dict[str, Any]:
        return self.server.tensors

    def configuration(self, model: str) -> dict[str, Any]:
        return self.server.config

    def infer(self, model: str, inputs: tuple[str, Sequence[Image]], output: str) -> list[Image]:
        self.server.batches.append([len(image) for image in inputs[1]])
        if self.server.fail or not self.server.is_up:
            self.server.fail = max(0, self.server.fail - 1)
            self.server.has_failed.set()
            raise WireFailure("made to fail")
        return [self.server.compute(image) for image in inputs[1]]

    def close(self) -> None:
        self.server.num_closed += 1


def engine(server: FakeServer, config: TritonConfig = BRIEF) -> TritonEngine:
    return TritonEngine(BUNDLE, config, dial=server.dial)


def windows(num: int) -> np.ndarray:
    return np.random.default_rng(3).gamma(2.0, 0.5, (num, 3, 32, 32)).astype(np.float32)


def test_long_batches_are_cut_to_what_the_server_takes() -> None:
    server = FakeServer(max_batch_size=4)
    with engine(server) as triton:
        server.served()
        assert np.array_equal(triton.run(windows(11)), server.network.run(windows(11)))
    assert server.served() == [[4], [4], [3]]


def test_a_batch_is_shared_among_the_copies_that_compute_at_once() -> None:
    server = FakeServer(max_batch_size=4, instance_group=[{"count": 2}])
    with engine(server) as triton:
        server.served()
        triton.run(windows(6))
        assert server.served() == [[3, 3]]
        assert np.array_equal(triton.run(windows(11)), server.network.run(windows(11)))
        assert server.served() == [[4, 4], [3]]


def test_copies_on_several_gpus_count_each() -> None:
    server = FakeServer(instance_group=[{"count": 2, "gpus": [0, 1]}])
    with engine(server) as triton:
        server.served()
        triton.run(windows(4))
    assert server.served() == [[1, 1, 1, 1]]


def test_a_request_that_fails_is_asked_again_over_a_checked_connection() -> None:
    server = FakeServer()
    with engine(server) as triton:
        server.fail = 1
        assert np.array_equal(triton.run(windows(2)), server.network.run(windows(2)))
        assert (server.num_clients, server.num_closed) == (2, 1)
    assert server.num_closed == 2


def test_a_server_that_comes_back_in_time_costs_nothing_but_time() -> None:
    server = FakeServer()
    with engine(server, TritonConfig(timeout_s=60)) as triton:
        server.is_up = False
        threading.Timer(0.3, lambda: setattr(server, "is_up", True)).start()
        assert np.array_equal(triton.run(windows(2)), server.network.run(windows(2)))


def test_a_server_that_stays_away_is_unavailable_and_may_serve_again_later() -> None:
    server = FakeServer()
    with engine(server) as triton:
        server.is_up = False
        with pytest.raises(EngineUnavailable, match="does not serve tiny over grpc: nobody answers"):
            triton.run(windows(1))
        server.is_up = True
        assert triton.run(windows(1)).shape == (1, 1, 32, 32)


def test_a_server_that_passes_every_check_but_fails_at_the_request_is_given_up() -> None:
    server, now = FakeServer(), [0.0]
    with TritonEngine(BUNDLE, BRIEF, dial=server.dial, clock=lambda: now[0]) as triton:
        right = server.compute

        def compute(image: Image) -> Image:
            if len(image) == 4:
                now[0] += 0.1
                raise WireFailure("out of memory")
            return right(image)

        server.compute = compute
        with pytest.raises(EngineUnavailable, match="out of memory"):
            triton.run(windows(4))
        assert np.array_equal(triton.run(windows(1)), right(windows(1)))


def test_a_server_that_comes_back_with_another_network_is_refused() -> None:
    server = FakeServer()
    with engine(server) as triton:
        server.fail, right = 1, server.compute
        server.compute = lambda image: right(image) + 0.1
        with pytest.raises(EngineRefused, match="differs"):
            triton.run(windows(1))


@pytest.mark.parametrize("pause_s", [1.0, 31.0])
def test_a_network_that_was_exchanged_unseen_during_a_pause_is_refused(pause_s: float) -> None:
    server, now = FakeServer(), [0.0]
    with TritonEngine(BUNDLE, BRIEF, dial=server.dial, clock=lambda: now[0]) as triton:
        right = server.compute
        server.compute = lambda image: right(image) + 0.1
        now[0] += pause_s
        for _ in range(2):  # once refused, it is not trusted the next time either
            with pytest.raises(EngineRefused, match="differs"):
                triton.run(windows(1))
        server.compute = right
        assert np.array_equal(triton.run(windows(1)), right(windows(1)))


def test_a_stream_without_pauses_is_checked_from_time_to_time_only() -> None:
    server, now = FakeServer(), [0.0]
    with TritonEngine(BUNDLE, BRIEF, dial=server.dial, clock=lambda: now[0]) as triton:
        server.served()
        for _ in range(100):
            now[0] += 0.4
            triton.run(windows(2))
    sizes = [size for (size,) in server.served()]
    assert (sizes.count(2), sizes.count(1)) == (100, 1)


def test_a_server_with_another_network_is_refused_and_nothing_stays_open() -> None:
    server = FakeServer()
    server.compute = lambda image: np.zeros((len(image), 1, 32, 32), np.float32)
    threads = threading.active_count()
    with pytest.raises(EngineRefused, match="differs"):
        engine(server)
    assert server.num_clients == server.num_closed == 1
    assert threading.active_count() == threads


@pytest.mark.parametrize(
    ("side", "change"),
    [
        ("inputs", {"name": "picture"}),
        ("inputs", {"datatype": "FP16"}),
        ("inputs", {"shape": ["-1", "3", "64", "64"]}),
        ("outputs", {"shape": ["-1", "4", "32", "32"]}),
        ("outputs", {"shape": ["1", "32", "32"]}),
    ],
)
def test_tensors_other_than_the_bundles_are_refused_before_any_pixel_is_sent(side: str, change: dict[str, Any]) -> None:
    server = FakeServer()
    server.tensors[side][0].update(change)
    with pytest.raises(EngineRefused, match=f"{side} of tiny"):
        engine(server)
    assert not server.batches


def test_a_model_of_two_outputs_is_refused() -> None:
    server = FakeServer()
    server.tensors["outputs"] *= 2
    with pytest.raises(EngineRefused, match="outputs of tiny"):
        engine(server)


def test_any_length_of_the_server_fits() -> None:
    server = FakeServer()
    server.tensors["inputs"][0]["shape"] = [-1, 3, -1, -1]
    with engine(server) as triton:
        assert triton.name == "triton-grpc"


def test_another_version_of_the_bundle_is_refused_by_its_hash_before_any_pixel_is_sent() -> None:
    server = FakeServer(parameters={SHA256_PARAMETER: {"string_value": "f" * 64}})
    with pytest.raises(EngineRefused, match="ffffffffffff"):
        engine(server)
    assert not server.batches


def test_answers_of_another_shape_are_refused() -> None:
    server = FakeServer()
    with engine(server) as triton:
        server.compute = lambda image: np.zeros((len(image), 2, 32, 32), np.float32)
        with pytest.raises(EngineRefused, match="shape"):
            triton.run(windows(1))


def test_a_server_whose_results_depend_on_the_batch_is_asked_one_by_one() -> None:
    server = FakeServer(max_batch_size=8, instance_group=[{"count": 2}])
    right = server.compute
    server.compute = lambda image: right(image) + np.float32(1e-4) * (len(image) > 1)
    with engine(server) as triton:
        server.served()
        together = triton.run(windows(3))
        assert server.served() == [[1], [1], [1]]
        assert np.array_equal(triton.run(windows(3)[1:2]), together[1:2])


def test_closing_ends_a_wait_for_the_server() -> None:
    server = FakeServer()
    triton = engine(server, TritonConfig(timeout_s=3600))
    server.is_up = False
    failures: list[Exception] = []

    def ask() -> None:
        try:
            triton.run(windows(1))
        except EngineUnavailable as failure:
            failures.append(failure)

    asking = threading.Thread(target=ask)
    asking.start()
    assert server.has_failed.wait(30)
    triton.close()
    asking.join(timeout=30)
    assert len(failures) == 1


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_port_where_nobody_listens_is_unavailable_within_the_time(protocol: str) -> None:
    pytest.importorskip("tritonclient", reason="pip install 'neuroscan[triton]'")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        config = TritonConfig.model_validate(
            {"url": f"127.0.0.1:{taken.getsockname()[1]}", "protocol": protocol, "timeout_s": 0.3}
        )
        with pytest.raises(EngineUnavailable, match=f"over {protocol}: nobody answers"):
            BUNDLE.open_engine(SegmenterConfig(engine="triton", triton=config))


def test_a_missing_client_library_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tritonclient.grpc", None)
    with pytest.raises(EngineUnavailable, match=r"neuroscan\[triton\]"):
        BUNDLE.open_engine(SegmenterConfig(engine="triton"))


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_certificate_that_is_not_there_is_named(protocol: str) -> None:
    pytest.importorskip("tritonclient", reason="pip install 'neuroscan[triton]'")
    config = TritonConfig.model_validate({"protocol": protocol, "tls": True, "ca": "/nowhere/ca.pem", "timeout_s": 0.3})
    with pytest.raises(EngineUnavailable, match=r"/nowhere/ca\.pem"):
        TritonEngine(BUNDLE, config)
