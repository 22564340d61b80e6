"""A real node as separate processes, and a real archive, for tests that look at the whole."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import psutil
import yaml

from dicom_gateway.journal import Journal, SeriesRecord
from neuroscan_core.config import NodeConfig, load_config

T = TypeVar("T")
PATIENCE_S = 90.0


def free_port() -> int:
    """A TCP port on loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], T], what: str, patience_s: float = PATIENCE_S) -> T:
    """Poll until `condition` returns something true; that."""
    deadline = time.monotonic() + patience_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience_s:.0f} s in vain for {what}")
        time.sleep(0.05)


def is_listening(port: int) -> bool:
    """Whether somebody answers on a loopback port."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class RunningNode:
    """`neuroscan up` (or single processes) on a state folder that survives restarts.

    Parameters
    ----------
    folder : Path
        Receives configuration, state and logs.
    destinations : list of dict
        `destinations` of the configuration.
    overrides
        Further top-level sections.
    """

    def __init__(self, folder: Path, destinations: list[dict[str, Any]], **overrides: Any) -> None:
        self.folder = folder
        self.port, self.viewer_port = free_port(), free_port()
        config: dict[str, Any] = {
            "state_dir": str(folder / "state"),
            "gateway": {"host": "127.0.0.1", "port": self.port, "min_free_bytes": 1 << 20},
            "series": {"quiet_s": 2.0, "give_up_s": 6.0},
            "viewer": {"port": self.viewer_port},
            "destinations": destinations,
            "rules": [{"name": "every MR", "when": {"Modality": "MR"}, "model": "mobilenetv2-unet-flair"}],
        }
        for section, values in overrides.items():
            config[section] = {**config[section], **values} if isinstance(config.get(section), dict) else values
        self.config_path = folder / "neuroscan.yaml"
        self.config_path.write_text(yaml.safe_dump(config))
        self.config: NodeConfig = load_config(self.config_path)
        self._process: subprocess.Popen[bytes] | None = None
        self._alone: dict[str, subprocess.Popen[bytes]] = {}
        self._log = (folder / "node.log").open("ab")

    def command(self, *arguments: str) -> list[str]:
        """Command line of `neuroscan` in this interpreter."""
        return [sys.executable, "-m", "neuroscan_core.cli", *arguments]

    def start(self, *arguments: str) -> None:
        """Start `neuroscan up` with further arguments and wait until all of it is ready."""
        self._process = subprocess.Popen(
            self.command("up", "-c", str(self.config_path), *arguments), stdout=self._log, stderr=self._log
        )
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Wait for `/health/ready`."""
        import httpx

        def ready() -> bool:
            assert self._process is not None
            if self._process.poll() is not None:
                raise AssertionError(f"the node ended:\n{self.log()[-3000:]}")
            with contextlib.suppress(httpx.HTTPError):
                return httpx.get(f"http://127.0.0.1:{self.viewer_port}/health/ready", timeout=5).status_code == 200
            return False

        wait_for(ready, "the node to be ready")

    def log(self) -> str:
        """Everything that the node's processes have logged."""
        return (self.folder / "node.log").read_text(errors="replace")

    def start_one_by_one(self, *, crash_at: str) -> None:
        """Start each process alone, the one that reaches `crash_at` (``POINT:N``) armed with it."""
        doomed = "segmenter" if crash_at.startswith("segmenter") else "gateway"
        for role in ("gateway", "segmenter", "viewer"):
            self._start_role(role, *(("--crash-at", crash_at) if role == doomed else ()))
        wait_for(lambda: self._alone[doomed].poll() is not None or self.is_listening(), "the gateway to listen")

    def _start_role(self, role: str, *arguments: str) -> None:
        command = self.command(role, "-c", str(self.config_path), *arguments)
        self._alone[role] = subprocess.Popen(command, stdout=self._log, stderr=self._log)

    def revive_dead(self) -> list[str]:
        """Start again, unarmed, what has died by SIGKILL; its roles."""
        dead = [role for role, process in self._alone.items() if process.poll() == -signal.SIGKILL]
        for role in dead:
            self._start_role(role)
        return dead

    def processes(self) -> dict[str, psutil.Process]:
        """Role -> process of the supervised children."""
        assert self._process is not None
        found = {}
        for child in psutil.Process(self._process.pid).children():
            with contextlib.suppress(psutil.Error):
                for role in ("gateway", "segmenter", "viewer"):
                    if role in child.cmdline():
                        found[role] = child
        return found

    def is_listening(self) -> bool:
        """Whether the gateway takes connections."""
        return is_listening(self.port)

    def kill(self) -> None:
        """`kill -9` for the supervisor and every process of the node."""
        assert self._process is not None
        family = [*psutil.Process(self._process.pid).children(recursive=True), psutil.Process(self._process.pid)]
        self._process.send_signal(signal.SIGSTOP)  # lest it restarts what dies first
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()
        psutil.wait_procs(family, timeout=10)

    def close(self) -> None:
        """Stop it for good."""
        self.stop()
        self._log.close()

    def stop(self) -> int:
        """End by SIGTERM; the exit status."""
        for process in self._alone.values():
            process.terminate()
        for process in self._alone.values():
            process.wait(timeout=60)
        self._alone.clear()
        if self._process is None or self._process.poll() is not None:
            return 0
        self._process.terminate()
        try:
            return self._process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    @contextlib.contextmanager
    def journal(self) -> Iterator[Journal]:
        """The node's journal, opened beside it."""
        journal = Journal(self.config.journal_path)
        try:
            yield journal
        finally:
            journal.close()

    def series(self, series_uid: str) -> SeriesRecord | None:
        """What the journal says of a series."""
        if not self.config.journal_path.exists():
            return None
        with self.journal() as journal:
            return journal.series(series_uid)

    def wait_for_state(self, series_uid: str, *states: str) -> SeriesRecord:
        """Wait until a series is in one of these states."""

        def reached() -> SeriesRecord | None:
            record = self.series(series_uid)
            return record if record is not None and record.state.value in states else None

        try:
            return wait_for(reached, f"series {series_uid} to be {' or '.join(states)}")
        except AssertionError as exc:
            raise AssertionError(f"{exc}; it is {self.series(series_uid)}\n{self.log()[-3000:]}") from exc


class RunningArchive:
    """`neuroscan archive`: the embedded PACS as a process of its own."""

    def __init__(self, folder: Path, *arguments: str, port: int | None = None) -> None:
        self.folder, self.port = folder, port or free_port()
        folder.mkdir(parents=True, exist_ok=True)
        self._log = (folder.parent / f"{folder.name}.log").open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "neuroscan_core.cli", "archive", str(folder), "--port", str(self.port), *arguments],
            stdout=self._log, stderr=self._log, env={**os.environ, "COLUMNS": "200"},
        )  # fmt: skip
        wait_for(lambda: is_listening(self.port), "the archive to listen")

    @property
    def destination(self) -> dict[str, Any]:
        """Its entry in the configuration."""
        return {"name": "archive", "host": "127.0.0.1", "port": self.port, "ae_title": "ARCHIVE", "backoff_s": 0.2}

    def objects(self) -> list[Path]:
        """Everything it has stored."""
        return sorted(path for path in self.folder.rglob("*.dcm") if path.is_file())

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(timeout=30)
        self._log.close()
