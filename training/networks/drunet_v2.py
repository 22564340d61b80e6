"""DRUNetv2: residual U-Net with dilation, squeeze-and-excitation and attention gates; 33.00 M parameters.

Each level is a `ResidualPair` (two 3x3 convolutions, reduction 16), the bottleneck is dilated by 2, and each skip goes
through an `AttentionGate` half as wide as the level.

Shape legend: N batch, C channels, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from training.networks.blocks import AttentionGate, ResidualPair, WithEncoder, initialise, join

TUMOUR_PRIOR_LOGIT = -3.0


class DRUNetV2(WithEncoder):
    """Segment one class from three neighbouring slices.

    Input `[N, in_channels, H, W]` float32, H and W multiples of 16. Output `[N, out_channels, H, W]` logits.

    Parameters
    ----------
    in_channels, out_channels : int
    widths, dilations : sequence of int
        Per level, the bottleneck last.
    reduction : int
        Of squeeze-and-excitation.
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 1,
        widths: Sequence[int] = (64, 128, 256, 512, 1024),
        dilations: Sequence[int] = (1, 1, 1, 1, 2),
        reduction: int = 16,
    ) -> None:
        super().__init__()
        before = [in_channels, *widths[:-1]]
        self.encoder = nn.ModuleList(
            ResidualPair(i, o, d, reduction=reduction) for i, o, d in zip(before, widths, dilations, strict=True)
        )
        self.pool = nn.MaxPool2d(2)
        coarse_to_fine = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.upsample = nn.ModuleList(nn.ConvTranspose2d(i, o, 2, 2, bias=False) for i, o in coarse_to_fine)
        self.gates = nn.ModuleList(AttentionGate(o, o // 2) for _, o in coarse_to_fine)
        self.decoder = nn.ModuleList(ResidualPair(2 * o, o, reduction=reduction) for _, o in coarse_to_fine)
        self.head = nn.Conv2d(widths[0], out_channels, 1)
        initialise(self, self.head, TUMOUR_PRIOR_LOGIT)

    def forward(self, image_NCHW: Tensor) -> Tensor:
        """Return logits `[N, out_channels, H, W]`."""
        skips, x = [], image_NCHW
        for level, block in enumerate(self.encoder):
            x = block(x if level == 0 else self.pool(x))
            skips.append(x)
        skips.pop()
        for upsample, gate, block in zip(self.upsample, self.gates, self.decoder, strict=True):
            x = upsample(x)
            x = block(join(x, gate(x, skips.pop())))
        return self.head(x)
