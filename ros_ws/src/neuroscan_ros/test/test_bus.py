"""What the ROS bus does beyond the contract of all buses, which `tests/bus` checks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("neuroscan_msgs", reason="needs the messages of ros_ws")

from neuroscan_ros import qos
from neuroscan_ros.bus import Ros2Bus, open_ros2_bus
from neuroscan_ros.conversions import mask_to_msg, segmentation_to_msg
from neuroscan_ros.spinning import spinning
from neuroscan_ros.topics import MASKS, SEGMENTATIONS, SERIES, SLICES
from rclpy.context import Context
from rclpy.node import Node

from neuroscan_core.bus.feed import MaskFeed
from neuroscan_core.domain.errors import BusError, RequestRefused, RequestTimeout, WireFormatError
from neuroscan_core.domain.events import (
    GATEWAY,
    SEGMENTER,
    VIEWER,
    GatewayHeartbeat,
    MaskReady,
    SegmentationFailed,
    SegmentationReady,
    SeriesCompleted,
    SeriesOpened,
    SeriesProgress,
    SliceReceived,
)
from neuroscan_core.domain.geometry import StackGeometry
from neuroscan_core.domain.requests import (
    GetGatewayHealth,
    GetIdentity,
    GetResultObject,
    GetSegmenterHealth,
    Health,
    Identity,
    ListSeries,
    ReplayedMasks,
    ReplayMasks,
    ReplaySeries,
    Request,
    SeriesList,
)
from neuroscan_core.domain.segmentation import ModelIdentity, Segmentation
from neuroscan_core.domain.volume import FrameKey
from tests.bus.conftest import connect, domain_id, take
from tests.bus.series import PATIENCE_S, geometry, mask_ready, slice_received, whole_series

__all__ = ["domain_id"]

REPOSITORY = Path(__file__).parents[4]
MODEL = ModelIdentity("m", "1", "0" * 64)


@pytest.fixture
def open_bus(domain_id: int) -> Iterator[Callable[..., Ros2Bus]]:
    """Open a bus for roles; all are closed after the test."""
    with ExitStack() as opened:
        yield lambda *roles, **options: opened.enter_context(open_ros2_bus(*roles, domain_id=domain_id, **options))


@pytest.fixture
def node(domain_id: int) -> Iterator[Node]:
    """A node that is spun."""
    context = Context()
    rclpy.init(args=[], context=context, domain_id=domain_id)
    made = Node("tested", context=context, enable_rosout=False)
    with spinning(made):
        yield made
    made.destroy_node()
    context.try_shutdown()


def wait_until(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(int(PATIENCE_S / 0.01)):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("it did not come to pass")


def segmentation(version: int) -> SegmentationReady:
    found = Segmentation(StackGeometry(geometry(0), 2.0, 1), (FrameKey("1.3"),), np.ones((1, 4, 4), np.uint8), ())
    return SegmentationReady("1.2", version, found, MODEL)


def publishers(bus: Ros2Bus, topic: Any) -> Any:
    return bus._publishers[topic]


def test_the_order_of_a_publisher_holds_across_its_topics(open_bus: Callable[..., Ros2Bus]) -> None:
    gateway = open_bus(GATEWAY, queue_events=512)
    types = (GatewayHeartbeat, SeriesOpened, SliceReceived, SeriesCompleted)
    with open_bus(SEGMENTER).subscribe(*types, capacity=512) as subscription:
        connect(gateway, subscription)
        wait_until(lambda: publishers(gateway, SLICES).get_subscription_count() == 1)
        expected = []
        for number in range(40):
            for event in whole_series(f"1.{number}", 5):
                gateway.publish(event)
                expected.append((event.series_instance_uid, event.sequence))
        received = take(subscription, len(expected))
    assert [(event.series_instance_uid, event.sequence) for event in received] == expected


def test_a_role_publishes_and_serves_only_what_is_its_own(open_bus: Callable[..., Ros2Bus]) -> None:
    viewer, both = open_bus(VIEWER), open_bus(GATEWAY, SEGMENTER)
    with pytest.raises(BusError, match="published by the gateway"):
        viewer.publish(GatewayHeartbeat(()))
    with pytest.raises(BusError, match="served by the segmenter"), viewer.serve(ReplayMasks, lambda _: None):
        pass
    both.publish(GatewayHeartbeat(()))
    both.publish(mask_ready("1.2", 0))
    with both.serve(GetGatewayHealth, lambda _: Health(True)), both.serve(GetSegmenterHealth, lambda _: Health(False)):
        assert viewer.request(GetGatewayHealth(), timeout_s=PATIENCE_S).is_ready
        assert not viewer.request(GetSegmenterHealth(), timeout_s=PATIENCE_S).is_ready


@pytest.mark.parametrize("request_", [GetIdentity("1.2"), GetResultObject("1.3")], ids=lambda one: type(one).__name__)
def test_who_the_patient_is_does_not_travel_and_who_asks_is_told_what_to_do(
    open_bus: Callable[..., Ros2Bus], node: Node, request_: Request[Any]
) -> None:
    gateway, viewer = open_bus(GATEWAY), open_bus(VIEWER)
    asked: list[object] = []

    def answer(request: Request[Any]) -> Identity:
        asked.append(request)
        return Identity("DOE^JANE")

    with gateway.serve(type(request_), answer), gateway.serve(ListSeries, lambda _: SeriesList(())):
        assert viewer.request(ListSeries(), timeout_s=PATIENCE_S).series == ()
        for bus in (viewer, gateway):
            with pytest.raises(RequestRefused, match="who the patient is") as caught:
                bus.request(request_, timeout_s=PATIENCE_S)
            assert "archive" in caught.value.remedy
        wait_until(lambda: any(qos.LIST_SERIES in name for name, _ in node.get_service_names_and_types()))
        names = " ".join(name for name, _ in node.get_service_names_and_types())
    assert asked == []
    assert not any(word in names for word in ("identity", "result_object"))


def test_only_its_role_and_only_an_open_bus_takes_a_handler_that_is_never_asked(
    open_bus: Callable[..., Ros2Bus],
) -> None:
    gateway = open_bus(GATEWAY)
    with pytest.raises(BusError, match="served by the gateway"), open_bus(VIEWER).serve(GetIdentity, lambda _: None):
        pass
    gateway.close()
    with pytest.raises(BusError, match="closed"), gateway.serve(GetIdentity, lambda _: None):
        pass


def test_nodes_of_another_namespace_are_not_heard(open_bus: Callable[..., Ros2Bus]) -> None:
    here, there = open_bus(GATEWAY, namespace="here"), open_bus(GATEWAY, namespace="there")
    with (
        open_bus(VIEWER, namespace="here").subscribe(GatewayHeartbeat, SliceReceived) as subscription,
        open_bus(VIEWER, namespace="there").subscribe(GatewayHeartbeat, SliceReceived) as other,
    ):
        connect(here, subscription)
        connect(there, other)
        there.publish(slice_received("1.1", 0))
        here.publish(slice_received("1.2", 0))
        assert [event.series_instance_uid for event in take(subscription, 1)] == ["1.2"]
        assert [event.series_instance_uid for event in take(other, 1)] == ["1.1"]
        assert subscription.receive(0.0) is None


def test_the_last_segmentations_wait_for_those_who_join_later_but_not_on_the_bus(
    open_bus: Callable[..., Ros2Bus], node: Node
) -> None:
    segmenter = open_bus(SEGMENTER)
    for version in range(6):
        segmenter.publish(segmentation(version))
    late: list[int] = []
    node.create_subscription(
        SEGMENTATIONS.message_type,
        qos.SEGMENTATIONS,
        lambda message: late.append(message.version),
        qos.latched(qos.SEGMENTATIONS_KEPT),
    )
    wait_until(lambda: len(late) == 4)
    with open_bus(VIEWER).subscribe(SegmentationReady) as subscription:
        wait_until(lambda: publishers(segmenter, SEGMENTATIONS).get_subscription_count() == 2)
        segmenter.publish(segmentation(6))
        (event,) = take(subscription, 1)
    assert isinstance(event, SegmentationReady)
    assert event.version == 6
    wait_until(lambda: late == [2, 3, 4, 5, 6])


def test_failures_of_the_segmenter_travel_beside_what_the_gateway_tells(open_bus: Callable[..., Ros2Bus]) -> None:
    gateway, segmenter = open_bus(GATEWAY), open_bus(SEGMENTER)
    with open_bus(VIEWER).subscribe(GatewayHeartbeat, SegmentationFailed) as subscription:
        connect(gateway, subscription)
        wait_until(lambda: publishers(segmenter, SERIES).get_subscription_count() == 1)
        segmenter.publish(SegmentationFailed("1.2", 1, "internal-error", "No."))
        gateway.publish(SeriesOpened("1.2", 0, "m"))
        (event,) = take(subscription, 1)
    assert isinstance(event, SegmentationFailed)
    assert (event.version, event.code, event.message) == (1, "internal-error", "No.")


def test_a_message_that_cannot_be_read_is_left_out(open_bus: Callable[..., Ros2Bus], node: Node) -> None:
    publisher = node.create_publisher(MASKS.message_type, qos.MASKS, qos.stream(8))
    with open_bus(VIEWER).subscribe(MaskReady) as subscription:
        wait_until(lambda: publisher.get_subscription_count() == 1)
        bad, good = mask_to_msg(mask_ready("1.2", 0)), mask_to_msg(mask_ready("1.2", 1))
        bad.rows, bad.order, good.order = 77, 1, 2
        publisher.publish(bad)
        publisher.publish(good)
        (event,) = take(subscription, 1)
    assert isinstance(event, MaskReady)
    assert event.sequence == 1


def test_a_request_that_cannot_be_read_is_refused(open_bus: Callable[..., Ros2Bus]) -> None:
    gateway, viewer = open_bus(GATEWAY), open_bus(VIEWER)
    with gateway.serve(ReplaySeries, lambda _: SeriesList(())):
        with pytest.raises(RequestRefused, match="empty") as caught:
            viewer.request(ReplaySeries("", 0), timeout_s=PATIENCE_S)
        with pytest.raises(WireFormatError, match="sequence number"):
            viewer.request(ReplaySeries("1.2", -1), timeout_s=PATIENCE_S)
    assert caught.value.code == "WireFormatError"


def test_a_reply_that_cannot_be_written_is_refused(open_bus: Callable[..., Ros2Bus]) -> None:
    segmenter, viewer = open_bus(SEGMENTER), open_bus(VIEWER)
    with (
        segmenter.serve(ReplayMasks, lambda _: ReplayedMasks((mask_ready("1.2", -1),))),
        pytest.raises(RequestRefused, match="sequence number is -1"),
    ):
        viewer.request(ReplayMasks("1.2"), timeout_s=PATIENCE_S)


def test_a_reply_under_way_is_sent_before_serving_ends(open_bus: Callable[..., Ros2Bus]) -> None:
    gateway, viewer = open_bus(GATEWAY), open_bus(VIEWER)
    is_asked, may_answer = threading.Event(), threading.Event()

    def answer(_: ListSeries) -> SeriesList:
        is_asked.set()
        assert may_answer.wait(PATIENCE_S)
        return SeriesList(())

    with ThreadPoolExecutor(1) as pool:
        with gateway.serve(ListSeries, answer):
            asking = pool.submit(viewer.request, ListSeries(), timeout_s=PATIENCE_S)
            assert is_asked.wait(PATIENCE_S)
            threading.Timer(0.05, may_answer.set).start()
        assert asking.result(PATIENCE_S).series == ()


def test_a_handler_that_hangs_holds_up_neither_events_nor_other_requests(open_bus: Callable[..., Ros2Bus]) -> None:
    bus, gateway = open_bus(SEGMENTER), open_bus(GATEWAY)
    is_asked, release = threading.Event(), threading.Event()

    def hang(_: ReplayMasks) -> ReplayedMasks:
        is_asked.set()
        release.wait(PATIENCE_S)
        return ReplayedMasks(())

    with (
        bus.serve(ReplayMasks, hang),
        bus.serve(GetSegmenterHealth, lambda _: Health(True)),
        bus.subscribe(GatewayHeartbeat, SliceReceived) as subscription,
        ThreadPoolExecutor(1) as pool,
    ):
        asking = pool.submit(gateway.request, ReplayMasks("1.2"), timeout_s=PATIENCE_S)
        assert is_asked.wait(PATIENCE_S)
        connect(gateway, subscription)
        assert gateway.request(GetSegmenterHealth(), timeout_s=PATIENCE_S).is_ready
        assert not asking.done()
        release.set()
        assert asking.result(PATIENCE_S).masks == ()


def test_requests_of_one_type_wait_for_one_another_however_long_one_takes(open_bus: Callable[..., Ros2Bus]) -> None:
    gateway, viewer = open_bus(GATEWAY), open_bus(VIEWER)
    busy, pause = threading.Lock(), threading.Event()

    def handle(_: ListSeries) -> SeriesList:
        assert busy.acquire(blocking=False)
        pause.wait(0.05)
        busy.release()
        return SeriesList(())

    with gateway.serve(ListSeries, handle), ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(viewer.request, ListSeries(), timeout_s=PATIENCE_S) for _ in range(8)]
        assert all(future.result().series == () for future in asking)


def test_nothing_of_a_closed_bus_is_left_on_its_node_and_the_next_one_works(node: Node) -> None:
    def entities() -> list[str]:
        kinds = (node.publishers, node.subscriptions, node.clients, node.services)
        return [entity.__class__.__name__ for kind in kinds for entity in kind]

    before = entities()
    for _ in range(2):
        with Ros2Bus(node, (GATEWAY,)) as bus, bus.subscribe(GatewayHeartbeat) as subscription:
            with bus.serve(ListSeries, lambda _: SeriesList(())):
                assert bus.request(ListSeries(), timeout_s=PATIENCE_S).series == ()
            connect(bus, subscription)
        assert entities() == before


def test_requests_that_timed_out_leave_nothing_behind(open_bus: Callable[..., Ros2Bus]) -> None:
    gateway, viewer = open_bus(GATEWAY), open_bus(VIEWER)
    release = threading.Event()

    def hang(_: ListSeries) -> SeriesList:
        release.wait(PATIENCE_S)
        return SeriesList(())

    with gateway.serve(ListSeries, hang):
        for _ in range(3):
            with pytest.raises(RequestTimeout):
                viewer.request(ListSeries(), timeout_s=0.1)
        (client,) = viewer._client._clients.values()
        assert client._pending_requests == {}
        release.set()
        assert viewer.request(ListSeries(), timeout_s=PATIENCE_S).series == ()
    assert viewer._client._asked == set()


def test_no_mask_is_lost_however_fast_they_come_and_however_slow_they_are_taken(
    open_bus: Callable[..., Ros2Bus],
) -> None:
    num_masks, shape = 2000, (256, 256)
    gateway, segmenter = open_bus(GATEWAY), open_bus(SEGMENTER, queue_events=8)
    patterns = [np.full(shape, value, np.uint8) for value in range(251)]
    masks = [
        MaskReady("1.2", k, FrameKey(f"1.3.{k}"), patterns[k % len(patterns)], 1.0, MODEL) for k in range(num_masks)
    ]

    def replay(request: ReplayMasks) -> ReplayedMasks:
        return ReplayedMasks(tuple(masks[request.from_sequence : request.from_sequence + request.limit]))

    def publish() -> None:
        for mask in masks:
            segmenter.publish(mask)

    pause = threading.Event()
    received: list[int] = []
    with segmenter.serve(ReplayMasks, replay), MaskFeed(open_bus(VIEWER), capacity=8) as feed:
        wait_until(lambda: publishers(gateway, SERIES).get_subscription_count() == 1)
        gateway.publish(SeriesOpened("1.2", 0, "m"))
        with ThreadPoolExecutor(1) as pool:
            publishing = pool.submit(publish)
            while len(received) < num_masks:
                mask = feed.receive(0.5)
                if mask is None:
                    gateway.publish(GatewayHeartbeat(()))
                    continue
                assert np.array_equal(mask.labels_ji, patterns[mask.sequence % len(patterns)])
                received.append(mask.sequence)
                if len(received) % 50 == 0:
                    pause.wait(0.02)
            publishing.result()
        assert feed.receive(0.05) is None
        assert feed.statistics.num_replayed > 0
    assert received == list(range(num_masks))


def test_masks_survive_a_restart_of_the_segmenter_and_of_the_viewer(domain_id: int) -> None:
    masks = [mask_ready("1.2", k) for k in range(300)]

    def replay(request: ReplayMasks) -> ReplayedMasks:
        return ReplayedMasks(tuple(masks[request.from_sequence : request.from_sequence + request.limit]))

    def take_masks(feed: MaskFeed, gateway: Ros2Bus, count: int) -> list[int]:
        sequences: list[int] = []
        while len(sequences) < count:
            mask = feed.receive(0.1)
            if mask is not None:
                sequences.append(mask.sequence)
                continue
            gateway.publish(GatewayHeartbeat((SeriesProgress("1.2", "segmenting", 0, 0, 0, True),)))
        return sequences

    with ExitStack() as opened:
        gateway, viewer, second_viewer = (
            opened.enter_context(open_ros2_bus(role, domain_id=domain_id)) for role in (GATEWAY, VIEWER, VIEWER)
        )
        feed = opened.enter_context(MaskFeed(viewer))
        for begin in (0, 100):  # two lives of the segmenter; what its first did not send is in the log of the second
            with open_ros2_bus(SEGMENTER, domain_id=domain_id) as segmenter, segmenter.serve(ReplayMasks, replay):
                for mask in masks[begin : begin + 100]:
                    segmenter.publish(mask)
        with open_ros2_bus(SEGMENTER, domain_id=domain_id) as segmenter, segmenter.serve(ReplayMasks, replay):
            for mask in masks[200:]:
                segmenter.publish(mask)
            assert take_masks(feed, gateway, 300) == list(range(300))
            feed.close()
            viewer.close()
            with MaskFeed(second_viewer) as next_life:
                assert take_masks(next_life, gateway, 300) == list(range(300))


def test_what_has_come_can_be_received_although_the_node_is_not_spun_any_more(domain_id: int) -> None:
    context = Context()
    rclpy.init(args=[], context=context, domain_id=domain_id)
    node = Node("tested", context=context, enable_rosout=False)
    with Ros2Bus(node, (GATEWAY,)) as bus, bus.subscribe(GatewayHeartbeat, SliceReceived) as subscription:
        with spinning(node):
            connect(bus, subscription)
            bus.publish(slice_received("1.2", 1))
            wait_until(lambda: any(publisher.arrivals for publisher in subscription._publishers.values()))
        (event,) = take(subscription, 1)
        assert isinstance(event, SliceReceived)
        assert event.sequence == 1
        assert subscription.receive(0.0) is None
        with pytest.raises(RequestTimeout):
            bus.request(ListSeries(), timeout_s=0.05)
    node.destroy_node()
    context.try_shutdown()


def test_a_bus_whose_context_has_ended_says_so_and_can_be_closed(domain_id: int) -> None:
    context = Context()
    rclpy.init(args=[], context=context, domain_id=domain_id)
    node = Node("tested", context=context, enable_rosout=False)
    with (
        spinning(node),
        Ros2Bus(node, (GATEWAY,)) as bus,
        bus.subscribe(SliceReceived) as subscription,
        bus.serve(ListSeries, lambda _: SeriesList(())),
    ):
        context.shutdown()
        with pytest.raises(BusError):
            bus.request(ListSeries(), timeout_s=0.1)
        with pytest.raises(BusError):
            bus.publish(GatewayHeartbeat(()))
        with pytest.raises(BusError):
            bus.subscribe(GatewayHeartbeat)
        with pytest.raises(BusError), bus.serve(GetGatewayHealth, lambda _: Health(True)):
            pass
        assert subscription.receive(0.0) is None
    node.destroy_node()


def test_a_handler_that_never_ends_does_not_keep_the_bus_open_for_ever(open_bus: Callable[..., Ros2Bus]) -> None:
    gateway, viewer = open_bus(GATEWAY), open_bus(VIEWER)
    is_asked, release = threading.Event(), threading.Event()

    def hang(_: ListSeries) -> SeriesList:
        is_asked.set()
        release.wait(PATIENCE_S)
        return SeriesList(())

    with gateway.serve(ListSeries, hang), ThreadPoolExecutor(1) as pool:
        asking = pool.submit(viewer.request, ListSeries(), timeout_s=PATIENCE_S)
        assert is_asked.wait(PATIENCE_S)
        for server in gateway._servers.values():
            server.close(0.05)
        release.set()
        viewer.close()
        with pytest.raises(RequestTimeout):
            asking.result(PATIENCE_S)


LISTENER = """
import sys
from neuroscan_ros.bus import open_ros2_bus
from neuroscan_core.domain.events import SliceReceived, VIEWER
with open_ros2_bus(VIEWER, domain_id=int(sys.argv[1])) as bus, bus.subscribe(SliceReceived) as subscription:
    while True:
        subscription.receive(1.0)
"""


def test_a_subscriber_that_stands_still_stops_nobody(open_bus: Callable[..., Ros2Bus], domain_id: int) -> None:
    gateway = open_bus(GATEWAY)
    path = os.pathsep.join([str(REPOSITORY), *sys.path])
    with (
        subprocess.Popen(
            [sys.executable, "-c", LISTENER, str(domain_id)], env={**os.environ, "PYTHONPATH": path}
        ) as child,
        open_bus(SEGMENTER).subscribe(GatewayHeartbeat, SliceReceived) as subscription,
    ):
        try:
            connect(gateway, subscription)
            wait_until(lambda: publishers(gateway, SLICES).get_subscription_count() == 2)
            child.send_signal(signal.SIGSTOP)
            for sequence in range(400):  # far more than is kept for it
                gateway.publish(slice_received("1.2", sequence, (256, 256)))
                (event,) = take(subscription, 1)
                assert isinstance(event, SliceReceived)
                assert event.sequence == sequence
        finally:
            child.kill()


def test_a_segmentation_of_a_large_volume_arrives_whole(open_bus: Callable[..., Ros2Bus]) -> None:
    shape, num_slices = (512, 512), 155
    labels_kji = np.random.default_rng(0).integers(0, 4, (num_slices, *shape), np.uint8)
    keys = tuple(FrameKey(f"1.3.{k}") for k in range(num_slices))
    found = Segmentation(StackGeometry(geometry(0, shape), 1.0, num_slices), keys, labels_kji, ())
    segmenter = open_bus(SEGMENTER)
    with open_bus(VIEWER).subscribe(SegmentationReady) as subscription:
        wait_until(lambda: publishers(segmenter, SEGMENTATIONS).get_subscription_count() == 1)
        segmenter.publish(SegmentationReady("1.2", 1, found, MODEL))
        (event,) = take(subscription, 1)
    assert isinstance(event, SegmentationReady)
    assert np.array_equal(event.segmentation.labels_kji, labels_kji)
    assert event.segmentation.keys == keys


def test_messages_name_the_frame_and_the_time_of_publication(open_bus: Callable[..., Ros2Bus], node: Node) -> None:
    gateway = open_bus(GATEWAY)
    heard: list[Any] = []
    node.create_subscription(SLICES.message_type, qos.SLICES, heard.append, qos.stream(8))
    wait_until(lambda: publishers(gateway, SLICES).get_subscription_count() == 1)
    before = node.get_clock().now().nanoseconds
    gateway.publish(slice_received("1.2", 0))
    gateway.publish(slice_received("1.2", 1))
    wait_until(lambda: len(heard) == 2)
    stamps = [message.header.stamp.sec * 10**9 + message.header.stamp.nanosec for message in heard]
    assert before <= stamps[0] <= stamps[1] <= node.get_clock().now().nanoseconds
    assert [message.header.frame_id for message in heard] == ["patient_lps"] * 2
    assert heard[1].order == heard[0].order + 1
    assert segmentation_to_msg(segmentation(1)).header.frame_id == "patient_lps"
