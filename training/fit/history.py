"""Figures of a run for people: `history.csv`, the logger, the log, the progress bar.

Written on rank 0. A resumed run drops the rows that it will make again.
"""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from neuroscan_core.domain.model_card import ModelKind
from training.data.digest import write_atomically
from training.fit.module import FitModule
from training.fit.validation import METRICS

log = logging.getLogger(__name__)
COLUMNS = ("step", "epoch", "minutes", "learning_rate", "loss", "score")


class History:
    """Rows of `history.csv`, and the same figures for loggers."""

    def __init__(self, path: Path, metric_names: Sequence[str]) -> None:
        self.path = path
        self._columns = (*COLUMNS, *metric_names)
        self.loggers: list[Any] = []

    def begin(self, resumed_step: int) -> None:
        """Write the head; rows of later steps, left by a process that was killed, are dropped."""
        kept = [row for row in read_history(self.path) if int(row["step"]) <= resumed_step]
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self._columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(kept)
        write_atomically(self.path, text.getvalue())

    def append(self, module: FitModule, **values: float) -> None:
        """Add a row at the present position, here and in the loggers."""
        position = module.position
        row = {
            "step": position.step,
            "epoch": position.epoch,
            "minutes": round(position.elapsed_s / 60.0, 4),
            "learning_rate": module.plain_optimiser().param_groups[-1]["lr"],
            **values,
        }
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self._columns, extrasaction="ignore").writerow(row)
        for logger in self.loggers:
            logger.log_metrics({k: float(v) for k, v in row.items() if k != "step"}, step=position.step)

    def validated(self, module: FitModule, metrics: dict[str, float], dropped: bool) -> None:
        """Add the row of a validation."""
        self.append(module, **metrics)
        listed = " ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        log.info("%s validation %s%s", where(module), listed, "; learning rate lowered" if dropped else "")


def read_history(path: Path) -> list[dict[str, str]]:
    """Return the rows of a `history.csv`, none where there is no file; empty strings where a row has no value."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def metric_names(module: FitModule) -> tuple[str, ...]:
    """Return the names of the figures of a run besides `COLUMNS`."""
    kind = module.config.model_kind
    return (*METRICS[kind], "train_accuracy") if kind is ModelKind.CLASSIFIER else METRICS[kind]


def where(module: FitModule) -> str:
    """Return the position in words."""
    position = module.position
    rate = module.plain_optimiser().param_groups[-1]["lr"]
    return (
        f"step {position.step} epoch {position.epoch} {position.elapsed_s / 60:.1f} min "
        f"{100 * module.progress:.1f} % lr {rate:.2e}"
    )


class TrainingLoss(lightning.Callback):
    """Every so many steps: the mean loss (and accuracy) since the last time, and the progress bar.

    Sums stay on the device, so that a step does not wait for them.
    """

    def __init__(self, history: History, every_steps: int, console: Console | None = None) -> None:
        self._history, self._every = history, max(1, every_steps)
        self._sums: dict[str, torch.Tensor] = {}
        self._count = 0
        self._bar: Progress | None = None
        self._console = console

    def on_train_start(self, trainer: lightning.Trainer, pl_module: FitModule) -> None:  # type: ignore[override]
        """Show the bar."""
        if trainer.is_global_zero and self._console is not None and self._console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>5.1f} %"))
            self._bar = Progress(*columns, TimeElapsedColumn(), console=self._console, refresh_per_second=1)
            self._bar.add_task("training", total=1.0)
            self._bar.update(self._bar.task_ids[0], completed=pl_module.progress)
            self._bar.start()

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: lightning.Trainer, pl_module: FitModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the loss of a step."""
        self._sums = {name: value.detach() + self._sums.get(name, 0.0) for name, value in outputs.items()}
        self._count += 1
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=pl_module.progress)
        if pl_module.position.step % self._every == 0 and trainer.is_global_zero:
            means = {name: float(value) / self._count for name, value in self._sums.items()}
            self._sums, self._count = {}, 0
            self._history.append(pl_module, **means)
            log.info("%s %s", where(pl_module), " ".join(f"{name} {mean:.4f}" for name, mean in means.items()))

    def on_train_end(self, trainer: lightning.Trainer, pl_module: FitModule) -> None:  # type: ignore[override]
        """Remove the bar."""
        self._stop()

    def on_exception(  # type: ignore[override]
        self, trainer: lightning.Trainer, pl_module: FitModule, exception: BaseException
    ) -> None:
        """Remove the bar."""
        self._stop()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
