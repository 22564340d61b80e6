"""Peers and journals for the tests of delivery: our archive, DCMTK's storescp, Orthanc."""

from __future__ import annotations

import json
import random
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dicom_gateway.archive import Archive, Faults
from neuroscan_core.config import TlsConfig
from tests.dcmtk import dcmtk
from tests.deliver.world import World
from tests.orthanc import running_orthanc

FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # pynetdicom leaves the socket of a refused connection to the garbage collector.
    leak = pytest.mark.filterwarnings(
        "ignore:Exception ignored in. <(socket|ssl):pytest.PytestUnraisableExceptionWarning"
    )
    for item in items:
        if FOLDER in item.path.parents:
            item.add_marker(leak)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        assert process.poll() is None, "the peer ended at once"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            threading.Event().wait(0.05)
    raise AssertionError("the peer does not listen")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path / "node") as world:
        yield world


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def archive(tmp_path: Path, faults: Faults) -> Iterator[Archive]:
    with Archive(tmp_path / "archive", faults=faults) as archive:
        yield archive


@dataclass
class Process:
    """A peer in another process."""

    port: int
    folder: Path
    popen: subprocess.Popen[bytes] = field(repr=False)


@pytest.fixture
def storescp(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Start DCMTK's storescp with options; files land in `folder`."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*options: str) -> Process:
        folder = tmp_path / f"storescp-{len(started)}"
        folder.mkdir()
        port = free_port()
        command = [dcmtk("storescp"), "-od", str(folder), *options, str(port)]
        popen = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        started.append(popen)
        wait_for_port(port, popen)
        return Process(port, folder, popen)

    yield start
    for popen in started:
        popen.terminate()
        popen.wait(timeout=20)


@dataclass
class Orthanc:
    """A running Orthanc."""

    dicom_port: int
    http_port: int
    node_port: int

    def get(self, path: str) -> Any:
        import urllib.request

        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=20) as response:
            return json.load(response)

    def files(self) -> dict[str, str]:
        """SOP Instance UID -> Orthanc's ID."""
        return {self.get(f"/instances/{key}")["MainDicomTags"]["SOPInstanceUID"]: key for key in self.get("/instances")}

    def download(self, key: str) -> bytes:
        import urllib.request

        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}/instances/{key}/file", timeout=20) as response:
            content: bytes = response.read()
            return content


@pytest.fixture(scope="session")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    node_port = free_port()
    settings = {"DicomAlwaysAllowEcho": True}
    with running_orthanc(tmp_path_factory.mktemp("orthanc"), settings, node_port=node_port) as ports:
        yield Orthanc(*ports, node_port)


@pytest.fixture(scope="session")
def tls_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TlsConfig]:
    """Certificates of node and archive, signed by one authority, and of a stranger."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")

    def run(*arguments: str) -> None:
        subprocess.run([openssl, *arguments], check=True, capture_output=True, cwd=folder)

    for authority in ("ca", "other-ca"):
        run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{authority}.key", "-out", f"{authority}.pem",
            "-days", "2", "-subj", f"/CN={authority}")  # fmt: skip
    for name, authority in (("node", "ca"), ("archive", "ca"), ("stranger", "other-ca")):
        run("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr",
            "-subj", f"/CN={name}")  # fmt: skip
        run("x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.pem", "-CAkey", f"{authority}.key",
            "-CAcreateserial", "-out", f"{name}.pem", "-days", "2")  # fmt: skip
    return {
        name: TlsConfig(certificate=folder / f"{name}.pem", key=folder / f"{name}.key", ca=folder / "ca.pem")
        for name in ("node", "archive", "stranger")
    }


@pytest.fixture
def source() -> random.Random:
    return random.Random(0)
