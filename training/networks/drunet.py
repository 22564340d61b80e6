"""DRUNet v1: the plain U-Net baseline, 31 M parameters (Ronneberger et al. 2015, arXiv:1505.04597).

Widths 64, 128, 256, 512 and 1024 at the bottom, convolutions dilated by 1, 2, 2, 2 and 4, transposed convolutions
upwards. No residuals, no attention: those are in `drunet_v2`.

Shape legend: N batch, C channels, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from training.networks.blocks import ConvPair, WithEncoder, initialise, join

TUMOUR_PRIOR_LOGIT = -3.0


class DRUNet(WithEncoder):
    """Segment one class from a slice or from three neighbouring slices.

    Input `[N, in_channels, H, W]` float32, H and W multiples of 16. Output `[N, out_channels, H, W]` logits.

    Parameters
    ----------
    in_channels : int
        3 for slices z-1, z, z+1; 1 for a single slice.
    out_channels : int
    widths, dilations : sequence of int
        Per level, the bottleneck last.
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 1,
        widths: Sequence[int] = (64, 128, 256, 512, 1024),
        dilations: Sequence[int] = (1, 2, 2, 2, 4),
    ) -> None:
        super().__init__()
        before = [in_channels, *widths[:-1]]
        self.encoder = nn.ModuleList(ConvPair(i, o, d) for i, o, d in zip(before, widths, dilations, strict=True))
        self.pool = nn.MaxPool2d(2)
        coarse_to_fine = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.upsample = nn.ModuleList(nn.ConvTranspose2d(i, o, 2, 2) for i, o in coarse_to_fine)
        self.decoder = nn.ModuleList(ConvPair(2 * o, o) for _, o in coarse_to_fine)
        self.head = nn.Conv2d(widths[0], out_channels, 1)
        initialise(self, self.head, TUMOUR_PRIOR_LOGIT)

    def forward(self, image_NCHW: Tensor) -> Tensor:
        """Return logits `[N, out_channels, H, W]`."""
        skips, x = [], image_NCHW
        for level, block in enumerate(self.encoder):
            x = block(x if level == 0 else self.pool(x))
            skips.append(x)
        skips.pop()
        for upsample, block in zip(self.upsample, self.decoder, strict=True):
            x = block(join(upsample(x), skips.pop()))
        return self.head(x)
