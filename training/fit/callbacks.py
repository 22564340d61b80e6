"""What happens between steps: moving on, validation, checkpoints, the end of the run.

Order matters and is that of `run.py`: `Advance` first (all others read the
position), then `PatientValidation`, `SaveState`, `EndOfRun`. Figures for people
are in `history`, signals in `stopping`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import torch
import torch.distributed

from training.fit.checkpoint import State, save_checkpoint
from training.fit.history import History
from training.fit.module import FitModule
from training.fit.score import ValidationScorer
from training.fit.state import BEST, LAST, restore, run_state, save_best, start_average
from training.fit.stopping import StopRequest

Clock = Callable[[], float]


class Advance(lightning.Callback):
    """Moves the position and the averaged weights; counts training time without validation.

    Parameters
    ----------
    resumed : mapping or None
        State of `state.run_state` to go on from.
    """

    def __init__(self, resumed: State | None, clock: Clock = time.monotonic) -> None:
        self._resumed, self._clock = resumed, clock
        self._mark = 0.0

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: FitModule) -> None:  # type: ignore[override]
        """Begin the average, or take over a saved state; the optimiser exists now."""
        start_average(pl_module)
        if self._resumed is not None:
            restore(pl_module, self._resumed)
            self._resumed = None

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: FitModule) -> None:  # type: ignore[override]
        """Learn the length of the epoch."""
        loader = trainer.train_dataloader
        assert loader is not None
        pl_module.batches_per_epoch = loader.num_batches()
        self.restart_clock()

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: lightning.Trainer, pl_module: FitModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count a step."""
        if pl_module.average is not None:
            pl_module.average.update(pl_module.network, pl_module.position.step)
        position, now = pl_module.position, self._clock()
        position.step += 1
        position.batch += 1
        if position.batch >= pl_module.batches_per_epoch:
            position.epoch, position.batch = position.epoch + 1, 0
        position.elapsed_s = _same_everywhere(position.elapsed_s + now - self._mark, trainer)
        self._mark = now

    def restart_clock(self) -> None:
        """Leave out what has passed since the last step."""
        self._mark = self._clock()


def _same_everywhere(seconds: float, trainer: lightning.Trainer) -> float:
    """Return rank 0's value, so that all processes end at the same step."""
    if trainer.world_size == 1:
        return seconds
    return float(trainer.strategy.broadcast(torch.tensor(seconds, dtype=torch.float64)))


class PatientValidation(lightning.Callback):
    """Scores the averaged weights when it is time; keeps the best; lowers the rate at a plateau."""

    def __init__(
        self, scorer: ValidationScorer, advance: Advance, history: History, folder: Path, validated_s: float = 0.0
    ) -> None:
        self._scorer, self._advance, self._history, self._folder = scorer, advance, history, folder
        self.validated_s = validated_s

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: lightning.Trainer, pl_module: FitModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Validate when it is time."""
        settings, position = pl_module.config.validation, pl_module.position
        by_epochs = settings.every_epochs > 0 and position.batch == 0 and position.epoch % settings.every_epochs == 0
        minutes = (position.elapsed_s - self.validated_s) / 60.0
        by_minutes = settings.every_minutes > 0 and minutes >= settings.every_minutes
        if by_epochs or by_minutes or pl_module.progress >= 1.0:
            self.validate(trainer, pl_module)
            self._advance.restart_clock()

    def validate(self, trainer: lightning.Trainer, pl_module: FitModule) -> None:
        """Score now; the same score is known on all ranks."""
        metrics = self._scorer.score(trainer, pl_module)
        self.validated_s = pl_module.position.elapsed_s
        if not metrics:
            return
        score = metrics["score"]
        if pl_module.plateau.is_better(score) and trainer.is_global_zero:
            save_best(pl_module, score, self._folder / BEST)
        dropped = pl_module.plateau.update(score, pl_module.config.schedule)
        if trainer.is_global_zero:
            self._history.validated(pl_module, metrics, dropped)


class SaveState(lightning.Callback):
    """Writes `last.pt` every so many minutes of training, after each validation, on request and at the end."""

    def __init__(self, validation: PatientValidation, folder: Path, every_minutes: float, stop: StopRequest) -> None:
        self._validation, self._folder, self._every_s, self._stop = validation, folder, 60.0 * every_minutes, stop
        self._saved_s = validation.validated_s

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: lightning.Trainer, pl_module: FitModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save when it is time."""
        elapsed_s = pl_module.position.elapsed_s
        # A validation that is not in `last.pt` would be made again, against a `best.pt` that knows of it.
        is_validated = elapsed_s == self._validation.validated_s
        if elapsed_s - self._saved_s >= self._every_s or is_validated or self._stop or ends(pl_module):
            self.save(trainer, pl_module)
            self._saved_s = elapsed_s

    def save(self, trainer: lightning.Trainer, pl_module: FitModule) -> None:
        """Write the state now, on rank 0."""
        if trainer.is_global_zero:
            save_checkpoint(run_state(pl_module, self._validation.validated_s), self._folder / LAST)


class EndOfRun(lightning.Callback):
    """Stops at the length of the schedule, when the score has not risen for too long, or on request."""

    def __init__(self, stop: StopRequest) -> None:
        self._stop = stop

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: lightning.Trainer, pl_module: FitModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop when the run is complete, or is to go on another time."""
        if self._stop or ends(pl_module):
            trainer.should_stop = True


def ends(module: FitModule) -> bool:
    """Whether no further step is to follow."""
    return module.progress >= 1.0 or module.schedule.stops_early(module.plateau)
