"""What a run leaves in its folder: `last.pt` to resume from, `best.pt` to export from, `config.yaml`.

Files are written whole or not at all (`training.fit.checkpoint`).
"""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_only

from neuroscan_core.domain.errors import ConfigurationError
from training.data.digest import write_atomically
from training.fit.checkpoint import State, WeightAverage, save_checkpoint
from training.fit.compose import dump_config, load_config
from training.fit.config import FitConfig
from training.fit.module import FitModule
from training.fit.schedule import Position

log = logging.getLogger(__name__)
LAST, BEST, CONFIG, HISTORY, LOCK = "last.pt", "best.pt", "config.yaml", "history.csv", ".lock"
# These may change between the parts of a run: they do not decide what is learnt from a step.
CHANGEABLE = ("title", "experiment", "trainer", "logger", "validation", "schedule.max", "schedule.stop")


def is_first_process() -> bool:
    """Whether this process writes the run's files; known before Lightning's Trainer exists."""
    return bool(rank_zero_only.rank == 0)  # type: ignore[attr-defined]  # set by Lightning on its function


def run_state(module: FitModule, validated_s: float) -> State:
    """Return everything that a resumed run needs.

    Parameters
    ----------
    validated_s : float
        Training time at the last validation.
    """
    return {
        "weights": module.network.state_dict(),
        "average": None if module.average is None else module.average.state,
        "optimiser": module.plain_optimiser().state_dict(),
        "position": asdict(module.position),
        "plateau": module.plateau.state(),
        "validated_s": validated_s,
    }


def restore(module: FitModule, state: State) -> None:
    """Bring a module whose optimiser exists to a saved state."""
    module.network.load_state_dict(state["weights"])
    module.plain_optimiser().load_state_dict(state["optimiser"])
    if module.average is not None and state["average"] is not None:
        for name, value in module.average.state.items():
            value.copy_(state["average"][name])


def restore_position(module: FitModule, state: State) -> None:
    """Take over where a saved run stands; possible before an optimiser exists."""
    module.position = Position(**state["position"])
    module.plateau.load(state["plateau"])


def start_average(module: FitModule) -> None:
    """Begin averaging at the present weights, on their device."""
    decay = module.config.optimiser.ema_decay
    module.average = WeightAverage(module.network, decay) if decay > 0 else None


def save_best(module: FitModule, score: float, path: Path) -> None:
    """Write the averaged weights with all that is needed to build the network again."""
    config = module.config
    save_checkpoint(
        {
            "experiment": config.experiment,
            "kind": config.kind,
            "network": config.network.name,
            "options": dict(config.network.options),
            "weights": module.averaged_weights(),
            "score": float(score),
            "step": module.position.step,
            "config": config.to_dict(),
        },
        path,
    )


@contextmanager
def sole_run(folder: Path) -> Iterator[None]:
    """Keep other runs out of the folder while this one lasts; the system frees it when the process ends.

    Raises
    ------
    ConfigurationError
        Another process trains there.
    """
    if not is_first_process():
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise ConfigurationError(
                f"Another process is training in {folder}.", remedy="Wait for it, end it, or give another --run."
            ) from exc
        except OSError as exc:  # some network file systems have no locks
            log.warning("%s cannot be locked (%s): do not start a second run there", folder, exc.strerror)
        yield


def claim_folder(config: FitConfig, folder: Path) -> None:
    """Make the run's folder, or refuse one that holds a run with other settings.

    Raises
    ------
    ConfigurationError
        The message lists the keys that differ.
    """
    if not is_first_process():
        return
    folder.mkdir(parents=True, exist_ok=True)
    saved = folder / CONFIG
    if saved.exists() and (folder / LAST).exists():
        before, now = _flat(load_config(saved).to_dict()), _flat(config.to_dict())
        differing = [
            f"{key} {before.get(key)!r} -> {now.get(key)!r}"
            for key in sorted(before.keys() | now.keys())
            if before.get(key) != now.get(key) and not key.startswith(CHANGEABLE)
        ]
        if differing:
            raise ConfigurationError(
                f"The folder {folder} holds a run with other settings: {', '.join(differing)}.",
                remedy="Give another --run, or the settings of the run that is to be resumed.",
            )
    write_atomically(saved, dump_config(config))


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
