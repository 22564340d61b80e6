"""Random numbers from the generator that is handed in, on its device."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def generator_on(generator: torch.Generator, device: torch.device) -> torch.Generator:
    """Return the generator itself if it is on the device, else one there that follows from it."""
    if generator.device.type == device.type:
        return generator
    seed = int(torch.randint(2**62, (1,), generator=generator, device=generator.device))
    return torch.Generator(device).manual_seed(seed)


def uniform(generator: torch.Generator, low: float, high: float, *shape: int) -> Tensor:
    """Return uniform numbers in [low, high)."""
    return low + (high - low) * torch.rand(*shape, generator=generator, device=generator.device)


def log_uniform(generator: torch.Generator, low: float, high: float, *shape: int) -> Tensor:
    """Return numbers in [low, high) whose logarithm is uniform."""
    return torch.exp(uniform(generator, math.log(low), math.log(high), *shape))


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    """Return standard normal numbers."""
    return torch.randn(*shape, generator=generator, device=generator.device)


def chosen(generator: torch.Generator, probability: float, num: int) -> Tensor:
    """Return a boolean per item, true with the given probability."""
    return torch.rand(num, generator=generator, device=generator.device) < probability


def per_item(values_N: Tensor, like: Tensor) -> Tensor:
    """Shape one value per item [N] or per item and channel [N, C] so that it multiplies a batch."""
    return values_N.reshape(*values_N.shape, *([1] * (like.dim() - values_N.dim())))
