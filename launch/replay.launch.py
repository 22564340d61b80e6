"""Plays a recording and shows it: viewer, rviz and `ros2 bag play`.

Record it beside a running node with::

    ros2 bag record -o BAG /neuroscan/slices /neuroscan/series /neuroscan/masks /neuroscan/segmentations
"""

from __future__ import annotations

from pathlib import Path

from launch import Action, LaunchContext, LaunchDescription
from launch.actions import ExecuteProcess, OpaqueFunction
from neuroscan_ros.launching import VIEWER, Arguments, bring_up, declare, in_namespace, rviz

VIEW = Path(__file__).parent / "rviz" / "neuroscan.rviz"


def generate_launch_description() -> LaunchDescription:
    """Arguments and nodes."""
    arguments = declare(
        "bag", "rate", "config", "params_file", "rviz", "namespace", "respawn", "autostart", respawn="false"
    )
    return LaunchDescription([*arguments, OpaqueFunction(function=actions)])


def actions(context: LaunchContext) -> list[Action]:
    """What the arguments ask for; the recording starts when the viewer is active."""
    arguments = Arguments(context)
    bag = arguments.text("bag")
    if not bag:
        raise RuntimeError("Which recording? Name its folder: bag:=FOLDER.")
    if not Path(bag).exists():
        raise RuntimeError(f"There is no recording {bag}. Check the path after bag:=.")
    play = ExecuteProcess(
        cmd=["ros2", "bag", "play", bag, "--rate", arguments.text("rate"), "--disable-keyboard-controls"],
        name="play",
        output="screen",
    )
    viewer = bring_up(arguments, VIEWER, then=[play])
    return in_namespace(arguments, [*viewer, *rviz(arguments, VIEW)])
