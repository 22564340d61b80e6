"""The supervisor restarts, waits, gives up and stops in order."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Sequence

import pytest

from neuroscan_core.supervise import (
    EXIT_UNUSABLE,
    FIRST_BACKOFF_S,
    MAX_BACKOFF_S,
    STABLE_S,
    Child,
    ProcessSpec,
    Supervisor,
    spawn,
)


class FakeChild:
    """A process that ends when it is told to."""

    def __init__(self, name: str, log: list[str], *, obeys: bool = True, status: int = 0) -> None:
        self.pid, self._name, self._log, self._obeys, self._status = 1, name, log, obeys, status
        self.ended_with: int | None = None

    def poll(self) -> int | None:
        return self.ended_with

    def send_signal(self, sig: int) -> None:
        self._log.append(f"{signal.Signals(sig).name} {self._name}")
        if sig == signal.SIGKILL:
            self.ended_with = -signal.SIGKILL
        elif self._obeys and self.ended_with is None:
            self.ended_with = self._status

    def wait(self, timeout: float | None = None) -> int:
        if self.ended_with is None:
            raise subprocess.TimeoutExpired("fake", timeout or 0)
        return self.ended_with


class World:
    """Children, and a clock that moves only when it is told to."""

    def __init__(self, **options: object) -> None:
        self.now_s, self.log, self.started = 0.0, list[str](), list[FakeChild]()
        self._options = options

    def start(self, command: Sequence[str]) -> Child:
        child = FakeChild(command[0], self.log, **self._options)  # type: ignore[arg-type]
        self.started.append(child)
        return child

    def supervisor(self, *names: str) -> Supervisor:
        specs = [ProcessSpec(name, (name,)) for name in names]
        return Supervisor(specs, start=self.start, clock=lambda: self.now_s, drain_s=1.0)


def stopped() -> threading.Event:
    event = threading.Event()
    event.set()
    return event


def test_stops_in_the_order_in_which_data_flows() -> None:
    world = World()
    supervisor = world.supervisor("gateway", "segmenter", "viewer")
    supervisor.tick()
    assert supervisor.run(stopped()) == 0
    assert world.log == ["SIGTERM gateway", "SIGTERM segmenter", "SIGTERM viewer"]


def test_crashed_process_starts_again_after_a_wait_that_doubles() -> None:
    world = World()
    supervisor = world.supervisor("gateway")
    supervisor.tick()
    waits = []
    for _ in range(9):
        world.started[-1].ended_with = 1
        num_started, began_s = len(world.started), world.now_s
        while len(world.started) == num_started:
            supervisor.tick()
            world.now_s += FIRST_BACKOFF_S / 4
        waits.append(world.now_s - began_s)
    assert waits[1] > 1.5 * waits[0]
    assert MAX_BACKOFF_S <= waits[-1] <= MAX_BACKOFF_S + FIRST_BACKOFF_S


def test_process_that_ran_long_does_not_wait_long_after_a_crash() -> None:
    world = World()
    supervisor = world.supervisor("gateway")
    for _ in range(5):
        supervisor.tick()
        world.started[-1].ended_with = 1
        supervisor.tick()
        world.now_s += MAX_BACKOFF_S
    supervisor.tick()
    world.now_s += STABLE_S
    world.started[-1].ended_with = 1
    supervisor.tick()
    num_started = len(world.started)
    world.now_s += FIRST_BACKOFF_S
    supervisor.tick()
    assert len(world.started) == num_started + 1


def test_node_stops_where_a_process_says_that_it_cannot_be_used() -> None:
    world = World()
    supervisor = world.supervisor("gateway", "segmenter")
    supervisor.tick()
    world.started[0].ended_with = EXIT_UNUSABLE
    assert supervisor.run(threading.Event()) == 1
    assert len(world.started) == 2, "nothing is started again"


def test_process_that_has_run_before_may_find_its_port_taken_for_a_moment() -> None:
    world = World()
    supervisor = world.supervisor("gateway")
    supervisor.tick()
    for status in (1, EXIT_UNUSABLE):
        world.started[-1].ended_with = status
        assert supervisor.tick()
        world.now_s += MAX_BACKOFF_S
        assert supervisor.tick()
    assert len(world.started) == 3


def test_process_that_does_not_end_is_killed_and_the_status_says_so() -> None:
    world = World(obeys=False)
    supervisor = world.supervisor("gateway")
    supervisor.tick()
    assert supervisor.run(stopped()) == 1
    assert world.log == ["SIGTERM gateway", "SIGKILL gateway"]


def test_error_while_stopping_is_an_error_of_the_node() -> None:
    world = World(status=3)
    supervisor = world.supervisor("gateway")
    supervisor.tick()
    assert supervisor.run(stopped()) == 1


@pytest.mark.parametrize("exit_status", [0, 7])
def test_real_process_gets_the_end_of_its_standard_input(exit_status: int) -> None:
    child = spawn([sys.executable, "-c", f"import sys; sys.stdin.read(); sys.exit({exit_status})"])
    assert isinstance(child, subprocess.Popen) and child.stdin is not None
    child.stdin.close()
    assert child.wait(30) == exit_status
