"""The parameters of a running node: declared, checked when they are set, read when the node is configured."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from neuroscan_core.config import NodeConfig, read_config, wrong_keys
from neuroscan_core.domain.errors import ConfigurationError
from neuroscan_ros.parameters import (
    ConfigParameter,
    Kind,
    Value,
    config_parameters,
    from_parameters,
    to_parameters,
)

CONFIG = "config"
AUTOSTART = "autostart"
CHANGEABLE_IN = "unconfigured"


class NodeParameters:
    """The configuration of a node as its parameters.

    Parameters
    ----------
    node : Node
    sections : collection of str
        Which keys it has parameters for, see `parameters.SECTIONS`; others come from the file alone.
    state : callable
        Label of the node's lifecycle state.

    Raises
    ------
    ConfigurationError
        The file or a parameter that was given at the start is wrong.
    """

    def __init__(self, node: Node, sections: Collection[str], *, state: Callable[[], str]) -> None:
        self._node, self._sections, self._state = node, sections, state
        self._known = {parameter.name: parameter for parameter in config_parameters(sections)}
        self._explicit: dict[str, Value] = self._given()
        self._loading_thread = 0
        file = self._declare_own()
        self._file = _read(file)
        values = to_parameters(self._parse(self._explicit, file), sections)
        for name, parameter in self._known.items():
            node.declare_parameter(name, values[name], _descriptor(parameter), ignore_override=True)
        node.add_on_set_parameters_callback(self._check)

    def _declare_own(self) -> str:
        """Declare what is not in the file; the path of the file."""
        config = ParameterDescriptor(
            description="Configuration file; its values are the defaults of all other parameters.",
            additional_constraints="path; empty for none",
        )
        autostart = ParameterDescriptor(
            description="Configure and activate without being told to, after a crash too.", read_only=True
        )
        self._node.declare_parameter(AUTOSTART, False, autostart)
        return str(self._node.declare_parameter(CONFIG, "", config).value)

    @property
    def is_autostarting(self) -> bool:
        """Whether the node shall configure and activate itself."""
        return bool(self._node.get_parameter(AUTOSTART).value)

    def load(self) -> NodeConfig:
        """Read the file again; parameters that were not set follow it.

        Raises
        ------
        ConfigurationError
            File and parameters together are no configuration.
        """
        file = str(self._node.get_parameter(CONFIG).value)
        self._file = _read(file)
        config = self._parse(self._explicit, file)
        values = to_parameters(config, self._sections)
        changed = [
            Parameter(name, Parameter.Type(self._known[name].kind.value), value)
            for name, value in values.items()
            if value != self._node.get_parameter(name).value
        ]
        self._loading_thread = threading.get_ident()
        try:
            self._node.set_parameters(changed)
        finally:
            self._loading_thread = 0
        return config

    def _given(self) -> dict[str, Value]:
        """Values from the command line and from parameter files."""
        # rclpy ignores what a file sets and nobody declares, so that a misspelt key would go unnoticed.
        overrides: dict[str, Parameter] = self._node._parameter_overrides
        everything = {parameter.name for parameter in config_parameters()}
        unknown = [
            name for name in overrides if name.partition(".")[0] in NodeConfig.model_fields and name not in everything
        ]
        if unknown:
            raise ConfigurationError(
                f"There is no parameter {', '.join(sorted(unknown))}.",
                remedy="docs/ros-parameters.md and `ros2 param list` name those that there are.",
            )
        return {
            name: self._known[name].fit(override.value)
            for name, override in overrides.items()
            if name in self._known and (override.value is not None or self._known[name].kind is Kind.STRING_ARRAY)
        }

    def _parse(self, values: dict[str, Value], file: str) -> NodeConfig:
        return from_parameters(values, self._file, source=f"{file} and parameters" if file else "parameters")

    def _check(self, changes: Sequence[Parameter]) -> SetParametersResult:
        """Take changes or say why not."""
        own = [change for change in changes if change.name in self._known or change.name == CONFIG]
        if not own or self._loading_thread == threading.get_ident():
            return SetParametersResult(successful=True)
        if self._state() != CHANGEABLE_IN:
            return _refusal(
                f"{own[0].name} can be changed in the state {CHANGEABLE_IN} only, and the node is {self._state()}: "
                "deactivate it and clean up first"
            )
        values = {change.name: change.value for change in own if change.name != CONFIG}
        problem = self._problem({**self._explicit, **values}, {change.name: change.value for change in own})
        if problem:
            return _refusal(problem)
        self._explicit.update(values)
        return SetParametersResult(successful=True)

    def _problem(self, values: dict[str, Value], changes: dict[str, Any]) -> str:
        """What is wrong with changes; what is wrong elsewhere may be mended by the next one."""
        try:
            if CONFIG in changes:
                from_parameters(values, _read(changes[CONFIG]), source=changes[CONFIG])
            else:
                from_parameters(values, self._file)
        except ConfigurationError as error:
            cause = error.__cause__
            if CONFIG in changes or not isinstance(cause, ValidationError):
                return str(error)
            problems = [
                f"{key}: {message}" if key else message
                for key, message in wrong_keys(cause)
                if not key or any(f"{key}.".startswith(f"{name}.") for name in changes)
            ]
            return "; ".join(problems)
        return ""


def _read(file: str) -> Any:
    return read_config(Path(file)) if file else {}


def _refusal(reason: str) -> SetParametersResult:
    return SetParametersResult(successful=False, reason=reason)


def _descriptor(parameter: ConfigParameter) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(
        description=parameter.description, additional_constraints=parameter.constraints, type=parameter.kind.value
    )
    if parameter.range is not None:
        least, most = parameter.range
        if parameter.kind is Kind.INTEGER:
            descriptor.integer_range = [IntegerRange(from_value=int(least), to_value=int(most), step=0)]
        else:
            descriptor.floating_point_range = [FloatingPointRange(from_value=least, to_value=most, step=0.0)]
    return descriptor
