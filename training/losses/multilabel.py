"""Losses of regions that overlap (whole tumour, core, enhancing tumour): a sigmoid for each channel.

Shape legend: N batch, C regions, `...` the image's axes (H, W or D, H, W).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from training.losses.multiclass import class_dice_losses


class MultiLabelDiceLoss(nn.Module):
    """Mean of the regions' Dice losses, plus binary cross-entropy.

    Parameters
    ----------
    dice_weight, cross_entropy_weight : float
        Weights of the two parts.
    smooth : float
        Voxels added to numerator and denominator of Dice.
    """

    def __init__(self, dice_weight: float = 1.0, cross_entropy_weight: float = 1.0, smooth: float = 1.0) -> None:
        super().__init__()
        self.dice_weight, self.cross_entropy_weight = dice_weight, cross_entropy_weight
        self.smooth = smooth

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of logits and targets, both `[N, C, ...]`; computed in float32."""
        logits, target = logits.float(), target.float()
        dice = class_dice_losses(logits.sigmoid(), target, self.smooth).mean()
        if not self.cross_entropy_weight:
            return self.dice_weight * dice
        cross_entropy = functional.binary_cross_entropy_with_logits(logits, target)
        return self.dice_weight * dice + self.cross_entropy_weight * cross_entropy
