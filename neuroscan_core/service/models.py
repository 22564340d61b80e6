"""What the service needs to know of a model: its card, and how it is executed."""

from __future__ import annotations

from typing import Protocol

from neuroscan_core.config import SegmenterConfig
from neuroscan_core.domain.model_card import ModelCard
from neuroscan_core.ports import InferenceEngine


class ModelSource(Protocol):
    """A model that can be executed; see `inference.bundle.Bundle`."""

    @property
    def card(self) -> ModelCard:
        """Its card."""
        ...

    def open_engine(self, config: SegmenterConfig) -> InferenceEngine:
        """Execute it."""
        ...
