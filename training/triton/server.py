"""Runs a Triton server on this machine over a model repository, without a container.

Two installations are known: NVIDIA's own (`tritonserver` on the path, as in its container), which brings its backends,
and the server inside the PyPI package `nvidia-pytriton`, which brings the Python backend alone; for the latter
`onnx_backend` stands in for the backend of ONNX Runtime. Only loopback is listened on unless asked otherwise.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from neuroscan_core.domain.errors import EngineUnavailable
from neuroscan_core.lifetime import Runs

STOP_S, READY_S, POLL_S = 20.0, 120.0, 0.05
INSTALL = "pip install --no-deps nvidia-pytriton  # Linux on x86-64, glibc 2.35 or newer"
LAST_LINES = 15


@dataclass(frozen=True)
class Installation:
    """A Triton server that was found.

    Parameters
    ----------
    binary : Path
    package : Path or None
        Folder of the `pytriton` package that it lies in; None for NVIDIA's own installation.
    """

    binary: Path
    package: Path | None = None


def find_installation() -> Installation:
    """Look for NVIDIA's own server, then for that of `nvidia-pytriton`.

    Raises
    ------
    EngineUnavailable
        There is none; the message says how to install one.
    """
    own = shutil.which("tritonserver") or shutil.which("tritonserver", path="/opt/tritonserver/bin")
    if own is not None:
        return Installation(Path(own))
    found = importlib.util.find_spec("pytriton")
    for location in (found.submodule_search_locations or ()) if found is not None else ():
        binary = Path(location) / "tritonserver" / "bin" / "tritonserver"
        if binary.is_file():
            return Installation(binary, Path(location))
    raise EngineUnavailable("There is no Triton server on this machine.", remedy=INSTALL)


@dataclass(frozen=True)
class Certificates:
    """PEM files of a server that speaks gRPC over TLS and lets nobody in without a certificate signed by `ca`."""

    certificate: Path
    key: Path
    ca: Path


@dataclass(frozen=True)
class Listening:
    """Where a server listens; loopback unless `host` says otherwise. TLS is for gRPC; Triton has none for HTTP."""

    host: str = "127.0.0.1"
    http_port: int = 8000
    grpc_port: int = 8001
    metrics_port: int | None = None
    tls: Certificates | None = None


class TritonServer(Runs):
    """A server process over a repository; a context manager.

    Parameters
    ----------
    repository : Path
    listening : Listening
    log : Path
        Receives what the server prints.
    environment : mapping of str to str
        Environment of the caller.
    installation : Installation, optional
        Default: what `find_installation` finds.

    Raises
    ------
    EngineUnavailable
        There is no server, or no shared library of Python for its backend, or it ended instead of becoming ready.
    """

    def __init__(
        self,
        repository: Path,
        listening: Listening,
        log: Path,
        *,
        environment: Mapping[str, str],
        installation: Installation | None = None,
    ) -> None:
        self.repository, self.listening, self.log = repository, listening, log
        self._installation = installation or find_installation()
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._staged = contextlib.ExitStack()

    def start(self, ready_s: float = READY_S) -> None:
        """Start it and wait until it and all its models are ready."""
        command, environment = self._command(), self._environment
        if self._installation.package is not None:
            backends = Path(self._staged.enter_context(tempfile.TemporaryDirectory(prefix="triton-backends-")))
            stage_backends(self._installation.package, backends)
            command += [
                f"--backend-directory={backends}",
                f"--backend-config=python,shm-region-prefix-name={backends.name}",
            ]
            self._staged.callback(_remove_shared_memory, backends.name)
            environment = _python_environment(environment, self._installation.package)
        with self.log.open("ab") as log:
            # A session of its own, so that what a server that was killed leaves behind can be ended with it.
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
        try:
            self._wait_until_ready(ready_s)
        except BaseException:
            self.stop()
            raise

    def wait(self) -> int:
        """Wait for the server's end; its exit status."""
        assert self._process is not None
        return self._process.wait()

    def stop(self) -> None:
        """End it by SIGTERM, or by SIGKILL where that does not help."""
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_S)
            self.kill()
            self._process = None
        self._staged.close()

    def kill(self) -> None:
        """End it and its backends by SIGKILL."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _command(self) -> list[str]:
        where = self.listening
        command = [
            str(self._installation.binary),
            f"--model-repository={self.repository}",
            f"--http-address={where.host}",
            f"--http-port={where.http_port}",
            f"--grpc-address={where.host}",
            f"--grpc-port={where.grpc_port}",
            f"--exit-timeout-secs={int(STOP_S) // 2}",
            # The configuration must say everything: a wrong one is to fail here, not to be guessed right.
            "--disable-auto-complete-config",
        ]
        if where.tls is not None:
            command += [
                "--grpc-use-ssl-mutual=true",
                f"--grpc-server-cert={where.tls.certificate}",
                f"--grpc-server-key={where.tls.key}",
                f"--grpc-root-cert={where.tls.ca}",
            ]
        if where.metrics_port is None:
            return [*command, "--allow-metrics=false"]
        return [*command, f"--metrics-address={where.host}", f"--metrics-port={where.metrics_port}"]

    def _wait_until_ready(self, ready_s: float) -> None:
        assert self._process is not None
        url = f"http://{self.listening.host}:{self.listening.http_port}/v2/health/ready"
        deadline_s = time.monotonic() + ready_s
        while not _answers(url):
            # A server with a model that does not load says so and ends.
            ended = _ended_within(self._process, POLL_S)
            if ended or time.monotonic() > deadline_s:
                what = "ended" if ended else f"was not ready within {ready_s:.0f} s"
                raise EngineUnavailable(f"The Triton server {what}.\n{self._complaint()}", remedy=f"See {self.log}.")

    def _complaint(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        errors = [line for line in lines if line.startswith(("E1", "E0")) or line.lower().startswith("error")]
        return "\n".join((errors or lines)[-LAST_LINES:])


def stage_backends(package: Path, folder: Path) -> None:
    """Lay out the backends of `nvidia-pytriton` as its server wants them; it follows no links out of the folder.

    Parameters
    ----------
    package : Path
        Folder of `pytriton`.
    folder : Path
        Receives `python/` and `onnxruntime/`.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = package / "tritonserver" / "python_backend_stubs" / version / "triton_python_backend_stub"
    if not stub.is_file():
        raise EngineUnavailable(f"The server of nvidia-pytriton has no backend for Python {version}.", remedy=INSTALL)
    python, onnxruntime = folder / "python", folder / "onnxruntime"
    python.mkdir()
    onnxruntime.mkdir()
    for name in ("libtriton_python.so", "triton_python_backend_utils.py"):
        shutil.copy(package / "tritonserver" / "backends" / "python" / name, python)
    shutil.copy(stub, python)
    shutil.copyfile(Path(__file__).with_name("onnx_backend.py"), onnxruntime / "model.py")


def _remove_shared_memory(prefix: str) -> None:
    """Remove what a server that was killed has left; one that ends removes it itself."""
    for path in Path("/dev/shm").glob(f"{prefix}*"):
        path.unlink(missing_ok=True)


def _python_environment(environment: Mapping[str, str], package: Path) -> dict[str, str]:
    """Environment in which the server's Python backend finds this interpreter and its packages.

    The backend embeds Python: it loads the interpreter's shared library, and takes the first `python3` of the path for
    the environment that it is in.
    """
    libraries = [
        str(_shared_library().parent), str(package.parent / "nvidia_pytriton.libs"), environment.get("LD_LIBRARY_PATH")
    ]  # fmt: skip
    cleared = {name: value for name, value in environment.items() if name not in ("PYTHONHOME", "PYTHONPATH")}
    return {
        **cleared,
        "PATH": f"{Path(sys.executable).parent}:{environment.get('PATH', '')}",
        "LD_LIBRARY_PATH": ":".join(path for path in libraries if path),
    }


def _shared_library() -> Path:
    name = f"libpython{sys.version_info.major}.{sys.version_info.minor}.so.1.0"
    for folder in (sysconfig.get_config_var("LIBDIR"), f"{sys.base_prefix}/lib"):
        if folder and (Path(folder) / name).is_file():
            return Path(folder) / name
    raise EngineUnavailable(
        f"This Python has no {name}, which the Python backend of Triton embeds.",
        remedy="Install it (Debian: apt-get install libpython3.X), or use a Python built with --enable-shared.",
    )


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _ended_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True
