"""SegResNet for volumes: MONAI's network with the settings of Myronenko 2018 (arXiv:1810.11654), without its VAE.

Shape legend: N batch, C channels, D slices, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


def segresnet(
    in_channels: int = 4,
    out_channels: int = 3,
    init_filters: int = 16,
    blocks_down: Sequence[int] = (1, 2, 2, 4),
    blocks_up: Sequence[int] = (1, 1, 1),
    dropout: float = 0.2,
) -> nn.Module:
    """Return MONAI's SegResNet in three dimensions.

    Input `[N, in_channels, D, H, W]` float32, sizes multiples of 8. Output `[N, out_channels, D, H, W]` logits.

    Parameters
    ----------
    init_filters : int
        Width of the first level, a multiple of 8 (group norm): 16 gives 4.7 M parameters, 8 gives 1.2 M.
    blocks_down, blocks_up : sequence of int
        Residual blocks per level, downwards and upwards.
    dropout : float
        Share of first-level channels that are dropped in training.
    """
    from monai.networks.nets import SegResNet

    # MONAI draws no weights of its own, so the seed set by the caller decides.
    network: nn.Module = SegResNet(
        spatial_dims=3,
        init_filters=init_filters,
        in_channels=in_channels,
        out_channels=out_channels,
        dropout_prob=dropout or None,
        blocks_down=tuple(blocks_down),
        blocks_up=tuple(blocks_up),
    )
    head = network.conv_final[-1].conv
    with torch.no_grad():
        # Regions fill a few per cent of a volume: start from that prior (arXiv:1708.02002, 4.1).
        head.bias.fill_(-3.0)
    return network
