"""Training of one network: a loop that can be killed and resumed anywhere.

Windows, augmentation and order follow from the seed and the step; with a
length in steps, a resumed run ends with the very weights of an uninterrupted
one.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from neuroscan_core.pipeline.normalise import normalise_window, slice_scale
from training.augment import AugmentConfig, augment_batch, scale_to_tissue
from training.checkpoint import State, WeightAverage, load_checkpoint, save_checkpoint
from training.data.cache import CachedCase, SliceCache
from training.data.sampling import EpochSampler, Window, load_batch
from training.inference import predict_case, torch_predictor
from training.losses import FocalDiceLoss
from training.metrics import overlap
from training.networks import build_network
from training.schedule import Schedule

log = logging.getLogger(__name__)
LAST, BEST = "last.pt", "best.pt"
# Learning rate of a pretrained encoder relative to the new decoder.
PRETRAINED_ENCODER_FACTOR = 0.1
MAX_GRADIENT_NORM = 5.0


@dataclass(frozen=True)
class FitConfig:
    """Settings of a run.

    Parameters
    ----------
    schedule : Schedule
        Length, learning-rate curve, image size.
    encoder_weights : pathlib.Path or None
        ImageNet weights in torchvision's format.
    encoder_lr_factor : float or None
        None: 0.1 with `encoder_weights`, else 1.0.
    validate_every_s, save_every_s : float
        Training time between validations, and between checkpoints.
    """

    schedule: Schedule
    network: str = "mobilenetv2-unet"
    batch_size: int = 16
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    ema_decay: float = 0.998
    seed: int = 42
    use_bf16: bool = True
    encoder_weights: Path | None = None
    encoder_lr_factor: float | None = None
    validate_every_s: float = 240.0
    save_every_s: float = 60.0
    augment: AugmentConfig = field(default_factory=AugmentConfig)


class Trainer:
    """One run in one folder.

    Parameters
    ----------
    cache : SliceCache
        All slices.
    train_cases, val_cases : list of CachedCase
        By patient disjoint.
    run_folder : pathlib.Path
        Receives `last.pt` and `best.pt`; a `last.pt` found there is resumed.
    """

    def __init__(
        self,
        config: FitConfig,
        cache: SliceCache,
        train_cases: list[CachedCase],
        val_cases: list[CachedCase],
        run_folder: Path,
    ) -> None:
        self.config = config
        self.cache = cache
        self.val_cases = val_cases
        self.run_folder = run_folder
        self.sampler = EpochSampler(cache, train_cases, config.batch_size, config.seed)
        self.scales = np.zeros(len(cache.images_SHW), dtype=np.float32)
        for case in train_cases:
            for index in range(case.start, case.stop):
                self.scales[index] = slice_scale(cache.images_SHW[index])
        torch.manual_seed(config.seed)
        self.network = build_network(config.network)
        self.network.to(memory_format=torch.channels_last)
        self.optimizer = self._build_optimizer()
        self.loss = FocalDiceLoss()
        self.average = WeightAverage(self.network, config.ema_decay)
        self.step = self.epoch = self.batch = 0
        self.elapsed_s = 0.0
        self.best_score = -1.0
        run_folder.mkdir(parents=True, exist_ok=True)
        if (run_folder / LAST).exists():
            self._load(load_checkpoint(run_folder / LAST))

    def _build_optimizer(self) -> torch.optim.Optimizer:
        config, network = self.config, self.network
        factor = config.encoder_lr_factor
        if config.encoder_weights is not None:
            network.load_encoder(load_checkpoint(config.encoder_weights))
        if factor is None:
            factor = PRETRAINED_ENCODER_FACTOR if config.encoder_weights is not None else 1.0
        encoder = list(network.encoder_parameters())
        known = {id(parameter) for parameter in encoder}
        others = [p for p in network.parameters() if id(p) not in known]
        rate = config.learning_rate
        return torch.optim.AdamW(
            [
                {"params": encoder, "lr": rate * factor, "peak": rate * factor},
                {"params": others, "lr": rate, "peak": rate},
            ],
            weight_decay=config.weight_decay,
        )

    def run(self, stop_after_steps: int | None = None) -> float:
        """Train until the schedule ends, or for that many more steps.

        Returns
        -------
        float
            Best validation score, see `validate`.
        """
        schedule = self.config.schedule
        last_save = last_validation = self.elapsed_s
        first_step, losses = self.step, []
        while schedule.progress(self.step, self.elapsed_s) < 1.0:
            batches = self.sampler.epoch(self.epoch)
            while self.batch < len(batches):
                if schedule.progress(self.step, self.elapsed_s) >= 1.0:
                    break
                if stop_after_steps is not None and self.step - first_step >= stop_after_steps:
                    return self.best_score
                started = time.monotonic()
                losses.append(self._train_step(batches[self.batch]))
                self.batch += 1
                self.elapsed_s += time.monotonic() - started
                if self.step % 50 == 0:
                    log.info("%s loss %.4f", self._position(), float(np.mean(losses[-50:])))
                if self.elapsed_s - last_validation >= self.config.validate_every_s:
                    self.validate()
                    last_validation = self.elapsed_s
                if self.elapsed_s - last_save >= self.config.save_every_s:
                    self.save()
                    last_save = self.elapsed_s
            else:
                self.epoch, self.batch = self.epoch + 1, 0
        self.validate()
        self.save()
        return self.best_score

    def _position(self) -> str:
        progress = self.config.schedule.progress(self.step, self.elapsed_s)
        return (
            f"step {self.step} epoch {self.epoch} {self.elapsed_s / 60:.1f} min "
            f"{100 * progress:.1f} % lr {self.optimizer.param_groups[-1]['lr']:.2e}"
        )

    def _train_step(self, windows: list[Window]) -> float:
        schedule = self.config.schedule
        progress = schedule.progress(self.step, self.elapsed_s)
        images, masks = self._prepare(windows, schedule.image_size(progress))
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * schedule.learning_rate_factor(progress)
        self.network.train()
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.config.use_bf16):
            logits = self.network(images)
        loss = self.loss(logits, masks)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), MAX_GRADIENT_NORM)
        self.optimizer.step()
        self.average.update(self.network, self.step)
        self.step += 1
        return float(loss.detach())

    def _prepare(self, windows: list[Window], size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Read, augment and normalise the windows of a step."""
        generator = torch.Generator().manual_seed((self.config.seed << 32) + self.step)
        images_NCHW, masks_NCHW = load_batch(self.cache, windows)
        scales = self.scales[[[w.below, w.centre, w.above] for w in windows]].max(axis=1)
        images, masks = augment_batch(
            scale_to_tissue(torch.from_numpy(images_NCHW), torch.from_numpy(scales)),
            torch.from_numpy(masks_NCHW),
            generator,
            self.config.augment,
            size,
        )
        normalised = np.stack([normalise_window(list(window)) for window in images.numpy()])
        return torch.from_numpy(normalised), masks

    def validate(self) -> float:
        """Score the averaged weights: mean over sets of the mean patient Dice."""
        if not self.val_cases:
            return 0.0
        network = build_network(self.config.network)
        network.load_state_dict(self.average.state)
        network.to(memory_format=torch.channels_last)
        predict = torch_predictor(network, self.config.use_bf16)
        dice: dict[str, list[float]] = {}
        for case in self.val_cases:
            truth = self.cache.masks_SHW[case.start : case.stop] > 0
            prediction = predict_case(predict, self.cache, case)[0] > 0.5
            dice.setdefault(case.dataset, []).append(overlap(prediction, truth).dice)
        score = float(np.mean([np.mean(values) for values in dice.values()]))
        listed = {name: [round(d, 3) for d in values] for name, values in dice.items()}
        log.info("%s validation %.4f %s", self._position(), score, listed)
        if score > self.best_score:
            self.best_score = score
            state = {"network": self.config.network, "weights": self.average.state}
            save_checkpoint({**state, "score": score, "step": self.step}, self.run_folder / BEST)
        return score

    def save(self) -> None:
        """Write everything that a resumed run needs."""
        save_checkpoint(
            {
                "weights": self.network.state_dict(),
                "average": self.average.state,
                "optimizer": self.optimizer.state_dict(),
                "position": [self.step, self.epoch, self.batch],
                "elapsed_s": self.elapsed_s,
                "best_score": self.best_score,
            },
            self.run_folder / LAST,
        )

    def _load(self, state: State) -> None:
        self.network.load_state_dict(state["weights"])
        self.average.state = state["average"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.epoch, self.batch = state["position"]
        self.elapsed_s, self.best_score = state["elapsed_s"], state["best_score"]
        log.info("resumed at %s", self._position())
