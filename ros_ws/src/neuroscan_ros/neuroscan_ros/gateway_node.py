"""The gateway under ROS 2: receives images, tells of them on topics, takes segmentations and delivers results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from neuroscan_core.config import NodeConfig
from neuroscan_core.domain.events import GATEWAY
from neuroscan_ros.role_node import RoleNode, run

if TYPE_CHECKING:
    from dicom_gateway.gateway import Gateway

DRAIN_S = 2.0  # for each of a few steps, so that all end within the time that a process has
FIGURES = {
    "bytes": "neuroscan_ingest_bytes_total",
    "slices": "neuroscan_assembly_slices_total",
    "associations": "neuroscan_ingest_associations",
    "dead letters": "neuroscan_dead_letters",
    "free bytes": "neuroscan_spool_free_bytes",
}


class GatewayNode(RoleNode):
    """Lifecycle of `dicom_gateway.gateway.Gateway`."""

    name = "gateway_node"
    roles = (GATEWAY,)

    _gateway: Gateway | None = None

    def prepare(self, config: NodeConfig) -> None:
        """Check bundles and rules, open spool and journal."""
        from dicom_gateway.gateway import Gateway  # the tables of DICOM libraries take a second

        self._gateway = Gateway(config, self.bus)

    def begin(self) -> None:
        """Recover what an earlier process left, listen, deliver."""
        if self._gateway is None:  # one that was stopped is spent
            self.prepare(self.config)
        assert self._gateway is not None
        self._gateway.start()

    def drain(self) -> None:
        """Finish what is acknowledged."""
        self._stop(DRAIN_S)

    def release(self) -> None:
        """Close the journal."""
        self._stop(0.0)

    def _stop(self, drain_s: float) -> None:
        gateway, self._gateway = self._gateway, None
        if gateway is not None:
            gateway.stop(drain_s)

    def health(self) -> tuple[bool, Sequence[str], Mapping[str, str]]:
        """As the gateway says of itself."""
        gateway = self._gateway
        if gateway is None:
            return False, ["The gateway is stopped."], {}
        health = gateway.health()
        figures = {name: gateway.registry.get_sample_value(metric) for name, metric in FIGURES.items()}
        host, port = gateway.address
        values = {name: f"{value:.0f}" for name, value in figures.items() if value is not None}
        return health.is_ready, health.problems, {"address": f"{host}:{port}", **values}


def main() -> None:
    """Entry point of the executable."""
    run(GatewayNode)
