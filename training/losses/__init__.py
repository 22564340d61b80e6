"""Losses by name. All take logits and a target and are computed in float32 whatever the network's precision."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from neuroscan_core.domain.errors import ModelError
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
    try:
        factory = LOSSES[name]
    except KeyError as exc:
        raise UnknownLoss(f"There is no loss {name!r}.", remedy=f"Known are {', '.join(sorted(LOSSES))}.") from exc
    known = list(inspect.signature(factory).parameters)
    if unknown := sorted(set(options) - set(known)):
        raise UnknownLoss(f"The loss {name} has no option {', '.join(unknown)}.", remedy=f"It has {', '.join(known)}.")
    return factory(**options)
