"""`neuroscan up` as a person and as an init system meet it."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

PATIENCE_S = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, what
        time.sleep(0.05)


class Up:
    """A node started with `neuroscan up`."""

    def __init__(self, folder: Path) -> None:
        self.config, self.log = folder / "node.yaml", folder / "log"
        self.config.write_text(
            f"state_dir: {folder / 'state'}\nviewer: {{port: {free_port()}}}\n"
            f"gateway: {{host: 127.0.0.1, port: {free_port()}, min_free_bytes: 0}}\n"
        )
        command = [sys.executable, "-m", "neuroscan_core.cli", "up", "-c", str(self.config)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stderr=log, stdin=subprocess.DEVNULL)

    def says(self, text: str, times: int = 1) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        return self.log.read_text().count(text) >= times

    def child(self, role: str) -> psutil.Process:
        [found] = [child for child in psutil.Process(self.process.pid).children() if role in child.cmdline()]
        return found


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    node = Up(tmp_path)
    try:
        children = []
        wait_for(lambda: node.says("node is ready"), "the node gets ready")
        children = psutil.Process(node.process.pid).children()
        yield node
    finally:
        node.process.kill()
        node.process.wait()
        psutil.wait_procs(children, timeout=PATIENCE_S)


def test_starts_a_crashed_process_again_and_ends_cleanly(up: Up) -> None:
    up.child("viewer").kill()
    wait_for(lambda: up.says("status page is ready", times=2), "the viewer is started again")
    asked = subprocess.run(
        [sys.executable, "-m", "neuroscan_core.cli", "status", "-c", str(up.config)],
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert asked.returncode == 0 and "The node is ready." in asked.stdout
    up.process.send_signal(signal.SIGTERM)
    assert up.process.wait(PATIENCE_S) == 0
    log = up.log.read_text()
    stops = [log.index(text) for text in ("gateway has stopped", "segmenter has stopped")]
    assert stops == sorted(stops)


def test_processes_end_when_their_supervisor_is_killed(up: Up) -> None:
    children = psutil.Process(up.process.pid).children()
    assert len(children) == 3
    up.process.kill()
    _, alive = psutil.wait_procs(children, timeout=PATIENCE_S)
    assert not alive
