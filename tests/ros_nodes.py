"""Nodes in the process of a test, spun in the background, on the ROS domain of this process. Needs ROS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import rclpy
from neuroscan_ros.role_node import RoleNode
from neuroscan_ros.spinning import spinning
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter

N = TypeVar("N", bound=RoleNode)
PATIENCE_S = 60.0


@contextmanager
def context_of(domain_id: int) -> Iterator[Context]:
    """A context of ROS that ends."""
    context = Context()
    rclpy.init(args=[], context=context, domain_id=domain_id)
    try:
        yield context
    finally:
        context.try_shutdown()


@contextmanager
def hosted(node_class: type[N], domain_id: int, parameters: dict[str, Any] | None = None) -> Iterator[N]:
    """A node with parameters as a file would give them, unconfigured; it is finished at the end."""
    overrides = [Parameter(name, value=value) for name, value in (parameters or {}).items()]
    with context_of(domain_id) as context:
        node = node_class(context=context, use_global_arguments=False, parameter_overrides=overrides)
        try:
            with spinning(node):
                yield node
                node.finish()
        finally:
            node.destroy_node()


@contextmanager
def bare_node(domain_id: int, name: str = "somebody") -> Iterator[Node]:
    """A node without anything, spun: for clients and subscriptions."""
    with context_of(domain_id) as context:
        node = Node(name, context=context, use_global_arguments=False)
        try:
            with spinning(node):
                yield node
        finally:
            node.destroy_node()
