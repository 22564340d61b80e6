"""The status page over real HTTP, in front of a bus with faked gateway and segmenter."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import cv2
import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from neuroscan_core.bus.feed import MaskFeed
from neuroscan_core.bus.memory import InMemoryBus
from neuroscan_core.config import ViewerConfig
from neuroscan_core.domain.errors import ConfigurationError
from neuroscan_core.domain.requests import (
    GetGatewayHealth,
    GetSegmenterHealth,
    Health,
    ListSeries,
    ReplayedMasks,
    ReplayMasks,
    SeriesList,
)
from neuroscan_core.viewer.metrics import join_metrics
from neuroscan_core.viewer.process import Viewer
from tests.viewer.test_board import mask_out, opened, progress, slice_in

PATIENCE_S = 20.0
METRICS = "# HELP slices_total Slices.\n# TYPE slices_total counter\nslices_total 3.0\n"


class Node:
    """A viewer with a bus on which gateway and segmenter can be made to answer."""

    def __init__(self) -> None:
        self.bus = InMemoryBus()
        self.gateway, self.segmenter = Health(True, (), METRICS), Health(True, (), METRICS)
        self._serving, self._stack = ExitStack(), ExitStack()
        masks = self._stack.enter_context(MaskFeed(self.bus))
        self.viewer = self._stack.enter_context(Viewer(ViewerConfig(port=0), self.bus, masks))
        host, port = self.viewer.address
        self.http = self._stack.enter_context(httpx.Client(base_url=f"http://{host}:{port}", timeout=PATIENCE_S))

    def serve(self) -> None:
        for request_type, handler in (
            (GetGatewayHealth, lambda _: self.gateway),
            (GetSegmenterHealth, lambda _: self.segmenter),
            (ListSeries, lambda _: SeriesList((progress(),))),
            (ReplayMasks, lambda _: ReplayedMasks(())),
        ):
            self._serving.enter_context(self.bus.serve(request_type, handler))  # type: ignore[arg-type]

    def close(self) -> None:
        self._stack.close()
        self._serving.close()
        self.bus.close()


@pytest.fixture
def node() -> Iterator[Node]:
    node = Node()
    yield node
    node.close()


def test_is_live_but_not_ready_without_gateway_and_segmenter(node: Node) -> None:
    assert node.http.get("/health/live").json()["status"] == "live"
    answer = node.http.get("/health/ready")
    assert answer.status_code == 503
    assert [problem.split(" does")[0] for problem in answer.json()["problems"]] == ["The gateway", "The segmenter"]


def test_is_ready_when_both_are_and_passes_their_warnings_on(node: Node) -> None:
    node.gateway = Health(True, ("The archive pacs does not answer.",), METRICS)
    node.serve()
    answer = node.http.get("/health/ready")
    assert answer.status_code == 200
    assert answer.json()["warnings"] == ["The archive pacs does not answer."]


def test_is_not_ready_with_the_sentence_of_the_process_that_is_not(node: Node) -> None:
    node.segmenter = Health(False, ("The engine is being built.",))
    node.serve()
    answer = node.http.get("/health/ready")
    assert answer.status_code == 503 and answer.json()["problems"] == ["The engine is being built."]


def test_metrics_of_all_processes_are_joined_and_parse(node: Node) -> None:
    node.serve()
    text = node.http.get("/metrics").text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    samples = {(s.labels["process"], s.value) for s in families["slices"].samples if s.name == "slices_total"}
    assert samples == {("gateway", 3.0), ("segmenter", 3.0)}
    assert {sample.value for sample in families["neuroscan_up"].samples} == {1.0}
    assert text.count("# TYPE slices_total ") == 1


def test_process_that_does_not_answer_is_down_in_the_metrics() -> None:
    families = {family.name: family for family in text_string_to_metric_families(join_metrics({"gateway": ""}))}
    assert [sample.value for sample in families["neuroscan_up"].samples] == [0.0]


def test_page_is_whole_in_itself_and_says_what_it_is_not(node: Node) -> None:
    answer = node.http.get("/")
    assert answer.status_code == 200
    assert "not a medical device" in answer.text.lower()
    assert "http://" not in answer.text and "https://" not in answer.text, "nothing comes from other servers"
    assert answer.headers["content-security-policy"].startswith("default-src 'self'")


def test_events_are_pushed_and_the_overlay_is_a_picture_with_the_mask(node: Node) -> None:
    node.serve()
    bus = node.bus
    with node.http.stream("GET", "/api/events") as stream:
        lines = stream.iter_lines()
        next(line for line in lines if line.startswith("data: "))
        for event in (opened(), slice_in(0), slice_in(1), mask_out(0, area=6)):
            bus.publish(event)
        shown = next(
            found
            for line in lines
            if line.startswith("data: ")
            for found in json.loads(line[6:])
            if found["overlay_number"]
        )
    assert (shown["num_slices"], shown["num_masks"]) == (2, 1)
    answer = node.http.get(f"/api/cases/{shown['case']}/overlay.png")
    assert answer.headers["content-type"] == "image/png"
    picture = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (4, 4, 3)
    blue, _, red = picture[0, 0].astype(int)
    assert red > blue, "the mask is tinted red"


def test_picture_of_an_unknown_series_is_not_found(node: Node) -> None:
    answer = node.http.get("/api/cases/s0123456789abcdef/overlay.png")
    assert answer.status_code == 404 and set(answer.json()) == {"error", "meaning", "remedy"}


def test_stops_although_a_browser_still_listens() -> None:
    node = Node()
    with node.http.stream("GET", "/api/events") as stream:
        next(stream.iter_lines())
        closing = threading.Thread(target=node.viewer.stop)
        closing.start()
        closing.join(PATIENCE_S)
        assert not closing.is_alive()
    node.close()


def test_taken_port_is_an_error_that_names_the_key() -> None:
    bus = InMemoryBus()
    with socket.socket() as other, MaskFeed(bus) as masks:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(ConfigurationError, match=r"viewer\.port"):
            Viewer(ViewerConfig(port=other.getsockname()[1]), bus, masks)
    bus.close()
