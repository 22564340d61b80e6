"""The launch file of the whole node for `launch_test`; `test_launch_testing.py` runs it.

Arguments: ``config`` of a node that segments every MR series, ``series`` (a folder of images), ``port`` of the gateway.
"""

from __future__ import annotations

import subprocess
import threading
import unittest
from pathlib import Path
from typing import Any

import launch_testing
import launch_testing.actions
import launch_testing.asserts
import rclpy
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.substitutions import LaunchConfiguration
from launch_ros.substitutions import FindPackageShare
from neuroscan_msgs.msg import Mask
from neuroscan_ros import qos
from neuroscan_ros.spinning import spinning

from tests.dcmtk import dcmtk

PATIENCE_S = 90.0


def generate_test_description() -> LaunchDescription:
    """The whole node, and the tests at once: they wait for it."""
    edge = [FindPackageShare("neuroscan"), "/launch/edge.launch.py"]
    return LaunchDescription(
        [
            *(DeclareLaunchArgument(name) for name in ("config", "series", "port")),
            IncludeLaunchDescription(edge, launch_arguments={"config": LaunchConfiguration("config")}.items()),
            launch_testing.actions.ReadyToTest(),
        ]
    )


class TestWhileItRuns(unittest.TestCase):
    """What others see of it."""

    def test_every_slice_that_is_sent_gets_a_mask(self, proc_output: Any, test_args: dict[str, str]) -> None:
        paths = sorted(Path(test_args["series"]).iterdir())
        keys: set[str] = set()
        are_all = threading.Event()

        def note(mask: Mask) -> None:
            keys.add(mask.key.sop_instance_uid)
            if len(keys) == len(paths):
                are_all.set()

        context = rclpy.context.Context()
        rclpy.init(context=context)
        node = rclpy.create_node("ear", context=context)
        node.create_subscription(Mask, "neuroscan/masks", note, qos.stream(1000))
        try:
            with spinning(node):
                proc_output.assertWaitFor("gateway is ready", timeout=PATIENCE_S, stream="stderr")
                subprocess.run(
                    [dcmtk("storescu"), "-aec", "NEUROSCAN", "127.0.0.1", test_args["port"], *map(str, paths)],
                    check=True, timeout=PATIENCE_S, stdin=subprocess.DEVNULL,
                )  # fmt: skip
                assert are_all.wait(PATIENCE_S), f"{len(keys)} masks of {len(paths)} slices"
                proc_output.assertWaitFor("result is written", timeout=PATIENCE_S, stream="stderr")
        finally:
            node.destroy_node()
            context.try_shutdown()


@launch_testing.post_shutdown_test()
class TestAfterItsEnd(unittest.TestCase):
    """How it ended."""

    def test_every_process_has_ended_by_itself(self, proc_info: Any) -> None:
        assert sorted(name.rpartition("-")[0] for name in proc_info.process_names()) == [
            "gateway_node", "segmentation_node", "viewer_node"
        ]  # fmt: skip
        launch_testing.asserts.assertExitCodes(proc_info)
