"""What the segmentation service counts; the names are part of the operators' interface."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class SegmenterMetrics:
    """Counters of one service."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self.slices = Counter("neuroscan_segmenter_slices", "Slices received", registry=registry)
        self.masks = Counter("neuroscan_segmenter_masks", "Masks published, revisions included", registry=registry)
        self.series = Counter(
            "neuroscan_segmenter_series", "Series handed to the gateway", ["outcome"], registry=registry
        )
        self.slice_to_mask_s = Histogram(
            "neuroscan_slice_to_mask_seconds", "From the last slice that a mask needs to the mask",
            buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self.last_image_to_result_s = Histogram(
            "neuroscan_last_image_to_segmentation_seconds", "From the last image to the measured segmentation",
            buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self.engine_s = Histogram(
            "neuroscan_engine_seconds", "One run of the network, up to max_batch slices",
            buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self.open_series = Gauge("neuroscan_segmenter_open_series", "Series in memory", registry=registry)
        self.waiting_series = Gauge("neuroscan_segmenter_waiting_series", "Series that wait", registry=registry)
        self.due_windows = Gauge("neuroscan_segmenter_due_windows", "Windows that wait", registry=registry)
        self.unacknowledged = Gauge(
            "neuroscan_segmenter_unacknowledged", "Results that the gateway has not confirmed", registry=registry
        )
        self.replaced_engines = Gauge(
            "neuroscan_segmenter_replaced_engines", "Models that run on another engine than the chosen one",
            registry=registry,
        )  # fmt: skip

    def text(self) -> str:
        """Prometheus text exposition."""
        return generate_latest(self._registry).decode()
