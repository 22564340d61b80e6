"""Losses of classes that exclude each other: softmax over the channels, targets are class indices.

Dice is pooled over the batch, per class: a class that one picture lacks is judged by the others.

Shape legend: N batch, C classes, `...` the image's axes (H, W or D, H, W).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

# Background, necrotic core, oedema, enhancing tumour.
BRATS_WEIGHTS = (0.1, 4.0, 1.0, 1.0)


def class_dice_losses(probability: Tensor, truth: Tensor, smooth: float = 1.0) -> Tensor:
    """Return 1 - soft Dice of each channel, `[C]`, pooled over the batch.

    Parameters
    ----------
    probability, truth : torch.Tensor
        `[N, C, ...]`, 0..1.
    smooth : float
        Voxels added to numerator and denominator.
    """
    axes = (0, *range(2, probability.ndim))
    overlap = (probability * truth).sum(axes)
    total = probability.sum(axes) + truth.sum(axes)
    return 1.0 - (2.0 * overlap + smooth) / (total + smooth)


def one_hot(target: Tensor, num_classes: int) -> Tensor:
    """Return `[N, ...]` indices as `[N, C, ...]` float32."""
    return functional.one_hot(target.long(), num_classes).movedim(-1, 1).float()


class WeightedDiceLoss(nn.Module):
    """Mean of the classes' Dice losses, weighted.

    Parameters
    ----------
    weights : sequence of float
        One per class.
    smooth : float
        Voxels added to numerator and denominator.

    Raises
    ------
    ValueError
        A weight is negative, or none is positive.
    """

    def __init__(self, weights: Sequence[float] = BRATS_WEIGHTS, smooth: float = 1.0) -> None:
        super().__init__()
        if min(weights) < 0 or not sum(weights) > 0:
            raise ValueError(f"class weights {list(weights)}: none may be negative, one must be positive")
        self.smooth = smooth
        self.weights: Tensor
        # Follows the module to its device; no part of a checkpoint.
        self.register_buffer("weights", torch.tensor(list(weights)), persistent=False)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of logits `[N, C, ...]` and indices `[N, ...]`; computed in float32."""
        probability = logits.float().softmax(dim=1)
        losses = class_dice_losses(probability, one_hot(target, logits.shape[1]), self.smooth)
        return (losses * self.weights).sum() / self.weights.sum()


class DiceCrossEntropyLoss(nn.Module):
    """Dice loss (weighted over classes) plus cross-entropy, as in nnU-Net (Isensee et al. 2021).

    Parameters
    ----------
    dice_weight, cross_entropy_weight : float
        Weights of the two parts.
    weights : sequence of float, optional
        One per class, for the Dice part; all alike where left out.
    smooth : float
        Voxels added to numerator and denominator of Dice.
    """

    def __init__(
        self,
        dice_weight: float = 1.0,
        cross_entropy_weight: float = 1.0,
        weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
        smooth: float = 1.0,
    ) -> None:
        super().__init__()
        self.dice = WeightedDiceLoss(weights, smooth)
        self.dice_weight, self.cross_entropy_weight = dice_weight, cross_entropy_weight

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of logits `[N, C, ...]` and indices `[N, ...]`; computed in float32."""
        cross_entropy = functional.cross_entropy(logits.float(), target.long())
        return self.dice_weight * self.dice(logits, target) + self.cross_entropy_weight * cross_entropy


class CrossEntropyLoss(nn.Module):
    """Cross-entropy with label smoothing (Szegedy et al. 2016, arXiv:1512.00567).

    Parameters
    ----------
    label_smoothing : float
        Share of the truth that is spread over all classes.
    """

    def __init__(self, label_smoothing: float = 0.1) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of logits `[N, C]` and indices `[N]`; computed in float32.

        The target may also be `[N, C]` shares, as mixing pictures gives.
        """
        truth = target.float() if target.is_floating_point() else target.long()
        return functional.cross_entropy(logits.float(), truth, label_smoothing=self.label_smoothing)
