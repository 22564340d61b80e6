"""The configuration file as ROS parameters: one for every key, with the same name, meaning, limits and default.

Made from the models of `neuroscan_core.config`; nothing here needs ROS. Where ROS has no value for something:

- an optional key that is not set is the empty string;
- lists of sections and mappings (`rules`, `studies`, `destinations`, `bus.addresses`) are strings that hold YAML;
- an empty list of strings is ``['']``, because an empty list has no type in ROS.

What opens the viewer is no parameter, since everyone in the ROS domain reads those.
"""

from __future__ import annotations

import copy
import math
import types
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from neuroscan_core.config import NodeConfig, parse_config
from neuroscan_core.config_reference import constraints, describe_key, nested_model
from neuroscan_core.domain.errors import ConfigurationError

Value = bool | int | float | str | list[str]

INT64 = (-(2**63), 2**63 - 1)
NO_STRINGS = [""]

# What each node has parameters for: sections, or single keys. All nodes have `config` and `autostart`.
SECTIONS: Mapping[str, tuple[str, ...]] = {
    "gateway_node": (
        "state_dir", "gateway", "series", "rules", "studies", "segmenter.models_dir", "results", "destinations",
        "retention", "bus.queue_events", "log",
    ),
    "segmentation_node": ("state_dir", "rules", "studies", "segmenter", "bus.queue_events", "log"),
    "viewer_node": ("state_dir", "segmenter", "bus.queue_events", "viewer", "log"),
    "bridge_node": ("state_dir", "bus", "log"),
}  # fmt: skip

FILE_ONLY = frozenset({"viewer.auth.password_hash"})


class Kind(Enum):
    """Type of a parameter; the values are those of rcl_interfaces/msg/ParameterType."""

    BOOL = 1
    INTEGER = 2
    DOUBLE = 3
    STRING = 4
    STRING_ARRAY = 9


_TYPES = {Kind.BOOL: bool, Kind.INTEGER: int, Kind.DOUBLE: float, Kind.STRING: str}


@dataclass(frozen=True)
class ConfigParameter:
    """A key of the configuration file as a parameter.

    Parameters
    ----------
    name : str
        Dotted path of the key.
    kind : Kind
    default : bool, int, float, str or list of str
    description : str
    constraints : str
        What the range cannot say, for people; may be empty.
    range : tuple of int or float, optional
        Least and largest value.
    is_optional : bool
        Whether the empty string means that the key is not set.
    holds : type, optional
        For strings that hold YAML: ``list`` or ``dict``.
    """

    name: str
    kind: Kind
    default: Value
    description: str
    constraints: str = ""
    range: tuple[float, float] | None = None
    is_optional: bool = False
    holds: type | None = None

    def from_plain(self, plain: Any) -> Value:
        """Value of the parameter for what the file holds under its key."""
        if self.holds is not None:
            return _to_yaml(plain) if plain else ""
        if self.kind is Kind.STRING_ARRAY:
            return [str(entry) for entry in plain] or list(NO_STRINGS)
        if plain is None:
            return ""
        return float(plain) if self.kind is Kind.DOUBLE else plain

    def to_plain(self, value: Value) -> Any:
        """What the file would hold under its key for a value of the parameter.

        Raises
        ------
        ConfigurationError
            It should hold YAML and does not.
        """
        if self.holds is not None:
            return self._parse(str(value))
        if self.kind is Kind.STRING_ARRAY and isinstance(value, list | tuple):
            return [entry for entry in value if entry]
        return None if self.is_optional and value == "" else value

    def fit(self, value: Any) -> Value:
        """Take a value that came from outside: a whole number is a number, an empty list is one of strings.

        Raises
        ------
        ConfigurationError
            It is of another type.
        """
        if self.kind is Kind.DOUBLE and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if self.kind is Kind.STRING_ARRAY and isinstance(value, list | tuple | None):
            if all(isinstance(entry, str) for entry in value or ()):  # ROS reads an empty list as nothing
                return list(value or NO_STRINGS)
        elif isinstance(value, bool | int | float | str) and type(value) is _TYPES.get(self.kind):
            return value
        wanted = self.kind.name.lower().replace("_array", "s in a list")
        raise ConfigurationError(
            f"{self.name}: {value!r} is not what it takes, {wanted}.",
            remedy="Put quotes around what shall be text." if self.kind is Kind.STRING else "",
        )

    def _parse(self, text: str) -> Any:
        assert self.holds is not None
        try:
            parsed = yaml.safe_load(text)
        except yaml.YAMLError as exc:
            reason = str(exc).replace("\n", " ")
            raise ConfigurationError(f"{self.name}: not YAML: {reason}.", remedy="Mend the text.") from exc
        return self.holds() if parsed is None else parsed


def config_parameters(sections: Collection[str] | None = None) -> tuple[ConfigParameter, ...]:
    """Parameters of these sections and keys; of all where `sections` is None."""
    return tuple(
        parameter
        for parameter in _walk(NodeConfig, "", is_optional=False)
        if sections is None or any(f"{parameter.name}.".startswith(f"{section}.") for section in sections)
    )


def to_parameters(config: NodeConfig, sections: Collection[str] | None = None) -> dict[str, Value]:
    """Value of each parameter for a configuration."""
    values: dict[str, Value] = {}
    for parameter in config_parameters(sections):
        found: Any = config
        for part in parameter.name.split("."):
            found = None if found is None else getattr(found, part)
        values[parameter.name] = parameter.default if found is None else parameter.from_plain(_plain(found))
    return values


def from_parameters(values: Mapping[str, Value], file: Any = None, *, source: str = "parameters") -> NodeConfig:
    """Configuration of parameters that were set, over what a configuration file holds.

    Parameters
    ----------
    values : mapping of str to bool, int, float, str or list of str
        What is not there has its default, or what `file` holds.
    file : mapping, optional
        As YAML gives it, see `neuroscan_core.config.read_config`.
    source : str
        Named in the error.

    Raises
    ------
    ConfigurationError
        Names every wrong key.
    """
    if not isinstance(file, Mapping | None):
        return parse_config(file, source=source)
    known = {parameter.name: parameter for parameter in config_parameters()}
    merged: dict[str, Any] = copy.deepcopy(dict(file or {}))
    for name, value in values.items():
        _put(merged, name.split("."), known[name].to_plain(value))
    for path in _optional_sections(NodeConfig, ""):
        _drop_if_unset(merged, path.split("."), known, path)
    return parse_config(merged, source=source)


def _put(tree: dict[str, Any], path: list[str], plain: Any) -> None:
    *parents, last = path
    for part in parents:
        below = tree.get(part)
        tree[part] = dict(below) if isinstance(below, Mapping) else {}
        tree = tree[part]
    tree[last] = plain


def _drop_if_unset(tree: Any, path: list[str], known: Mapping[str, ConfigParameter], prefix: str) -> None:
    """An optional section whose keys all say nothing is not there; of others, keys that are not set are left out."""
    for part in path[:-1]:
        tree = tree.get(part) if isinstance(tree, Mapping) else None
    section = tree.get(path[-1]) if isinstance(tree, Mapping) else None
    if not isinstance(section, dict):
        return
    told = {name: value for name, value in section.items() if value is not None}
    is_unset = all(
        f"{prefix}.{name}" in known and value == known[f"{prefix}.{name}"].default for name, value in told.items()
    )
    tree[path[-1]] = None if is_unset else told


def _optional_sections(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, info in model.model_fields.items():
        nested = _section(info)
        if nested is not None:
            yield from _optional_sections(nested, f"{prefix}{name}.")
            if _allows_none(info.annotation):
                yield f"{prefix}{name}"


def _walk(model: type[BaseModel], prefix: str, *, is_optional: bool) -> Iterator[ConfigParameter]:
    for name, info in model.model_fields.items():
        nested = _section(info)
        if nested is not None:
            yield from _walk(nested, f"{prefix}{name}.", is_optional=is_optional or _allows_none(info.annotation))
        elif f"{prefix}{name}" not in FILE_ONLY:
            yield _parameter(f"{prefix}{name}", info, in_optional=is_optional)


def _parameter(name: str, info: FieldInfo, *, in_optional: bool) -> ConfigParameter:
    kind, holds = _kind(info.annotation)
    default = info.get_default(call_default_factory=True)
    is_required = default is PydanticUndefined
    is_optional = kind is Kind.STRING and holds is None and (_allows_none(info.annotation) or is_required)
    assert in_optional or not is_required, f"{name} needs a default"
    limits, words = _limits(info, kind)
    notes = [*words, *_choices(info.annotation)]
    if holds is not None:
        notes.append("YAML, as in the configuration file; empty for none")
    elif kind is Kind.STRING_ARRAY:
        notes.append("[''] is the empty list")
    elif is_optional:
        notes.append("empty for none")
    blank = ConfigParameter(name, kind, "", describe_key(info), "; ".join(notes), limits, is_optional, holds)
    return ConfigParameter(**{**blank.__dict__, "default": blank.from_plain(None if is_required else _plain(default))})


def _kind(annotation: Any) -> tuple[Kind, type | None]:
    """Type of the parameter, and what its YAML is where it holds some."""
    annotation = _bare(annotation)
    origin = get_origin(annotation)
    if origin is dict:
        return Kind.STRING, dict
    if origin is tuple:
        entry = _bare(get_args(annotation)[0])
        is_section = isinstance(entry, type) and issubclass(entry, BaseModel)
        return (Kind.STRING, list) if is_section else (Kind.STRING_ARRAY, None)
    if origin is Literal or issubclass(annotation, str | Path | Enum):
        return Kind.STRING, None
    return {bool: Kind.BOOL, int: Kind.INTEGER, float: Kind.DOUBLE}[annotation], None


def _bare(annotation: Any) -> Any:
    """Without None and without notes."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif get_origin(annotation) in (Union, types.UnionType):
            (annotation,) = (one for one in get_args(annotation) if one is not type(None))
        else:
            return annotation


def _allows_none(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, types.UnionType) and type(None) in get_args(annotation)


def _section(info: FieldInfo) -> type[BaseModel] | None:
    """Section that the key holds, not a list of."""
    return None if get_origin(_bare(info.annotation)) is tuple else nested_model(info)


def _limits(info: FieldInfo, kind: Kind) -> tuple[tuple[float, float] | None, list[str]]:
    """Range, and in words what it cannot say."""
    found = {
        name: getattr(entry, name)
        for entry in constraints(info)
        for name in ("ge", "gt", "le", "lt")
        if getattr(entry, name, None) is not None
    }
    if not found:
        return None, []
    if kind is Kind.INTEGER:
        least = found.get("ge", found["gt"] + 1 if "gt" in found else INT64[0])
        most = found.get("le", found["lt"] - 1 if "lt" in found else INT64[1])
        return (least, most), []
    words = [f"{word} {found[name]:g}" for name, word in (("gt", "more than"), ("lt", "less than")) if name in found]
    bounds = (found.get("ge", found.get("gt", -math.inf)), found.get("le", found.get("lt", math.inf)))
    return (float(bounds[0]), float(bounds[1])), words


def _choices(annotation: Any) -> list[str]:
    annotation = _bare(annotation)
    if get_origin(annotation) is tuple:
        return [f"each {choice}" for choice in _choices(get_args(annotation)[0])]
    if get_origin(annotation) is Literal:
        return [f"one of: {', '.join(str(value) for value in get_args(annotation))}"]
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return [f"one of: {', '.join(str(one.value) for one in annotation)}"]
    return []


def _plain(value: Any) -> Any:
    """What YAML would give for a value; sections without what they have by default."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_defaults=True)
    if isinstance(value, tuple | list):
        return [_plain(entry) for entry in value]
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, Path) else value


def _to_yaml(plain: Any) -> str:
    text = yaml.safe_dump(plain, default_flow_style=True, sort_keys=False, width=math.inf)
    return text.removesuffix("\n").removesuffix("...").rstrip("\n")
