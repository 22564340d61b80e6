# ruff: noqa: B905 - Python 3.6 has no zip(strict=)
"""From logits to labels and probabilities, and how far two engines are apart; the same arithmetic as in the node."""

import math

import numpy as np
from card import CLASSIFIER, MULTIMODAL2D, VOLUME3D

MAX_PROBABILITY_DIFFERENCE, MAX_DICE_DIFFERENCE = 5e-3, 3e-3
NESTING = {"WT": 2, "TC": 1, "ET": 3}


def sigmoid(logits):
    """Return probabilities of outputs that stand alone."""
    return 0.5 * (1.0 + np.tanh(0.5 * logits))


def probabilities(logits, card):
    """Return probabilities (N, L, ...), each output alone or all together as the card says."""
    logits = logits.astype(np.float64)
    if card["activation"] == "sigmoid":
        return sigmoid(logits)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def label_map(logits, card):
    """Return the label map of one input's logits (L, ...), uint8."""
    threshold = card["threshold"]
    if card["kind"] == VOLUME3D:
        labels = np.zeros(logits.shape[1:], dtype=np.uint8)
        for region, region_logits in zip(card["outputs"], logits):
            inside = np.float32(0.5) * (np.float32(1) + np.tanh(np.float32(0.5) * region_logits)) > threshold
            labels[inside] = NESTING[region]
        return labels
    limit = math.log(threshold / (1.0 - threshold))
    if card["kind"] == MULTIMODAL2D:
        values = np.array([label["value"] for label in card["labels"]], dtype=np.uint8)
        highest = logits[1:].max(axis=0)
        together = highest + np.log(np.exp(logits[1:] - highest).sum(axis=0))
        return np.where(together - logits[0] > limit, values[logits[1:].argmax(axis=0)], np.uint8(0))
    labels = np.zeros(logits.shape[1:], dtype=np.uint8)
    for label, label_logits in zip(card["labels"], logits):
        labels[label_logits > limit] = label["value"]
    return labels


def agreement(found, wanted, card):
    """Return the largest difference of a probability, and 1 - Dice of what is segmented, of two engines' logits."""
    if found.shape != wanted.shape or not (np.isfinite(found) & np.isfinite(wanted)).all():
        return np.inf, np.inf
    a, b = probabilities(found, card), probabilities(wanted, card)
    masks = [_masks(p, card) for p in (a, b)]
    size = int(masks[0].sum()) + int(masks[1].sum())
    dice = 1.0 - 2.0 * int((masks[0] & masks[1]).sum()) / size if size else 0.0
    return float(np.abs(a - b).max()), dice


def _masks(probability, card):
    if card["activation"] == "sigmoid":
        return probability >= card["threshold"]
    if card["kind"] == CLASSIFIER:
        return _largest(probability)
    return _largest(probability[:, 1:]) & (1.0 - probability[:, :1] >= card["threshold"])


def _largest(probability):
    outputs = np.arange(probability.shape[1]).reshape((-1,) + (1,) * (probability.ndim - 2))
    return probability.argmax(axis=1)[:, None] == outputs
