"""Augmentation in space: image and target through one sampling grid, so they cannot drift apart.

Shape legend: N batch, C channels, D slices, H rows, W columns, L channels of the target.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from training.augment.config import AugmentConfig
from training.augment.draw import chosen, log_uniform, normal, uniform


def plane_grid(num: int, height: int, size: int, generator: torch.Generator, config: AugmentConfig) -> Tensor:
    """Return a sampling grid [N, size, size, 2]: flip, rotate, zoom, shift, deform and crop.

    Parameters
    ----------
    height : int
        Rows of the batch, in which lengths of the configuration count.
    size : int
        Rows and columns to return.
    """
    angle = torch.deg2rad(uniform(generator, -config.max_rotation_deg, config.max_rotation_deg, num))
    # Grid units: a zoom of 2 shows half of the image.
    scale = 1.0 / log_uniform(generator, *config.zoom, num)
    flip_lr, flip_ud = _flip(generator, config.p_flip_lr, num), _flip(generator, config.p_flip_ud, num)
    reach = config.max_shift + 0.5 * (1.0 - size / height)
    shift = uniform(generator, -reach, reach, num, 2)
    if config.p_spatial < 1.0:
        active = chosen(generator, config.p_spatial, num)
        angle, scale, shift = angle * active, torch.where(active, scale, 1.0), shift * active[:, None]
    scale = scale * (size / height)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    steps = (2.0 * torch.arange(size, device=angle.device) + 1.0) / size - 1.0
    grid = torch.empty(num, size, size, 2, device=angle.device)
    for axis, (along_x, along_y) in enumerate(((cos * flip_lr, -sin * flip_ud), (sin * flip_lr, cos * flip_ud))):
        across = along_x[:, None] * steps + shift[:, axis, None]
        torch.add(across[:, None, :], (along_y[:, None] * steps)[:, :, None], out=grid[..., axis])
    active = chosen(generator, config.p_elastic, num)
    field = normal(generator, num, 2, config.elastic_cells, config.elastic_cells) * (config.elastic_px * 2.0 / height)
    if active.any():
        grid[active] += smooth_field(field[active], size, size).permute(0, 2, 3, 1)
    return grid


def warp_images(images_NCHW: Tensor, grid_NHW2: Tensor) -> Tensor:
    """Sample images bilinearly; outside is air (0)."""
    return functional.grid_sample(images_NCHW, grid_NHW2, mode="bilinear", align_corners=False)


def warp_labels(labels_NHW: Tensor, grid_NHW2: Tensor) -> Tensor:
    """Sample labels: the nearest one; outside is background. Keeps the type."""
    sampled = functional.grid_sample(labels_NHW[:, None].float(), grid_NHW2, mode="nearest", align_corners=False)
    return sampled[:, 0].to(labels_NHW.dtype)


def warp_volumes(
    images_NCDHW: Tensor, regions_NLDHW: Tensor, generator: torch.Generator, config: AugmentConfig
) -> tuple[Tensor, Tensor]:
    """Flip all volumes and turn, zoom and shift some of them, image and regions together.

    Beyond the border the outermost voxels are repeated: a patch may lie in
    the midst of the brain.
    """
    stacked = torch.cat([images_NCDHW, regions_NLDHW], dim=1)
    num, num_channels = len(stacked), images_NCDHW.shape[1]
    for dim, probability in ((4, config.p_flip_lr), (3, config.p_flip_ud), (2, config.p_flip_depth)):
        flipped = chosen(generator, probability, num)
        if flipped.any():
            stacked[flipped] = stacked[flipped].flip(dim)
    theta = _volume_affines(num, generator, config)
    active = chosen(generator, config.p_spatial, num)
    if active.any():
        picked = stacked[active]
        grid = functional.affine_grid(theta[active], list(picked.shape), align_corners=False)
        stacked[active] = functional.grid_sample(picked, grid, padding_mode="border", align_corners=False)
    return stacked[:, :num_channels], (stacked[:, num_channels:] > 0.5).float()


def _volume_affines(num: int, generator: torch.Generator, config: AugmentConfig) -> Tensor:
    """Return affine matrices [N, 3, 4] for x (columns), y (rows), z (slices)."""
    turn = torch.deg2rad(uniform(generator, -config.max_rotation_deg, config.max_rotation_deg, num))
    tilts = torch.deg2rad(uniform(generator, -config.max_tilt_deg, config.max_tilt_deg, num, 2))
    scale = 1.0 / log_uniform(generator, *config.zoom, num)
    shift = uniform(generator, -config.max_shift, config.max_shift, num, 3)
    rotation = _rotation(turn, 0, 1) @ _rotation(tilts[:, 0], 0, 2) @ _rotation(tilts[:, 1], 1, 2)
    return torch.cat([rotation * scale[:, None, None], shift[:, :, None]], dim=2)


def _rotation(angle_N: Tensor, first: int, second: int) -> Tensor:
    """Return rotations [N, 3, 3] in the plane of two axes."""
    matrix = torch.eye(3, device=angle_N.device).repeat(len(angle_N), 1, 1)
    cos, sin = torch.cos(angle_N), torch.sin(angle_N)
    matrix[:, first, first], matrix[:, second, second] = cos, cos
    matrix[:, first, second], matrix[:, second, first] = -sin, sin
    return matrix


def _flip(generator: torch.Generator, probability: float, num: int) -> Tensor:
    return torch.where(chosen(generator, probability, num), -1.0, 1.0)


def smooth_field(nodes_NCHW: Tensor, height: int, width: int) -> Tensor:
    """Interpolate fields between nodes by cubics: two small matrix products in place of a bicubic resize."""
    rows = _cubic_weights(nodes_NCHW.shape[2], height, nodes_NCHW.device)
    columns = _cubic_weights(nodes_NCHW.shape[3], width, nodes_NCHW.device)
    return rows @ nodes_NCHW @ columns.T


def smooth_field_3d(nodes_NCDHW: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Interpolate fields between nodes by cubics, in three dimensions."""
    depth = _cubic_weights(nodes_NCDHW.shape[2], shape[0], nodes_NCDHW.device)
    planes = smooth_field(nodes_NCDHW.flatten(1, 2), shape[1], shape[2])
    planes = planes.reshape(*nodes_NCDHW.shape[:3], *shape[1:])
    return torch.einsum("sd,ncdhw->ncshw", depth, planes)


def _cubic_weights(num_nodes: int, length: int, device: torch.device) -> Tensor:
    """Return what each of `length` points takes of each node, [length, nodes]."""
    unit = torch.eye(num_nodes, device=device)[None, :, :, None]
    weights = functional.interpolate(unit, size=(length, 1), mode="bicubic", align_corners=True)
    return weights[0, :, :, 0].T
