"""A residual classification network that learns from about a thousand pictures, from scratch.

Residual blocks with squeeze-and-excitation, the mean over the image before the linear layer (so that the size is free
and place does not count), dropout before it.

Shape legend: N batch, C channels, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from training.networks.blocks import ResidualPair, conv3x3, initialise


class Classifier(nn.Module):
    """Classify a grey picture.

    Input `[N, 1, H, W]`, -1..1, 128 to 224 rows and columns. Output `[N, num_classes]` logits.

    Parameters
    ----------
    num_classes : int
    widths : sequence of int
        Per stage; each halves the resolution.
    num_blocks : sequence of int
        Residual blocks per stage.
    dropout : float
        Share of features dropped in training before the linear layer.
    """

    def __init__(
        self,
        num_classes: int = 4,
        widths: Sequence[int] = (24, 48, 96, 160),
        num_blocks: Sequence[int] = (1, 2, 2, 1),
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        width = widths[0]
        self.stem = nn.Sequential(conv3x3(1, width, stride=2), nn.BatchNorm2d(width), nn.ReLU(inplace=True))
        blocks: list[nn.Module] = []
        for channels, repeats in zip(widths, num_blocks, strict=True):
            for repeat in range(repeats):
                blocks.append(ResidualPair(width, channels, stride=2 if repeat == 0 else 1, reduction=8))
                width = channels
        self.stages = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, num_classes)
        initialise(self)

    def forward(self, image_NCHW: Tensor) -> Tensor:
        """Return logits `[N, num_classes]`."""
        features_NC = self.stages(self.stem(image_NCHW)).mean(dim=(2, 3))
        return self.head(self.dropout(features_NC))
