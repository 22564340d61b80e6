"""Nodes are configured together and activated in order, also after a respawn, whatever becomes of one of them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not sourced")
pytest.importorskip("launch_ros", reason="launch_ros is not installed")

from tests.e2e.node import wait_for
from tests.e2e.ros import RunningLaunch, launching

NODE = """
import sys
from pathlib import Path

import rclpy
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn

class Noting(LifecycleNode):
    def __init__(self):
        super().__init__("noting")
        self.declare_parameter("fails_to_configure", False)

    def note(self, what):
        with Path(sys.argv[1]).open("a") as notes:
            notes.write(f"{self.get_name()} {what}\\n")

    def on_configure(self, state):
        fails = self.get_parameter("fails_to_configure").value
        self.note("fails" if fails else "configures")
        return TransitionCallbackReturn.FAILURE if fails else TransitionCallbackReturn.SUCCESS

    def on_activate(self, state):
        self.note("activates")
        return super().on_activate(state)

    def on_deactivate(self, state):
        self.note("deactivates")
        return super().on_deactivate(state)

rclpy.init()
node = Noting()
try:
    rclpy.spin(node)
except (KeyboardInterrupt, rclpy.executors.ExternalShutdownException):
    pass
"""

LAUNCH = """
from launch import LaunchDescription
from launch.actions import ExecuteProcess
from launch_ros.actions import LifecycleNode
from neuroscan_ros.bring_up import BringUp

def generate_launch_description():
    nodes = [
        LifecycleNode(
            executable={python!r}, arguments=[{script!r}, {notes!r}], name=name, namespace="site", exec_name=name,
            parameters=[{{"fails_to_configure": name in {failing!r}}}], respawn=True, respawn_delay=0.1,
        )
        for name in {names!r}
    ]
    then = [ExecuteProcess(cmd=["sh", "-c", "echo all of them >> {notes}"])]
    return LaunchDescription([BringUp(nodes, then=then), *nodes])
"""

Start = Callable[..., tuple[RunningLaunch, Callable[[], list[str]]]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Launch nodes of these names; the launch, and what they have noted so far."""
    with ExitStack() as running:

        def launch(*names: str, failing: tuple[str, ...] = ()) -> tuple[RunningLaunch, Callable[[], list[str]]]:
            script, notes, file = tmp_path / "noting.py", tmp_path / "notes", tmp_path / "noting.launch.py"
            script.write_text(NODE)
            notes.touch()
            values = {"python": sys.executable, "script": str(script), "notes": str(notes)}
            file.write_text(LAUNCH.format(**values, names=names, failing=failing))
            launched = running.enter_context(launching(file, folder=tmp_path / "log"))
            return launched, lambda: notes.read_text().splitlines()

        yield launch


def wait_until_up(launched: RunningLaunch) -> None:
    """Wait for the process that is started when all are up. To its end: launch loses one that it forks at its own."""
    launched.wait_for_line(r"\[sh-\d+\]: process has finished cleanly")


def test_all_are_configured_and_then_activated_in_order(start: Start) -> None:
    launched, notes = start("first", "second", "third")
    wait_until_up(launched)
    assert sorted(notes()[:-1]) == sorted(
        f"{n} {w}s" for n in ("first", "second", "third") for w in ("configure", "activate")
    )
    activated = [line.split()[0] for line in notes() if line.endswith("activates")]
    assert activated == ["first", "second", "third"]


def test_a_node_that_cannot_be_configured_is_named_tried_again_and_holds_up_nobody(start: Start) -> None:
    launched, notes = start("first", "second", failing=("first",))
    wait_until_up(launched)
    assert "first fails" in notes() and "second activates" in notes() and "first activates" not in notes()
    assert "/site/first is not up: its log says why." in launched.log()
    wait_for(lambda: notes().count("first fails") == 2, "the next attempt")
    assert notes().count("all of them") == 1


def test_a_node_that_was_killed_is_brought_up_again_and_the_others_are_left_alone(start: Start) -> None:
    launched, notes = start("first", "second")
    wait_until_up(launched)
    pid = launched.process("noting.py").pid
    killed = "first" if "__node:=first" in " ".join(launched.process("noting.py").cmdline()) else "second"
    launched.kill("noting.py")
    wait_for(lambda: notes().count(f"{killed} activates") == 2, "the killed node to be active again")
    assert launched.process("noting.py").pid != pid
    other = ({"first", "second"} - {killed}).pop()
    assert (notes().count(f"{other} configures"), notes().count(f"{other} activates")) == (1, 1)
    assert notes().count("all of them") == 1


def test_what_somebody_changes_by_hand_stays_as_it_is(start: Start) -> None:
    launched, notes = start("first", "second")
    wait_until_up(launched)
    command = ["ros2", "lifecycle", "set", "--no-daemon", "/site/first", "deactivate"]
    wait_for(lambda: subprocess.run(command, capture_output=True).returncode == 0, "the node to be deactivated", 60)
    state = subprocess.run(
        ["ros2", "lifecycle", "get", "--no-daemon", "/site/first"], capture_output=True, text=True, check=True
    )
    assert "inactive" in state.stdout
    assert notes().count("first activates") == 1
