"""Augmentation of whole batches with torch: space once, then intensities.

Image and mask go through one `grid_sample`, so they cannot drift apart. All
randomness comes from the generator that is passed in. Intensities are in
units of tissue (1 = typical foreground), see `scale_to_tissue`.

Shape legend: N batch, C = 3 slices, H rows, W columns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

MAX_TISSUE = 6.0


@dataclass(frozen=True)
class AugmentConfig:
    """Strengths of the augmentation; `p_*` are probabilities per window."""

    p_flip_lr: float = 0.5
    p_flip_ud: float = 0.1
    max_rotation_deg: float = 35.0
    zoom: tuple[float, float] = (0.8, 1.25)
    max_shift: float = 0.08
    p_elastic: float = 0.5
    elastic_cells: int = 6
    elastic_px: float = 6.0
    p_gamma: float = 0.5
    gamma: tuple[float, float] = (0.7, 1.5)
    contrast: tuple[float, float] = (0.8, 1.25)
    p_bias: float = 0.4
    bias: float = 0.35
    p_noise: float = 0.3
    noise: float = 0.12
    p_lowres: float = 0.2
    lowres: tuple[float, float] = (1.3, 2.5)
    p_clahe: float = 0.05
    p_air: float = 0.03


def augment_batch(
    images_NCHW: Tensor,
    masks_NCHW: Tensor,
    generator: torch.Generator,
    config: AugmentConfig = AugmentConfig(),
    size: int = 256,
) -> tuple[Tensor, Tensor]:
    """Augment a batch in space and intensity.

    Parameters
    ----------
    images_NCHW : torch.Tensor
        float32 tissue units, [N, 3, H, W].
    masks_NCHW : torch.Tensor
        float32, 0 or 1, [N, 1, H, W].
    size : int
        Rows and columns to return; less than H crops near the head.

    Returns
    -------
    tuple of torch.Tensor
        Images and masks, [N, 3, size, size] and [N, 1, size, size].
    """
    images, masks = warp(images_NCHW, masks_NCHW, generator, config, size)
    images = _gamma_contrast(images, generator, config)
    images = _bias_field(images, generator, config)
    images = _lowres(images, generator, config)
    images = _noise(images, generator, config)
    images = _clahe(images, generator, config)
    return _replace_by_air(images, masks, generator, config)


def uniform(generator: torch.Generator, low: float, high: float, *shape: int) -> Tensor:
    """Return uniform numbers in [low, high)."""
    return low + (high - low) * torch.rand(*shape, generator=generator)


def chosen(generator: torch.Generator, probability: float, num: int) -> Tensor:
    """Return a boolean per window, true with the given probability."""
    return torch.rand(num, generator=generator) < probability


def warp(
    images_NCHW: Tensor,
    masks_NCHW: Tensor,
    generator: torch.Generator,
    config: AugmentConfig,
    size: int,
) -> tuple[Tensor, Tensor]:
    """Flip, rotate, zoom, shift, deform and crop image and mask together."""
    num, _, height, _ = images_NCHW.shape
    angle = torch.deg2rad(uniform(generator, -config.max_rotation_deg, config.max_rotation_deg, num))
    low, high = (math.log(z) for z in config.zoom)
    # Grid units: a zoom of 2 shows half of the image.
    scale = torch.exp(-uniform(generator, low, high, num)) * (size / height)
    flip_lr = torch.where(chosen(generator, config.p_flip_lr, num), -1.0, 1.0)
    flip_ud = torch.where(chosen(generator, config.p_flip_ud, num), -1.0, 1.0)
    reach = config.max_shift + 0.5 * (1.0 - size / height)
    shift = uniform(generator, -reach, reach, num, 2)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    theta = torch.stack(
        [
            torch.stack([cos * flip_lr, -sin * flip_ud, shift[:, 0]], dim=1),
            torch.stack([sin * flip_lr, cos * flip_ud, shift[:, 1]], dim=1),
        ],
        dim=1,
    )
    grid = functional.affine_grid(theta, [num, 1, size, size], align_corners=False)
    grid = grid + _elastic(num, height, generator, config, size)
    stacked = torch.cat([images_NCHW, masks_NCHW], dim=1)
    warped = functional.grid_sample(stacked, grid, mode="bilinear", align_corners=False)
    return warped[:, :-1].contiguous(), (warped[:, -1:] > 0.5).float()


def _elastic(num: int, height: int, generator: torch.Generator, config: AugmentConfig, size: int) -> Tensor:
    cells = config.elastic_cells
    field = torch.randn(num, 2, cells, cells, generator=generator)
    field = field * (config.elastic_px * 2.0 / height)
    field = field * chosen(generator, config.p_elastic, num)[:, None, None, None]
    field = functional.interpolate(field, size=(size, size), mode="bicubic", align_corners=True)
    return field.permute(0, 2, 3, 1)


def _gamma_contrast(images: Tensor, generator: torch.Generator, config: AugmentConfig) -> Tensor:
    num = len(images)
    low, high = (math.log(g) for g in config.gamma)
    gamma = torch.exp(uniform(generator, low, high, num))
    contrast = uniform(generator, *config.contrast, num)
    per_slice = uniform(generator, 0.95, 1.05, num, images.shape[1])
    active = chosen(generator, config.p_gamma, num)
    gamma = torch.where(active, gamma, 1.0)[:, None, None, None]
    gain = torch.where(active, contrast, 1.0)[:, None] * per_slice
    bounded = images.clamp(0.0, MAX_TISSUE) / MAX_TISSUE
    # Tissue (1.0) is a fixed point of the curve: gamma moves what is around it.
    curve = bounded.pow(gamma) * MAX_TISSUE**gamma
    return curve * gain[:, :, None, None]


def _bias_field(images: Tensor, generator: torch.Generator, config: AugmentConfig) -> Tensor:
    num, _, height, width = images.shape
    field = torch.randn(num, 1, 4, 4, generator=generator) * config.bias * 0.5
    field = field * chosen(generator, config.p_bias, num)[:, None, None, None]
    field = functional.interpolate(field, (height, width), mode="bicubic", align_corners=True)
    return images * field.exp()


def _lowres(images: Tensor, generator: torch.Generator, config: AugmentConfig) -> Tensor:
    active = chosen(generator, config.p_lowres, len(images))
    factor = float(uniform(generator, *config.lowres, 1))
    if not active.any():
        return images
    height, width = images.shape[2:]
    small = functional.interpolate(images[active], (round(height / factor), round(width / factor)), mode="area")
    images = images.clone()
    images[active] = functional.interpolate(small, (height, width), mode="bilinear", align_corners=False)
    return images


def _noise(images: Tensor, generator: torch.Generator, config: AugmentConfig) -> Tensor:
    """Add Rician noise: the magnitude of a complex signal with Gaussian noise."""
    active = chosen(generator, config.p_noise, len(images))
    sigma = uniform(generator, 0.01, config.noise, len(images))[active][:, None, None, None]
    if not active.any():
        return images
    picked = images[active]
    real = picked + sigma * torch.randn(picked.shape, generator=generator)
    imaginary = sigma * torch.randn(picked.shape, generator=generator)
    images = images.clone()
    images[active] = torch.sqrt(real.square() + imaginary.square())
    return images


def _clahe(images: Tensor, generator: torch.Generator, config: AugmentConfig) -> Tensor:
    """Equalise some windows locally (contrast-limited, Zuiderveld 1994)."""
    equaliser = cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8))
    for index in chosen(generator, config.p_clahe, len(images)).nonzero().flatten().tolist():
        window = images[index].clamp(0.0, 4.0).numpy() * np.float32(255.0 / 4.0)
        equalised = [equaliser.apply(plane.astype(np.uint8)) for plane in window]
        images[index] = torch.from_numpy(np.stack(equalised).astype(np.float32)) * (4.0 / 255.0)
    return images


def _replace_by_air(
    images: Tensor, masks: Tensor, generator: torch.Generator, config: AugmentConfig
) -> tuple[Tensor, Tensor]:
    """Replace some windows by noise alone: scanners send slices of pure air."""
    active = chosen(generator, config.p_air, len(images))
    if active.any():
        images, masks = images.clone(), masks.clone()
        shape = images[active].shape
        noise = torch.randn(2, *shape, generator=generator)
        images[active] = noise.square().sum(dim=0).sqrt()
        masks[active] = 0.0
    return images, masks


def scale_to_tissue(images_NCHW: Tensor, scales_N: Tensor) -> Tensor:
    """Divide windows by their tissue scale; windows of scale 0 become 0."""
    inverse = torch.where(scales_N > 0, 1.0 / scales_N.clamp(min=1e-6), torch.zeros(()))
    return images_NCHW * inverse[:, None, None, None]
