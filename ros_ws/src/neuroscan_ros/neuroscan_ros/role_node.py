"""What all nodes share: a lifecycle around one part of NeuroScan, its parameters, diagnostics, logs and end.

===========  ============================  ==================================================
Transition   Calls                         Where it fails
===========  ============================  ==================================================
configure    `prepare`, with a new `bus`   stays unconfigured, the log says what to do
activate     `begin`                       stays inactive
deactivate   `drain`                       everything is released: unconfigured
cleanup      `release`, then the bus ends  unconfigured all the same
===========  ============================  ==================================================
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar

import rclpy
from lifecycle_msgs.srv import ChangeState
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.lifecycle import LifecycleNodeMixin, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from neuroscan_core.config import NodeConfig
from neuroscan_core.domain.errors import NeuroScanError
from neuroscan_core.heap import limit_heap, settle
from neuroscan_core.log import configure_logging
from neuroscan_core.process import stop_on_signals
from neuroscan_ros.bus import Ros2Bus
from neuroscan_ros.diagnostics import Condition, Diagnostics
from neuroscan_ros.node_parameters import NodeParameters
from neuroscan_ros.parameters import SECTIONS
from neuroscan_ros.ros_log import RosLog
from neuroscan_ros.spinning import spinning

UNCONFIGURED, INACTIVE, ACTIVE, FINALIZED = "unconfigured", "inactive", "active", "finalized"
FIRST_RETRY_S, MAX_RETRY_S = 1.0, 30.0
MAX_ENDING_S = 8.5  # then the process ends all the same: what is acknowledged is on disk

SUCCESS, FAILURE, ERROR = (
    TransitionCallbackReturn.SUCCESS,
    TransitionCallbackReturn.FAILURE,
    TransitionCallbackReturn.ERROR,
)


class RoleNode(LifecycleNodeMixin, Node):
    """Base of the nodes.

    Parameters
    ----------
    **arguments
        See `rclpy.node.Node`.

    Attributes
    ----------
    name : str
        Name of the node and of its executable.
    roles : collection of str
        What it publishes and serves on the bus; empty: it listens and asks.
    niceness : int
        Of its process.
    config : NodeConfig
        Since it was configured.
    bus : Ros2Bus
        Since it was configured, until it is cleaned up.

    Raises
    ------
    ConfigurationError
        A parameter or the configuration file is wrong.
    """

    name: ClassVar[str]
    roles: ClassVar[Collection[str]] = ()
    niceness: ClassVar[int] = 0

    config: NodeConfig
    bus: Ros2Bus

    def __init__(self, **arguments: Any) -> None:
        Node.__init__(self, self.name, **arguments)
        self.parameters = NodeParameters(self, SECTIONS[self.name], state=lambda: self.lifecycle_state)
        # `LifecycleNode` would put its services into the group of the parameters': a transition that takes its time
        # would keep everybody from asking for state and parameters.
        LifecycleNodeMixin.__init__(self, callback_group=ReentrantCallbackGroup())
        self._change_state = self._service_change_state.callback
        self._service_change_state.callback = self._on_change_state
        self._changing = threading.Lock()
        self._ending = threading.Event()
        self._problem = ""
        self._has_bus = False
        self._diagnostics = Diagnostics(self, self._look)

    # ------------------------------------------------------------------------------------------------ what nodes do

    @abstractmethod
    def prepare(self, config: NodeConfig) -> None:
        """Load and check; afterwards `begin` is quick. What it leaves when it raises goes to `release`."""

    @abstractmethod
    def begin(self) -> None:
        """Take up work; what it leaves when it raises goes to `drain`."""

    @abstractmethod
    def drain(self) -> None:
        """Take no more, finish what is in hand. `begin` may follow."""

    @abstractmethod
    def release(self) -> None:
        """Give back what `prepare` made, as far as it came. `prepare` may follow."""

    @abstractmethod
    def health(self) -> tuple[bool, Sequence[str], Mapping[str, str]]:
        """While active: whether it works, problems as sentences, and values for ``/diagnostics``."""

    # -------------------------------------------------------------------------------------------------- transitions

    @property
    def lifecycle_state(self) -> str:
        """Label of the state, e.g. ``inactive`` or ``configuring``."""
        return str(self._state_machine.current_state[1])

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Read the parameters, open the bus, prepare."""
        return self._attempt("configured", self._configure, self._release_all)

    def _configure(self) -> None:
        self.config = self.parameters.load()
        configure_logging(self.config.log, process=self.name, sink=RosLog(self.get_logger(), self.config.log.level))
        self.bus = Ros2Bus(self, self.roles, queue_events=self.config.bus.queue_events)
        self._has_bus = True
        self.prepare(self.config)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin."""
        return self._attempt("active", self._activate, self.drain)

    def _activate(self) -> None:
        self.begin()
        settle()

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Drain; there is no way back to active."""
        outcome = self._attempt("inactive", self.drain, lambda: None)
        return SUCCESS if outcome is SUCCESS else ERROR

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything."""
        return SUCCESS if self._attempt("cleaned up", self._release_all, lambda: None) is SUCCESS else ERROR

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Drain where it is active, release everything."""
        if state.label == ACTIVE:
            self._attempt("inactive", self.drain, lambda: None)
        self._attempt("shut down", self._release_all, lambda: None)
        return SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything; the node can be configured again."""
        problem = self._problem
        if state.label == ACTIVE:
            self._attempt("inactive", self.drain, lambda: None)
        self._attempt("cleaned up", self._release_all, lambda: None)
        self._problem = problem
        return SUCCESS

    def _attempt(self, goal: str, step: Callable[[], None], undo: Callable[[], None]) -> TransitionCallbackReturn:
        """Take a step of a transition; what goes wrong is told and undone."""
        try:
            step()
        except NeuroScanError as error:
            self._tell(f"The node is not {goal}: {error.message}", error.remedy)
            return self._undo(undo, FAILURE)
        except Exception as error:
            self._tell(f"The node is not {goal}: {type(error).__name__}: {error}", "This is a fault; report it.", error)
            return self._undo(undo, ERROR)
        self._problem = ""
        self.get_logger().info(f"The node is {goal}.")
        return SUCCESS

    def _undo(self, undo: Callable[[], None], outcome: TransitionCallbackReturn) -> TransitionCallbackReturn:
        try:
            undo()
        except Exception as error:
            self._tell(f"Not everything is given back: {type(error).__name__}: {error}", "Restart the node.", error)
            return ERROR
        return outcome

    def _tell(self, problem: str, remedy: str, error: BaseException | None = None) -> None:
        self._problem = f"{problem} {remedy}".strip()
        trace = "".join(traceback.format_exception(error)) if error is not None else ""
        self.get_logger().error(f"{problem}\n  What to do: {remedy}\n{trace}".rstrip() if remedy else problem)

    def _release_all(self) -> None:
        try:
            self.release()
        finally:
            if self._has_bus:
                self._has_bus = False
                self.bus.close()

    def _on_change_state(self, request: ChangeState.Request, response: ChangeState.Response) -> ChangeState.Response:
        """Take requests for a transition one at a time, and only those that the state allows."""
        wanted = request.transition
        if not self._changing.acquire(blocking=False):
            self.get_logger().warning(f"Refused: the node is {self.lifecycle_state}, ask again when it is done.")
            response.success = False
            return response
        try:
            allowed = [(one[0], one[1]) for one in self._state_machine.available_transitions]
            if not any(wanted.label == label if wanted.label else wanted.id == id_ for id_, label in allowed):
                names = ", ".join(sorted({label for _, label in allowed}))
                self.get_logger().warning(
                    f"Refused: there is no transition {wanted.label or wanted.id} from {self.lifecycle_state}, "
                    f"but {names or 'none'}."
                )
                response.success = False
                return response
            return self._change_state(request, response)
        finally:
            self._changing.release()

    # -------------------------------------------------------------------------------------------- begin, end, health

    def autostart(self) -> None:
        """Configure and activate, again and again until that is done; whatever is missing may come."""
        retry_s = FIRST_RETRY_S
        while not self._ending.is_set():
            with self._changing:
                if self.lifecycle_state == UNCONFIGURED and not self._ending.is_set():
                    self.trigger_configure()
                if self.lifecycle_state == INACTIVE and not self._ending.is_set():
                    self.trigger_activate()
                if self.lifecycle_state not in (UNCONFIGURED, INACTIVE):
                    return
            self._ending.wait(retry_s)
            retry_s = min(2 * retry_s, MAX_RETRY_S)

    def finish(self) -> None:
        """Go to the end of the lifecycle from wherever the node is, in order."""
        self._ending.set()
        with self._changing:
            for state, trigger in (
                (ACTIVE, self.trigger_deactivate),
                (INACTIVE, self.trigger_cleanup),
                (UNCONFIGURED, self.trigger_shutdown),
            ):
                if self.lifecycle_state == state:
                    trigger()

    def _look(self) -> Condition:
        """For the diagnostics."""
        state = self.lifecycle_state
        problems = [self._problem] if self._problem else []
        if state != ACTIVE:
            return Condition(False, problems, {"state": state})
        try:
            is_ready, found, values = self.health()
        except Exception as error:
            if self.lifecycle_state != ACTIVE:  # it was deactivated in the meantime
                return Condition(False, problems, {"state": self.lifecycle_state})
            return Condition(False, [f"How the node is cannot be found out: {error}"], {"state": state})
        return Condition(is_ready, [*problems, *found], {"state": state, **values})


def run(node_class: type[RoleNode], arguments: list[str] | None = None) -> None:
    """Run a node until SIGINT or SIGTERM, then let it finish; the main function of every executable.

    Whatever happens, the process ends within 10 s of the signal, with status 0.
    """
    limit_heap()
    os.nice(node_class.niceness)
    stopping = stop_on_signals()
    rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = _make(node_class)
        done = threading.Event()
        threading.Thread(target=_limit_ending, args=(node, stopping, done), name="limit-ending", daemon=True).start()
        with spinning(node):
            if node.parameters.is_autostarting:
                threading.Thread(target=node.autostart, name="autostart", daemon=True).start()
            else:
                node.get_logger().info("The node waits to be configured.")
            stopping.wait()
            node.finish()
        node.destroy_node()
        done.set()
    finally:
        rclpy.try_shutdown()
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        sys.stderr.flush()
        os._exit(0)  # pynetdicom waits for a peer that does not answer until its time is up


def _make(node_class: type[RoleNode]) -> RoleNode:
    try:
        return node_class()
    except NeuroScanError as error:
        print(f"{node_class.name}: {error.message}", file=sys.stderr)
        if error.remedy:
            print(f"  What to do: {error.remedy}", file=sys.stderr)
        sys.exit(1)


def _limit_ending(node: RoleNode, stopping: threading.Event, done: threading.Event) -> None:
    stopping.wait()
    if not done.wait(MAX_ENDING_S):
        node.get_logger().warning("The node ends before all is finished; what is left is taken up at its next start.")
        os._exit(0)
