"""How a node is, once a second on ``/diagnostics``, in every state of its life."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node

from neuroscan_ros import qos

TOPIC = "/diagnostics"
PERIOD_S = 1.0
DEPTH = 10


@dataclass(frozen=True)
class Condition:
    """How a node is at one moment.

    Parameters
    ----------
    is_ready : bool
        Whether it does its work.
    problems : sequence of str
        Sentences; a node that is ready may have some.
    values : mapping of str to str
        What a person may want to know beside that.
    """

    is_ready: bool
    problems: Sequence[str] = ()
    values: Mapping[str, str] = field(default_factory=dict)


class Diagnostics:
    """Publishes the condition of a node.

    Parameters
    ----------
    node : Node
    look : callable
        Gives the condition; in a thread of its own callback group, so it may take a while.
    """

    def __init__(self, node: Node, look: Callable[[], Condition]) -> None:
        self._node, self._look = node, look
        self._name = f"{node.get_fully_qualified_name().lstrip('/')}: health"
        self._publisher = node.create_publisher(DiagnosticArray, TOPIC, qos.stream(DEPTH))
        self._timer = node.create_timer(PERIOD_S, self.publish, callback_group=MutuallyExclusiveCallbackGroup())

    def publish(self) -> None:
        """Look and tell."""
        message = DiagnosticArray(status=[to_status(self._look(), self._name)])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)


def to_status(condition: Condition, name: str) -> DiagnosticStatus:
    """Status of a condition: a problem is a warning where the node works all the same, else an error."""
    if not condition.is_ready:
        level = DiagnosticStatus.ERROR if condition.problems else DiagnosticStatus.WARN
    else:
        level = DiagnosticStatus.WARN if condition.problems else DiagnosticStatus.OK
    return DiagnosticStatus(
        level=level,
        name=name,
        message=" ".join(condition.problems) or ("ready" if condition.is_ready else "not active"),
        hardware_id=socket.gethostname(),
        values=[KeyValue(key=key, value=value) for key, value in condition.values.items()],
    )
