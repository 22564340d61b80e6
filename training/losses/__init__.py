"""Losses by name. All take logits and a target and are computed in float32 whatever the network's precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from neuroscan_core.domain.errors import ModelError
from training import registry
from training.losses.binary import FocalDiceLoss, dice_loss, focal_loss
from training.losses.multiclass import CrossEntropyLoss, DiceCrossEntropyLoss, WeightedDiceLoss
from training.losses.multilabel import MultiLabelDiceLoss

__all__ = [
    "LOSSES",
    "CrossEntropyLoss",
    "DiceCrossEntropyLoss",
    "FocalDiceLoss",
    "MultiLabelDiceLoss",
    "UnknownLoss",
    "WeightedDiceLoss",
    "build_loss",
    "dice_loss",
    "focal_loss",
]

LOSSES: dict[str, Callable[..., nn.Module]] = {
    "cross-entropy": CrossEntropyLoss,
    "dice": MultiLabelDiceLoss,
    "dice-ce": DiceCrossEntropyLoss,
    "focal-dice": FocalDiceLoss,
    "weighted-dice": WeightedDiceLoss,
}


class UnknownLoss(ModelError, ValueError):
    """No loss has that name, or it has no such option."""


def build_loss(name: str, **options: Any) -> nn.Module:  # options differ by loss
    """Build a loss; call it as ``loss(logits, target)``.

    Parameters
    ----------
    name : str
        A key of `LOSSES`.
    **options
        Arguments of the loss's constructor, by name.

    Raises
    ------
    UnknownLoss
        No loss has that name, or it has no such option.
    """
    return registry.build("loss", LOSSES, name, options, UnknownLoss)
