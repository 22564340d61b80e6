"""The gateway alone: receives images, keeps the journal, delivers results."""

from __future__ import annotations

from launch import Action, LaunchContext, LaunchDescription
from launch.actions import OpaqueFunction
from neuroscan_ros.launching import GATEWAY, Arguments, bring_up, declare, in_namespace


def generate_launch_description() -> LaunchDescription:
    """Arguments and node."""
    arguments = declare("config", "params_file", "model", "namespace", "respawn", "autostart")
    return LaunchDescription([*arguments, OpaqueFunction(function=actions)])


def actions(context: LaunchContext) -> list[Action]:
    """What the arguments ask for."""
    arguments = Arguments(context)
    return in_namespace(arguments, bring_up(arguments, GATEWAY))
