"""The graph of the running nodes as Mermaid, which README pages show as a drawing: ``ros2 run neuroscan_ros graph``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import rclpy
from rclpy.node import Node

DISCOVERY_S = 3.0
# What every node has, or every tool, says nothing of this one.
_EVERYWHERE = ("/rosout", "/parameter_events", "/transition_event")
_Endpoints = Callable[[str, str], list[tuple[str, list[str]]]]


@dataclass
class Graph:
    """Who publishes and who reads, who serves and who asks.

    Parameters
    ----------
    topics, services : dict of str to (set of str, set of str)
        Name -> nodes that publish or serve, nodes that read or ask.
    """

    topics: dict[str, tuple[set[str], set[str]]] = field(default_factory=dict)
    services: dict[str, tuple[set[str], set[str]]] = field(default_factory=dict)

    def as_mermaid(self) -> str:
        """Topics lie between who publishes and who reads; services are dotted arrows from who asks to who serves."""
        lines = ["flowchart LR"]
        nodes = sorted(
            {node for pairs in (self.topics, self.services) for pair in pairs.values() for node in set.union(*pair)}
        )
        lines += [f"  {_id(node)}([{node}])" for node in nodes]
        for topic, (publishers, readers) in sorted(self.topics.items()):
            lines.append(f'  {_id(topic)}["{topic}"]')
            lines += [f"  {_id(node)} --> {_id(topic)}" for node in sorted(publishers)]
            lines += [f"  {_id(topic)} --> {_id(node)}" for node in sorted(readers)]
        asked: dict[tuple[str, str], list[str]] = {}
        for service, (servers, askers) in sorted(self.services.items()):
            for pair in ((asker, server) for asker in sorted(askers) for server in sorted(servers)):
                asked.setdefault(pair, []).append(service.rsplit("/", 1)[-1])
        lines += [
            f'  {_id(asker)} -. "{"<br>".join(names)}" .-> {_id(server)}' for (asker, server), names in asked.items()
        ]
        return "\n".join(lines)


def look(node: Node) -> Graph:
    """Read the graph as `node` has discovered it; `node` itself and tools are left out."""
    graph = Graph()
    others = [pair for pair in node.get_node_names_and_namespaces() if _is_shown(pair[0], node)]
    for name, namespace in others:
        full_name = f"{namespace.rstrip('/')}/{name}"
        _add(graph.topics, 0, full_name, node.get_publisher_names_and_types_by_node, name, namespace)
        _add(graph.topics, 1, full_name, node.get_subscriber_names_and_types_by_node, name, namespace)
        _add(graph.services, 0, full_name, node.get_service_names_and_types_by_node, name, namespace)
        _add(graph.services, 1, full_name, node.get_client_names_and_types_by_node, name, namespace)
    graph.services = {name: pair for name, pair in graph.services.items() if all(pair)}
    return graph


def main() -> None:
    """Wait for discovery, print, end."""
    rclpy.init()
    node = rclpy.create_node("graph", namespace="/")
    try:
        time.sleep(DISCOVERY_S)  # there is no event that says that all have been discovered
        graph = look(node)
    finally:
        node.destroy_node()
        rclpy.shutdown()
    if not graph.topics:
        sys.exit("No node was found. Is one running, with this ROS_DOMAIN_ID? See `ros2 node list`.")
    print(graph.as_mermaid())


def _is_shown(name: str, node: Node) -> bool:
    return not name.startswith(("_", "launch_ros_")) and name != node.get_name()


def _add(
    found: dict[str, tuple[set[str], set[str]]], side: int, full_name: str, ask: _Endpoints, name: str, namespace: str
) -> None:
    for endpoint in _shown(endpoint for endpoint, _ in ask(name, namespace)):
        found.setdefault(endpoint, (set(), set()))[side].add(full_name)


def _shown(names: Iterable[str]) -> list[str]:
    return [name for name in names if not name.endswith(_EVERYWHERE)]


def _id(name: str) -> str:
    return name.strip("/").replace("/", "_")


if __name__ == "__main__":
    main()
