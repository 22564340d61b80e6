"""What the service needs to know of a model: its card, and how it is executed; models whose engines are open before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from typing import Protocol

import numpy as np
import numpy.typing as npt

from neuroscan_core.config import SegmenterConfig
from neuroscan_core.domain.model_card import ModelCard, ModelKind
from neuroscan_core.ports import InferenceEngine, ReportsProblem

STREAMING_KINDS = (ModelKind.SLICE25D, ModelKind.CLASSIFIER)  # needed at once; those of studies can wait


class ModelSource(Protocol):
    """A model that can be executed; see `inference.bundle.Bundle`."""

    @property
    def card(self) -> ModelCard:
        """Its card."""
        ...

    def open_engine(self, config: SegmenterConfig) -> InferenceEngine:
        """Execute it."""
        ...


class OpenModels:
    """Models with engines that are opened before a service needs them, and outlive it.

    Parameters
    ----------
    models : mapping of str to ModelSource
    config : SegmenterConfig
        Whoever opens a model with the same is lent its engine; for others it is opened anew.

    Raises
    ------
    InvalidBundle, EngineRefused, EngineUnavailable
        A model cannot be executed here.
    """

    def __init__(self, models: Mapping[str, ModelSource], config: SegmenterConfig) -> None:
        self.by_name: dict[str, ModelSource] = dict(models)
        with ExitStack() as opened:
            for name, model in models.items():
                if model.card.kind in STREAMING_KINDS:
                    self.by_name[name] = ready = _OpenModel(model, config)
                    opened.callback(ready.close)
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Release the engines."""
        self._opened.close()


class _OpenModel:
    """One of them."""

    def __init__(self, model: ModelSource, config: SegmenterConfig) -> None:
        self._model, self._config = model, config
        self._engine = model.open_engine(config)
        self._is_lent = False

    @property
    def card(self) -> ModelCard:
        return self._model.card

    def open_engine(self, config: SegmenterConfig) -> InferenceEngine:
        """Lend the engine, to one at a time, or open another one."""
        if self._is_lent or config != self._config:
            return self._model.open_engine(config)
        self._is_lent = True
        return _LentEngine(self._engine, self._take_back)

    def _take_back(self) -> None:
        self._is_lent = False

    def close(self) -> None:
        self._engine.close()


class _LentEngine:
    """An engine that somebody else closes."""

    def __init__(self, engine: InferenceEngine, give_back: Callable[[], None]) -> None:
        self._engine, self._give_back = engine, give_back

    @property
    def card(self) -> ModelCard:
        return self._engine.card

    @property
    def name(self) -> str:
        return self._engine.name

    @property
    def problem(self) -> str:
        return self._engine.problem if isinstance(self._engine, ReportsProblem) else ""

    def run(self, image_NCHW: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return self._engine.run(image_NCHW)

    def close(self) -> None:
        self._give_back()


def replacements(engines: Iterable[InferenceEngine]) -> list[str]:
    """Why engines serve that were not chosen, as sentences."""
    reports = (engine.problem for engine in engines if isinstance(engine, ReportsProblem))
    return [report for report in reports if report]
