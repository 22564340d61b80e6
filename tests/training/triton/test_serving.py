"""The server of this machine: started by the command, stopped with all its processes, and clear about what is wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from neuroscan_core.config import TritonConfig
from neuroscan_core.domain.errors import EngineUnavailable
from neuroscan_core.inference.bundle import load_bundle
from neuroscan_core.inference.triton import TritonEngine
from tests.inference.tiny_model import TINY
from tests.inference.triton_server import free_ports, serving
from training.triton import server as server_module
from training.triton.repository import write_repository
from training.triton.server import Installation, Listening, TritonServer, find_installation

BUNDLE = load_bundle(TINY)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    write_repository([BUNDLE], tmp_path / "repository")
    return tmp_path / "repository"


@pytest.mark.parametrize("stop_signal", [signal.SIGTERM, signal.SIGINT])
def test_the_command_serves_until_it_is_asked_to_end_and_takes_the_server_along(
    repository: Path, stop_signal: signal.Signals
) -> None:
    pytest.importorskip("tritonclient", reason="pip install 'neuroscan[triton]'")
    try:
        find_installation()
    except EngineUnavailable as missing:
        pytest.skip(str(missing))
    http_port, grpc_port = free_ports(2)
    process = subprocess.Popen(
        [sys.executable, "-m", "training", "triton", "--out", str(repository), "--serve", "--http-port",
         str(http_port), "--grpc-port", str(grpc_port)],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        with TritonEngine(BUNDLE, TritonConfig(url=f"127.0.0.1:{grpc_port}", timeout_s=120)) as triton:
            assert np.allclose(triton.run(BUNDLE.reference.image_NCHW), BUNDLE.reference.logits_NLHW, atol=1e-5)
        family = psutil.Process(process.pid).children(recursive=True)
        assert family
        process.send_signal(stop_signal)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_server_that_ends_leaves_nothing_behind(repository: Path, is_killed: bool) -> None:
    others = set(psutil.Process().children(recursive=True))
    with serving(repository) as server:
        family = [process for process in psutil.Process().children(recursive=True) if process not in others]
        staged = [part for process in family for part in process.cmdline() if part.startswith("--backend-directory=")]
        assert family
        if is_killed:
            server.kill()
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive
    folders = [Path(option.split("=", 1)[1]) for option in staged]
    assert not any(folder.exists() or list(Path("/dev/shm").glob(f"{folder.name}*")) for folder in folders)


@pytest.mark.parametrize(
    ("wrong", "becomes", "complaint"),
    [
        ("dims: [ 3, 32, 32 ]", "dims: [ 3, 16, 16 ]", "INVALID_ARGUMENT"),
        ("max_batch_size: 16", "max_batch_size: sixteen", "failed to read text proto"),
        ("TYPE_FP32 dims: [ 1", "TYPE_FLOAT dims: [ 1", "failed to read text proto"),
    ],
)
def test_a_model_that_does_not_load_is_named_with_the_servers_own_words(
    repository: Path, wrong: str, becomes: str, complaint: str
) -> None:
    config = repository / "tiny" / "config.pbtxt"
    text = config.read_text()
    assert wrong in text
    config.write_text(text.replace(wrong, becomes))
    with pytest.raises(EngineUnavailable, match=f"(?s)The Triton server ended.*{complaint}"), serving(repository):
        pass


def test_a_missing_server_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module.shutil, "which", lambda name, path=None: None)
    monkeypatch.setattr(server_module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EngineUnavailable, match="nvidia-pytriton"):
        find_installation()


def test_nvidias_own_server_goes_first_and_brings_its_backends(repository: Path, tmp_path: Path) -> None:
    binary = tmp_path / "tritonserver"
    binary.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\necho "error: no GPU" >&2\nexit 1\n')
    binary.chmod(0o755)
    environment = {"PATH": os.environ["PATH"]}
    listening = Listening(http_port=free_ports(1)[0])
    server = TritonServer(
        repository, listening, tmp_path / "log", environment=environment, installation=Installation(binary)
    )
    with pytest.raises(EngineUnavailable, match="error: no GPU"):
        server.start()
    asked = (tmp_path / "asked").read_text()
    assert "--disable-auto-complete-config" in asked and "--backend-directory" not in asked
    assert "--http-address=127.0.0.1" in asked and "--grpc-address=127.0.0.1" in asked
