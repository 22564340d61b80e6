"""The launch action that brings lifecycle nodes up.

It configures them all at once and activates them in order, and does the same for one that was respawned. A node that
fails, or takes too long, does not hold up the others. Whoever changes states later is not interfered with.
"""

from __future__ import annotations

import threading
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
CHANGE_TIMEOUT_S = 120.0  # opening a model may mean building an engine; a lost answer is noticed by asking again
_WORDS = {Transition.TRANSITION_CONFIGURE: "configure", Transition.TRANSITION_ACTIVATE: "activate"}


class BroughtUp(Event):  # type: ignore[misc, unused-ignore]
    """All nodes of a `BringUp` are active, or will not be without help; emitted once.

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
    The `ChangeState` event of launch_ros is not used: its one request is lost where the server of a process that was
    killed is still known when the next process starts, and there is no time-out.
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
        try:
            is_up = self._drive(context, node, generation, Transition.TRANSITION_CONFIGURE)
            if is_up:
                self._wait_for_those_before(node)
                is_up = self._drive(context, node, generation, Transition.TRANSITION_ACTIVATE)
        except Exception:
            if not context.is_shutdown:  # then the services are gone
                raise
            return
        if is_up is not None:
            self._settle(context, node)

    def _wait_for_those_before(self, node: LifecycleNode) -> None:
        for earlier in self._nodes[: self._nodes.index(node)]:
            if not self._settled[earlier].wait(self._hold_up_s):
                self._log.warning(f"{node.node_name} does not wait any longer for {earlier.node_name}")

    def _drive(self, context: LaunchContext, node: LifecycleNode, generation: int, transition: int) -> bool | None:
        """Make one transition; None where the process is no longer the same or everything ends."""
        is_configuring = transition == Transition.TRANSITION_CONFIGURE
        start = State.PRIMARY_STATE_UNCONFIGURED if is_configuring else State.PRIMARY_STATE_INACTIVE
        ros = get_ros_node(context)
        asking = ros.create_client(GetState, f"{node.node_name}/get_state")
        changing = ros.create_client(ChangeState, f"{node.node_name}/change_state")
        try:
            while self._generation[node] == generation and not context.is_shutdown:
                answer = self._call(asking, GetState.Request(), ASK_TIMEOUT_S, context)
                if answer is None:
                    continue
                state = answer.current_state
                if state.id == start:
                    request = ChangeState.Request(transition=Transition(id=transition))
                    done = self._call(changing, request, CHANGE_TIMEOUT_S, context, node, generation)
                    if done is not None and not done.success:
                        word = _WORDS[transition]
                        self._log.error(
                            f"{node.node_name} could not {word}: its log says why. When that is mended: "
                            f"ros2 lifecycle set {node.node_name} {word}"
                        )
                        return False
                elif state.id in (State.PRIMARY_STATE_INACTIVE, State.PRIMARY_STATE_ACTIVE):
                    self._log.info(f"{node.node_name} is {state.label}")
                    return True
                elif state.id == State.PRIMARY_STATE_FINALIZED:
                    return False
                else:
                    threading.Event().wait(POLL_S)
            return None
        finally:
            if not context.is_shutdown:
                ros.destroy_client(asking)
                ros.destroy_client(changing)

    def _call(
        self,
        client: Any,
        request: Any,
        timeout_s: float,
        context: LaunchContext,
        node: LifecycleNode | None = None,
        generation: int = 0,
    ) -> Any:
        """Ask once; None without an answer in time, after the end of the process asked, or at the end of everything."""
        if not client.wait_for_service(timeout_sec=ASK_TIMEOUT_S):
            return None
        answered = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _: answered.set())
        waited_s = 0.0
        while not answered.wait(POLL_S):
            waited_s += POLL_S
            is_over = context.is_shutdown or (node is not None and self._generation[node] != generation)
            if is_over or waited_s >= timeout_s:
                client.remove_pending_request(future)
                return None
        return future.result()
