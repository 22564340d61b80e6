"""The segmentation service under ROS 2: slices in from a topic, masks and segmentations out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from neuroscan_core.bus.feed import SeriesFeed
from neuroscan_core.config import NodeConfig
from neuroscan_core.domain.events import SEGMENTER
from neuroscan_core.inference.select import bundles_in_use
from neuroscan_core.service import SegmentationService
from neuroscan_core.service.models import OpenModels
from neuroscan_ros.role_node import RoleNode, run

if TYPE_CHECKING:
    from collections.abc import Callable

DRAIN_S = 2.0  # for each of a few steps, so that all end within the time that a process has
FIGURES = {
    "slices": "neuroscan_segmenter_slices_total",
    "masks": "neuroscan_segmenter_masks_total",
    "open series": "neuroscan_segmenter_open_series",
    "waiting series": "neuroscan_segmenter_waiting_series",
    "unacknowledged results": "neuroscan_segmenter_unacknowledged",
}


class SegmentationNode(RoleNode):
    """Lifecycle of `neuroscan_core.service.SegmentationService`."""

    name = "segmentation_node"
    roles = (SEGMENTER,)

    _models: OpenModels | None = None
    _service: SegmentationService | None = None
    _stop: Callable[[], None] | None = None

    def prepare(self, config: NodeConfig) -> None:
        """Find the models in use and open their engines, which is what takes time."""
        self._models = OpenModels(bundles_in_use(config), config.segmenter)

    def begin(self) -> None:
        """Segment every open series."""
        assert self._models is not None
        self._registry = CollectorRegistry()
        with ExitStack() as opened:
            feed = opened.enter_context(SeriesFeed(self.bus))
            service = SegmentationService(
                self.bus, self._models.by_name, self.config.segmenter, feed=feed, registry=self._registry
            )
            opened.callback(service.stop, DRAIN_S)
            service.start()
            self._service, self._stop = service, opened.pop_all().close

    def drain(self) -> None:
        """Finish the batch in hand, hand over what is done; the gateway keeps the rest."""
        stop, self._stop, self._service = self._stop, None, None
        if stop is not None:
            stop()

    def release(self) -> None:
        """Close the engines."""
        models, self._models = self._models, None
        if models is not None:
            models.close()

    def health(self) -> tuple[bool, Sequence[str], Mapping[str, str]]:
        """As the service says of itself."""
        service = self._service
        if service is None:
            return False, ["The service is stopped."], {}
        health = service.health()
        figures = {name: self._registry.get_sample_value(metric) for name, metric in FIGURES.items()}
        values = {name: f"{value:.0f}" for name, value in figures.items() if value is not None}
        return health.is_ready, health.problems, {**values, **{f"engine of {m}": e for m, e in service.engines.items()}}


def main() -> None:
    """Entry point of the executable."""
    run(SegmentationNode)
