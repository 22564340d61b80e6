"""The processes of a node as a whole: their commands, and how one asks them from outside."""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from neuroscan_core.bus import open_bus
from neuroscan_core.config import NodeConfig
from neuroscan_core.domain.errors import BusError
from neuroscan_core.domain.events import GATEWAY, SEGMENTER, VIEWER, SeriesProgress
from neuroscan_core.domain.requests import GetGatewayHealth, GetSegmenterHealth, ListSeries
from neuroscan_core.log import get_logger
from neuroscan_core.ports import MessageBus
from neuroscan_core.supervise import ProcessSpec

log = get_logger(__name__)

ASK_TIMEOUT_S = 2.0
READY_POLL_S = 0.25


@dataclass(frozen=True)
class NodeAnswer:
    """What a node says of itself.

    Parameters
    ----------
    problems : tuple of str
        Why it is not ready.
    warnings : tuple of str
        What a person should look at although it works.
    series : tuple of SeriesProgress
        Newest first.
    """

    problems: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    series: tuple[SeriesProgress, ...] = ()

    @property
    def is_ready(self) -> bool:
        """Whether gateway and segmenter answer and are ready."""
        return not self.problems


def process_specs(config: NodeConfig, path: Path | None) -> list[ProcessSpec]:
    """Commands of a node's processes in the order in which they are stopped."""
    roles = [GATEWAY, SEGMENTER, *([VIEWER] if config.viewer.enabled else [])]
    options = ("-c", str(path)) if path else ()
    command = (sys.executable, "-m", "neuroscan_core.cli")
    return [ProcessSpec(role, (*command, role, *options, "--supervised")) for role in roles]


def ask_node(config: NodeConfig, *, timeout_s: float = ASK_TIMEOUT_S) -> NodeAnswer:
    """Ask a running node how it is; a node that does not run is an answer too."""
    bus = open_bus(config, VIEWER)
    try:
        return _ask(bus, timeout_s)
    finally:
        bus.close()


def _ask(bus: MessageBus, timeout_s: float) -> NodeAnswer:
    problems: list[str] = []
    warnings: list[str] = []
    for role, request in ((GATEWAY, GetGatewayHealth()), (SEGMENTER, GetSegmenterHealth())):
        try:
            health = bus.request(request, timeout_s=timeout_s)
        except BusError:
            problems.append(f"The {role} does not answer. Is the node running (`neuroscan up`)?")
            continue
        if health.is_ready:
            warnings.extend(health.problems)
        else:
            problems.extend(health.problems or (f"The {role} is not ready yet.",))
    try:
        series = bus.request(ListSeries(), timeout_s=timeout_s).series
    except BusError:
        series = ()
    return NodeAnswer(tuple(problems), tuple(warnings), series)


def announce_ready(config: NodeConfig, stopping: threading.Event) -> None:
    """Log once that the node is ready, as soon as it is."""
    bus = open_bus(config, VIEWER)
    try:
        while not stopping.wait(READY_POLL_S):
            if _ask(bus, ASK_TIMEOUT_S).is_ready:
                log.info("node is ready", dicom_port=config.gateway.port, ae_title=config.gateway.ae_title)
                return
    finally:
        bus.close()
