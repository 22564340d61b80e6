"""The node's engine on a real Triton server: masks of ONNX Runtime, other models refused, restarts survived."""

from __future__ import annotations

import re
import struct
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from neuroscan_core.config import SegmenterConfig
from neuroscan_core.domain.errors import EngineRefused, EngineUnavailable
from neuroscan_core.inference.bundle import load_bundle
from neuroscan_core.inference.onnxruntime import OnnxRuntimeEngine
from neuroscan_core.inference.triton import SHA256_PARAMETER, TritonEngine
from neuroscan_core.offline import segment_volume
from tests.inference.tiny_model import TINY
from tests.inference.triton_server import config_of, copy_model, serving
from tests.pipeline.stacks import accept_anything, random_volume, stack_geometry
from training.triton.repository import RepositoryOptions, write_repository
from training.triton.server import TritonServer

BUNDLE = load_bundle(TINY)
PROTOCOLS = ("grpc", "http")


def write_tiny(folder: Path) -> Path:
    """A repository with the tiny model, and two impostors under other prefixes."""
    write_repository([BUNDLE], folder, RepositoryOptions(num_instances=2, max_batch=4))
    copy_model(folder, "tiny", "outdated.tiny")
    config = folder / "outdated.tiny" / "config.pbtxt"
    config.write_text(config.read_text().replace(BUNDLE.card.onnx_sha256, "e" * 64))
    impostor = copy_model(folder, "tiny", "impostor.tiny")
    config = impostor / "config.pbtxt"
    config.write_text(re.sub(f'parameters .*"{SHA256_PARAMETER}".*', "", config.read_text()))
    change_bias(impostor / "1" / "model.onnx")
    return folder


def change_bias(network: Path) -> None:
    """Make another network of the tiny one: the same names and shapes, another bias."""
    content = network.read_bytes()
    was, becomes = struct.pack("<f", -0.2), struct.pack("<f", 0.3)
    assert content.count(was) == 1
    network.write_bytes(content.replace(was, becomes))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    with serving(write_tiny(tmp_path_factory.mktemp("triton") / "repository")) as running:
        yield running


def windows(num: int) -> np.ndarray:
    return np.random.default_rng(3).gamma(2.0, 0.5, (num, 3, 32, 32)).astype(np.float32)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_series_gets_the_same_masks_as_on_onnx_runtime(server: TritonServer, protocol: str) -> None:
    volume = random_volume(stack_geometry(9), seed=4)
    config = SegmenterConfig(engine="triton", triton=config_of(server, protocol))
    triton, here = BUNDLE.open_engine(config), BUNDLE.open_engine(SegmenterConfig(engine="onnxruntime"))
    try:
        assert triton.name == f"triton-{protocol}"
        remote, local = (segment_volume(volume, engine, check=accept_anything) for engine in (triton, here))
    finally:
        triton.close()
        here.close()
    assert local.labels_kji.any()
    assert np.array_equal(remote.labels_kji, local.labels_kji)
    assert remote.measurements == local.measurements


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_batch_longer_than_the_servers_is_answered_whole_and_in_order(server: TritonServer, protocol: str) -> None:
    image = windows(23)
    with TritonEngine(BUNDLE, config_of(server, protocol)) as triton, OnnxRuntimeEngine(BUNDLE, 1) as here:
        assert np.array_equal(triton.run(image), here.run(image))
        assert np.array_equal(triton.run(image[::-1]), here.run(image[::-1]))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nodes_that_share_a_server_do_not_share_results(server: TritonServer, protocol: str) -> None:
    images = [windows(12)[start : start + 3] for start in range(0, 12, 3)]
    with OnnxRuntimeEngine(BUNDLE, 1) as here, ThreadPoolExecutor(4) as nodes:

        def ask(image: np.ndarray) -> list[np.ndarray]:
            with TritonEngine(BUNDLE, config_of(server, protocol)) as triton:
                return [triton.run(image) for _ in range(5)]

        for image, answers in zip(images, nodes.map(ask, images), strict=True):
            assert all(np.array_equal(answer, here.run(image)) for answer in answers)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(("prefix", "reason"), [("outdated.", "eeeeeeeeeeee"), ("impostor.", "probabilities differ")])
def test_a_server_with_another_network_is_refused(
    server: TritonServer, protocol: str, prefix: str, reason: str
) -> None:
    with pytest.raises(EngineRefused, match=reason):
        TritonEngine(BUNDLE, config_of(server, protocol, prefix))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_server_without_the_model_is_unavailable(server: TritonServer, protocol: str) -> None:
    with pytest.raises(EngineUnavailable, match=r"absent\.tiny"):
        TritonEngine(BUNDLE, config_of(server, protocol, "absent.", timeout_s=0.5))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_engine_may_be_opened_by_one_thread_and_run_by_others(server: TritonServer, protocol: str) -> None:
    with TritonEngine(BUNDLE, config_of(server, protocol)) as triton, ThreadPoolExecutor(2) as others:
        answers = [others.submit(triton.run, windows(6)).result() for _ in range(3)]
        assert all(np.array_equal(answer, triton.run(windows(6))) for answer in answers)


@pytest.mark.parametrize("protocol", ["grpc", pytest.param("http", marks=pytest.mark.slow)])
def test_a_server_that_is_killed_and_started_again_costs_no_slice(tmp_path: Path, protocol: str) -> None:
    write_repository([BUNDLE], tmp_path / "repository", RepositoryOptions(max_batch=4))
    with serving(tmp_path / "repository") as server, TritonEngine(BUNDLE, config_of(server, protocol)) as triton:
        before = triton.run(windows(6))
        server.kill()
        revival = threading.Thread(target=server.start)
        revival.start()
        assert np.array_equal(triton.run(windows(6)), before)
        revival.join()


@pytest.mark.slow
def test_a_server_that_comes_back_with_another_network_is_refused(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    (folder,) = write_repository([BUNDLE], repository, RepositoryOptions(max_batch=4))
    with serving(repository) as server, TritonEngine(BUNDLE, config_of(server, "grpc")) as triton:
        triton.run(windows(1))
        server.kill()
        change_bias(folder / "1" / "model.onnx")
        server.start()
        with pytest.raises(EngineRefused, match="probabilities differ"):
            triton.run(windows(1))


@pytest.mark.slow
def test_a_server_that_is_gone_is_unavailable_and_named(tmp_path: Path) -> None:
    write_repository([BUNDLE], tmp_path / "repository", RepositoryOptions(max_batch=4))
    with (
        serving(tmp_path / "repository") as server,
        TritonEngine(BUNDLE, config_of(server, "http", timeout_s=0.5)) as triton,
    ):
        server.kill()
        with pytest.raises(EngineUnavailable, match=f"127.0.0.1:{server.listening.http_port}"):
            triton.run(windows(1))
