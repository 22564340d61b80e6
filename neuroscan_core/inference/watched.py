"""An engine on a device that may fail, with the processor in reserve."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.errors import EngineRefused, EngineUnavailable
from neuroscan_core.domain.model_card import ModelCard
from neuroscan_core.log import get_logger
from neuroscan_core.ports import InferenceEngine

log = get_logger(__name__)


class WatchedEngine:
    """Hands everything to one engine; where that fails, to another from then on.

    Parameters
    ----------
    engine : InferenceEngine
        Passed the gate.
    reserve : callable
        Opens the engine that takes its place.
    """

    def __init__(self, engine: InferenceEngine, reserve: Callable[[], InferenceEngine]) -> None:
        self._engine, self._open_reserve = engine, reserve
        self._problem = ""

    @classmethod
    def replaced(cls, name: str, reason: str, reserve: Callable[[], InferenceEngine]) -> WatchedEngine:
        """The reserve in place of an engine that did not pass the gate."""
        watched = cls(reserve(), reserve)
        watched._report(name, reason)
        return watched

    @property
    def card(self) -> ModelCard:
        """Card of the bundle."""
        return self._engine.card

    @property
    def name(self) -> str:
        """What executes now."""
        return self._engine.name

    @property
    def problem(self) -> str:
        """Why another engine serves than the one that was chosen, as a sentence; empty while all is well."""
        return self._problem

    def run(self, image_NCHW: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Logits for a batch, shape (N, outputs, ...)."""
        if self._problem:
            return self._engine.run(image_NCHW)
        try:
            return _checked(self._engine, image_NCHW)
        except (EngineUnavailable, EngineRefused) as exc:
            failed = self._engine
            self._engine = self._open_reserve()
            self._report(failed.name, str(exc))
            _close_quietly(failed)
            return self._engine.run(image_NCHW)

    def close(self) -> None:
        """Release the engine."""
        self._engine.close()

    def _report(self, name: str, reason: str) -> None:
        self._problem = f"{self.card.name} runs on {self.name} instead of {name}: {reason}"
        log.error("another engine serves", model=self.card.name, engine=self.name, instead_of=name, reason=reason)


def _checked(engine: InferenceEngine, image_NCHW: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Logits that are numbers: FP16 may overflow on images unlike the reference, and NaN would read as no finding."""
    logits = engine.run(image_NCHW)
    if not np.isfinite(logits).all() and np.isfinite(image_NCHW).all():
        raise EngineRefused(
            f"{engine.name} computed values that are no numbers.", remedy="Set segmenter.precision: fp32."
        )
    return logits


def _close_quietly(engine: InferenceEngine) -> None:
    try:
        engine.close()
    except EngineUnavailable as exc:
        log.warning("the engine that failed could not be closed", engine=engine.name, reason=str(exc))
