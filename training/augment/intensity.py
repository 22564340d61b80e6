"""Augmentation of intensities: gamma, gain, bias field, coarse pixels, Rician noise, local equalisation.

Intensities are in units of tissue: 0 is air, 1 typical tissue. All work on
images [N, C, H, W] and on volumes [N, C, D, H, W]. All but the first may change
what they are handed in place: a batch of training is large.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from training.augment.clahe import equalise
from training.augment.config import AugmentConfig
from training.augment.draw import chosen, log_uniform, normal, per_item, uniform
from training.augment.space import smooth_field, smooth_field_3d

MAX_TISSUE = 6.0
#: Where the equaliser's 256 grey values end.
CLAHE_TOP = 4.0
BIAS_NODES = 4
#: Stands for air where a logarithm is taken: no gamma makes it visible.
TINY = 1e-8


def gamma_contrast(images: Tensor, generator: torch.Generator, config: AugmentConfig) -> Tensor:
    """Bend and stretch the grey scale of some items; every channel gets a small gain of its own."""
    num, num_channels = images.shape[:2]
    columns = num_channels if config.per_channel else 1
    gamma_NC = log_uniform(generator, *config.gamma, num, columns)
    contrast_NC = uniform(generator, *config.contrast, num, columns)
    gain_NC = uniform(generator, *config.channel_gain, num, num_channels)
    active = chosen(generator, config.p_gamma, num)
    gain_NC = torch.where(active[:, None], contrast_NC, 1.0) * gain_NC
    curved = images.clamp(0.0, MAX_TISSUE)
    if active.any():
        # Tissue (1.0) is a fixed point of the curve: gamma moves what is around it. Logarithms of 0 are slow.
        exponent = per_item(gamma_NC[active], images)
        curved[active] = curved[active].clamp_(min=TINY).log_().mul_(exponent).exp_()
    return curved.mul_(per_item(gain_NC, images))


def bias_field(images: Tensor, generator: torch.Generator, config: AugmentConfig) -> Tensor:
    """Brighten and darken smoothly, as receive coils do."""
    num, num_channels, *shape = images.shape
    columns = num_channels if config.per_channel else 1
    nodes = normal(generator, num, columns, *[BIAS_NODES] * len(shape)) * (config.bias * 0.5)
    active = chosen(generator, config.p_bias, num)
    if not active.any():
        return images
    picked = nodes[active]
    field = smooth_field(picked, *shape) if len(shape) == 2 else smooth_field_3d(picked, tuple(shape))
    images[active] *= field.exp_()
    return images


def low_resolution(images: Tensor, generator: torch.Generator, config: AugmentConfig) -> Tensor:
    """Show some items with coarser pixels; of volumes, slices and pixels."""
    active = chosen(generator, config.p_lowres, len(images))
    factor = float(uniform(generator, *config.lowres, 1))
    if not active.any():
        return images
    shape = images.shape[2:]
    coarse = [max(1, round(length / factor)) for length in shape]
    small = functional.interpolate(images[active], coarse, mode="area")
    mode = "bilinear" if len(shape) == 2 else "trilinear"
    images[active] = functional.interpolate(small, list(shape), mode=mode, align_corners=False)
    return images


def rician_noise(images: Tensor, generator: torch.Generator, config: AugmentConfig) -> Tensor:
    """Add Rician noise: the magnitude of a complex signal with Gaussian noise."""
    active = chosen(generator, config.p_noise, len(images))
    sigma_N = uniform(generator, 0.01, max(config.noise, 0.01), len(images))
    if not active.any():
        return images
    picked = images[active]
    sigma = per_item(sigma_N[active], picked)
    real = normal(generator, *picked.shape).mul_(sigma).add_(picked)
    imaginary = normal(generator, *picked.shape).mul_(sigma)
    images[active] = real.square_().add_(imaginary.square_()).sqrt_()
    return images


def local_equalisation(images_NCHW: Tensor, generator: torch.Generator, config: AugmentConfig) -> Tensor:
    """Equalise some items locally, see `training.augment.clahe`."""
    active = chosen(generator, config.p_clahe, len(images_NCHW))
    if not active.any():
        return images_NCHW
    picked = images_NCHW[active]
    planes = (picked.clamp(0.0, CLAHE_TOP) / CLAHE_TOP).flatten(0, 1)
    images_NCHW[active] = equalise(planes).reshape(picked.shape) * CLAHE_TOP
    return images_NCHW


def drop_channel(images: Tensor, generator: torch.Generator, config: AugmentConfig) -> Tensor:
    """Replace one channel of some items by air, as if its sequence had not been measured."""
    active = chosen(generator, config.p_channel_drop, len(images))
    which = torch.randint(images.shape[1], (len(images),), generator=generator, device=generator.device)
    if not active.any():
        return images
    images[active, which[active]] = 0.0
    return images
