"""Losses of one region against the rest. Shapes: `[N, 1, H, W]` for logits and targets."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def dice_loss(logits: Tensor, target: Tensor, smooth: float = 1.0) -> Tensor:
    """Return 1 - soft Dice, pooled over the batch.

    Pooling keeps slices without tumour meaningful: they only add to the
    denominator.
    """
    probability = logits.sigmoid()
    overlap = (probability * target).sum()
    total = probability.sum() + target.sum()
    return 1.0 - (2.0 * overlap + smooth) / (total + smooth)


def focal_loss(logits: Tensor, target: Tensor, gamma: float = 2.0, alpha: float = 0.8) -> Tensor:
    """Return the mean binary focal loss (Lin et al. 2017, arXiv:1708.02002).

    Parameters
    ----------
    gamma : float
        Focus on badly classified pixels; 0 gives weighted cross-entropy.
    alpha : float
        Weight of tumour pixels; others have 1 - alpha.
    """
    cross_entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    probability_of_truth = torch.exp(-cross_entropy)
    weight = alpha * target + (1.0 - alpha) * (1.0 - target)
    return (weight * (1.0 - probability_of_truth).pow(gamma) * cross_entropy).mean()


class FocalDiceLoss(nn.Module):
    """Weighted sum of Dice and focal loss.

    Parameters
    ----------
    dice_weight, focal_weight : float
        Weights of the two parts.
    gamma, alpha : float
        Of the focal part.
    """

    def __init__(
        self,
        dice_weight: float = 0.7,
        focal_weight: float = 0.3,
        gamma: float = 2.0,
        alpha: float = 0.8,
    ) -> None:
        super().__init__()
        self.dice_weight = dice_weight
        self.focal_weight = focal_weight
        self.gamma = gamma
        self.alpha = alpha

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss, a scalar; computed in float32."""
        logits, target = logits.float(), target.float()
        return self.dice_weight * dice_loss(logits, target) + self.focal_weight * focal_loss(
            logits, target, self.gamma, self.alpha
        )
