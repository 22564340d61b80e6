"""Plain processes over ZeroMQ, seen from ROS: all events, all requests, and what happens when a side restarts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("neuroscan_msgs", reason="needs the messages of ros_ws")

from neuroscan_ros.bridge_node import BridgeNode
from neuroscan_ros.bus import Ros2Bus, open_ros2_bus
from rclpy.lifecycle import TransitionCallbackReturn

from neuroscan_core.bus.feed import MaskFeed, SeriesFeed
from neuroscan_core.bus.zeromq import ZeroMqBus
from neuroscan_core.config import BusConfig
from neuroscan_core.domain.errors import DiskFull, RequestRefused
from neuroscan_core.domain.events import (
    GATEWAY,
    SEGMENTER,
    MaskReady,
    SegmentationFailed,
    SeriesCompleted,
    SeriesEvent,
)
from neuroscan_core.domain.requests import (
    Acknowledged,
    GetGatewayHealth,
    GetSegmenterHealth,
    Health,
    ReplayedMasks,
    ReplayMasks,
    SubmitFailure,
)
from tests.bus.conftest import domain_id
from tests.bus.series import FakeGateway, mask_ready, whole_series
from tests.e2e.node import wait_for
from tests.ros_nodes import PATIENCE_S, hosted

__all__ = ["domain_id"]

SUCCESS = TransitionCallbackReturn.SUCCESS


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return tmp_path / "state" / "run"


@pytest.fixture
def node(domain_id: int, tmp_path: Path) -> Iterator[BridgeNode]:
    with hosted(BridgeNode, domain_id, {"state_dir": str(tmp_path / "state")}) as made:
        assert made.trigger_configure() is SUCCESS
        assert made.trigger_activate() is SUCCESS
        yield made


@pytest.fixture
def ros(domain_id: int) -> Iterator[Ros2Bus]:
    with open_ros2_bus(domain_id=domain_id) as bus:
        yield bus


def series_through(feed: SeriesFeed, gateway: FakeGateway) -> list[SeriesEvent]:
    """One series, up to its completion; the gateway beats meanwhile."""
    events: list[SeriesEvent] = []

    def is_complete() -> bool:
        gateway.beat()
        while (event := feed.receive(0.05)) is not None:
            assert isinstance(event, SeriesEvent)
            events.append(event)
        return bool(events) and isinstance(events[-1], SeriesCompleted)

    wait_for(is_complete, "the whole series")
    return events


def test_a_feed_under_ros_gets_the_series_of_a_plain_gateway_whole(
    node: BridgeNode, ros: Ros2Bus, run_dir: Path
) -> None:
    events = whole_series("1.2", 300)  # more than any queue on the way holds
    with (
        ZeroMqBus(GATEWAY, BusConfig(queue_events=8), run_dir) as zeromq,
        FakeGateway(zeromq).serving() as gateway,
        SeriesFeed(ros) as feed,
    ):
        gateway.tell(*events)
        received = series_through(feed, gateway)
    assert [event.sequence for event in received] == list(range(len(events)))
    assert [type(event) for event in received] == [type(event) for event in events]


def test_masks_and_failures_of_a_plain_segmenter_appear_too(node: BridgeNode, ros: Ros2Bus, run_dir: Path) -> None:
    masks = [mask_ready("1.2", sequence) for sequence in range(40)]

    def replay(request: ReplayMasks) -> ReplayedMasks:
        first = request.from_sequence
        return ReplayedMasks(tuple(masks[first : first + request.limit]))

    with ExitStack() as opened:
        gateway = FakeGateway(opened.enter_context(ZeroMqBus(GATEWAY, BusConfig(), run_dir)))
        opened.enter_context(gateway.serving())
        segmenter = opened.enter_context(ZeroMqBus(SEGMENTER, BusConfig(), run_dir))
        opened.enter_context(segmenter.serve(ReplayMasks, replay))
        feed = opened.enter_context(MaskFeed(ros))
        failures = opened.enter_context(ros.subscribe(SegmentationFailed))
        gateway.tell(*whole_series("1.2", 40))
        for mask in masks:
            segmenter.publish(mask)
        received: list[MaskReady] = []

        def are_there() -> bool:
            gateway.beat()
            while (mask := feed.receive(0.05)) is not None:
                received.append(mask)
            return len(received) == len(masks)

        wait_for(are_there, "all masks")

        def failure_is_heard() -> SegmentationFailed | None:
            segmenter.publish(SegmentationFailed("1.2", 1, "internal-error", "It failed."))
            event = failures.receive(0.2)
            return event if isinstance(event, SegmentationFailed) else None

        assert wait_for(failure_is_heard, "the failure").message == "It failed."
    assert [mask.sequence for mask in received] == list(range(len(masks)))


def test_requests_and_refusals_pass_through(node: BridgeNode, ros: Ros2Bus, run_dir: Path) -> None:
    def refuse(_: SubmitFailure) -> Acknowledged:
        raise DiskFull("The disk is full.", remedy="Make room.")

    with ExitStack() as opened:
        gateway = opened.enter_context(ZeroMqBus(GATEWAY, BusConfig(), run_dir))
        segmenter = opened.enter_context(ZeroMqBus(SEGMENTER, BusConfig(), run_dir))
        opened.enter_context(gateway.serve(GetGatewayHealth, lambda _: Health(True, ("Old.",), "m 1")))
        opened.enter_context(gateway.serve(SubmitFailure, refuse))
        opened.enter_context(segmenter.serve(GetSegmenterHealth, lambda _: Health(False, ("No model.",))))
        health = ros.request(GetGatewayHealth(), timeout_s=PATIENCE_S)
        assert (health.is_ready, health.problems, health.metrics) == (True, ("Old.",), "m 1")
        assert ros.request(GetSegmenterHealth(), timeout_s=PATIENCE_S).problems == ("No model.",)
        with pytest.raises(RequestRefused) as refusal:
            failure = SegmentationFailed("1.2", 1, "internal-error", "It failed.")
            ros.request(SubmitFailure(failure), timeout_s=PATIENCE_S)
    error = refusal.value
    assert (error.code, error.message, error.remedy) == ("DiskFull", "The disk is full.", "Make room.")


def test_a_gateway_that_restarts_is_heard_again(node: BridgeNode, ros: Ros2Bus, run_dir: Path) -> None:
    for uid in ("1.2", "1.3"):
        with (
            ZeroMqBus(GATEWAY, BusConfig(), run_dir) as zeromq,
            FakeGateway(zeromq).serving() as gateway,
            SeriesFeed(ros) as feed,
        ):
            gateway.tell(*whole_series(uid, 5))
            assert {event.series_instance_uid for event in series_through(feed, gateway)} == {uid}


def test_its_health_says_whether_the_gateway_is_heard(node: BridgeNode, run_dir: Path) -> None:
    is_ready, problems, values = node.health()
    assert not is_ready
    assert "Nothing is heard from the gateway" in problems[0]
    assert values["events"] == "0"
    with ZeroMqBus(GATEWAY, BusConfig(), run_dir) as zeromq:
        gateway = FakeGateway(zeromq)

        def is_heard() -> bool:
            gateway.beat()
            return node.health()[0]

        wait_for(is_heard, "the heartbeat to pass")
    assert int(node.health()[2]["events"]) >= 1


def test_it_can_be_taken_down_and_up_again(node: BridgeNode, ros: Ros2Bus, run_dir: Path) -> None:
    for transition in ("deactivate", "activate", "deactivate", "cleanup", "configure", "activate"):
        assert getattr(node, f"trigger_{transition}")() is SUCCESS, transition
    with ZeroMqBus(GATEWAY, BusConfig(), run_dir) as zeromq, zeromq.serve(GetGatewayHealth, lambda _: Health(True)):
        assert ros.request(GetGatewayHealth(), timeout_s=PATIENCE_S).is_ready
