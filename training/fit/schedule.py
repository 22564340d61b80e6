"""How far a run has come, and what follows: learning rate and image size.

Length is given in steps or epochs (repeatable to the bit) or in minutes of
training (fits a machine that is shared); all end with the same shape of
schedule. What a plateau does to the rate is kept here too, as plain numbers
that a checkpoint can hold.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from training.fit.config import ScheduleConfig


@dataclass
class Position:
    """Where a run stands; everything that is drawn follows from it.

    Parameters
    ----------
    step : int
        Optimiser steps done.
    epoch : int
        Epochs done.
    batch : int
        Batches of the present epoch done.
    elapsed_s : float
        Training time, over all resumptions, without validation.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    elapsed_s: float = 0.0


@dataclass
class Plateau:
    """Lowers the rate when the score stops rising; also counts towards early stopping.

    A score counts as better when it exceeds the best by `MIN_GAIN`.
    """

    factor: float = 1.0
    best: float = -math.inf
    since_drop: int = 0
    since_best: int = 0

    MIN_GAIN = 1e-4

    def is_better(self, score: float) -> bool:
        """Whether a score counts as better than the best so far."""
        return score > self.best + self.MIN_GAIN

    def update(self, score: float, config: ScheduleConfig) -> bool:
        """Take a validation score in; returns whether the rate was lowered."""
        if self.is_better(score):
            self.best, self.since_drop, self.since_best = score, 0, 0
            return False
        self.since_drop += 1
        self.since_best += 1
        if config.name != "plateau" or self.since_drop <= config.plateau_patience:
            return False
        lowered = max(config.min_factor, self.factor * config.plateau_factor)
        dropped, self.factor, self.since_drop = lowered < self.factor, lowered, 0
        return dropped

    def state(self) -> dict[str, float]:
        """Return plain numbers for a checkpoint."""
        return {
            "factor": self.factor,
            "best": self.best,
            "since_drop": self.since_drop,
            "since_best": self.since_best,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take the numbers of `state` back."""
        self.factor, self.best = float(state["factor"]), float(state["best"])
        self.since_drop, self.since_best = int(state["since_drop"]), int(state["since_best"])


@dataclass(frozen=True)
class Schedule:
    """Length, learning-rate curve and image sizes of a run."""

    config: ScheduleConfig

    def progress(self, position: Position, batches_per_epoch: int) -> float:
        """Return the completed fraction, at most 1."""
        config = self.config
        if config.max_steps is not None:
            return min(1.0, position.step / config.max_steps)
        if config.max_epochs is not None:
            # 0: a resumed run has not begun its epoch, whose length is not known yet.
            share = position.batch / batches_per_epoch if batches_per_epoch else 0.0
            done = position.epoch + share
            return min(1.0, done / config.max_epochs)
        assert config.max_minutes is not None
        return min(1.0, position.elapsed_s / (60.0 * config.max_minutes))

    def learning_rate_factor(self, progress: float, plateau_factor: float = 1.0) -> float:
        """Return the learning rate relative to its peak."""
        config = self.config
        if progress < config.warmup:
            return max(0.01, progress / config.warmup)
        if config.name != "cosine":
            return plateau_factor
        fraction = (progress - config.warmup) / max(1e-9, 1.0 - config.warmup)
        cosine = 0.5 * (1.0 + math.cos(math.pi * fraction))
        return config.final_factor + (1.0 - config.final_factor) * cosine

    def image_size(self, progress: float) -> int:
        """Return rows and columns of the training images; 0: as they come."""
        return self.config.crop_size if progress < self.config.crop_until else self.config.full_size

    def stops_early(self, plateau: Plateau) -> bool:
        """Whether the score has not risen for longer than the run's patience."""
        return 0 < self.config.stop_patience <= plateau.since_best
