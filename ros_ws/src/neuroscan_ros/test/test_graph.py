"""The graph as text, of made-up nodes and of real ones."""

from __future__ import annotations

import time

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not sourced")
pytest.importorskip("neuroscan_msgs", reason="ros_ws is not built and sourced")

from neuroscan_msgs.msg import Mask
from neuroscan_msgs.srv import ListSeries
from neuroscan_ros import qos
from neuroscan_ros.graph import Graph, look

from tests.bus.conftest import domain_id
from tests.ros_nodes import PATIENCE_S, bare_node

__all__ = ["domain_id"]


def test_arrows_lead_from_publisher_by_topic_to_reader_and_from_who_asks_to_who_serves() -> None:
    graph = Graph({"/a/masks": ({"/maker"}, {"/reader"})}, {"/a/list": ({"/maker"}, {"/reader"})})
    lines = [line.strip() for line in graph.as_mermaid().splitlines()]
    assert lines[0] == "flowchart LR"
    assert {"maker --> a_masks", "a_masks --> reader", 'a_masks["/a/masks"]', "maker([/maker])"} <= set(lines)
    assert 'reader -. "list" .-> maker' in lines


def test_the_graph_of_running_nodes_names_who_does_what(domain_id: int) -> None:
    with bare_node(domain_id, "maker") as maker, bare_node(domain_id, "reader") as reader, bare_node(domain_id) as us:
        maker.create_publisher(Mask, qos.MASKS, qos.stream(8))
        maker.create_service(ListSeries, qos.LIST_SERIES, lambda _, response: response)
        reader.create_subscription(Mask, qos.MASKS, lambda _: None, qos.stream(8))
        reader.create_client(ListSeries, qos.LIST_SERIES)
        deadline_s = time.monotonic() + PATIENCE_S
        masks, series = f"/{qos.MASKS}", f"/{qos.LIST_SERIES}"
        expected = ({"/maker"}, {"/reader"})
        graph = look(us)
        while graph.topics.get(masks) != expected or graph.services.get(series) != expected:
            assert time.monotonic() < deadline_s, f"found only {graph}"
            time.sleep(0.05)
            graph = look(us)
    assert set(graph.topics) == {masks}
    assert set(graph.services) == {series}
