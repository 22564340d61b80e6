"""Group norm spelt out for export, because ONNX Runtime's own operator is inexact on volumes.

ONNX has group norm as instance norm of reshaped values. ONNX Runtime (1.31, CPU) sums those in float32 one after the
other: over the 2^19 voxels of a group of a 64^3 patch, logits of SegResNet came out 3e-4 off, where PyTorch is 1e-6
off float64. Means of rows, of planes, of volumes are equal to the mean of all, and exact in any engine: no sum has more
terms than an axis is long.

Shape legend: N batch, G groups, C channels, `...` the image's axes.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class SpeltGroupNorm(nn.Module):
    """Compute what a `torch.nn.GroupNorm` computes, axis by axis (Wu and He 2018, arXiv:1803.08494)."""

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.num_groups, self.eps = norm.num_groups, norm.eps
        self.weight, self.bias = norm.weight, norm.bias

    def forward(self, x_NC: Tensor) -> Tensor:
        """Return the normalised features, shape as given."""
        grouped_NGC = x_NC.unflatten(1, (self.num_groups, -1))
        centred_NGC = grouped_NGC - _mean(grouped_NGC)
        scale_NG = torch.rsqrt(_mean(centred_NGC * centred_NGC) + self.eps)
        normed_NC = (centred_NGC * scale_NG).flatten(1, 2)
        if self.weight is None:
            return normed_NC
        shape = (1, -1, *(1,) * (x_NC.ndim - 2))
        return normed_NC * self.weight.reshape(shape) + self.bias.reshape(shape)


def _mean(values_NGC: Tensor) -> Tensor:
    """Mean over all axes but N and G, the last axis first."""
    for axis in range(values_NGC.ndim - 1, 1, -1):
        values_NGC = values_NGC.mean(dim=axis, keepdim=True)
    return values_NGC


def spell_group_norm(network: nn.Module) -> nn.Module:
    """Return a copy in which every group norm is spelt out; the given network is as before."""
    spelt = copy.deepcopy(network)
    for parent in list(spelt.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.GroupNorm):
                setattr(parent, name, SpeltGroupNorm(child))
    return spelt
