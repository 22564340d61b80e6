"""Metrics of delivery."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class DeliveryMetrics:
    """Counters, gauges and histograms of all destinations."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.attempts = Counter(
            "neuroscan_delivery_attempts",
            "C-STORE attempts by outcome: stored, try-again, refused, unreachable",
            ["destination", "outcome"],
            registry=registry,
        )
        self.commitments = Counter(
            "neuroscan_commitments",
            "Storage commitment by outcome: asked, committed, failed, unanswered",
            ["destination", "outcome"],
            registry=registry,
        )
        self.queue_length = Gauge(
            "neuroscan_delivery_queue_length", "Results that wait for delivery", ["destination"], registry=registry
        )
        self.breaker_open = Gauge(
            "neuroscan_destination_unreachable",
            "1 while a destination does not answer",
            ["destination"],
            registry=registry,
        )
        self.store_s = Histogram(
            "neuroscan_store_seconds",
            "Duration of one C-STORE of a result",
            ["destination"],
            buckets=(0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=registry,
        )
        self.delay_s = Histogram(
            "neuroscan_last_image_to_stored_seconds",
            "From the last image of a series to the acknowledgement of a result by the archive",
            ["destination", "kind"],
            buckets=(0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30, 120, 600),
            registry=registry,
        )
