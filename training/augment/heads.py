"""What a scanner sends and a set of stripped brains does not hold: skull, scalp, and slices of air.

One network is to serve heads with and without a skull. A stripped brain gets
a shell around it; a head with a skull can lose it.

Shape legend: N batch, C channels, then H, W or D, H, W. Intensities in units of tissue.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from training.augment.config import AugmentConfig
from training.augment.draw import chosen, normal, per_item, uniform
from training.augment.stripping import strip

#: A stripped head: exact zeros over this share of the image (BraTS 0.70 and more, heads with skull mostly below 0.4),
#: and few faint pixels among the others (BraTS 0.18 and less, heads with skull mostly above 0.2).
MIN_ZERO_SHARE = 0.65
MAX_FAINT_SHARE = 0.2
FAINT = 0.25
MIN_BRAIN_SHARE = 0.02
#: Millimetres at 1 mm pixels: from the brain to the skull, skull, scalp.
GAP, BONE, SCALP = (1.0, 4.0), (3.0, 7.0), (3.0, 8.0)
MAX_DISTANCE = 24
COARSE = 2


def add_skull(images: Tensor, generator: torch.Generator, config: AugmentConfig) -> Tensor:
    """Put a synthetic shell around some of the stripped heads: dark gap, dark bone, bright scalp, noisy air."""
    active = chosen(generator, config.p_skull, len(images))
    if not active.any():
        return images
    active &= is_stripped(images)
    if not active.any():
        return images
    images = images.clone()
    picked = images[active]
    brain = (picked > 0).any(dim=1, keepdim=True).float()
    distance = _distance(brain, generator)
    shell = torch.cat([_shell(distance, generator) for _ in range(picked.shape[1])], dim=1)
    images[active] = torch.where(brain > 0, picked, shell)
    return images


def remove_skull(images_NCHW: Tensor, tumour_NHW: Tensor, generator: torch.Generator, config: AugmentConfig) -> Tensor:
    """Take the skull off some of the heads that have one; see `training.augment.stripping`."""
    active = chosen(generator, config.p_strip, len(images_NCHW))
    if not active.any():
        return images_NCHW
    active &= ~is_stripped(images_NCHW)
    if not active.any():
        return images_NCHW
    images = images_NCHW.clone()
    images[active] = strip(images[active], tumour_NHW[active])
    return images


def is_stripped(images: Tensor) -> Tensor:
    """Whether each item shows a brain without skull, boolean [N]; see the limits above."""
    flat = images.flatten(1)
    zero = (flat <= 0).float().mean(dim=1)
    faint = ((flat > 0) & (flat < FAINT)).float().mean(dim=1)
    head = (1.0 - zero).clamp(min=1e-6)
    return (zero >= MIN_ZERO_SHARE) & (faint / head <= MAX_FAINT_SHARE) & (head >= MIN_BRAIN_SHARE)


def _distance(mask: Tensor, generator: torch.Generator) -> Tensor:
    """Return the distance from the mask in pixels, made uneven by some tenths; infinite beyond `MAX_DISTANCE`.

    Diamonds and squares grown in turn, on coarser pixels, make octagons,
    which are round enough.
    """
    is_plane = mask.dim() == 4
    pool = functional.max_pool2d if is_plane else functional.max_pool3d
    mode = "bilinear" if is_plane else "trilinear"
    grown = pool(mask, COARSE)
    distance = torch.zeros_like(grown)
    for step in range(MAX_DISTANCE // COARSE):
        distance += COARSE * (1.0 - grown)
        grown = pool(grown, 3, 1, 1) if step % 2 else _cross(grown, pool, is_plane)
    distance = torch.where(grown > 0, distance, 10.0 * MAX_DISTANCE)
    distance = functional.interpolate(distance, list(mask.shape[2:]), mode=mode, align_corners=False)
    nodes = normal(generator, len(mask), 1, *[5] * (mask.dim() - 2)) * 0.15
    uneven = functional.interpolate(nodes, list(mask.shape[2:]), mode=mode, align_corners=True).exp()
    return distance * uneven.clamp(0.8, 1.25)


def _cross(mask: Tensor, pool, is_plane: bool) -> Tensor:  # type: ignore[no-untyped-def]  # a torch function
    axes = [(3, 1), (1, 3)] if is_plane else [(3, 1, 1), (1, 3, 1), (1, 1, 3)]
    grown = [pool(mask, kernel, 1, tuple(length // 2 for length in kernel)) for kernel in axes]
    return torch.stack(grown).amax(dim=0)


def _shell(distance: Tensor, generator: torch.Generator) -> Tensor:
    """Return what stands at each distance from the brain, one channel."""
    num = len(distance)

    def drawn(low: float, high: float) -> Tensor:
        return per_item(uniform(generator, low, high, num), distance)

    gap = drawn(*GAP)
    bone = gap + drawn(*BONE)
    scalp = bone + drawn(*SCALP)
    texture = normal(generator, *distance.shape)
    air = (texture * drawn(0.0, 0.05)).abs()
    layers = torch.where(distance < scalp, drawn(0.6, 2.2) * (1.0 + 0.15 * texture), air)
    layers = torch.where(distance < bone, drawn(0.05, 0.25) * (1.0 + 0.3 * texture), layers)
    layers = torch.where(distance < gap, drawn(0.1, 0.6) * (1.0 + 0.2 * texture), layers)
    return layers.clamp(min=0.0)


def replace_by_air(
    images: Tensor, target: Tensor, generator: torch.Generator, config: AugmentConfig
) -> tuple[Tensor, Tensor]:
    """Replace some items by noise alone, in place: scanners send slices of pure air."""
    active = chosen(generator, config.p_air, len(images))
    if active.any():
        noise = normal(generator, 2, *images[active].shape)
        images[active] = noise.square_().sum(dim=0).sqrt_()
        target[active] = 0
    return images, target
