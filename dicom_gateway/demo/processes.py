"""What takes part in the demonstration: the node as `neuroscan up` starts it, and the archive that gets the result."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml

from neuroscan_core.domain.errors import ConfigurationError, NeuroScanError

NODE_AE_TITLE = "NEUROSCAN"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0
POLL_S = 0.1
LOG_TAIL_LINES = 15


class Pacs(Protocol):
    """An archive that the demonstration started."""

    @property
    def destination(self) -> dict[str, Any]:
        """The entry of the node's configuration that leads to it."""
        ...

    def fetch(self, sop_instance_uid: str, folder: Path) -> Path:
        """The object as the archive gives it back, as a Part 10 file."""
        ...


@dataclass(frozen=True)
class NodeProcess:
    """A running node.

    Parameters
    ----------
    process : subprocess.Popen
    port : int
        DICOM port.
    page_url : str
        Status page, without a slash at the end.
    log_path : Path
        What the node writes to standard error.
    """

    process: subprocess.Popen[bytes]
    port: int
    page_url: str
    log_path: Path

    def series(self) -> dict[str, dict[str, Any]]:
        """What the status page knows: SeriesInstanceUID -> entry."""
        return {entry["series"]: entry for entry in get_json(f"{self.page_url}/api/series")}

    def check(self) -> None:
        """Raise if the node has ended by itself."""
        if self.process.poll() is not None:
            raise NeuroScanError(
                f"The node ended with status {self.process.returncode}:\n{self.log_tail()}",
                remedy=f"The whole log is in {self.log_path}.",
            )

    def log_tail(self) -> str:
        """The last lines of the log."""
        lines = self.log_path.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-LOG_TAIL_LINES:])


def get_json(url: str, timeout_s: float = 10.0) -> Any:
    """Read JSON from a server on this machine; `urllib.error.URLError` where it does not answer."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=timeout_s) as answer:
        return json.loads(answer.read())


def free_port(preferred: int = 0) -> int:
    """A port of the loopback that is free now; the preferred one if it is."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise ConfigurationError("No port of the loopback is free.", remedy="Close what holds them.")


def wait_until(is_so: Callable[[], bool], timeout_s: float, failure: Callable[[], NeuroScanError]) -> None:
    """Look again and again; raise what `failure` makes when time is over."""
    deadline_s = time.monotonic() + timeout_s
    while not is_so():
        if time.monotonic() > deadline_s:
            raise failure()
        time.sleep(POLL_S)


@contextmanager
def running_node(folder: Path, port: int, destination: dict[str, Any]) -> Iterator[NodeProcess]:
    """Start `neuroscan up` with a configuration of its own; at the end, stop it and insist on a clean exit.

    Parameters
    ----------
    folder : Path
    port : int
        DICOM port, which the archive knows, too: it may report a storage commitment there.
    destination : dict

    Raises
    ------
    NeuroScanError
        It does not get ready, or does not end cleanly.
    """
    folder.mkdir(parents=True, exist_ok=True)
    page_port = free_port(8080)
    config_path, log_path = folder / "neuroscan.yaml", folder / "node.log"
    config = {
        "state_dir": str(folder / "state"),
        "gateway": {"ae_title": NODE_AE_TITLE, "host": "127.0.0.1", "port": port, "min_free_bytes": 64 << 20},
        "viewer": {"port": page_port},
        "destinations": [destination],
    }
    config_path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    # Under supervision the node ends with this process, however that ends; Ctrl-C is passed on in order, by us.
    command = [sys.executable, "-m", "neuroscan_core.cli", "up", "-c", str(config_path), "--supervised"]
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    node = NodeProcess(process, port, f"http://127.0.0.1:{page_port}", log_path)
    try:
        wait_until(lambda: _is_ready(node), START_TIMEOUT_S, lambda: _not_ready(node))
        yield node
    finally:
        status = _stop(process)
    if status != 0:
        raise NeuroScanError(
            f"The node did not end cleanly (status {status}):\n{node.log_tail()}", remedy=f"See {log_path}."
        )


def _is_ready(node: NodeProcess) -> bool:
    node.check()
    try:
        return bool(get_json(f"{node.page_url}/health/ready")["status"] == "ready")
    except (urllib.error.URLError, OSError):
        return False


def _not_ready(node: NodeProcess) -> NeuroScanError:
    return NeuroScanError(f"The node is not ready after {START_TIMEOUT_S:.0f} s:\n{node.log_tail()}")


def _stop(process: subprocess.Popen[bytes]) -> int:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        return process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
    finally:
        if process.stdin is not None:
            process.stdin.close()


class EmbeddedPacs:
    """NeuroScan's own small archive, in this process."""

    def __init__(self, folder: Path, node_port: int) -> None:
        from dicom_gateway.archive import Archive

        self._archive = Archive(folder, peers={NODE_AE_TITLE: ("127.0.0.1", node_port)})

    def __enter__(self) -> EmbeddedPacs:
        self._archive.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.stop()

    @property
    def destination(self) -> dict[str, Any]:
        """Entry of the node's configuration."""
        return {
            "name": "archive", "host": "127.0.0.1", "port": self._archive.port, "ae_title": self._archive.ae_title,
            "storage_commitment": True,
        }  # fmt: skip

    def fetch(self, sop_instance_uid: str, folder: Path) -> Path:
        """The file that the archive wrote; `folder` is not used."""
        path = self._archive.path_of(sop_instance_uid)
        if path is None:
            raise NeuroScanError(f"The archive does not hold {sop_instance_uid}, although it acknowledged it.")
        return path


class OrthancPacs:
    """A real Orthanc, started for the demonstration on free ports of the loopback."""

    def __init__(self, folder: Path, node_port: int) -> None:
        binary = shutil.which("Orthanc")
        if binary is None:
            raise ConfigurationError("Orthanc is not installed.", remedy="sudo apt-get install -y orthanc")
        self._binary, self._folder, self._node_port = binary, folder, node_port
        self._dicom_port, self._http_port = free_port(4242), free_port(8042)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> OrthancPacs:
        self._folder.mkdir(parents=True, exist_ok=True)
        config = {
            "Name": "NeuroScan demo", "StorageDirectory": str(self._folder / "storage"),
            "IndexDirectory": str(self._folder / "storage"), "DicomAet": "ORTHANC", "DicomPort": self._dicom_port,
            "HttpPort": self._http_port, "RemoteAccessAllowed": False, "AuthenticationEnabled": False,
            "DicomCheckCalledAet": False,
            "DicomModalities": {"neuroscan": {"AET": NODE_AE_TITLE, "Host": "127.0.0.1", "Port": self._node_port}},
        }  # fmt: skip
        config_path, log_path = self._folder / "orthanc.json", self._folder / "orthanc.log"
        config_path.write_text(json.dumps(config, indent=2), encoding="utf-8")
        with log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [self._binary, str(config_path)], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        wait_until(self._answers, START_TIMEOUT_S, lambda: NeuroScanError(f"Orthanc does not start; see {log_path}."))
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            _stop(self._process)

    @property
    def destination(self) -> dict[str, Any]:
        """Entry of the node's configuration."""
        return {
            "name": "orthanc", "host": "127.0.0.1", "port": self._dicom_port, "ae_title": "ORTHANC",
            "storage_commitment": True,
        }  # fmt: skip

    def fetch(self, sop_instance_uid: str, folder: Path) -> Path:
        """Download the object over Orthanc's REST interface."""
        base = f"http://127.0.0.1:{self._http_port}/instances"
        entries = get_json(f"{base}?expand")
        matching = [entry["ID"] for entry in entries if entry["MainDicomTags"]["SOPInstanceUID"] == sop_instance_uid]
        if not matching:
            raise NeuroScanError(f"Orthanc does not hold {sop_instance_uid}, although it acknowledged it.")
        path = folder / f"{sop_instance_uid}.dcm"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{base}/{matching[0]}/file", timeout=30) as answer:
            path.write_bytes(answer.read())
        return path

    def _answers(self) -> bool:
        try:
            return bool(get_json(f"http://127.0.0.1:{self._http_port}/system"))
        except (urllib.error.URLError, OSError):
            return False
