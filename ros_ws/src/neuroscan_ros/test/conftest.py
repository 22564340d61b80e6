"""Fixtures of the tests under ROS: those of the whole node, and ears for topics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import need_program, repository, shared_data, shared_dir, small_phantom
from tests.e2e.conftest import archive, phantom, phantom_series
from tests.e2e.node import RunningArchive
from tests.e2e.ros import RosNode
from tests.e2e.test_real_series import orthanc

__all__ = [
    "archive", "listen", "need_program", "orthanc", "phantom", "phantom_series", "repository", "ros_node",
    "shared_data", "shared_dir", "small_phantom",
]  # fmt: skip


@pytest.fixture
def ros_node(tmp_path: Path, archive: RunningArchive) -> Iterator[RosNode]:
    """A node that is not launched yet and delivers to `archive`."""
    running = RosNode(tmp_path, [archive.destination])
    yield running
    running.close()


@pytest.fixture
def listen() -> Iterator[Callable[..., list[Any]]]:
    """Subscribe to a topic by message type, full name and QoS; the list that its messages are appended to."""
    rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not sourced")
    from neuroscan_ros.spinning import spinning

    context = rclpy.context.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("listener", context=context)

    def subscribe(message_type: type, topic: str, profile: Any) -> list[Any]:
        messages: list[Any] = []
        node.create_subscription(message_type, topic, messages.append, profile)
        return messages

    with ExitStack() as ending:
        ending.callback(context.try_shutdown)
        ending.callback(node.destroy_node)
        ending.enter_context(spinning(node))
        yield subscribe
