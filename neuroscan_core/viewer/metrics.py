"""Prometheus texts of several processes joined into one, each sample marked with the process it came from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families


class _Families:
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


def join_metrics(texts: Mapping[str, str]) -> str:
    """One exposition from many.

    Parameters
    ----------
    texts : mapping of str to str
        Process -> its exposition; an empty one means that it does not answer.

    Returns
    -------
    str
        Every sample with a label ``process``, and ``neuroscan_up`` per process.
    """
    joined: dict[str, Metric] = {"neuroscan_up": Metric("neuroscan_up", "Whether the process answers", "gauge")}
    for process, text in texts.items():
        joined["neuroscan_up"].add_sample("neuroscan_up", {"process": process}, 1.0 if text else 0.0)
        for family in text_string_to_metric_families(text):
            target = joined.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            for sample in family.samples:
                target.add_sample(sample.name, {**sample.labels, "process": process}, sample.value)
    registry = CollectorRegistry()
    registry.register(_Families(joined.values()))
    return generate_latest(registry).decode()
