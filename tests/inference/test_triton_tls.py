"""TLS with a real Triton server: both sides show certificates; strangers on either side are refused."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuroscan_core.config import TritonConfig
from neuroscan_core.domain.errors import EngineUnavailable
from neuroscan_core.inference.bundle import load_bundle
from neuroscan_core.inference.triton import TritonEngine
from tests.inference.tiny_model import TINY
from tests.inference.triton_server import serving
from training.triton.repository import write_repository
from training.triton.server import Certificates, TritonServer

BUNDLE = load_bundle(TINY)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory, need_program: Callable[[str], str]) -> Path:
    """An authority, certificates of server and node, and a stranger that signed itself."""
    openssl, folder = need_program("openssl"), tmp_path_factory.mktemp("certificates")

    def make(name: str, *options: str) -> None:
        subprocess.run(
            [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
             "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", f"{name}.key", "-out",
             f"{name}.pem", *options],
            cwd=folder, check=True, capture_output=True,
        )  # fmt: skip

    make("ca")
    make("stranger")
    for name in ("server", "node"):
        make(name, "-CA", "ca.pem", "-CAkey", "ca.key")
    return folder


@pytest.fixture(scope="module")
def server(certificates: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    repository = tmp_path_factory.mktemp("triton") / "repository"
    write_repository([BUNDLE], repository)
    files = Certificates(certificates / "server.pem", certificates / "server.key", certificates / "ca.pem")
    with serving(repository, tls=files) as running:
        yield running


@pytest.fixture
def proxy(server: TritonServer, certificates: Path) -> Iterator[int]:
    """What stands before the HTTP port, which Triton has no TLS for: ends TLS and passes bytes on; its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    context.load_verify_locations(certificates / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED

    class Passing(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError), context.wrap_socket(self.request, server_side=True) as client:
                inside = socket.create_connection(("127.0.0.1", server.listening.http_port))
                back = threading.Thread(target=pass_on, args=(inside, client))
                back.start()
                pass_on(client, inside)
                back.join()
                inside.close()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Passing) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.05,))
        thread.start()
        yield int(listening.server_address[1])
        listening.shutdown()
        thread.join()


def pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while content := source.recv(65536):
            target.sendall(content)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


def configuration(server: TritonServer, folder: Path, **changes: Any) -> TritonConfig:
    values = {
        "url": f"127.0.0.1:{server.listening.grpc_port}", "timeout_s": 20.0, "tls": True, "ca": folder / "ca.pem",
        "certificate": folder / "node.pem", "key": folder / "node.key",
    }  # fmt: skip
    return TritonConfig.model_validate(values | changes)


def test_a_node_with_a_certificate_is_served(server: TritonServer, certificates: Path) -> None:
    with TritonEngine(BUNDLE, configuration(server, certificates)) as triton:
        reference = BUNDLE.reference
        assert np.allclose(triton.run(reference.image_NCHW), reference.logits_NLHW, atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"certificate": "stranger.pem", "key": "stranger.key"}, id="a stranger as node"),
        pytest.param({"certificate": None, "key": None}, id="no certificate of the node"),
        pytest.param({"ca": "stranger.pem"}, id="a server that the node does not know"),
        pytest.param({"tls": False}, id="no TLS"),
    ],
)
def test_strangers_are_refused(server: TritonServer, certificates: Path, changes: dict[str, Any]) -> None:
    paths = {key: certificates / value if isinstance(value, str) else value for key, value in changes.items()}
    config = configuration(server, certificates, timeout_s=1.0, **paths)
    with pytest.raises(EngineUnavailable, match="does not serve tiny"):
        TritonEngine(BUNDLE, config)


def test_http_is_spoken_over_tls_to_a_proxy(server: TritonServer, certificates: Path, proxy: int) -> None:
    config = configuration(server, certificates, protocol="http", url=f"127.0.0.1:{proxy}")
    with TritonEngine(BUNDLE, config) as triton:
        reference = BUNDLE.reference
        assert np.allclose(triton.run(reference.image_NCHW), reference.logits_NLHW, atol=1e-5)


@pytest.mark.parametrize("changes", [{"ca": "stranger.pem"}, {"certificate": None, "key": None}, {"tls": False}])
def test_a_proxy_of_strangers_or_for_strangers_is_refused(
    server: TritonServer, certificates: Path, proxy: int, changes: dict[str, Any]
) -> None:
    paths = {key: certificates / value if isinstance(value, str) else value for key, value in changes.items()}
    config = configuration(server, certificates, protocol="http", url=f"127.0.0.1:{proxy}", timeout_s=1.0, **paths)
    with pytest.raises(EngineUnavailable, match="does not serve tiny"):
        TritonEngine(BUNDLE, config)
