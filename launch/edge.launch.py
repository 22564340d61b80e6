"""The whole node beside the scanner: gateway, segmentation and viewer.

The viewer becomes active first, so that it sees everything, and the gateway last, so that somebody segments what it
receives. The order is a courtesy: every feed gets what it missed.
"""

from __future__ import annotations

from pathlib import Path

from launch import Action, LaunchContext, LaunchDescription
from launch.actions import OpaqueFunction
from neuroscan_ros.launching import (
    BRIDGE,
    GATEWAY,
    SEGMENTATION,
    VIEWER,
    Arguments,
    bring_up,
    declare,
    has_page,
    in_namespace,
    plain_processes,
    rviz,
)

VIEW = Path(__file__).parent / "rviz" / "neuroscan.rviz"


def generate_launch_description() -> LaunchDescription:
    """Arguments and nodes."""
    arguments = declare(
        "config", "params_file", "model", "engine", "bus", "viewer", "rviz", "namespace", "respawn", "autostart"
    )
    return LaunchDescription([*arguments, OpaqueFunction(function=actions)])


def actions(context: LaunchContext) -> list[Action]:
    """What the arguments ask for."""
    arguments = Arguments(context)
    viewer = [VIEWER] if arguments.is_on("viewer") else []
    if arguments.text("bus") == "zmq":
        # The page talks to the gateway over ZeroMQ, too: what says who the patient is does not travel over ROS.
        page = ["viewer"] if viewer and has_page(arguments) else []
        nodes = [*bring_up(arguments, BRIDGE, *viewer), *plain_processes(arguments, *page, "segmenter", "gateway")]
    else:
        nodes = bring_up(arguments, *viewer, SEGMENTATION, GATEWAY)
    return in_namespace(arguments, [*nodes, *rviz(arguments, VIEW)])
