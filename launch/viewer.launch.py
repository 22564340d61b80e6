"""The viewer alone, for example on a desk: pictures, surface and application of a node that runs elsewhere."""

from __future__ import annotations

from pathlib import Path

from launch import Action, LaunchContext, LaunchDescription
from launch.actions import OpaqueFunction
from neuroscan_ros.launching import VIEWER, Arguments, bring_up, declare, in_namespace, rviz

VIEW = Path(__file__).parent / "rviz" / "neuroscan.rviz"


def generate_launch_description() -> LaunchDescription:
    """Arguments and node."""
    arguments = declare("config", "params_file", "rviz", "namespace", "respawn", "autostart")
    return LaunchDescription([*arguments, OpaqueFunction(function=actions)])


def actions(context: LaunchContext) -> list[Action]:
    """What the arguments ask for."""
    arguments = Arguments(context)
    return in_namespace(arguments, [*bring_up(arguments, VIEWER), *rviz(arguments, VIEW)])
