"""A node whose networks run on a Triton server: the same result as on ONNX Runtime, with the server and without it.

The server has the network in FP32, and so has the processor that takes its place.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from neuroscan_core.inference.bundle import find_bundles
from tests.e2e.conftest import PhantomSeries, storescu
from tests.e2e.node import RunningArchive, RunningNode, wait_for
from tests.e2e.test_main_job import batch_mask, mask_of, of_modality
from tests.inference.triton_server import config_of, serving
from training.triton.repository import write_repository
from training.triton.server import TritonServer

MODEL = "mobilenetv2-unet-flair"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[TritonServer]:
    """A Triton server with the bundled model."""
    write_repository([find_bundles(None)[MODEL]], tmp_path / "repository")
    with serving(tmp_path / "repository") as running:
        yield running


def node_of(server: TritonServer, folder: Path, archive: RunningArchive, protocol: str) -> RunningNode:
    triton = config_of(server, protocol, timeout_s=2.0).model_dump(mode="json")
    return RunningNode(folder, [archive.destination], segmenter={"engine": "triton", "triton": triton})


@pytest.mark.parametrize("protocol", ["grpc", pytest.param("http", marks=pytest.mark.slow)])
def test_a_node_with_triton_delivers_the_mask_that_onnx_runtime_makes(
    protocol: str, server: TritonServer, tmp_path: Path, archive: RunningArchive,
    phantom_series: Callable[[str], PhantomSeries],
) -> None:  # fmt: skip
    series = phantom_series("triton")
    node = node_of(server, tmp_path, archive, protocol)
    try:
        node.start()
        storescu(node.port, series.paths)
        node.wait_for_state(series.series_uid, "delivered")
    finally:
        node.close()
    (seg_path,) = of_modality(archive, "SEG")
    assert np.array_equal(mask_of(seg_path, series.paths), batch_mask(series.paths, "fp32"))
    assert "another engine serves" not in node.log()


@pytest.mark.slow
def test_a_node_whose_server_dies_delivers_the_same_mask_and_says_who_made_it(
    server: TritonServer, tmp_path: Path, archive: RunningArchive, phantom_series: Callable[[str], PhantomSeries]
) -> None:
    series = phantom_series("alone")
    node = node_of(server, tmp_path, archive, "grpc")
    try:
        node.start()
        server.kill()
        storescu(node.port, series.paths)
        node.wait_for_state(series.series_uid, "delivered")
    finally:
        node.close()
    (seg_path,) = of_modality(archive, "SEG")
    assert np.array_equal(mask_of(seg_path, series.paths), batch_mask(series.paths, "fp32"))
    assert "another engine serves" in node.log()


@pytest.mark.slow
def test_a_node_that_is_up_before_its_server_keeps_what_it_receives_and_delivers_it_later(
    tmp_path: Path, archive: RunningArchive, phantom_series: Callable[[str], PhantomSeries]
) -> None:
    series = phantom_series("early")
    write_repository([find_bundles(None)[MODEL]], tmp_path / "repository")
    with serving(tmp_path / "repository") as server:
        server.kill()
        node = node_of(server, tmp_path, archive, "grpc")
        starting = threading.Thread(target=node.start)
        try:
            starting.start()
            wait_for(node.is_listening, "the gateway to listen")
            storescu(node.port, series.paths)
            wait_for(lambda: "process ended; it starts again" in node.log(), "the segmenter to end")
            server.start()
            starting.join()
            node.wait_for_state(series.series_uid, "delivered")
        finally:
            node.close()
    (seg_path,) = of_modality(archive, "SEG")
    assert np.array_equal(mask_of(seg_path, series.paths), batch_mask(series.paths, "fp32"))
    assert "the node stops" not in node.log() and "another engine serves" not in node.log()
