"""The gateway as a node: it listens while it is active, tells of slices on topics, and keeps what it acknowledged."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("neuroscan_msgs", reason="needs the messages of ros_ws")

from neuroscan_ros.bus import open_ros2_bus
from neuroscan_ros.gateway_node import GatewayNode
from rclpy.lifecycle import TransitionCallbackReturn

from dicom_gateway.journal import Journal
from neuroscan_core.bus.feed import SeriesFeed
from neuroscan_core.domain.errors import RequestTimeout
from neuroscan_core.domain.events import SeriesCompleted, SeriesEvent, SeriesOpened, SliceReceived
from neuroscan_core.domain.requests import GetGatewayHealth, ListSeries
from tests.bus.conftest import domain_id
from tests.e2e.conftest import PhantomSeries, storescu
from tests.e2e.node import free_port, is_listening
from tests.ros_nodes import PATIENCE_S, hosted

__all__ = ["domain_id"]

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
WriteSeries = Callable[[str], PhantomSeries]


@pytest.fixture
def parameters(tmp_path: Path) -> dict[str, Any]:
    return {
        "state_dir": str(tmp_path / "state"),
        "gateway.host": "127.0.0.1",
        "gateway.port": free_port(),
        "gateway.min_free_bytes": 1 << 20,
        "rules": "[{name: every MR, when: {Modality: MR}, model: mobilenetv2-unet-flair}]",
    }


@pytest.fixture
def node(domain_id: int, parameters: dict[str, Any]) -> Iterator[GatewayNode]:
    with hosted(GatewayNode, domain_id, parameters) as made:
        yield made


def series_from(feed: SeriesFeed) -> list[SeriesEvent]:
    """The events of one series up to its completion."""
    events: list[SeriesEvent] = []
    while not events or not isinstance(events[-1], SeriesCompleted):
        event = feed.receive(PATIENCE_S)
        assert isinstance(event, SeriesEvent), f"only {len(events)} events came"
        events.append(event)
    return events


def test_a_pushed_series_is_told_of_on_topics_whole_and_in_order(
    node: GatewayNode, domain_id: int, phantom_series: WriteSeries
) -> None:
    series = phantom_series("topics")
    assert node.trigger_configure() is SUCCESS
    assert node.trigger_activate() is SUCCESS
    with open_ros2_bus(domain_id=domain_id) as bus, SeriesFeed(bus) as feed:
        storescu(node.config.gateway.port, series.paths)
        events = series_from(feed)
        assert bus.request(GetGatewayHealth(), timeout_s=PATIENCE_S).is_ready
    assert [event.sequence for event in events] == list(range(len(series.paths) + 2))
    assert isinstance(events[0], SeriesOpened)
    assert {type(event) for event in events[1:-1]} == {SliceReceived}
    is_ready, problems, values = node.health()
    assert (is_ready, list(problems)) == (True, [])
    assert values["slices"] == str(len(series.paths))
    assert values["address"] == f"127.0.0.1:{node.config.gateway.port}"
    assert int(values["free bytes"]) > 0
    assert values["dead letters"] == "0"


def test_it_listens_and_answers_while_it_is_active_only(node: GatewayNode, domain_id: int) -> None:
    def answers() -> bool:
        with open_ros2_bus(domain_id=domain_id) as bus:
            try:
                bus.request(GetGatewayHealth(), timeout_s=1.0)
            except RequestTimeout:
                return False
            return True

    node.trigger_configure()
    port = node.config.gateway.port
    assert not is_listening(port)
    assert not answers()
    for _ in range(2):
        assert node.trigger_activate() is SUCCESS
        assert is_listening(port)
        assert answers()
        assert node.trigger_deactivate() is SUCCESS
        assert not is_listening(port)
    assert not answers()


def test_what_was_acknowledged_is_told_again_after_the_node_was_taken_down_and_up(
    node: GatewayNode, domain_id: int, phantom_series: WriteSeries
) -> None:
    series = phantom_series("again")
    node.trigger_configure()
    node.trigger_activate()
    storescu(node.config.gateway.port, series.paths)
    for transition in ("deactivate", "cleanup", "configure", "activate"):
        assert getattr(node, f"trigger_{transition}")() is SUCCESS, transition
    with open_ros2_bus(domain_id=domain_id) as bus, SeriesFeed(bus) as feed:
        slices = [event for event in series_from(feed) if isinstance(event, SliceReceived)]
        (progress,) = bus.request(ListSeries(), timeout_s=PATIENCE_S).series
    assert len(slices) == len(series.paths) == progress.num_slices


def test_the_journal_is_closed_when_the_node_is_cleaned_up(node: GatewayNode) -> None:
    node.trigger_configure()
    node.trigger_activate()
    node.trigger_deactivate()
    node.trigger_cleanup()
    journal = Journal(node.config.journal_path)
    journal.close()
    # SQLite removes its log when the last connection is closed.
    assert not node.config.journal_path.with_name("journal.sqlite-wal").exists()


def test_a_node_that_was_never_active_is_cleaned_up_too(node: GatewayNode) -> None:
    for _ in range(3):
        assert node.trigger_configure() is SUCCESS
        assert node.trigger_cleanup() is SUCCESS
    assert not node.config.journal_path.with_name("journal.sqlite-wal").exists()


def test_a_taken_port_is_told_and_can_be_freed(node: GatewayNode, capfd: pytest.CaptureFixture[str]) -> None:
    node.trigger_configure()
    with socket.socket() as other:
        other.bind(("127.0.0.1", node.config.gateway.port))
        other.listen()
        assert node.trigger_activate() is FAILURE
        assert node.lifecycle_state == "inactive"
    told = capfd.readouterr().err
    assert str(node.config.gateway.port) in told
    assert "What to do" in told
    assert node.trigger_activate() is SUCCESS
    assert is_listening(node.config.gateway.port)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("rules", "[{name: x, model: no-such-model}]", "no-such-model"),
        ("gateway.allow.peers", ["not an address"], "not an address"),
        ("state_dir", "/proc/neuroscan", "/proc/neuroscan"),
        ("segmenter.models_dir", "/no/such/models", "/no/such/models"),
    ],
)
def test_what_it_cannot_start_with_is_told_and_mended(
    domain_id: int, parameters: dict[str, Any], name: str, value: Any, told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with hosted(GatewayNode, domain_id, {**parameters, name: value}) as node:
        for _ in range(2):
            assert node.trigger_configure() is FAILURE
        assert node.lifecycle_state == "unconfigured"
        error = capfd.readouterr().err
        assert told in error
        assert "Traceback" not in error
        from rclpy.parameter import Parameter

        good = {"gateway.allow.peers": [""], "segmenter.models_dir": ""}.get(name, parameters.get(name))
        (result,) = node.set_parameters([Parameter(name, value=good)])
        assert result.successful, result.reason
        assert node.trigger_configure() is SUCCESS
