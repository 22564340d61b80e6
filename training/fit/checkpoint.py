"""Checkpoints: written whole or not at all, and the average of the weights."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from neuroscan_core.domain.errors import ConfigurationError
from training.torch_file import DamagedFile, read_torch_file

State = dict[str, Any]  # heterogeneous by torch's own convention


def save_checkpoint(state: State, path: Path) -> None:
    """Write a checkpoint under a temporary name, then rename it."""
    temporary = path.with_suffix(".part")
    with temporary.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def load_checkpoint(path: Path) -> State:
    """Read a checkpoint; only tensors and plain values are accepted.

    Raises
    ------
    ConfigurationError
        It is damaged: a disk that failed, or another file of that name.
    """
    try:
        state: State = read_torch_file(path)
    except DamagedFile as exc:
        raise ConfigurationError(
            f"The checkpoint {path} is damaged.", remedy="Delete it to begin anew, or give another --run."
        ) from exc
    return state


class WeightAverage:
    """Exponential moving average of parameters and buffers.

    Parameters
    ----------
    network : torch.nn.Module
        Its present state is the start.
    decay : float
        Share of the old average per step, reached after a warm-up.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state: dict[str, Tensor] = {key: value.detach().clone() for key, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Take the network's state in; `step` counts from 0."""
        decay = min(self.decay, (1.0 + step) / (10.0 + step))
        for key, value in network.state_dict().items():
            if value.is_floating_point():
                self.state[key].lerp_(value, 1.0 - decay)
            else:
                self.state[key].copy_(value)
