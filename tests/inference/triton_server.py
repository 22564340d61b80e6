"""A real Triton server for tests: the one of this machine, on free ports of loopback, over repositories made here."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from neuroscan_core.config import TritonConfig
from neuroscan_core.domain.errors import EngineUnavailable
from training.triton.server import Certificates, Listening, TritonServer, find_installation


def free_ports(num: int) -> list[int]:
    """TCP ports on loopback that were free a moment ago."""
    probes = [socket.socket() for _ in range(num)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


@contextmanager
def serving(repository: Path, tls: Certificates | None = None) -> Iterator[TritonServer]:
    """Serve a repository; skips the test where no server is installed."""
    pytest.importorskip("tritonclient", reason="pip install 'neuroscan[triton]'")
    try:
        find_installation()
    except EngineUnavailable as missing:
        pytest.skip(str(missing))
    http_port, grpc_port = free_ports(2)
    log = repository.parent / f"{repository.name}.log"
    listening = Listening("127.0.0.1", http_port, grpc_port, tls=tls)
    with TritonServer(repository, listening, log, environment=os.environ) as server:
        yield server


def config_of(server: TritonServer, protocol: str, prefix: str = "", timeout_s: float = 60.0) -> TritonConfig:
    """Configuration of a node that asks this server."""
    port = server.listening.grpc_port if protocol == "grpc" else server.listening.http_port
    values = {"url": f"127.0.0.1:{port}", "protocol": protocol, "model_prefix": prefix, "timeout_s": timeout_s}
    return TritonConfig.model_validate(values)


def copy_model(repository: Path, name: str, new_name: str) -> Path:
    """Copy a model of a repository under another name; its folder."""
    folder = Path(shutil.copytree(repository / name, repository / new_name))
    config = folder / "config.pbtxt"
    config.write_text(config.read_text().replace(f'name: "{name}"', f'name: "{new_name}"', 1))
    return folder
