"""Contrast-limited adaptive histogram equalisation of a batch (Zuiderveld 1994), on its device.

Every plane is cut into tiles with a grey-value curve of their own; a pixel
takes the mean of the curves of the four tiles around it, by its distance.
Counts are whole numbers and spread as in OpenCV, so that both give the same.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

NUM_GREYS = 256
NUM_TILES = 8
CLIP_LIMIT = 2.0


def equalise(planes_NHW: Tensor, clip_limit: float = CLIP_LIMIT, num_tiles: int = NUM_TILES) -> Tensor:
    """Equalise planes.

    Parameters
    ----------
    planes_NHW : torch.Tensor
        Grey values in [0, 1].
    clip_limit : float
        Largest count of a grey value in a tile, in units of the mean count.

    Returns
    -------
    torch.Tensor
        Grey values in [0, 1], in 256 steps.
    """
    num, height, width = planes_NHW.shape
    padded = _pad_to_tiles(planes_NHW, num_tiles)
    greys = (padded * (NUM_GREYS - 1)).round().long()
    curves = _curves(greys, num_tiles, clip_limit)
    rows = _neighbours(height, greys.shape[1] // num_tiles, num_tiles, greys.device)
    columns = _neighbours(width, greys.shape[2] // num_tiles, num_tiles, greys.device)
    inside = greys[:, :height, :width]
    result = torch.zeros_like(planes_NHW)
    first = torch.arange(num, device=greys.device)[:, None, None] * num_tiles
    for tile_row, weight_row in rows:
        for tile_column, weight_column in columns:
            tile = (first + tile_row[:, None]) * num_tiles + tile_column[None, :]
            result += curves[tile * NUM_GREYS + inside] * (weight_row[:, None] * weight_column[None, :])
    return result


def _pad_to_tiles(planes_NHW: Tensor, num_tiles: int) -> Tensor:
    height, width = planes_NHW.shape[1:]
    below, right = -height % num_tiles, -width % num_tiles
    if not below and not right:
        return planes_NHW
    return functional.pad(planes_NHW[:, None], (0, right, 0, below), mode="reflect")[:, 0]


def _curves(greys_NHW: Tensor, num_tiles: int, clip_limit: float) -> Tensor:
    """Return the curve of each tile, one after the other, [N * tiles * tiles * greys] in [0, 1]."""
    num, height, width = greys_NHW.shape
    area = (height // num_tiles) * (width // num_tiles)
    tile_row = torch.arange(height, device=greys_NHW.device) // (height // num_tiles)
    tile_column = torch.arange(width, device=greys_NHW.device) // (width // num_tiles)
    first = torch.arange(num, device=greys_NHW.device)[:, None, None] * num_tiles
    tile = (first + tile_row[:, None]) * num_tiles + tile_column[None, :]
    size = num * num_tiles**2 * NUM_GREYS
    counts = torch.bincount((tile * NUM_GREYS + greys_NHW).flatten(), minlength=size).reshape(-1, NUM_GREYS).float()
    clipped = counts.clamp(max=max(int(clip_limit * area / NUM_GREYS), 1))
    clipped += _spread((counts - clipped).sum(dim=1, keepdim=True))
    curve = (clipped.cumsum(dim=1) * ((NUM_GREYS - 1) / area)).round().clamp(max=NUM_GREYS - 1)
    return (curve / (NUM_GREYS - 1)).flatten()


def _spread(excess_T1: Tensor) -> Tensor:
    """Spread the clipped counts of each tile over all grey values, what is left over in even steps, [T, greys]."""
    each = (excess_T1 / NUM_GREYS).floor()
    left = excess_T1 - each * NUM_GREYS
    step = (NUM_GREYS / left.clamp(min=1.0)).floor()
    grey = torch.arange(NUM_GREYS, device=excess_T1.device)[None, :]
    return each + ((grey % step == 0) & (grey / step < left)).float()


def _neighbours(length: int, tile_length: int, num_tiles: int, device: torch.device) -> list[tuple[Tensor, Tensor]]:
    """Return for each pixel along an axis the two nearest tiles and their weights."""
    place = (torch.arange(length, device=device) / tile_length) - 0.5
    low = place.floor()
    weight = place - low
    low = low.long()
    return [
        (low.clamp(0, num_tiles - 1), 1.0 - weight),
        ((low + 1).clamp(0, num_tiles - 1), weight),
    ]
