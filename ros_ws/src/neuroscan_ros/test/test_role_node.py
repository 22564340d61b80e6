"""The life of a node: transitions that succeed, fail and break, who may ask in the meantime, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("neuroscan_msgs", reason="needs the messages of ros_ws")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from neuroscan_ros import qos
from neuroscan_ros.diagnostics import Condition, to_status
from neuroscan_ros.role_node import RoleNode
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.node import Node

from neuroscan_core.config import NodeConfig
from neuroscan_core.domain.errors import ConfigurationError, InvalidBundle
from neuroscan_core.domain.events import GATEWAY
from neuroscan_core.domain.requests import GetGatewayHealth, Health
from tests.bus.conftest import domain_id
from tests.e2e.node import wait_for
from tests.ros_nodes import PATIENCE_S, bare_node, hosted

__all__ = ["domain_id"]

SUCCESS, FAILURE, ERROR = (
    TransitionCallbackReturn.SUCCESS,
    TransitionCallbackReturn.FAILURE,
    TransitionCallbackReturn.ERROR,
)


class ScriptedNode(RoleNode):
    """Notes what it is told, and fails where a test wants it to."""

    name = "bridge_node"
    roles = (GATEWAY,)

    def __init__(self, **arguments: Any) -> None:
        self.calls: list[str] = []
        self.does: dict[str, Callable[[], None]] = {}
        self.condition: tuple[bool, Sequence[str], Mapping[str, str]] = (True, (), {})
        super().__init__(**arguments)

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name in self.does:
            self.does[name]()

    def prepare(self, config: NodeConfig) -> None:
        self._call("prepare")

    def begin(self) -> None:
        self._call("begin")

    def drain(self) -> None:
        self._call("drain")

    def release(self) -> None:
        self._call("release")

    def health(self) -> tuple[bool, Sequence[str], Mapping[str, str]]:
        return self.condition

    def fail(self, step: str, error: Exception) -> None:
        def raise_it() -> None:
            raise error

        self.does[step] = raise_it

    @property
    def is_bus_open(self) -> bool:
        return not self.bus._is_closed


@pytest.fixture
def node(domain_id: int) -> Iterator[ScriptedNode]:
    with hosted(ScriptedNode, domain_id) as made:
        yield made


@pytest.fixture
def asker(domain_id: int) -> Iterator[Node]:
    with bare_node(domain_id) as made:
        yield made


def ask(asker: Node, service_type: Any, name: str, request: Any) -> Any:
    """Call a service of the node and wait for the answer."""
    client = asker.create_client(service_type, f"/bridge_node/{name}")
    try:
        assert client.wait_for_service(PATIENCE_S)
        answered = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _: answered.set())
        assert answered.wait(PATIENCE_S), f"{name} is not answered"
        return future.result()
    finally:
        asker.destroy_client(client)


def change(asker: Node, transition_id: int) -> bool:
    request = ChangeState.Request(transition=Transition(id=transition_id))
    return bool(ask(asker, ChangeState, "change_state", request).success)


def state_of(asker: Node) -> str:
    return str(ask(asker, GetState, "get_state", GetState.Request()).current_state.label)


def statuses_of(asker: Node) -> list[DiagnosticStatus]:
    """Statuses that come from now on."""
    heard: list[DiagnosticStatus] = []
    asker.create_subscription(
        DiagnosticArray, "/diagnostics", lambda message: heard.extend(message.status), qos.stream(10)
    )
    return heard


# ---------------------------------------------------------------------------------------------------- transitions


def test_each_transition_calls_its_hook_and_everything_can_be_done_again(node: ScriptedNode) -> None:
    for _ in range(2):
        assert node.trigger_configure() is SUCCESS
        assert node.is_bus_open
        for _ in range(2):
            assert node.trigger_activate() is SUCCESS
            assert node.trigger_deactivate() is SUCCESS
        assert node.trigger_cleanup() is SUCCESS
        assert not node.is_bus_open
    one_life = ["prepare", "begin", "drain", "begin", "drain", "release"]
    assert node.calls == [*one_life, *one_life]
    assert node.lifecycle_state == "unconfigured"


def test_the_bus_serves_while_the_node_is_active_and_leaves_no_thread(node: ScriptedNode, asker: Node) -> None:
    from neuroscan_ros.bus import Ros2Bus

    before = {thread.name for thread in threading.enumerate()}
    node.trigger_configure()
    with node.bus.serve(GetGatewayHealth, lambda _: Health(True)), Ros2Bus(asker, ()) as bus:
        assert bus.request(GetGatewayHealth(), timeout_s=PATIENCE_S).is_ready
    node.trigger_cleanup()
    after = {thread.name for thread in threading.enumerate() if thread.name.startswith(("bus-", "serve-"))}
    assert after <= before


def test_what_a_node_cannot_start_with_is_told_with_its_remedy(
    node: ScriptedNode, capfd: pytest.CaptureFixture[str]
) -> None:
    node.fail("prepare", InvalidBundle("The model is damaged.", remedy="Export it again."))
    assert node.trigger_configure() is FAILURE
    assert (node.lifecycle_state, node.calls, node.is_bus_open) == ("unconfigured", ["prepare", "release"], False)
    node.get_logger().info("end")
    told = capfd.readouterr().err
    assert "The node is not configured: The model is damaged.\n  What to do: Export it again." in told
    assert "Traceback" not in told
    node.does.clear()
    assert node.trigger_configure() is SUCCESS


def test_a_fault_while_it_is_configured_releases_everything(
    node: ScriptedNode, capfd: pytest.CaptureFixture[str]
) -> None:
    node.fail("prepare", ZeroDivisionError("by zero"))
    assert node.trigger_configure() is ERROR
    assert (node.lifecycle_state, node.is_bus_open) == ("unconfigured", False)
    told = capfd.readouterr().err
    assert "ZeroDivisionError: by zero" in told
    assert "Traceback" in told
    node.does.clear()
    assert node.trigger_configure() is SUCCESS


def test_a_start_that_fails_is_undone_and_can_be_tried_again(node: ScriptedNode) -> None:
    node.trigger_configure()
    node.fail("begin", ConfigurationError("The port is taken.", remedy="Free it."))
    assert node.trigger_activate() is FAILURE
    assert (node.lifecycle_state, node.calls) == ("inactive", ["prepare", "begin", "drain"])
    node.does.clear()
    assert node.trigger_activate() is SUCCESS


@pytest.mark.parametrize("step", ["begin", "drain"])
def test_a_fault_later_on_releases_everything_too(node: ScriptedNode, step: str) -> None:
    node.trigger_configure()
    node.fail(step, ZeroDivisionError("by zero"))
    if step == "drain":
        assert node.trigger_activate() is SUCCESS
        assert node.trigger_deactivate() is ERROR
    else:
        assert node.trigger_activate() is ERROR
    assert (node.lifecycle_state, node.calls[-1], node.is_bus_open) == ("unconfigured", "release", False)
    node.does.clear()
    assert node.trigger_configure() is SUCCESS
    assert node.trigger_activate() is SUCCESS


def test_the_bus_is_closed_even_where_the_release_fails(node: ScriptedNode) -> None:
    node.trigger_configure()
    node.fail("release", ZeroDivisionError("by zero"))
    assert node.trigger_cleanup() is ERROR
    assert (node.lifecycle_state, node.is_bus_open) == ("unconfigured", False)


def test_parameters_are_read_at_each_configuration(domain_id: int, tmp_path: Path) -> None:
    file = tmp_path / "node.yaml"
    file.write_text("bus: {queue_events: 16}\n")
    with hosted(ScriptedNode, domain_id, {"config": str(file)}) as node:
        node.trigger_configure()
        assert node.config.bus.queue_events == 16
        node.trigger_cleanup()
        file.write_text("bus: {queue_events: 7}\n")
        assert node.trigger_configure() is FAILURE
        file.write_text("bus: {queue_events: 17}\n")
        assert node.trigger_configure() is SUCCESS
        assert node.config.bus.queue_events == 17


# ------------------------------------------------------------------------------------------------ in the meantime


def test_a_long_transition_keeps_nobody_from_asking(node: ScriptedNode, asker: Node) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def linger() -> None:
        begun.set()
        assert go_on.wait(PATIENCE_S)

    node.does["prepare"] = linger
    outcome: list[bool] = []
    changing = threading.Thread(target=lambda: outcome.append(change(asker, Transition.TRANSITION_CONFIGURE)))
    changing.start()
    assert begun.wait(PATIENCE_S)
    heard = statuses_of(asker)
    assert state_of(asker) == "configuring"
    assert not change(asker, Transition.TRANSITION_CONFIGURE)
    wait_for(lambda: len(heard) >= 2, "diagnostics during the transition")
    assert {value.value for status in heard for value in status.values if value.key == "state"} == {"configuring"}
    go_on.set()
    changing.join(PATIENCE_S)
    assert outcome == [True]
    assert state_of(asker) == "inactive"


def test_the_bus_answers_while_the_node_drains(node: ScriptedNode, asker: Node) -> None:
    from neuroscan_ros.bus import Ros2Bus

    node.trigger_configure()
    node.trigger_activate()
    answered: list[bool] = []
    with node.bus.serve(GetGatewayHealth, lambda _: Health(True)), Ros2Bus(asker, ()) as bus:
        node.does["drain"] = lambda: answered.append(bus.request(GetGatewayHealth(), timeout_s=PATIENCE_S).is_ready)
        assert change(asker, Transition.TRANSITION_DEACTIVATE)
    assert answered == [True]


def test_a_transition_that_the_state_does_not_have_is_refused_and_nothing_happens(
    node: ScriptedNode, asker: Node, capfd: pytest.CaptureFixture[str]
) -> None:
    assert not change(asker, Transition.TRANSITION_CLEANUP)
    assert not change(asker, Transition.TRANSITION_ACTIVATE)
    assert "there is no transition 3 from unconfigured, but configure, shutdown" in capfd.readouterr().err
    assert node.calls == []
    assert change(asker, Transition.TRANSITION_CONFIGURE)
    assert change(asker, Transition.TRANSITION_CLEANUP)
    assert not change(asker, Transition.TRANSITION_CLEANUP)
    assert node.calls == ["prepare", "release"]


# ---------------------------------------------------------------------------------------------------- diagnostics


def test_diagnostics_are_told_in_every_state(node: ScriptedNode, asker: Node) -> None:
    heard = statuses_of(asker)

    def latest(state: str) -> DiagnosticStatus:
        def found() -> DiagnosticStatus | None:
            return next((one for one in reversed(heard) if one.values[0].value == state), None)

        return wait_for(found, f"diagnostics of a node that is {state}")

    assert latest("unconfigured").level == DiagnosticStatus.WARN
    node.fail("prepare", InvalidBundle("The model is damaged.", remedy="Export it again."))
    node.trigger_configure()
    heard.clear()
    failed = latest("unconfigured")
    assert (failed.level, failed.message) == (
        DiagnosticStatus.ERROR,
        "The node is not configured: The model is damaged. Export it again.",
    )
    node.does.clear()
    node.trigger_configure()
    assert (latest("inactive").level, latest("inactive").message) == (DiagnosticStatus.WARN, "not active")
    node.condition = (True, (), {"slices": "3"})
    node.trigger_activate()
    active = latest("active")
    assert (active.level, active.name, active.message) == (DiagnosticStatus.OK, "bridge_node: health", "ready")
    assert {value.key: value.value for value in active.values} == {"state": "active", "slices": "3"}
    assert active.hardware_id


@pytest.mark.parametrize(
    ("is_ready", "problems", "level", "message"),
    [
        (True, (), DiagnosticStatus.OK, "ready"),
        (True, ("The disk is old.",), DiagnosticStatus.WARN, "The disk is old."),
        (False, ("It is full.", "It is old."), DiagnosticStatus.ERROR, "It is full. It is old."),
        (False, (), DiagnosticStatus.WARN, "not active"),
    ],
)
def test_a_problem_is_a_warning_where_the_node_works_all_the_same(
    is_ready: bool, problems: Sequence[str], level: bytes, message: str
) -> None:
    status = to_status(Condition(is_ready, problems), "node: health")
    assert (status.level, status.message) == (level, message)


def test_a_node_whose_health_cannot_be_found_out_is_in_error(node: ScriptedNode) -> None:
    node.trigger_configure()
    node.trigger_activate()
    node.condition = ()  # type: ignore[assignment]
    condition = node._look()
    assert not condition.is_ready
    assert "cannot be found out" in condition.problems[0]


# ------------------------------------------------------------------------------------------------- begin and end


def test_autostart_goes_on_until_what_is_missing_is_there(node: ScriptedNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neuroscan_ros.role_node.FIRST_RETRY_S", 0.01)
    attempts: list[str] = []

    def refuse_twice() -> None:
        attempts.append("begin")
        if len(attempts) < 3:
            raise ConfigurationError("The port is taken.")

    node.does["begin"] = refuse_twice
    node.autostart()
    assert node.lifecycle_state == "active"
    assert node.calls == ["prepare", "begin", "drain", "begin", "drain", "begin"]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ((), []),
        (("configure",), ["release"]),
        (("configure", "activate"), ["drain", "release"]),
        (("configure", "activate", "deactivate"), ["release"]),
        (("configure", "cleanup"), []),
    ],
)
def test_the_end_comes_in_order_from_every_state(node: ScriptedNode, steps: Sequence[str], expected: list[str]) -> None:
    for step in steps:
        assert getattr(node, f"trigger_{step}")() is SUCCESS
    node.calls.clear()
    node.finish()
    node.finish()
    assert node.lifecycle_state == "finalized"
    assert [call for call in node.calls if call != "release"] == [call for call in expected if call != "release"]
    assert set(expected) <= set(node.calls)
    assert not hasattr(node, "bus") or not node.is_bus_open


def test_shutdown_by_a_transition_drains_first(node: ScriptedNode, asker: Node) -> None:
    node.trigger_configure()
    node.trigger_activate()
    assert change(asker, Transition.TRANSITION_ACTIVE_SHUTDOWN)
    assert (node.lifecycle_state, node.calls[-2:], node.is_bus_open) == ("finalized", ["drain", "release"], False)


SCRIPT = """
import sys, threading
from neuroscan_ros import role_node

class Slow(role_node.RoleNode):
    name = "bridge_node"
    def hang(self, step):
        if step == sys.argv[1]:
            self.get_logger().info("hangs in " + step)
            threading.Event().wait()
    def prepare(self, config):
        self.hang("prepare")
        if sys.argv[1] == "a thread of somebody else":
            threading.Thread(target=threading.Event().wait).start()
    def begin(self): self.hang("begin")
    def drain(self): self.hang("drain")
    def release(self): self.hang("release")
    def health(self): return True, (), {}

if sys.argv[1] in ("prepare", "begin", "drain", "release"):
    role_node.MAX_ENDING_S = 0.5
role_node.run(Slow, sys.argv[2:])
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("hangs_in", "is_autostarting", "awaited"),
    [
        ("nothing", False, "waits"),
        ("nothing", True, "The node is active"),
        ("prepare", True, "hangs in prepare"),
        ("begin", True, "hangs in begin"),
        ("drain", True, "The node is active"),
        ("release", True, "The node is active"),
        ("a thread of somebody else", True, "The node is active"),
    ],
)
def test_a_signal_ends_the_process_with_status_0_whatever_it_is_at(
    domain_id: int, number: signal.Signals, hangs_in: str, is_autostarting: bool, awaited: str
) -> None:
    start = f"autostart:={'true' if is_autostarting else 'false'}"
    command = [sys.executable, "-c", SCRIPT, hangs_in, "--ros-args", "-p", start]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, "ROS_DOMAIN_ID": str(domain_id)}
    )
    assert process.stderr is not None
    try:
        told = ""
        while awaited not in told:
            line = process.stderr.readline()
            assert line, f"it ended: {told}"
            told += line
        process.send_signal(number)
        told += process.communicate(timeout=PATIENCE_S)[1]
        assert process.returncode == 0, told
        is_cut_short = hangs_in in ("prepare", "begin", "drain", "release")
        assert ("ends before all is finished" in told) == is_cut_short, told
    finally:
        process.kill()
        process.communicate()


def test_wrong_parameters_end_the_process_with_a_sentence() -> None:
    command = [sys.executable, "-c", SCRIPT, "nothing", "--ros-args", "-p", "bus.queue_event:=9"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert ended.returncode == 1
    assert "bridge_node: There is no parameter bus.queue_event." in ended.stderr
    assert "What to do" in ended.stderr
    assert "Traceback" not in ended.stderr
