"""The gate lets rounding pass and nothing else, for every kind of model."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from neuroscan_core.domain.model_card import ModelKind
from neuroscan_core.inference.gate import LIMITS, QUANTISED_LIMITS, Agreement, compare, limits_for, probabilities

SHAPES = {
    ModelKind.SLICE25D: ("sigmoid", (2, 1, 24, 24)),
    ModelKind.MULTIMODAL2D: ("softmax", (2, 4, 24, 24)),
    ModelKind.VOLUME3D: ("sigmoid", (1, 3, 12, 12, 12)),
    ModelKind.CLASSIFIER: ("softmax", (5, 4)),
}


def card(kind: ModelKind) -> Any:
    return SimpleNamespace(kind=kind, activation=SHAPES[kind][0], threshold=0.5, name="it")


def logits(kind: ModelKind) -> np.ndarray:
    return np.random.default_rng(7).normal(0.0, 4.0, SHAPES[kind][1]).astype(np.float32)


@pytest.mark.parametrize("kind", ModelKind)
def test_the_same_logits_agree_entirely(kind: ModelKind) -> None:
    assert compare(card(kind), logits(kind), logits(kind)) == Agreement(0.0, 0.0)


@pytest.mark.parametrize("kind", ModelKind)
def test_rounding_to_half_precision_passes(kind: ModelKind) -> None:
    rounded = logits(kind).astype(np.float16).astype(np.float32)
    found = compare(card(kind), rounded, logits(kind))
    assert found.probability > 0 and found.is_within(LIMITS)


@pytest.mark.parametrize("kind", ModelKind)
def test_one_logit_that_is_far_off_does_not_pass(kind: ModelKind) -> None:
    wrong = logits(kind)
    wrong.flat[3] += 1.0
    assert not compare(card(kind), wrong, logits(kind)).is_within(LIMITS)


@pytest.mark.parametrize("kind", ModelKind)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_never_passes_on_either_side(kind: ModelKind, value: float) -> None:
    broken = logits(kind)
    broken.flat[0] = value
    assert not compare(card(kind), broken, logits(kind)).is_within(QUANTISED_LIMITS)
    assert not compare(card(kind), logits(kind), broken).is_within(QUANTISED_LIMITS)


@pytest.mark.parametrize("kind", ModelKind)
def test_another_shape_never_passes(kind: ModelKind) -> None:
    assert not compare(card(kind), logits(kind)[:1], logits(kind)[:1, ..., :-1]).is_within(QUANTISED_LIMITS)


@pytest.mark.parametrize("kind", [ModelKind.SLICE25D, ModelKind.MULTIMODAL2D, ModelKind.VOLUME3D])
def test_many_voxels_just_across_the_threshold_do_not_pass(kind: ModelKind) -> None:
    """Each probability moves by less than is allowed, but the mask is another one."""
    shape = SHAPES[kind][1]
    wanted = np.zeros(shape, np.float32)
    if kind is ModelKind.MULTIMODAL2D:
        wanted[:, 1] = np.log(3.0)  # 1 - P(background) = 5/6; labels 2 and 3 tie until they are moved
        wanted[:, 2] = np.log(3.0)
        found = wanted.copy()
        found[:, 2] += 0.004
    else:
        found = wanted - np.float32(0.004)
    agreement = compare(card(kind), found, wanted)
    assert agreement.probability < LIMITS.probability and agreement.dice > LIMITS.dice


def test_two_empty_masks_agree() -> None:
    low = np.full((1, 1, 8, 8), -9.0, np.float32)
    assert compare(card(ModelKind.SLICE25D), low, low - np.float32(0.001)).dice == 0.0


def test_another_class_does_not_pass() -> None:
    wanted = np.zeros((2, 4), np.float32)
    found = wanted.copy()
    found[0, 2] += 0.001
    agreement = compare(card(ModelKind.CLASSIFIER), found, wanted)
    assert agreement.probability < LIMITS.probability and not agreement.is_within(LIMITS)


def test_probabilities_of_extreme_logits_are_finite_and_sum_to_one() -> None:
    extreme = np.array([[1e4, -1e4, 0.0]], np.float32)
    assert probabilities(extreme, "softmax").sum() == 1.0
    assert probabilities(extreme, "sigmoid").tolist() == [[1.0, 0.0, 0.5]]


def test_quantised_engines_are_held_to_their_masks() -> None:
    assert limits_for("int8") is QUANTISED_LIMITS and limits_for("fp16") is LIMITS is limits_for("fp32")
