"""Layers that several U-Nets are made of; whole networks have modules of their own.

Shape legend: N batch, C channels, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from training.networks.encoder_weights import load_into


class WithEncoder(nn.Module):
    """A U-Net whose downward path, `encoder`, can start from other weights and learn at another rate."""

    encoder: nn.ModuleList

    def encoder_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the downward path."""
        return list(self.encoder.parameters())

    def load_encoder(self, state: Mapping[str, Tensor]) -> None:
        """Load the downward path from weights of this network; raises `EncoderMismatch`."""
        load_into(self.encoder, state, "encoder.")


class ConvPair(nn.Sequential):
    """Two 3x3 convolutions, each with batch norm and ReLU (Ronneberger et al. 2015, arXiv:1505.04597).

    Parameters
    ----------
    dilation : int
        Of both convolutions; the size of the image is kept.
    """

    def __init__(self, channels_in: int, channels_out: int, dilation: int = 1) -> None:
        layers: list[nn.Module] = []
        for width in (channels_in, channels_out):
            layers += [conv3x3(width, channels_out, dilation), nn.BatchNorm2d(channels_out), nn.ReLU(inplace=True)]
        super().__init__(*layers)


class SqueezeExcitation(nn.Module):
    """Weigh channels by what the whole image holds (Hu et al. 2018, arXiv:1709.01507).

    Parameters
    ----------
    reduction : int
        Channels per hidden unit.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.weigh = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, channels, 1, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return the features, each channel times a weight in 0..1."""
        return x_NCHW * self.weigh(x_NCHW.mean(dim=(2, 3), keepdim=True))


class ResidualPair(nn.Module):
    """Two 3x3 convolutions with batch norm, channels weighed, added to a shortcut.

    The shortcut is a 1x1 convolution with batch norm where the width changes (He et al. 2016, arXiv:1512.03385).

    Parameters
    ----------
    stride : int
        Of the first convolution and of the shortcut.
    """

    def __init__(
        self, channels_in: int, channels_out: int, dilation: int = 1, stride: int = 1, reduction: int = 16
    ) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            conv3x3(channels_in, channels_out, dilation, stride),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
            conv3x3(channels_out, channels_out, dilation),
            nn.BatchNorm2d(channels_out),
        )
        self.excite = SqueezeExcitation(channels_out, reduction)
        self.shortcut: nn.Module = nn.Identity()
        if channels_in != channels_out or stride != 1:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
            )
        self.activate = nn.ReLU(inplace=True)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return features; H and W divided by the stride."""
        return self.activate(self.excite(self.conv(x_NCHW)) + self.shortcut(x_NCHW))


class AttentionGate(nn.Module):
    """Let through what the coarser level finds relevant (Oktay et al. 2018, arXiv:1804.03999).

    Parameters
    ----------
    channels : int
        Of the skip and of the gating features, which have the same size here.
    inner : int
        Width in which the two are compared.
    """

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.from_gate = nn.Sequential(nn.Conv2d(channels, inner, 1, bias=False), nn.BatchNorm2d(inner))
        self.from_skip = nn.Sequential(nn.Conv2d(channels, inner, 1, bias=False), nn.BatchNorm2d(inner))
        self.weigh = nn.Sequential(
            nn.ReLU(inplace=True), nn.Conv2d(inner, 1, 1, bias=False), nn.BatchNorm2d(1), nn.Sigmoid()
        )

    def forward(self, gate_NCHW: Tensor, skip_NCHW: Tensor) -> Tensor:
        """Return the skip, each pixel times a weight in 0..1."""
        return skip_NCHW * self.weigh(self.from_gate(gate_NCHW) + self.from_skip(skip_NCHW))


def conv3x3(channels_in: int, channels_out: int, dilation: int = 1, stride: int = 1) -> nn.Conv2d:
    """Return a 3x3 convolution without bias that keeps the size (unless it strides)."""
    return nn.Conv2d(channels_in, channels_out, 3, stride, padding=dilation, dilation=dilation, bias=False)


def initialise(network: nn.Module, head: nn.Module | None = None, prior_logit: float = 0.0) -> None:
    """Draw weights after He et al. 2015 (arXiv:1502.01852), and a quiet head.

    Parameters
    ----------
    head : torch.nn.Module, optional
        Last convolution: starts near zero, with the bias `prior_logit`.
    prior_logit : float
        Log-odds of the tumour's share of the image (Lin et al. 2017, arXiv:1708.02002, 4.1).
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    if isinstance(head, nn.Conv2d) and head.bias is not None:
        nn.init.normal_(head.weight, std=0.01)
        nn.init.constant_(head.bias, prior_logit)


def join(upsampled_NCHW: Tensor, skip_NCHW: Tensor) -> Tensor:
    """Return both along C, the skip first."""
    return torch.cat([skip_NCHW, upsampled_NCHW], dim=1)
