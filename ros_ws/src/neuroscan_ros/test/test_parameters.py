"""The configuration file as parameters: every key, its limits, both ways, and what a node does with them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("neuroscan_ros", reason="needs the package of ros_ws")

from neuroscan_ros.node_parameters import NodeParameters
from neuroscan_ros.parameter_reference import reference_markdown
from neuroscan_ros.parameters import (
    FILE_ONLY,
    INT64,
    SECTIONS,
    ConfigParameter,
    Kind,
    Value,
    config_parameters,
    from_parameters,
    to_parameters,
)
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter

from neuroscan_core.config import NodeConfig, load_config, parse_config
from neuroscan_core.config_reference import key_paths
from neuroscan_core.domain.errors import ConfigurationError
from tests.bus.conftest import domain_id
from tests.ros_nodes import context_of

__all__ = ["domain_id"]

KNOWN = {parameter.name: parameter for parameter in config_parameters()}


class Host:
    """A node with parameters, and a lifecycle state that a test sets."""

    def __init__(self, context: Context, sections: tuple[str, ...] = tuple(NodeConfig.model_fields), **given: Any):
        self.state = "unconfigured"
        overrides = [Parameter(name.replace("__", "."), value=value) for name, value in given.items()]
        self.node = Node(
            "host", context=context, use_global_arguments=False, enable_rosout=False, parameter_overrides=overrides
        )
        self.parameters = NodeParameters(self.node, sections, state=lambda: self.state)

    def get(self, name: str) -> Any:
        return self.node.get_parameter(name).value

    def set(self, name: str, value: Any) -> str:
        """Reason of the refusal; empty where it was taken."""
        (result,) = self.node.set_parameters([Parameter(name, value=value)])
        assert result.successful == (result.reason == "")
        return str(result.reason)


@pytest.fixture
def context(domain_id: int) -> Iterator[Context]:
    with context_of(domain_id) as opened:
        yield opened


def schema_of(path: str) -> dict[str, Any]:
    """What JSON schema says of a key: another view on its limits and its text."""
    schema = NodeConfig.model_json_schema()
    here: dict[str, Any] = schema
    for part in path.split("."):
        while "properties" not in here:
            reference = here.get("$ref") or next(one["$ref"] for one in here.get("anyOf", here.get("allOf", ())))
            here = schema["$defs"][reference.rsplit("/", 1)[-1]]
        here = here["properties"][part]
    return here


# ------------------------------------------------------------------------------------------------------ every key


def test_every_key_has_exactly_one_parameter() -> None:
    names = [parameter.name for parameter in config_parameters()]
    assert len(set(names)) == len(names)
    holding_yaml = {parameter.name for parameter in config_parameters() if parameter.holds is not None}
    for path in set(key_paths()):
        is_parameter = path in KNOWN
        is_section = any(name.startswith(f"{path}.") for name in names)
        is_in_yaml = any(path.startswith(f"{name}.") for name in holding_yaml)
        assert [is_parameter, is_section, is_in_yaml, path in FILE_ONLY].count(True) == 1, path
    assert set(names) <= set(key_paths())


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_its_descriptor_has_the_type_the_text_and_the_limits_of_the_key(name: str, context: Context) -> None:
    host = Host(context, (name,))
    descriptor: ParameterDescriptor = host.node.describe_parameter(name)
    schema = schema_of(name)
    assert descriptor.type == KNOWN[name].kind.value == host.node.get_parameter(name).type_.value
    assert descriptor.description == schema["description"]
    assert not descriptor.read_only
    limits = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"} & schema.keys()
    ranges = [*descriptor.integer_range, *descriptor.floating_point_range]
    assert len(ranges) == (1 if limits else 0)
    if limits:
        is_whole = KNOWN[name].kind is Kind.INTEGER
        open_ends = INT64 if is_whole else (-math.inf, math.inf)
        assert ranges[0].from_value == schema.get("minimum", schema.get("exclusiveMinimum", open_ends[0]))
        assert ranges[0].to_value == schema.get("maximum", schema.get("exclusiveMaximum", open_ends[1]))
        assert ("more than" in descriptor.additional_constraints) == ("exclusiveMinimum" in limits)
        assert ("less than" in descriptor.additional_constraints) == ("exclusiveMaximum" in limits)
    host.node.destroy_node()


def test_every_choice_is_named() -> None:
    assert KNOWN["segmenter.engine"].constraints == "one of: auto, onnxruntime, onnxruntime-cuda, tensorrt, triton"
    assert KNOWN["series.lossy"].constraints == "one of: reject, accept"


def test_every_parameter_belongs_to_a_node_and_every_section_of_a_node_exists() -> None:
    of_nodes = {parameter.name for sections in SECTIONS.values() for parameter in config_parameters(sections)}
    assert of_nodes == set(KNOWN)
    for section in {section for sections in SECTIONS.values() for section in sections}:
        assert config_parameters((section,)), section


def test_the_files_in_the_repository_name_what_there_is(repository: Path) -> None:
    assert (repository / "docs" / "ros-parameters.md").read_text() == reference_markdown(), "make docs"
    example = yaml.safe_load((repository / "config" / "ros.example.yaml").read_text())
    given: dict[str, Value] = {}
    for node, content in example.items():
        flat = dict(flatten(content["ros__parameters"]))
        own = {name: flat.pop(name) for name in ("config", "autostart") if name in flat}
        assert {type(value) for value in own.values()} <= {str, bool}
        sections = None if node == "/**" else SECTIONS[node.rsplit("/", 1)[-1]]
        assert flat.keys() <= {parameter.name for parameter in config_parameters(sections)}, node
        given.update({name: KNOWN[name].fit(value) for name, value in flat.items()})
    config = from_parameters(given)
    assert config.destinations and config.rules


def flatten(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Names of parameters as ROS makes them of a file."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


# ------------------------------------------------------------------------------------------------------ round trip


def plausible(parameter: ConfigParameter) -> st.SearchStrategy[Any]:
    """Values that a key may have."""
    if "one of: " in parameter.constraints:
        return st.sampled_from(parameter.constraints.split("one of: ")[1].split(";")[0].split(", "))
    if parameter.kind is Kind.BOOL:
        return st.booleans()
    if parameter.kind is Kind.INTEGER:
        assert parameter.range is not None
        return st.integers(int(parameter.range[0]), int(parameter.range[1]))
    if parameter.kind is Kind.DOUBLE:
        assert parameter.range is not None
        least, most = parameter.range
        return st.floats(least, most, exclude_min="more" in parameter.constraints, exclude_max=most < math.inf)
    word = st.text(st.sampled_from("ABCxyz019 -_'\"#:{}[],&*!|>%@`~/"), min_size=1, max_size=16).map(
        lambda text: text.replace("~", "t").strip() or "A"
    )
    return st.lists(word, max_size=3) if parameter.kind is Kind.STRING_ARRAY else word


SECTION_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "rules": st.lists(
        st.fixed_dictionaries(
            {"name": st.text(max_size=8)},
            optional={
                "when": st.dictionaries(
                    st.sampled_from(["Modality", "EchoTime"]), st.sampled_from(["MR", {"min": 80}])
                ),
                "model": st.none() | st.text("ab-1", min_size=1),
                "priority": st.integers(-100, 100),
            },
        ),
        max_size=3,
    ),
    "studies": st.lists(st.fixed_dictionaries({"name": st.text(), "model": st.text()}), max_size=1),
    "destinations": st.lists(
        st.fixed_dictionaries(
            {"name": st.just("pacs"), "host": st.text()},
            optional={"port": st.integers(0, 65535), "seg_format": st.sampled_from(["BINARY", "LABELMAP"])},
        ),
        max_size=1,
    ),
    "bus.addresses": st.dictionaries(st.sampled_from(["gateway", "segmenter"]), st.text(max_size=5)),
    "viewer.diagnose.prose.url": st.just("http://127.0.0.1:11434/v1"),
}
# Optional sections come whole, or not at all.
OPTIONAL = {
    "gateway.tls": ("certificate", "key", "require_peer_certificate"),
    "viewer.tls": ("certificate", "key"),
    "viewer.auth": ("token_file", "idle_minutes"),
    "viewer.diagnose.prose": ("url", "model", "picture"),
}


@st.composite
def raw_configs(draw: st.DrawFn) -> dict[str, Any]:
    """Files with some of the keys."""
    raw: dict[str, Any] = {}
    names = [name for name in KNOWN if name.rpartition(".")[0] not in OPTIONAL]
    chosen = draw(st.lists(st.sampled_from(names), unique=True))
    for optional in draw(st.sets(st.sampled_from(sorted(OPTIONAL)))):
        chosen += [f"{optional}.{key}" for key in OPTIONAL[optional]]
    for name in chosen:
        *sections, key = name.split(".")
        here = raw
        for section in sections:
            here = here.setdefault(section, {})
        here[key] = draw(SECTION_VALUES[name] if name in SECTION_VALUES else plausible(KNOWN[name]))
    return raw


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(raw_configs())
def test_a_configuration_survives_as_parameters(raw: dict[str, Any]) -> None:
    config = parse_config(raw)
    values = to_parameters(config)
    assert values.keys() == KNOWN.keys()
    for name, value in values.items():
        assert Parameter.Type.from_parameter_value(value).value == KNOWN[name].kind.value
    assert from_parameters(values) == config


def test_what_opens_the_viewer_is_in_the_file_alone_and_stays_in_force(context: Context, tmp_path: Path) -> None:
    file = tmp_path / "node.yaml"
    file.write_text("viewer: {auth: {password_hash: scrypt-of-a-word}}\n")
    host = Host(context, ("viewer",), config=str(file), viewer__auth__idle_minutes=5.0)
    auth = host.parameters.load().viewer.auth
    assert auth is not None
    assert (auth.password_hash, auth.idle_minutes) == ("scrypt-of-a-word", 5.0)
    told = [host.node.get_parameter(name).value for name in host.node.list_parameters([], 10).names]
    assert "scrypt-of-a-word" not in str(told)
    with pytest.raises(ConfigurationError, match=r"no parameter viewer\.auth\.password_hash"):
        Host(context, ("viewer",), viewer__auth__password_hash="scrypt-of-a-word")


def test_example_file_and_defaults_survive_as_parameters(repository: Path) -> None:
    example = load_config(repository / "config" / "neuroscan.example.yaml")
    assert from_parameters(to_parameters(example)) == example == from_parameters({})


def test_each_parameter_alone_changes_its_key_alone() -> None:
    changed = {
        "gateway.port": 104, "series.quiet_s": 2.5, "results.sr": False, "gateway.allow.calling_ae": ["MR1", "MR2"],
        "segmenter.models_dir": "/models", "destinations": "[{name: pacs, host: here}]", "bus.addresses": "",
    }  # fmt: skip
    plain = json.loads(NodeConfig().model_dump_json())
    for name, value in changed.items():
        found = json.loads(from_parameters({name: value}).model_dump_json())
        *sections, key = name.split(".")
        here, expected = found, plain
        for section in sections:
            here, expected = here[section], expected[section]
        here[key] = expected[key]
        assert found == plain, name


def test_a_section_that_is_not_there_is_not_there_and_half_of_one_is_an_error() -> None:
    assert (
        from_parameters({"gateway.tls.certificate": "", "gateway.tls.key": "", "gateway.tls.ca": ""}).gateway.tls
        is None
    )
    both = from_parameters({"gateway.tls.certificate": "a.pem", "gateway.tls.key": "a.key", "gateway.tls.ca": ""})
    assert both.gateway.tls is not None
    assert (both.gateway.tls.certificate, both.gateway.tls.ca) == (Path("a.pem"), None)
    with pytest.raises(ConfigurationError, match=r"gateway\.tls\.key: Field required"):
        from_parameters({"gateway.tls.certificate": "a.pem"})


def test_the_file_is_not_changed_by_what_is_put_over_it() -> None:
    file = {"gateway": {"port": 104, "tls": {"certificate": "a", "key": "b"}}}
    before = json.dumps(file)
    merged = from_parameters({"gateway.port": 105, "gateway.tls.certificate": "", "gateway.tls.key": ""}, file)
    assert (merged.gateway.port, merged.gateway.tls, json.dumps(file)) == (105, None, before)


# ------------------------------------------------------------------------------------------------------ in a node


def test_the_file_gives_the_defaults_and_parameters_win(context: Context, tmp_path: Path) -> None:
    file = tmp_path / "node.yaml"
    file.write_text("gateway: {port: 104, ae_title: FILE}\nretention: {keep_hours: 1}\n")
    host = Host(context, ("gateway",), config=str(file), gateway__port=105)
    assert (host.get("gateway.port"), host.get("gateway.ae_title")) == (105, "FILE")
    config = host.parameters.load()
    assert (config.gateway.port, config.gateway.ae_title, config.retention.keep_hours) == (105, "FILE", 1.0)


def test_the_file_is_read_again_when_the_node_is_configured(context: Context, tmp_path: Path) -> None:
    file = tmp_path / "node.yaml"
    file.write_text("gateway: {port: 104, workers: 3}\n")
    host = Host(context, config=str(file))
    assert host.set("gateway.workers", 4) == ""
    file.write_text("gateway: {port: 106, workers: 5}\n")
    host.state = "configuring"
    config = host.parameters.load()
    assert (config.gateway.port, config.gateway.workers) == (106, 4)
    assert (host.get("gateway.port"), host.get("gateway.workers")) == (106, 4)


def test_another_file_may_be_named_while_it_is_a_good_one(context: Context, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("viewer: {port: 99}\n")
    bad.write_text("viewer: {prot: 99}\n")
    host = Host(context)
    assert "viewer.prot" in host.set("config", str(bad))
    assert "Cannot read" in host.set("config", str(tmp_path / "missing.yaml"))
    assert host.set("config", str(good)) == ""
    assert host.parameters.load().viewer.port == 99


@pytest.mark.parametrize("text", ["gateway: {prot: 1}", "- a list", "gateway: [", "viewer: {port: 70000}"])
def test_a_bad_file_keeps_the_node_from_starting(context: Context, tmp_path: Path, text: str) -> None:
    file = tmp_path / "node.yaml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=r"node\.yaml"):
        Host(context, config=str(file))


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"gateway__prot": 104}, r"no parameter gateway\.prot"),
        ({"gateway__port": 70000}, r"gateway\.port: .*65535"),
        ({"gateway__port": "104"}, r"gateway\.port: '104' is not what it takes, integer"),
        ({"gateway__ae_title": 104}, r"gateway\.ae_title: 104 .* Put quotes"),
        ({"results__seg": 1}, r"results\.seg"),
        ({"series__quiet_s": -1.0}, r"series\.quiet_s: .*greater than 0"),
        ({"gateway__allow__calling_ae": [1, 2]}, r"gateway\.allow\.calling_ae"),
        ({"rules": "[{name: x, modle: y}]"}, r"rules\.0\.modle"),
        ({"rules": "[{"}, r"rules: not YAML"),
        ({"gateway__tls__key": "a.key"}, r"gateway\.tls\.certificate: Field required"),
    ],
)
def test_a_wrong_start_value_is_named_as_in_the_configuration_file(
    context: Context, given: dict[str, Any], named: str
) -> None:
    with pytest.raises(ConfigurationError, match=named):
        Host(context, **given)


def test_values_that_ros_types_differently_are_taken(context: Context) -> None:
    host = Host(context, series__quiet_s=3, gateway__allow__calling_ae=[], series__body_parts=["HEAD"], other__thing=1)
    config = host.parameters.load()
    assert (config.series.quiet_s, config.gateway.allow.calling_ae, config.series.body_parts) == (3.0, (), ("HEAD",))
    assert host.get("gateway.allow.calling_ae") == [""]
    assert KNOWN["gateway.allow.calling_ae"].fit(None) == [""]


def test_parameters_of_other_nodes_in_the_same_file_do_not_disturb(context: Context) -> None:
    host = Host(context, ("log",), gateway__port=104, log__level="debug")
    assert not host.node.has_parameter("gateway.port")
    assert host.parameters.load().log.level == "debug"


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("gateway.port", 70000, "Parameter gateway.port out of range. Min: 0, Max: 65535, value: 70000"),
        ("gateway.port", "104", "Wrong parameter type"),
        ("series.quiet_s", 0.0, "series.quiet_s: Input should be greater than 0"),
        ("gateway.ae_title", "MUCH TOO LONG AN AE", "gateway.ae_title: String should have at most 16 characters"),
        ("segmenter.engine", "abacus", "segmenter.engine: Input should be 'auto'"),
        ("series.lossy", "maybe", "series.lossy: Input should be 'reject' or 'accept'"),
        ("gateway.allow.calling_ae", ["MR1", "x" * 17], "gateway.allow.calling_ae.1: String should have at most"),
        ("destinations", "[{name: pacs}]", "destinations.0.host: Field required"),
        ("destinations", "[{name: a, host: b}, {name: a, host: c}]", "destinations need different names"),
        ("rules", "just text", "rules: Input should be a valid tuple"),
        ("rules", "[{", "rules: not YAML"),
        ("bus.addresses", "{scanner: x}", "bus.addresses.scanner"),
        ("autostart", True, "Trying to set a read-only parameter: autostart."),
    ],
)
def test_a_wrong_value_is_refused_with_its_key(context: Context, name: str, value: Any, reason: str) -> None:
    host = Host(context)
    before = host.get(name)
    assert reason in host.set(name, value)
    assert host.get(name) == before
    host.parameters.load()


def test_keys_that_need_one_another_can_be_set_one_by_one(context: Context) -> None:
    host = Host(context)
    assert host.set("gateway.tls.certificate", "a.pem") == ""
    with pytest.raises(ConfigurationError, match=r"gateway\.tls\.key: Field required"):
        host.parameters.load()
    assert host.set("gateway.port", 2762) == ""
    assert host.set("gateway.tls.key", "a.key") == ""
    config = host.parameters.load()
    assert config.gateway.tls is not None
    assert config.gateway.port == 2762


def test_nothing_changes_once_the_node_is_configured(context: Context) -> None:
    host = Host(context)
    host.node.declare_parameter("own", 1)
    host.state = "inactive"
    assert "gateway.port can be changed in the state unconfigured only, and the node is inactive" in host.set(
        "gateway.port", 104
    )
    assert "config can be changed" in host.set("config", "")
    assert host.set("own", 2) == ""
    assert host.parameters.load().gateway.port == 11112
    host.state = "unconfigured"
    assert host.set("gateway.port", 104) == ""
