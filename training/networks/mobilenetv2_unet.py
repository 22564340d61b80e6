"""MobileNetV2 encoder with a light U-Net decoder: 2,614,513 parameters.

The encoder carries torchvision's parameter names (`features.0.0.weight`, ...)
so that an ImageNet state dict in that format loads as it is. It ends before
torchvision's 1280-channel convolution. Sources: Sandler et al. 2018
(arXiv:1801.04381), Ronneberger et al. 2015 (arXiv:1505.04597).

Shape legend: N batch, C channels, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.networks.encoder_weights import load_into

# expansion, channels, repeats, stride of the first repeat (paper, table 2)
INVERTED_RESIDUALS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
# Last block at each resolution: index in `features` and its channels.
SKIPS = {1: 16, 3: 24, 6: 32, 13: 96}
DECODER_CHANNELS = (128, 64, 32, 16, 16)
ENCODER_PREFIX = "features."


class ConvBNReLU6(nn.Sequential):
    """Convolution, batch norm, ReLU6: children 0 and 1 hold the parameters."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU6(inplace=True),
        )


class InvertedResidual(nn.Module):
    """Expand, filter per channel, project; residual where the shape allows."""

    def __init__(self, channels_in: int, channels_out: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = channels_in * expansion
        self.has_residual = stride == 1 and channels_in == channels_out
        layers: list[nn.Module] = []
        if expansion != 1:
            layers.append(ConvBNReLU6(channels_in, hidden, kernel=1))
        layers += [
            ConvBNReLU6(hidden, hidden, kernel=3, stride=stride, groups=hidden),
            nn.Conv2d(hidden, channels_out, 1, bias=False),
            nn.BatchNorm2d(channels_out),
        ]
        self.conv = nn.Sequential(*layers)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return the block's output, same H and W unless the stride is 2."""
        out = self.conv(x_NCHW)
        return x_NCHW + out if self.has_residual else out


class DecoderStage(nn.Module):
    """Double the resolution, append the skip, convolve.

    Parameters
    ----------
    num_convs : int
        3x3 convolutions, each with batch norm and ReLU.
    """

    def __init__(self, channels_in: int, skip: int, channels_out: int, num_convs: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = channels_in + skip
        for _ in range(num_convs):
            layers += [
                nn.Conv2d(width, channels_out, 3, padding=1, bias=False),
                nn.BatchNorm2d(channels_out),
                nn.ReLU(inplace=True),
            ]
            width = channels_out
        self.conv = nn.Sequential(*layers)

    def forward(self, x_NCHW: Tensor, skip_NCHW: Tensor | None) -> Tensor:
        """Return features at twice the resolution of `x_NCHW`."""
        x = functional.interpolate(x_NCHW, scale_factor=2.0, mode="bilinear", align_corners=False)
        if skip_NCHW is not None:
            x = torch.cat([x, skip_NCHW], dim=1)
        return self.conv(x)


class MobileNetV2UNet(nn.Module):
    """Segment one class from three neighbouring slices.

    Input `[N, 3, H, W]` float32, normalised slices z-1, z, z+1, H and W
    multiples of 32. Output `[N, 1, H, W]` logits.
    """

    def __init__(self) -> None:
        super().__init__()
        blocks: list[nn.Module] = [ConvBNReLU6(3, 32, kernel=3, stride=2)]
        width = 32
        for expansion, channels, repeats, first_stride in INVERTED_RESIDUALS:
            for repeat in range(repeats):
                stride = first_stride if repeat == 0 else 1
                blocks.append(InvertedResidual(width, channels, stride, expansion))
                width = channels
        self.features = nn.Sequential(*blocks)

        skips = [*reversed(SKIPS.values()), 0]
        # The full-resolution stage has no skip to merge: one convolution is enough.
        convs = [2, 2, 2, 2, 1]
        stages = []
        for skip, channels, num_convs in zip(skips, DECODER_CHANNELS, convs, strict=True):
            stages.append(DecoderStage(width, skip, channels, num_convs))
            width = channels
        self.decoder = nn.ModuleList(stages)
        self.head = nn.Conv2d(width, 1, 1)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
        nn.init.normal_(self.head.weight, std=0.01)
        assert self.head.bias is not None
        # Tumour is a few per cent of the pixels: start from that prior (arXiv:1708.02002, 4.1).
        nn.init.constant_(self.head.bias, -3.0)

    def forward(self, image_NCHW: Tensor) -> Tensor:
        """Return logits `[N, 1, H, W]`."""
        skips: list[Tensor | None] = []
        x = image_NCHW
        for index, block in enumerate(self.features):
            x = block(x)
            if index in SKIPS:
                skips.append(x)
        for stage, skip in zip(self.decoder, [*reversed(skips), None], strict=True):
            x = stage(x, skip)
        return self.head(x)

    def encoder_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that ImageNet weights would fill."""
        return list(self.features.parameters())

    def load_encoder(self, state: Mapping[str, Tensor]) -> None:
        """Load a torchvision `mobilenet_v2` state dict into the encoder.

        Raises
        ------
        EncoderMismatch
            If a parameter of the encoder is missing or has another shape.
        """
        load_into(self.features, state, ENCODER_PREFIX)
