"""The launch action that brings lifecycle nodes up.

It configures them all at once and activates them in order, and does the same for one that was respawned. A node that
fails is tried again, and holds up the others no longer; nor does one that takes too long. Whoever changes states later
is not interfered with.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import launch.logging
from launch import Action, Event, EventHandler, LaunchContext
from launch.event_handlers import OnProcessExit, OnProcessStart
from launch_ros.actions import LifecycleNode
from launch_ros.ros_adapters import get_ros_node
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState

ASK_TIMEOUT_S = 2.0
POLL_S = 0.1
HOLD_UP_S = 30.0
FIRST_RETRY_S, MAX_RETRY_S = 1.0, 30.0
CHANGE_TIMEOUT_S = 120.0  # opening a model may mean building an engine; a lost answer is noticed by asking again


class BroughtUp(Event):  # type: ignore[misc, unused-ignore]
    """All nodes of a `BringUp` are active, or have failed at least once; emitted once.

    Parameters
    ----------
    bring_up : BringUp
    """

    name = "neuroscan_ros.bring_up.BroughtUp"

    def __init__(self, bring_up: BringUp) -> None:
        super().__init__()
        self.bring_up = bring_up


class BringUp(Action):
    """Configures lifecycle nodes, all at once, and activates them in order; again whenever one is respawned.

    Parameters
    ----------
    nodes : sequence of LifecycleNode
        In the order in which they become active. Their actions come after this one in the launch description.
    then : sequence of Action
        Executed once, when all are up or have failed.
    hold_up_s : float
        Longest time that a node waits for those before it.

    Notes
    -----
    The `ChangeState` event of launch_ros makes one request without a time-out. It is lost where the server of a process
    that was killed is still known when the next one starts, so it is not used here.
    """

    def __init__(
        self, nodes: Sequence[LifecycleNode], *, then: Sequence[Action] = (), hold_up_s: float = HOLD_UP_S
    ) -> None:
        super().__init__()
        self._nodes, self._then, self._hold_up_s = tuple(nodes), list(then), hold_up_s
        self._generation = dict.fromkeys(self._nodes, 0)
        self._settled = {node: threading.Event() for node in self._nodes}
        self._has_finished = False
        self._lock = threading.Lock()
        self._log = launch.logging.get_logger("bring_up")

    def execute(self, context: LaunchContext) -> None:
        """Watch the processes of the nodes from now on."""
        for node in self._nodes:
            context.register_event_handler(OnProcessStart(target_action=node, on_start=self._start_of(node)))
            context.register_event_handler(OnProcessExit(target_action=node, on_exit=self._exit_of(node)))
        if self._then:
            context.register_event_handler(
                EventHandler(
                    matcher=lambda event: isinstance(event, BroughtUp) and event.bring_up is self,
                    entities=self._then,
                    handle_once=True,
                )
            )

    def _start_of(self, node: LifecycleNode) -> Any:
        def on_start(event: Event, context: LaunchContext) -> None:
            generation = self._begin_generation(node)
            name = f"bring-up-{node.node_name}"
            threading.Thread(target=self._bring_up, args=(context, node, generation), name=name, daemon=True).start()

        return on_start

    def _exit_of(self, node: LifecycleNode) -> Any:
        def on_exit(event: Event, context: LaunchContext) -> None:
            self._begin_generation(node)
            self._settle(context, node)

        return on_exit

    def _begin_generation(self, node: LifecycleNode) -> int:
        with self._lock:
            self._generation[node] += 1
            return self._generation[node]

    def _settle(self, context: LaunchContext, node: LifecycleNode) -> None:
        """Nobody waits for this node any longer."""
        self._settled[node].set()
        with self._lock:
            is_last = not self._has_finished and all(settled.is_set() for settled in self._settled.values())
            self._has_finished |= is_last
        if is_last and not context.is_shutdown:
            event = BroughtUp(self)
            context.asyncio_loop.call_soon_threadsafe(lambda: context.emit_event_sync(event))

    # --------------------------------------------------------------------------------------------- one node, a thread

    def _bring_up(self, context: LaunchContext, node: LifecycleNode, generation: int) -> None:
        retry_s = FIRST_RETRY_S
        try:
            while not self._is_over(context, node, generation):
                if self._drive(context, node, generation, Transition.TRANSITION_CONFIGURE):
                    self._wait_for_those_before(node)
                    if self._drive(context, node, generation, Transition.TRANSITION_ACTIVATE):
                        self._settle(context, node)
                        return
                if not self._is_over(context, node, generation):
                    self._settle(context, node)
                    self._log.error(f"{node.node_name} is not up: its log says why. Next attempt in {retry_s:.0f} s")
                    self._pause(context, node, generation, retry_s)
                    retry_s = min(2 * retry_s, MAX_RETRY_S)
        except Exception:
            if not context.is_shutdown:  # then the services are gone
                raise

    def _is_over(self, context: LaunchContext, node: LifecycleNode, generation: int) -> bool:
        """Whether the process is no longer the same, or everything ends."""
        return context.is_shutdown or self._generation[node] != generation

    def _pause(self, context: LaunchContext, node: LifecycleNode, generation: int, pause_s: float) -> None:
        end_s = time.monotonic() + pause_s
        while time.monotonic() < end_s and not self._is_over(context, node, generation):
            time.sleep(POLL_S)

    def _wait_for_those_before(self, node: LifecycleNode) -> None:
        for earlier in self._nodes[: self._nodes.index(node)]:
            if not self._settled[earlier].wait(self._hold_up_s):
                self._log.warning(f"{node.node_name} does not wait any longer for {earlier.node_name}")

    def _drive(self, context: LaunchContext, node: LifecycleNode, generation: int, transition: int) -> bool:
        """Make one transition; whether it, or somebody else's, has brought the node there."""
        is_configuring = transition == Transition.TRANSITION_CONFIGURE
        start = State.PRIMARY_STATE_UNCONFIGURED if is_configuring else State.PRIMARY_STATE_INACTIVE
        ros = get_ros_node(context)
        asking = ros.create_client(GetState, f"{node.node_name}/get_state")
        changing = ros.create_client(ChangeState, f"{node.node_name}/change_state")
        try:
            while not self._is_over(context, node, generation):
                answer = self._call(asking, GetState.Request(), ASK_TIMEOUT_S, context, node, generation)
                state = answer.current_state.id if answer is not None else State.PRIMARY_STATE_UNKNOWN
                if state == start:
                    request = ChangeState.Request(transition=Transition(id=transition))
                    done = self._call(changing, request, CHANGE_TIMEOUT_S, context, node, generation)
                    if done is not None and not done.success:
                        return False
                elif state in (State.PRIMARY_STATE_INACTIVE, State.PRIMARY_STATE_ACTIVE):
                    self._log.info(f"{node.node_name} is {answer.current_state.label}")
                    return True
                elif state in (State.PRIMARY_STATE_UNCONFIGURED, State.PRIMARY_STATE_FINALIZED):
                    return False
                else:
                    time.sleep(POLL_S)  # not there yet, or between two states
            return False
        finally:
            if not context.is_shutdown:
                ros.destroy_client(asking)
                ros.destroy_client(changing)

    def _call(
        self, client: Any, request: Any, timeout_s: float, context: LaunchContext, node: LifecycleNode, generation: int
    ) -> Any:
        """Ask once; None without an answer in time, after the end of the process asked, or at the end of everything."""
        if not client.wait_for_service(timeout_sec=ASK_TIMEOUT_S):
            return None
        answered = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _: answered.set())
        end_s = time.monotonic() + timeout_s
        while not answered.wait(POLL_S):
            if time.monotonic() >= end_s or self._is_over(context, node, generation):
                client.remove_pending_request(future)
                return None
        return future.result()
