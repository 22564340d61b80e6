"""What the launch files of NeuroScan share: their arguments, and the actions that those become."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import Action, LaunchContext
from launch.actions import DeclareLaunchArgument, ExecuteProcess, GroupAction, LogInfo
from launch_ros.actions import LifecycleNode, Node, PushRosNamespace
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import ExecutableInPackage

from neuroscan_core.config import load_config
from neuroscan_core.domain.errors import ConfigurationError
from neuroscan_ros.bring_up import BringUp

PACKAGE = "neuroscan_ros"
VIEWER, SEGMENTATION, GATEWAY, BRIDGE = "viewer_node", "segmentation_node", "gateway_node", "bridge_node"
RESPAWN_DELAY_S = 1.0
# A gateway that is asked to end finishes what it has acknowledged first.
DRAIN_S, KILL_S = "20", "10"
_BOOLS = ("true", "false")
_ENGINES = ("auto", "onnxruntime", "onnxruntime-cuda", "tensorrt", "triton")

# Name -> default, choices (empty: any), description.
_ARGUMENTS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "config": ("", (), "Configuration file of the node (YAML, see docs/configuration.md); empty: all defaults."),
    "params_file": ("", (), "ROS parameter file; what it sets wins over `config`."),
    "model": ("", (), "Model bundle that segments every MR series; empty: the rules of the configuration decide."),
    "engine": ("", ("", *_ENGINES), "What executes the networks; empty: as configured."),
    "bus": (
        "ros2",
        ("ros2", "zmq"),
        "ros2: gateway and segmentation are ROS nodes. zmq: they and the application in the browser are plain "
        "processes, which only `config` sets up, and a bridge shows what they do as ROS topics and services.",
    ),
    "viewer": ("true", _BOOLS, "Run viewer_node: pictures, surface and the application in the browser."),
    "rviz": ("false", _BOOLS, "Run rviz with the view of NeuroScan, where it is installed."),
    "namespace": ("", (), "Namespace of all nodes, and so of all topics and services."),
    "respawn": ("true", _BOOLS, "Start again what ends unasked, and bring it up again."),
    "autostart": ("true", _BOOLS, "Configure and activate the nodes; false: somebody else does."),
    "bag": ("", (), "Folder of a recording made by `ros2 bag record`."),
    "rate": ("1.0", (), "How fast to play, as a multiple of real time."),
}


def declare(*names: str, **defaults: str) -> list[DeclareLaunchArgument]:
    """Arguments of a launch file by name, with other defaults where given."""
    declared = []
    for name in names:
        default, choices, description = _ARGUMENTS[name]
        options: dict[str, Any] = {"choices": list(choices)} if choices else {}
        declared.append(
            DeclareLaunchArgument(name, default_value=defaults.get(name, default), description=description, **options)
        )
    return declared


class Arguments:
    """Values of the arguments within a launch file.

    Parameters
    ----------
    context : LaunchContext
    """

    def __init__(self, context: LaunchContext) -> None:
        self._values = context.launch_configurations

    def text(self, name: str) -> str:
        """Value; empty where the launch file does not declare the argument."""
        return str(self._values.get(name, ""))

    def is_on(self, name: str) -> bool:
        """Whether a switch is on; its default where the launch file does not declare it."""
        return str(self._values.get(name, _ARGUMENTS[name][0])).lower() in ("true", "1", "yes", "on")


def bring_up(arguments: Arguments, *executables: str, then: Sequence[Action] = ()) -> list[Action]:
    """Lifecycle nodes, activated in the order given.

    Parameters
    ----------
    executables : str
        Of `neuroscan_ros`; also the names of the nodes.
    then : sequence of Action
        Executed when all are active, or at once where nobody activates them here.
    """
    nodes = [_lifecycle_node(arguments, executable) for executable in executables]
    if not arguments.is_on("autostart"):
        return [*nodes, *then]
    return [BringUp(nodes, then=then), *nodes]


def plain_processes(arguments: Arguments, *roles: str) -> list[Action]:
    """Gateway, segmenter and viewer as plain processes that talk over ZeroMQ.

    Raises
    ------
    RuntimeError
        An argument was given that they do not know.
    """
    for name in ("model", "engine"):
        if arguments.text(name):
            raise RuntimeError(
                f"The argument {name}:={arguments.text(name)} does not reach the plain processes of bus:=zmq. "
                "Set it in the configuration file (config:=FILE), or use bus:=ros2."
            )
    options = ["-c", arguments.text("config")] if arguments.text("config") else []
    return [
        ExecuteProcess(
            cmd=[ExecutableInPackage("neuroscan", package="neuroscan"), role, *options],
            name=role,
            output="screen",
            respawn=arguments.is_on("respawn"),
            respawn_delay=RESPAWN_DELAY_S,
            sigterm_timeout=DRAIN_S,
            sigkill_timeout=KILL_S,
        )
        for role in roles
    ]


def has_page(arguments: Arguments) -> bool:
    """Whether the configuration wants the application in the browser; what is wrong with it the processes tell."""
    try:
        return load_config(Path(file) if (file := arguments.text("config")) else None).viewer.enabled
    except ConfigurationError:
        return True


def rviz(arguments: Arguments, view: Path) -> list[Action]:
    """Rviz with a view, if it is asked for and installed."""
    if not arguments.is_on("rviz"):
        return []
    try:
        get_package_prefix("rviz2")
    except PackageNotFoundError:
        return [
            LogInfo(
                msg="rviz is not installed, so it is not started; all else is. Install rviz2 (Debian package "
                "ros-$ROS_DISTRO-rviz2), or leave rviz:=true away."
            )
        ]
    return [Node(package="rviz2", executable="rviz2", name="rviz", arguments=["-d", str(view)], output="log")]


def in_namespace(arguments: Arguments, actions: Iterable[Action]) -> list[Action]:
    """Actions within the namespace of the argument."""
    namespace = arguments.text("namespace")
    return [GroupAction([PushRosNamespace(namespace), *actions])] if namespace else list(actions)


def _lifecycle_node(arguments: Arguments, executable: str) -> LifecycleNode:
    params_file = arguments.text("params_file")
    is_page_elsewhere = executable == VIEWER and arguments.text("bus") == "zmq"
    return LifecycleNode(
        package=PACKAGE,
        executable=executable,
        name=executable,
        namespace="",
        parameters=[
            {name: ParameterValue(value, value_type=str) for name, value in _parameters(arguments, executable).items()},
            *([params_file] if params_file else []),
            *([{"viewer.enabled": False}] if is_page_elsewhere else []),
        ],
        output="screen",
        respawn=arguments.is_on("respawn"),
        respawn_delay=RESPAWN_DELAY_S,
        sigterm_timeout=DRAIN_S,
        sigkill_timeout=KILL_S,
    )


def _parameters(arguments: Arguments, executable: str) -> Mapping[str, str]:
    found = {"config": str(Path(arguments.text("config")).absolute())} if arguments.text("config") else {}
    if arguments.text("engine") and executable in (SEGMENTATION, VIEWER):
        found["segmenter.engine"] = arguments.text("engine")
    if arguments.text("model") and executable in (GATEWAY, SEGMENTATION):
        rule = {"name": "every MR", "when": {"Modality": "MR"}, "model": arguments.text("model")}
        found["rules"] = yaml.safe_dump([rule], default_flow_style=True, width=10000).strip()
    return found
