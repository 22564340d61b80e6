"""One run in one folder: puts configuration, data, module, callbacks and Lightning's Trainer together."""

from __future__ import annotations

import contextlib
import logging
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import lightning
import torch
from rich.console import Console

from training.data.cache import ArrayCache
from training.data.splits import Split
from training.fit.callbacks import Advance, EndOfRun, PatientValidation, SaveState, ends
from training.fit.checkpoint import State, load_checkpoint
from training.fit.config import FitConfig
from training.fit.history import History, TrainingLoss, metric_names
from training.fit.loader import RunData
from training.fit.loggers import open_logger
from training.fit.module import Augmentation, FitModule
from training.fit.score import ValidationScorer
from training.fit.state import BEST, HISTORY, LAST, claim_folder, is_first_process, restore_position, sole_run
from training.fit.stopping import StopOnSignal, StopRequest, StopRequested
from training.inference import CaseOptions

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FitResult:
    """How a run ended.

    Parameters
    ----------
    score : float
        Best validation score; -inf when nothing was validated.
    step, epoch, minutes : number
        Where it ended.
    finished : bool
        False when the run was stopped before its length.
    signum : int
        The signal that stopped it, in the first process of a run; 0: none.
    """

    score: float
    step: int
    epoch: int
    minutes: float
    finished: bool
    folder: Path
    signum: int = 0


def run_fit(
    config: FitConfig,
    cache: ArrayCache,
    split: Split,
    folder: Path,
    *,
    store: Path | None = None,
    console: Console | None = None,
) -> FitResult:
    """Train until the schedule ends or a signal comes; a run found in the folder is continued.

    Parameters
    ----------
    config : FitConfig
        Checked settings.
    cache : ArrayCache
        Of the view `config.view`.
    split : Split
        Cases by part.
    folder : pathlib.Path
        Receives `last.pt`, `best.pt`, `config.yaml`, `history.csv`.
    store : pathlib.Path, optional
        Folder of the MLflow store; default: the run's folder.
    console : rich.console.Console, optional
        Shows a progress bar when it is a terminal.

    Raises
    ------
    ConfigurationError
        The folder holds a run with other settings, or one that is under way; or a setting cannot be used.
    """
    if config.trainer.threads > 0:
        torch.set_num_threads(config.trainer.threads)
    with sole_run(folder):
        return _run(config, cache, split, folder, store, console)


def _run(
    config: FitConfig, cache: ArrayCache, split: Split, folder: Path, store: Path | None, console: Console | None
) -> FitResult:
    claim_folder(config, folder)
    data = build_data(config, cache, split)
    module = FitModule(config, augmentation_of_size(config))
    data.module = module
    state = load_checkpoint(folder / LAST) if (folder / LAST).exists() else None
    if state is not None:
        restore_position(module, state)
        if ends(module):
            log.info("the run in %s is complete", folder)
            return _result(module, folder)
    # Deterministic mode would also fill every new tensor, which costs 5 % of a step and matters to no layer here.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    stop = StopRequest()
    with warnings.catch_warnings(), stop.listening():
        _quiet_lightning()
        trainer = build_trainer(config, module, data, folder, state, stop, store, console)
        with contextlib.suppress(StopRequested):
            trainer.fit(module, datamodule=data)
    return _result(module, folder, stop.signum)


def build_data(config: FitConfig, cache: ArrayCache, split: Split) -> RunData:
    """Return the data module of a configuration."""
    return RunData(
        config.kind,
        cache,
        split,
        batch_size=config.data.batch_size,
        num_workers=config.data.workers,
        seed=config.seed,
        **config.data.options,
    )


def augmentation_of_size(config: FitConfig) -> Any:
    """Return a function from an image size (0: as it comes) to the augmentation for it."""
    from training.augment import build_augmentation

    @lru_cache(maxsize=4)
    def augmentation(size: int) -> Augmentation:
        return build_augmentation(config.kind, {**config.augment, **({"size": size} if size else {})})

    return augmentation


def build_trainer(
    config: FitConfig,
    module: FitModule,
    data: RunData,
    folder: Path,
    state: State | None,
    stop: StopRequest,
    store: Path | None,
    console: Console | None,
) -> lightning.Trainer:
    """Return Lightning's Trainer; validation, checkpoints and the end are callbacks of this package."""
    settings = config.trainer
    validated_s = float(state["validated_s"]) if state is not None else 0.0
    history = History(folder / HISTORY, metric_names(module))
    if is_first_process():
        history.begin(module.position.step)
    options = CaseOptions(data.spacing_mm, data.patch_DHW)
    scorer = ValidationScorer(data.cache, data.val_cases, options, data.picture_size, stop)
    advance = Advance(state)
    validation = PatientValidation(scorer, advance, history, folder, validated_s)
    saving = SaveState(validation, folder, settings.save_every_minutes, stop)
    figures = TrainingLoss(history, settings.log_every_steps, console)
    logger = open_logger(config, folder, store) if is_first_process() else None
    history.loggers = [] if logger is None else [logger]
    return lightning.Trainer(
        accelerator=settings.accelerator,
        devices=settings.devices,
        strategy=settings.strategy,
        precision=settings.precision,  # type: ignore[arg-type]  # checked by Lightning
        # On a GPU some layers (nanmedian, cross-entropy of images, trilinear) have no deterministic form: they warn.
        deterministic="warn" if settings.deterministic else False,
        max_epochs=-1,
        gradient_clip_val=config.optimiser.max_gradient_norm or None,
        callbacks=[StopOnSignal(stop), advance, figures, validation, saving, EndOfRun(stop)],
        logger=logger or False,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )


def _quiet_lightning() -> None:
    # Batches are read one ahead by a thread, and no epoch is limited: its advice does not apply here.
    for advice in ("does not have many workers", "smaller than the logging interval", "overridden `on_after_batch"):
        warnings.filterwarnings("ignore", message=f".*{advice}.*")
    # Lightning 2.6 asks PyTorch 2.13 in a way that it is going to forbid.
    warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.*")
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)


def _result(module: FitModule, folder: Path, signum: int = 0) -> FitResult:
    position = module.position
    return FitResult(
        score=module.plateau.best,
        step=position.step,
        epoch=position.epoch,
        minutes=position.elapsed_s / 60.0,
        finished=ends(module),
        folder=folder,
        # Lightning takes another status than 0 of a further process for a fault.
        signum=signum if is_first_process() else 0,
    )


__all__ = ["BEST", "FitResult", "augmentation_of_size", "build_data", "build_trainer", "run_fit"]
