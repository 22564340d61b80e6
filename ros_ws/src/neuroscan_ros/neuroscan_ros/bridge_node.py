"""Gateway and segmenter as plain processes over ZeroMQ, seen from ROS 2: their events on topics, their services."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from neuroscan_core.bus import open_bus
from neuroscan_core.bus.bridge import Bridge
from neuroscan_core.config import NodeConfig
from neuroscan_core.domain.events import GATEWAY, SEGMENTER, VIEWER
from neuroscan_core.ports import MessageBus
from neuroscan_ros.role_node import RoleNode, run


class BridgeNode(RoleNode):
    """Lifecycle of `neuroscan_core.bus.bridge.Bridge`."""

    name = "bridge_node"
    roles = (GATEWAY, SEGMENTER)

    _zeromq: MessageBus | None = None
    _bridge: Bridge | None = None

    def prepare(self, config: NodeConfig) -> None:
        """Check addresses and keys."""
        self._zeromq = open_bus(config, VIEWER)

    def begin(self) -> None:
        """Forward."""
        assert self._zeromq is not None
        self._bridge = Bridge(self._zeromq, self.bus)
        self._bridge.start()

    def drain(self) -> None:
        """Forward what has come."""
        bridge, self._bridge = self._bridge, None
        if bridge is not None:
            bridge.stop()

    def release(self) -> None:
        """Close the sockets."""
        zeromq, self._zeromq = self._zeromq, None
        if zeromq is not None:
            zeromq.close()

    def health(self) -> tuple[bool, Sequence[str], Mapping[str, str]]:
        """Whether something is heard, and how much was forwarded."""
        bridge = self._bridge
        if bridge is None:
            return False, ["The bridge is stopped."], {}
        problems = bridge.problems()
        figures = {
            "events": bridge.num_events,
            "requests": bridge.num_requests,
            "unanswered requests": bridge.num_unanswered,
        }
        return not problems, problems, {name: str(value) for name, value in figures.items()}


def main() -> None:
    """Entry point of the executable."""
    run(BridgeNode)
