"""The viewer between a made-up gateway and segmenter, and whoever looks."""

from __future__ import annotations

import json
import math
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("neuroscan_msgs", reason="needs the messages of ros_ws")
pytest.importorskip("skimage", reason='needs scikit-image: pip install "neuroscan[ros]"')

import cv2
from neuroscan_ros import qos
from neuroscan_ros.bus import open_ros2_bus
from neuroscan_ros.conversions import time_from_msg
from neuroscan_ros.frames import TF_STATIC
from neuroscan_ros.pictures import array_from_msg
from neuroscan_ros.points import points_from_msg
from neuroscan_ros.snapshot import TOPICS, compose
from neuroscan_ros.spinning import QuickCallbackGroup, spinning
from neuroscan_ros.viewer_node import CONFIG_FILE, ViewerNode
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter
from visualization_msgs.msg import Marker

from neuroscan_core.config import load_config
from neuroscan_core.domain.events import (
    GATEWAY,
    SEGMENTER,
    MaskReady,
    SegmentationReady,
    SeriesCompleted,
    SeriesOpened,
    SliceReceived,
)
from neuroscan_core.domain.requests import (
    DescribeSeries,
    GetGatewayHealth,
    GetSegmentation,
    GetSegmenterHealth,
    Health,
    ListResults,
    ReplayedMasks,
    ReplayMasks,
    ResultList,
    SeriesDetail,
    SeriesDetails,
    StoredResult,
    StoredSegmentation,
)
from neuroscan_core.domain.segmentation import Segmentation
from neuroscan_core.domain.volume import FrameKey
from neuroscan_core.ports import MessageBus
from neuroscan_core.viewer.case_ids import series_case_id
from tests.bus.conftest import domain_id
from tests.bus.series import PATIENCE_S, FakeGateway
from tests.viewer.volumes import CENTRE_LPS_MM, MODEL, ORIENTATIONS, lesion, stack

__all__ = ["domain_id"]

STACK = stack(ORIENTATIONS["axial"], (20, 64, 72), (4.0, 1.6, 1.5))
LABELS_KJI = lesion(STACK)
LARGEST = int(np.argmax(np.count_nonzero(LABELS_KJI, axis=(1, 2))))
RECEIVED_AT_S = 1_700_000_000.0


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Look again and again; a test that waits for what never comes says what that was."""
    deadline_s = time.monotonic() + PATIENCE_S
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline_s, f"waited in vain for {what}"
        pause.wait(0.02)


def keys(uid: str) -> tuple[FrameKey, ...]:
    return tuple(FrameKey(f"{uid}.{k}") for k in range(STACK.num_slices))


def opened(uid: str, at_s: float = 100.0) -> SeriesOpened:
    return SeriesOpened(uid, 0, MODEL.name, slice_spacing_mm=STACK.spacing_mm, opened_at_s=at_s)


def slices(uid: str) -> list[SliceReceived]:
    pixels_kji = 100.0 + 700.0 * LABELS_KJI + np.random.default_rng(1).uniform(0, 20, STACK.shape)
    return [
        SliceReceived(uid, k + 1, key, STACK.slice_geometry(k), pixels_kji[k].astype(np.float32), RECEIVED_AT_S + k)
        for k, key in enumerate(keys(uid))
    ]


def completed(uid: str) -> SeriesCompleted:
    return SeriesCompleted(uid, STACK.num_slices + 1, keys(uid), STACK)


def masks(uid: str) -> list[MaskReady]:
    return [MaskReady(uid, k, key, LABELS_KJI[k], 5.0, MODEL) for k, key in enumerate(keys(uid))]


def result(uid: str, labels_kji: np.ndarray = LABELS_KJI) -> SegmentationReady:
    return SegmentationReady(uid, 1, Segmentation(STACK, keys(uid), labels_kji, ()), MODEL)


class Partner:
    """Gateway and segmenter that tell what they are told to, and replay it."""

    def __init__(self, bus: MessageBus) -> None:
        self.bus, self.gateway = bus, FakeGateway(bus)
        self.masks: list[MaskReady] = []

    def tell(self, *events: Any) -> None:
        for event in events:
            if isinstance(event, MaskReady):
                self.masks.append(event)
                self.bus.publish(event)
            elif isinstance(event, SegmentationReady):
                self.bus.publish(event)
            else:
                self.gateway.tell(event)

    def beat_until(self, ending: threading.Event) -> None:
        while not ending.wait(0.1):
            self.gateway.beat()

    def replay(self, request: ReplayMasks) -> ReplayedMasks:
        of_series = [mask for mask in self.masks if mask.series_instance_uid == request.series_instance_uid]
        return ReplayedMasks(tuple(of_series[request.from_sequence :][: request.limit]))


class Audience:
    """Whoever looks: every message of every topic, from those that are latched on."""

    def __init__(self, node: Node) -> None:
        self.seen: dict[str, list[Any]] = {topic: [] for topic in TOPICS}
        group = QuickCallbackGroup()
        for topic, message_type in TOPICS.items():
            node.create_subscription(
                message_type, topic, self.seen[topic].append, qos.latched(512), callback_group=group
            )

    def last(self, topic: str) -> Any:
        return self.seen[topic][-1] if self.seen[topic] else None

    def stamps(self, topic: str) -> list[float]:
        """Times of the pictures that show a slice; one that clears the screen is as old as the test."""
        times = [time_from_msg(message.header.stamp) for message in list(self.seen[topic])]
        return [at_s for at_s in times if at_s < RECEIVED_AT_S + 1000]

    @property
    def has_surface(self) -> bool:
        surface = self.last(qos.TUMOUR_SURFACE)
        return surface is not None and surface.action == Marker.ADD

    @property
    def is_cleared(self) -> bool:
        surface, points = self.last(qos.TUMOUR_SURFACE), self.last(qos.TUMOUR_POINTS)
        return surface is not None and surface.action == Marker.DELETEALL and points.width == 0


@pytest.fixture
def stack_of_things(domain_id: int) -> Iterator[ExitStack]:
    with ExitStack() as opened_things:
        yield opened_things


@pytest.fixture
def partner(domain_id: int, stack_of_things: ExitStack) -> Partner:
    bus = stack_of_things.enter_context(open_ros2_bus(GATEWAY, SEGMENTER, domain_id=domain_id))
    made = Partner(bus)
    stack_of_things.enter_context(made.gateway.serving())
    stack_of_things.enter_context(bus.serve(ReplayMasks, made.replay))
    for kind in (GetGatewayHealth, GetSegmenterHealth):
        stack_of_things.enter_context(bus.serve(kind, lambda _: Health(True)))
    ending = threading.Event()
    heart = threading.Thread(target=made.beat_until, args=(ending,))
    heart.start()
    stack_of_things.callback(heart.join)
    stack_of_things.callback(ending.set)
    return made


@pytest.fixture
def look(domain_id: int, stack_of_things: ExitStack) -> Callable[[], Audience]:
    """Begin to look."""

    def begin() -> Audience:
        context = Context()
        rclpy.init(args=[], context=context, domain_id=domain_id)
        stack_of_things.callback(context.try_shutdown)
        node = Node("audience", context=context, use_global_arguments=False)
        stack_of_things.callback(node.destroy_node)
        audience = Audience(node)
        stack_of_things.enter_context(spinning(node))
        return audience

    return begin


StartViewer = Callable[..., tuple[ViewerNode, Callable[[], None]]]


@pytest.fixture
def start_viewer(domain_id: int, stack_of_things: ExitStack, partner: Partner) -> StartViewer:
    """Start a viewer that hears the partner; returns it and how to end it."""

    def start(**parameters: Any) -> tuple[ViewerNode, Callable[[], None]]:
        ending = ExitStack()
        context = Context()
        rclpy.init(args=[], context=context, domain_id=domain_id)
        ending.callback(context.try_shutdown)
        values = {"viewer.enabled": False, **{name.replace("__", "."): value for name, value in parameters.items()}}
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        node = ViewerNode(context=context, parameter_overrides=overrides, use_global_arguments=False)
        ending.callback(node.destroy_node)
        ending.enter_context(spinning(node))
        ending.callback(node.finish)
        stack_of_things.callback(ending.close)
        node.trigger_configure()
        node.trigger_activate()
        assert node.lifecycle_state == "active"
        return node, ending.close

    return start


def figures(node: ViewerNode) -> dict[str, str]:
    return dict(node.health()[2])


def test_every_mask_is_shown_with_its_slice(
    partner: Partner, start_viewer: StartViewer, look: Callable[[], Audience]
) -> None:
    node, _ = start_viewer()
    audience = look()
    partner.tell(opened("1.2"), *slices("1.2"), *masks("1.2"))
    wait_until(lambda: figures(node)["num_pictures"] == str(STACK.num_slices), "a picture of every mask")
    for topic in (qos.IMAGE, qos.OVERLAY, qos.MASK):
        wait_until(lambda topic=topic: len(audience.stamps(topic)) >= STACK.num_slices, topic)
        expected = [RECEIVED_AT_S + k for k in range(STACK.num_slices)]
        assert sorted(audience.stamps(topic)) == pytest.approx(expected)
    by_stamp = {time_from_msg(message.header.stamp): message for message in audience.seen[qos.MASK]}
    shown = array_from_msg(by_stamp[RECEIVED_AT_S + LARGEST])
    assert np.array_equal(shown > 0, LABELS_KJI[LARGEST] > 0)
    assert figures(node)["num_masks"] == str(STACK.num_slices)


def test_tumour_lies_on_the_left_while_the_series_arrives_and_after_it(
    partner: Partner, start_viewer: StartViewer, look: Callable[[], Audience]
) -> None:
    start_viewer()
    audience = look()
    partner.tell(opened("1.2"), *slices("1.2"), *masks("1.2"))
    wait_until(lambda: audience.has_surface, "a surface before the series is complete")
    partner.tell(completed("1.2"), result("1.2"))
    wait_until(lambda: audience.stamps(qos.IMAGE)[-1:] == [RECEIVED_AT_S + LARGEST], "the slice with the largest area")
    points = points_from_msg(audience.last(qos.TUMOUR_POINTS))
    assert len(points) == np.count_nonzero(LABELS_KJI)
    middle_mm = [1000 * float(points[axis].mean()) for axis in "xyz"]
    # Within half of the spacing of slices.
    assert middle_mm == pytest.approx(CENTRE_LPS_MM.tolist(), abs=2.0)
    frame = audience.last(TF_STATIC).transforms[0]
    assert (frame.header.frame_id, frame.child_frame_id) == ("patient_lps", "scanner")
    assert all(audience.last(topic).header.frame_id == "patient_lps" for topic in TOPICS if topic != TF_STATIC)


def test_new_series_clears_what_was_shown(
    partner: Partner, start_viewer: StartViewer, look: Callable[[], Audience]
) -> None:
    start_viewer()
    audience = look()
    partner.tell(opened("1.2"), *slices("1.2"), *masks("1.2"), completed("1.2"), result("1.2"))
    wait_until(lambda: audience.has_surface and audience.last(qos.TUMOUR_POINTS).width, "the tumour")
    partner.tell(opened("1.3", at_s=200.0))
    wait_until(lambda: audience.is_cleared, "the tumour to leave the screen")
    wait_until(lambda: not array_from_msg(audience.last(qos.OVERLAY)).any(), "the picture to leave the screen")
    wait_until(lambda: audience.last(qos.SLICE_PLANE).action == Marker.DELETEALL, "the slice to leave the screen")
    late = look()
    wait_until(lambda: late.last(qos.TUMOUR_POINTS) is not None and late.is_cleared, "the same for a late joiner")


def test_empty_segmentation_takes_the_masks_so_far_off_the_screen(
    partner: Partner, start_viewer: StartViewer, look: Callable[[], Audience]
) -> None:
    start_viewer()
    audience = look()
    partner.tell(opened("1.2"), *slices("1.2"), *masks("1.2"))
    wait_until(lambda: audience.has_surface, "a surface")
    partner.tell(completed("1.2"), result("1.2", np.zeros_like(LABELS_KJI)))
    wait_until(lambda: audience.is_cleared, "the tumour to leave the screen")


def test_restarted_viewer_shows_the_last_result_with_its_picture(
    partner: Partner, start_viewer: StartViewer, look: Callable[[], Audience]
) -> None:
    _, end = start_viewer()
    partner.tell(opened("1.1", at_s=50.0), result("1.1", np.zeros_like(LABELS_KJI)))
    partner.tell(opened("1.2"), *slices("1.2"), *masks("1.2"), completed("1.2"), result("1.2"))
    partner.gateway.closed |= {"1.1", "1.2"}
    end()
    start_viewer()
    audience = look()
    wait_until(lambda: audience.has_surface and audience.last(qos.TUMOUR_POINTS).width, "the tumour")
    assert len(points_from_msg(audience.last(qos.TUMOUR_POINTS))) == np.count_nonzero(LABELS_KJI)
    wait_until(lambda: RECEIVED_AT_S + LARGEST in audience.stamps(qos.OVERLAY), "the picture, from a replay")


def test_viewer_that_starts_late_shows_the_masks_that_it_missed(
    partner: Partner, start_viewer: StartViewer, look: Callable[[], Audience]
) -> None:
    partner.tell(opened("1.2"), *slices("1.2"), *masks("1.2"))
    node, _ = start_viewer()
    audience = look()
    wait_until(lambda: figures(node)["num_pictures"] == str(STACK.num_slices), "a picture of every mask")
    wait_until(lambda: audience.has_surface, "the surface")


def test_chosen_series_is_shown_though_others_come(
    partner: Partner, start_viewer: StartViewer, look: Callable[[], Audience]
) -> None:
    node, _ = start_viewer(shown_series="1.2")
    audience = look()
    partner.tell(opened("1.2"), opened("1.3", at_s=200.0), *slices("1.3"), *masks("1.3"), *slices("1.2"))
    partner.tell(*masks("1.2"), result("1.3", np.zeros_like(LABELS_KJI)), result("1.2"))
    wait_until(lambda: audience.has_surface, "the tumour")
    wait_until(lambda: figures(node)["num_pictures"] == str(STACK.num_slices), "a picture of every mask")
    assert figures(node)["series"] == "1.2"
    assert audience.has_surface


class Browser:
    """What a browser asks of the page of a node, with one session."""

    def __init__(self, node: ViewerNode) -> None:
        assert node.page is not None
        host, port = node.page.address
        self.base = f"http://{host}:{port}"
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        self._csrf = self.json("/api/session")["csrf"]

    def bytes(self, path: str) -> bytes:
        with self._opener.open(self.base + path, timeout=10) as answer:
            return bytes(answer.read())

    def json(self, path: str) -> Any:
        return json.loads(self.bytes(path))

    def refusal(self, path: str) -> dict[str, str]:
        """What the page says instead of an answer."""
        with pytest.raises(urllib.error.HTTPError) as caught:
            self.bytes(path)
        said: dict[str, str] = json.loads(caught.value.read())
        caught.value.close()
        return said

    def post(self, path: str, value: Any) -> None:
        headers = {"Content-Type": "application/json", "X-CSRF-Token": self._csrf}
        self._opener.open(urllib.request.Request(self.base + path, json.dumps(value).encode(), headers)).close()


@pytest.fixture
def browse(start_viewer: StartViewer, tmp_path: Path) -> Callable[[], Browser]:
    """Start a viewer with its page."""
    return lambda: Browser(start_viewer(viewer__enabled=True, viewer__port=0, state_dir=str(tmp_path))[0])


def test_page_gets_every_mask_too(partner: Partner, browse: Callable[[], Browser]) -> None:
    browser = browse()
    partner.tell(opened("1.2"), *slices("1.2"), *masks("1.2"))

    def num_masks() -> int:
        return max((int(row["num_masks"]) for row in browser.json("/api/series")), default=0)

    wait_until(lambda: num_masks() == STACK.num_slices, "all masks on the page")


def test_page_shows_a_case_with_the_result_that_the_gateway_keeps(
    partner: Partner, browse: Callable[[], Browser], stack_of_things: ExitStack
) -> None:
    uid, kept = "1.2", StoredResult("1.9", "SEG", 1, MODEL.name)
    for request_type, reply in (
        (ListResults, ResultList((kept,))),
        (GetSegmentation, StoredSegmentation(result(uid))),
        (DescribeSeries, SeriesDetails((SeriesDetail(uid, rule="every MR", num_expected=STACK.num_slices),))),
    ):
        stack_of_things.enter_context(partner.bus.serve(request_type, lambda _, reply=reply: reply))
    partner.tell(opened(uid), *slices(uid), completed(uid))
    browser = browse()
    case = f"/api/cases/{series_case_id(uid)}"
    wait_until(lambda: browser.json("/api/series"), "the series on the list")

    def is_there() -> bool:
        meta = browser.json(case)
        return meta["num_slices"] == STACK.num_slices and [s["state"] for s in meta["segmentations"]] == ["final"]

    wait_until(is_there, "the case")
    size = STACK.num_slices * math.prod(STACK.shape[1:])
    assert len(browser.bytes(f"{case}/slices?from=0&count={STACK.num_slices}")) == 2 * size
    packed = browser.bytes(f"{case}/segmentations/v1/masks?since=-1")
    labels = np.frombuffer(packed[4 + int.from_bytes(packed[:4], "little") :], np.uint8)
    assert np.array_equal(labels.reshape(STACK.shape), LABELS_KJI)
    wait_until(lambda: browser.json("/api/series")[0]["rule"] == "every MR", "the rule on the list")


def test_page_says_why_it_does_not_tell_who_the_patient_is(
    partner: Partner, browse: Callable[[], Browser], stack_of_things: ExitStack
) -> None:
    uid = "1.2"
    kept = ResultList((StoredResult("1.9", "SEG", 1, MODEL.name),))
    stack_of_things.enter_context(partner.bus.serve(ListResults, lambda _: kept))
    partner.tell(opened(uid), *slices(uid), completed(uid))
    browser = browse()
    case = f"/api/cases/{series_case_id(uid)}"
    wait_until(lambda: browser.json("/api/series"), "the series on the list")
    browser.post("/api/identity", {"shown": True})
    meta = browser.json(case)
    assert meta["identity"] is None
    assert "does not travel over ROS 2" in meta["identity_note"]
    said = browser.refusal(f"{case}/download/SEG")
    assert "does not travel over ROS 2" in said["error"]
    assert "archive" in said["remedy"]


def test_workers_of_the_page_get_the_configuration_that_the_parameters_make(
    start_viewer: StartViewer, tmp_path: Path
) -> None:
    node, _ = start_viewer(
        viewer__enabled=True, viewer__port=0, state_dir=str(tmp_path), segmenter__engine="onnxruntime"
    )
    file = tmp_path / "viewer" / CONFIG_FILE
    assert load_config(file) == node.config
    assert node.config.segmenter.engine == "onnxruntime"
    assert file.stat().st_mode & 0o077 == 0


def test_deactivated_viewer_can_be_activated_again_and_leaves_no_threads(
    partner: Partner, start_viewer: StartViewer, look: Callable[[], Audience]
) -> None:
    node, end = start_viewer()
    node.trigger_deactivate()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("display-")]
    node.trigger_activate()
    audience = look()
    partner.tell(opened("1.2"), *slices("1.2"), *masks("1.2"))
    wait_until(lambda: audience.has_surface, "a surface")
    end()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("display-")]


def test_snapshot_is_made_of_what_is_published(
    partner: Partner, start_viewer: StartViewer, look: Callable[[], Audience]
) -> None:
    start_viewer()
    audience = look()
    partner.tell(opened("1.2"), *slices("1.2"), *masks("1.2"), completed("1.2"), result("1.2"))
    wait_until(lambda: audience.has_surface and audience.last(qos.SLICE_PLANE).points, "tumour and slice")
    sheet = compose({topic: audience.last(topic) for topic in TOPICS})
    hue = cv2.cvtColor(sheet, cv2.COLOR_BGR2HSV)
    is_coloured = (hue[..., 1] > 120) & (hue[..., 2] > 60)
    columns = np.flatnonzero(is_coloured.any(axis=0))
    # The overlay is at the left, the surface in space at the right.
    assert columns.min() < 560 and columns.max() > 800
