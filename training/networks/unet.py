"""A slim U-Net for several channels and classes, quick on a processor (Ronneberger et al. 2015, arXiv:1505.04597).

Shape legend: N batch, C channels, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from training.networks.blocks import ConvPair, WithEncoder, initialise, join


class UNet(WithEncoder):
    """Segment several classes from slices of several sequences.

    Input `[N, in_channels, H, W]` float32, H and W multiples of 2 to the number of levels less one. Output
    `[N, out_channels, H, W]` logits.

    Parameters
    ----------
    in_channels, out_channels : int
    widths : sequence of int
        Per level, the bottleneck last.
    dropout : float
        Share of bottleneck channels that are dropped in training.
    """

    def __init__(
        self,
        in_channels: int = 4,
        out_channels: int = 4,
        widths: Sequence[int] = (16, 32, 64, 128, 256),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        before = [in_channels, *widths[:-1]]
        self.encoder = nn.ModuleList(ConvPair(i, o) for i, o in zip(before, widths, strict=True))
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout2d(dropout)
        coarse_to_fine = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.upsample = nn.ModuleList(nn.ConvTranspose2d(i, o, 2, 2) for i, o in coarse_to_fine)
        self.decoder = nn.ModuleList(ConvPair(2 * o, o) for _, o in coarse_to_fine)
        initialise(self)
        # Not a quiet head: with several classes, features of tumour die before they tell its parts apart.
        self.head = nn.Conv2d(widths[0], out_channels, 1)

    def forward(self, image_NCHW: Tensor) -> Tensor:
        """Return logits `[N, out_channels, H, W]`."""
        skips, x = [], image_NCHW
        for level, block in enumerate(self.encoder):
            x = block(x if level == 0 else self.pool(x))
            skips.append(x)
        x = self.dropout(skips.pop())
        for upsample, block in zip(self.upsample, self.decoder, strict=True):
            x = block(join(upsample(x), skips.pop()))
        return self.head(x)
