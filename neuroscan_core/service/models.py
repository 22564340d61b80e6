"""What the service needs to know of a model: its card, and how it is executed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from neuroscan_core.config import SegmenterConfig
from neuroscan_core.domain.model_card import ModelCard
from neuroscan_core.ports import InferenceEngine, ReportsProblem


class ModelSource(Protocol):
    """A model that can be executed; see `inference.bundle.Bundle`."""

    @property
    def card(self) -> ModelCard:
        """Its card."""
        ...

    def open_engine(self, config: SegmenterConfig) -> InferenceEngine:
        """Execute it."""
        ...


def replacements(engines: Iterable[InferenceEngine]) -> list[str]:
    """Why engines serve that were not chosen, as sentences."""
    reports = (engine.problem for engine in engines if isinstance(engine, ReportsProblem))
    return [report for report in reports if report]
