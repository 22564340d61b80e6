"""Taking the skull off a head in slices of which nobody has drawn a brain mask.

The brain is what hangs together with the head's middle once thin bridges of
tissue are cut: between it and the scalp lie bone and fluid, dark in every MR
weighting that networks here see. Where what is found is not plausibly a brain,
or where it would cost tumour, the slice stays as it is.

Shape legend: N batch, C channels, H rows, W columns. Intensities in units of tissue.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

#: The work is done on coarser pixels, of this many of the image.
COARSE = 2
TISSUE = 0.5
#: Radius in coarse pixels (2 mm) by which bridges are cut.
CUT = 3
MAX_GROWTH = 60
#: Share of the head that a brain takes in a slice; below are slices through the face, above the scalp came along.
BRAIN_SHARE = (0.35, 0.85)
MIN_TUMOUR_KEPT = 0.99
MIN_HEAD_SHARE = 0.1


def brain_masks(images_NCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Return brain masks float [N, 1, H, W], and whether each is plausible, boolean [N]."""
    small = functional.avg_pool2d(images_NCHW.mean(dim=1, keepdim=True), COARSE)
    tissue = (small > TISSUE).float()
    head = functional.interpolate(_closed(functional.max_pool2d(tissue, 2), 6), tissue.shape[2:], mode="nearest")
    core = _eroded(tissue, CUT)
    brain = _connected(core * _middle(head), core)
    brain = _closed(_dilated(brain, CUT) * tissue, 6)
    share = brain.flatten(1).mean(dim=1) / head.flatten(1).mean(dim=1).clamp(min=1e-6)
    rim = head * (1.0 - _eroded(head, 2))
    takes_rim = (brain * rim).flatten(1).sum(dim=1) / rim.flatten(1).sum(dim=1).clamp(min=1.0)
    low, high = BRAIN_SHARE
    is_head = head.flatten(1).mean(dim=1) >= MIN_HEAD_SHARE
    plausible = (share >= low) & (share <= high) & (takes_rim < 0.1) & is_head
    smooth = functional.interpolate(brain, images_NCHW.shape[2:], mode="bilinear", align_corners=False)
    return (smooth > 0.5).float(), plausible


def strip(images_NCHW: Tensor, tumour_NHW: Tensor) -> Tensor:
    """Return images without skull and scalp where that can be done.

    Parameters
    ----------
    tumour_NHW : torch.Tensor
        Above 0 where there is tumour, which is never cut away.
    """
    masks, plausible = brain_masks(images_NCHW)
    tumour = (tumour_NHW > 0).float()
    kept = (tumour * masks[:, 0]).flatten(1).sum(dim=1) / tumour.flatten(1).sum(dim=1).clamp(min=1.0)
    use = plausible & ((kept >= MIN_TUMOUR_KEPT) | (tumour.flatten(1).sum(dim=1) == 0))
    return torch.where(use[:, None, None, None], images_NCHW * torch.maximum(masks, tumour[:, None]), images_NCHW)


def _middle(head: Tensor) -> Tensor:
    """Return a disc around the centre of each head, a quarter of its size wide."""
    height, width = head.shape[2:]
    rows = torch.arange(height, device=head.device)[:, None].float()
    columns = torch.arange(width, device=head.device)[None, :].float()
    area = head.sum(dim=(1, 2, 3)).clamp(min=1.0)
    row = (head[:, 0] * rows).sum(dim=(1, 2)) / area
    column = (head[:, 0] * columns).sum(dim=(1, 2)) / area
    squared = (rows - row[:, None, None]) ** 2 + (columns - column[:, None, None]) ** 2
    return (squared < (area / 25.0)[:, None, None]).float()[:, None]


def _connected(seed: Tensor, within: Tensor) -> Tensor:
    """Grow within a mask from a seed; steps are no wider than the gaps that cutting leaves."""
    for _ in range(MAX_GROWTH):
        grown = _square(seed, CUT) * within
        if torch.equal(grown, seed):
            break
        seed = grown
    return seed


def _dilated(mask: Tensor, radius: int) -> Tensor:
    """Grow by an octagon: squares and crosses in turn."""
    for step in range(radius):
        if step % 2:
            mask = functional.max_pool2d(mask, 3, 1, 1)
        else:
            mask = torch.maximum(
                functional.max_pool2d(mask, (3, 1), 1, (1, 0)), functional.max_pool2d(mask, (1, 3), 1, (0, 1))
            )
    return mask


def _eroded(mask: Tensor, radius: int) -> Tensor:
    return 1.0 - _dilated(1.0 - mask, radius)


def _closed(mask: Tensor, radius: int) -> Tensor:
    """Fill gaps up to twice the radius, by squares: fine enough for a head's outline."""
    padded = functional.pad(mask, [radius] * 4)
    closed = 1.0 - _square(1.0 - _square(padded, radius), radius)
    return closed[:, :, radius:-radius, radius:-radius]


def _square(mask: Tensor, radius: int) -> Tensor:
    rows = functional.max_pool2d(mask, (2 * radius + 1, 1), 1, (radius, 0))
    return functional.max_pool2d(rows, (1, 2 * radius + 1), 1, (0, radius))
