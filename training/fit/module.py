"""The LightningModule of all kinds: one step, its optimiser, and what follows from the position in the run.

What happens between steps (validation, checkpoints, figures) is in `callbacks`;
what a batch holds is in `training.data.module`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from neuroscan_core.domain.errors import ConfigurationError
from neuroscan_core.domain.model_card import ModelKind
from training.fit.checkpoint import WeightAverage
from training.fit.config import FitConfig
from training.fit.schedule import Plateau, Position, Schedule
from training.losses import build_loss
from training.networks import build_network
from training.networks.encoder_weights import read_encoder_weights

Augmentation = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]
# Large odd numbers keep the streams of seeds, steps and ranks apart.
STEP_STRIDE, RANK_STRIDE = 1_000_003, 7_919_000_017
OPTIMISER_CLASSES: dict[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}


class FitModule(lightning.LightningModule):
    """A network in training.

    Parameters
    ----------
    config : FitConfig
        Checked settings of the run.
    augmentations : callable
        Gives the augmentation for an image size; 0 is the size as it comes.

    Attributes
    ----------
    position : Position
        Where the run stands; moved by `callbacks.Advance` alone.
    average : WeightAverage or None
        Averaged weights; made on the device when the run starts.
    """

    def __init__(self, config: FitConfig, augmentations: Callable[[int], Augmentation]) -> None:
        super().__init__()
        self.config = config
        self.schedule = Schedule(config.schedule)
        self.plateau = Plateau()
        self.position = Position()
        self.batches_per_epoch = 0
        self.average: WeightAverage | None = None
        self._augmentations = augmentations
        torch.manual_seed(config.seed)
        self.network = build_network(config.network.name, **config.network.options)
        if config.network.encoder_weights is not None:
            load_encoder(self.network, Path(config.network.encoder_weights))
        if config.trainer.channels_last and config.kind != "volume3d":
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in its stubs
        if config.trainer.compile:
            self.network.compile()
        self.loss = build_loss(config.loss.name, **config.loss.options)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimiser; each group's `peak` is its highest learning rate."""
        settings = self.config.optimiser
        groups = parameter_groups(self.network, settings.learning_rate, self.config.network.encoder_lr_factor)
        options: dict[str, Any] = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay}
        if settings.name == "sgd":
            options |= {"momentum": 0.9, "nesterov": True}
        return OPTIMISER_CLASSES[settings.name](groups, **options)

    @property
    def progress(self) -> float:
        """Completed fraction of the run."""
        return self.schedule.progress(self.position, self.batches_per_epoch)

    def step_seed(self) -> int:
        """Return the seed of everything drawn in the present step on this rank."""
        offset = self.position.step * STEP_STRIDE + self.global_rank * RANK_STRIDE
        return ((self.config.seed << 32) + offset) % (1 << 63)

    def on_after_batch_transfer(self, batch: dict[str, Tensor], dataloader_idx: int) -> dict[str, Tensor]:
        """Augment a batch on the device it is on."""
        image, target = batch["image"], batch["target"]
        generator = torch.Generator(device=image.device).manual_seed(self.step_seed())
        augment = self._augmentations(self.schedule.image_size(self.progress))
        with torch.no_grad():
            image, target = augment(image, target, generator)
        if self.config.trainer.channels_last and image.ndim == 4:
            image = image.contiguous(memory_format=torch.channels_last)
        return {"image": image, "target": target}

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Set the learning rate and the seed of dropout for this step."""
        torch.manual_seed(self.step_seed())
        factor = self.schedule.learning_rate_factor(self.progress, self.plateau.factor)
        for group in self.plain_optimiser().param_groups:
            group["lr"] = group["peak"] * factor

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Return the loss of a batch, computed in float32; for classifiers its accuracy too."""
        logits = self.network(batch["image"])
        with torch.autocast(logits.device.type, enabled=False):
            loss = self.loss(logits.float(), batch["target"])
        figures = {"loss": loss}
        if self.config.model_kind is ModelKind.CLASSIFIER:
            figures["train_accuracy"] = (logits.detach().argmax(dim=1) == batch["target"]).float().mean()
        return figures

    def plain_optimiser(self) -> torch.optim.Optimizer:
        """Return PyTorch's optimiser, without Lightning's wrapper."""
        optimiser = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimiser, torch.optim.Optimizer)
        return optimiser

    def averaged_weights(self) -> dict[str, Tensor]:
        """Return the weights that are scored and exported, on the CPU."""
        state = self.network.state_dict() if self.average is None else self.average.state
        return {name: value.detach().cpu().clone() for name, value in state.items()}


def parameter_groups(network: nn.Module, learning_rate: float, encoder_factor: float) -> list[dict[str, Any]]:
    """Split parameters into encoder and rest where their learning rates differ.

    Raises
    ------
    ConfigurationError
        A factor is given for a network that names no encoder.
    """
    if encoder_factor == 1.0:
        return [{"params": list(network.parameters()), "lr": learning_rate, "peak": learning_rate}]
    if not hasattr(network, "encoder_parameters"):
        raise ConfigurationError(
            "network.encoder_lr_factor needs a network with an encoder.", remedy="Set network.encoder_lr_factor=1."
        )
    encoder = list(network.encoder_parameters())  # type: ignore[operator]  # of those networks that have it
    known = {id(parameter) for parameter in encoder}
    others = [parameter for parameter in network.parameters() if id(parameter) not in known]
    rates = (learning_rate * encoder_factor, learning_rate)
    return [{"params": p, "lr": rate, "peak": rate} for p, rate in zip((encoder, others), rates, strict=True)]


def load_encoder(network: nn.Module, path: Path) -> None:
    """Load weights of the encoder from a file.

    Raises
    ------
    ConfigurationError
        The file is absent, or the network names no encoder.
    """
    if not hasattr(network, "load_encoder"):
        raise ConfigurationError(
            "network.encoder_weights needs a network with an encoder.", remedy="Set network.encoder_weights=null."
        )
    if not path.is_file():
        raise ConfigurationError(f"There is no file {path} with encoder weights.", remedy="Give an existing file.")
    network.load_encoder(read_encoder_weights(path))  # type: ignore[operator]  # of those networks that have it
