"""What a run can be told: the shape of the composed configuration, checked at the start.

Where the values come from is in `compose` and in `training/configs`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from neuroscan_core.domain.errors import ConfigurationError
from neuroscan_core.domain.model_card import ModelKind
from training.data.cases import VIEW_OF_KIND

SCHEDULES = ("cosine", "plateau", "constant")
OPTIMISERS = ("adam", "adamw", "sgd")
LOGGERS = ("mlflow", "wandb", "none")


@dataclass
class DataConfig:
    """What is read and how it is batched.

    Parameters
    ----------
    split : str
        Name of a file in `training/splits`, without its ending.
    workers : int
        Processes that read batches ahead; 0 reads in the training process.
    options : dict
        Further arguments of `NeuroScanData`.
    """

    split: str = "flair-v1"
    batch_size: int = 16
    workers: int = 0
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class NetworkConfig:
    """Which network, and what it starts from.

    Parameters
    ----------
    encoder_weights : str or None
        File with weights of the encoder, made elsewhere.
    encoder_lr_factor : float
        Learning rate of the encoder relative to the rest.
    """

    name: str = "mobilenetv2-unet"
    options: dict[str, Any] = field(default_factory=dict)
    encoder_weights: str | None = None
    encoder_lr_factor: float = 1.0


@dataclass
class LossConfig:
    """Which loss; `options` are its arguments."""

    name: str = "focal-dice"
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class OptimiserConfig:
    """How the weights move.

    Parameters
    ----------
    max_gradient_norm : float
        Longer gradients are shortened to this; 0 leaves them.
    ema_decay : float
        Share of the old average per step; 0 keeps no average.
    """

    name: str = "adamw"
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    max_gradient_norm: float = 5.0
    ema_decay: float = 0.998


@dataclass
class ScheduleConfig:
    """How long a run is and how the learning rate goes; see `schedule.Schedule`.

    Parameters
    ----------
    max_steps, max_epochs, max_minutes : number or None
        Length; exactly one is given.
    plateau_patience : int
        Validations without a better score before the rate drops (plateau).
    stop_patience : int
        Validations without a better score that end the run; 0 never ends it early.
    crop_size, full_size : int
        Rows and columns of the images before and after `crop_until`; 0 leaves them as they come.
    """

    name: str = "cosine"
    max_steps: int | None = None
    max_epochs: int | None = None
    max_minutes: float | None = None
    warmup: float = 0.03
    final_factor: float = 0.01
    plateau_factor: float = 0.5
    plateau_patience: int = 5
    min_factor: float = 0.01
    stop_patience: int = 0
    crop_size: int = 0
    crop_until: float = 0.0
    full_size: int = 0


@dataclass
class ValidationConfig:
    """When the averaged weights are scored: after so many epochs or so many minutes of training.

    Parameters
    ----------
    every_epochs : int
        0: not by epochs.
    every_minutes : float
        0: not by minutes.
    max_cases : int
        Score only the first cases of each data set; 0 takes all.
    """

    every_epochs: int = 1
    every_minutes: float = 0.0
    max_cases: int = 0
    batch_size: int = 16


@dataclass
class TrainerConfig:
    """The machine and how it is used.

    Parameters
    ----------
    precision : str
        Of Lightning: "bf16-mixed", "16-mixed", "32-true".
    threads : int
        CPU threads of each process; 0 leaves PyTorch's choice.
    save_every_minutes : float
        Training time between checkpoints to resume from.
    """

    accelerator: str = "auto"
    devices: int = 1
    strategy: str = "auto"
    precision: str = "bf16-mixed"
    deterministic: bool = True
    channels_last: bool = True
    compile: bool = False
    threads: int = 1
    save_every_minutes: float = 1.0
    log_every_steps: int = 50


@dataclass
class LoggerConfig:
    """Where the figures of a run go, besides `history.csv`.

    Parameters
    ----------
    name : str
        mlflow, wandb or none; all of them stay on this machine.
    project : str
        Experiment of MLflow, project of Weights & Biases.
    """

    name: str = "mlflow"
    project: str = "neuroscan"


@dataclass
class FitConfig:
    """Everything that decides a run; saved beside its weights."""

    kind: str
    experiment: str = "custom"
    title: str = ""
    seed: int = 42
    data: DataConfig = field(default_factory=DataConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    augment: dict[str, Any] = field(default_factory=dict)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)

    @property
    def model_kind(self) -> ModelKind:
        """The kind as the node knows it."""
        return ModelKind(self.kind)

    @property
    def view(self) -> str:
        """The view of the cache that this kind is trained on."""
        return VIEW_OF_KIND[self.kind]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, nested."""
        return asdict(self)

    def check(self) -> None:
        """Refuse values that contradict each other.

        Raises
        ------
        ConfigurationError
            The message names the key.
        """
        kinds = tuple(kind.value for kind in ModelKind)
        _one_of("kind", self.kind, kinds)
        _one_of("schedule.name", self.schedule.name, SCHEDULES)
        _one_of("optimiser.name", self.optimiser.name, OPTIMISERS)
        _one_of("logger.name", self.logger.name, LOGGERS)
        lengths = (self.schedule.max_steps, self.schedule.max_epochs, self.schedule.max_minutes)
        if sum(length is not None for length in lengths) != 1:
            raise ConfigurationError(
                "A run needs exactly one length.",
                remedy="Give one of schedule.max_steps, schedule.max_epochs and schedule.max_minutes; the others null.",
            )
        if any(length is not None and length <= 0 for length in lengths):
            raise ConfigurationError("The length of a run must be above 0.", remedy="Change schedule.max_*.")
        if self.data.batch_size < 1:
            raise ConfigurationError("data.batch_size must be at least 1.", remedy="Change data.batch_size.")


def _one_of(key: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigurationError(f"{key} cannot be {value!r}.", remedy=f"Known: {', '.join(known)}.")
