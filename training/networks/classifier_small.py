"""The small classification network that others reported on, to be compared with: three convolutions, one linear layer.

Shape legend: N batch, C channels, H rows, W columns.
"""

from __future__ import annotations

from torch import Tensor, nn

NUM_COLOURS = 3


class ClassifierSmall(nn.Module):
    """Classify a picture of fixed size.

    Input `[N, 1, size, size]` grey, -1..1, given to the three colour channels alike. Output `[N, num_classes]` logits.
    The linear layer holds 99 % of the parameters and ties the network to its size.

    Parameters
    ----------
    num_classes : int
    size : int
        Rows and columns, even.
    """

    def __init__(self, num_classes: int = 4, size: int = 150) -> None:
        super().__init__()
        self.size = size
        self.features = nn.Sequential(
            nn.Conv2d(NUM_COLOURS, 12, 3, padding=1),
            nn.BatchNorm2d(12),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(12, 20, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(20, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(inplace=True),
        )
        self.head = nn.Linear((size // 2) ** 2 * 32, num_classes)

    def forward(self, image_NCHW: Tensor) -> Tensor:
        """Return logits `[N, num_classes]`."""
        colour = image_NCHW.expand(-1, NUM_COLOURS, -1, -1)
        return self.head(self.features(colour).flatten(1))
