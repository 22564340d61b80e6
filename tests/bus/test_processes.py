"""A power cut on either side, in the middle of series: nothing is lost, nothing comes twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.bus.conftest import network_config
from tests.bus.processes import SERIES
from tests.bus.series import PATIENCE_S

NUM_SLICES = 150
NEVER = "-1"
REPOSITORY = Path(__file__).parents[2]


class Child:
    """A process of `processes`, and what it has printed."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bus.processes", *arguments],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), *sys.path])},
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, name="child-reader")
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if not line.endswith("\n"):
                return  # it was killed while it wrote
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()

    def wait_for_lines(self, count: int) -> None:
        """Wait until it has printed so many lines."""
        with self._changed:
            enough = self._changed.wait_for(lambda: len(self._lines) >= count, PATIENCE_S)
        assert enough, f"only {len(self._lines)} of {count} lines came"

    def wait_for_death(self) -> None:
        """Wait until it has killed itself."""
        assert self._process.wait(PATIENCE_S) == -signal.SIGKILL

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()

    @property
    def sequences(self) -> dict[str, list[int]]:
        """Sequence numbers that it printed, per series, in order."""
        found = defaultdict(list)
        for line in self._lines:
            uid, sequence = line.split()
            found[uid].append(int(sequence))
        return dict(found)


COMPLETE = {uid: list(range(NUM_SLICES + 2)) for uid in SERIES}
NUM_EVENTS = sum(map(len, COMPLETE.values()))


@pytest.fixture(params=["ipc", pytest.param("tcp+curve", marks=pytest.mark.slow), "ros2"])
def state_dir(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with the configuration of a node."""
    if request.param == "ros2":
        (tmp_path / "ros_domain").write_text(str(request.getfixturevalue("domain_id")))
        return tmp_path
    bus = {} if request.param == "ipc" else network_config(tmp_path).model_dump(mode="json")
    (tmp_path / "node.yaml").write_text(yaml.safe_dump({"state_dir": str(tmp_path / "state"), "bus": bus}))
    return tmp_path


@pytest.fixture
def children() -> Iterator[list[Child]]:
    """Processes that must not outlive the test."""
    started: list[Child] = []
    yield started
    for child in started:
        child.kill()


def start(children: list[Child], *arguments: str) -> Child:
    children.append(Child(*arguments))
    return children[-1]


def test_a_killed_subscriber_gets_everything_in_its_next_life(state_dir: Path, children: list[Child]) -> None:
    start(children, "publish", str(state_dir), str(NUM_SLICES), NEVER)
    first = start(children, "receive", str(state_dir))
    first.wait_for_lines(NUM_EVENTS // 3)
    first.kill()
    second = start(children, "receive", str(state_dir))
    second.wait_for_lines(NUM_EVENTS)
    assert second.sequences == COMPLETE
    for uid, sequences in first.sequences.items():
        assert sequences == COMPLETE[uid][: len(sequences)]


def test_a_subscriber_misses_nothing_when_its_publisher_dies(state_dir: Path, children: list[Child]) -> None:
    receiver = start(children, "receive", str(state_dir))
    for die_at in (NUM_EVENTS // 4, NUM_EVENTS // 2):
        start(children, "publish", str(state_dir), str(NUM_SLICES), str(die_at)).wait_for_death()
    start(children, "publish", str(state_dir), str(NUM_SLICES), NEVER)
    receiver.wait_for_lines(NUM_EVENTS)
    assert receiver.sequences == COMPLETE
