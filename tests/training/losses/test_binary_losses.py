"""Losses: bounds, limits and gradients."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the `training` extra is not installed", exc_type=ImportError)

from torch.nn import functional  # noqa: E402 - after the skip

from training.losses import FocalDiceLoss, dice_loss, focal_loss  # noqa: E402


@pytest.fixture
def target():
    target = torch.zeros(2, 1, 16, 16)
    target[0, :, 4:12, 4:12] = 1.0
    return target


def test_loss_vanishes_for_a_certain_and_right_answer(target):
    logits = 40.0 * (target - 0.5)
    assert FocalDiceLoss()(logits, target) < 1e-6


def test_loss_is_worst_for_a_certain_and_wrong_answer(target):
    right, wrong = 40.0 * (target - 0.5), 40.0 * (0.5 - target)
    loss = FocalDiceLoss()
    assert loss(wrong, target) > 0.69 > loss(right, target)


def test_focal_loss_without_focus_is_weighted_cross_entropy(target):
    logits = torch.randn(target.shape, generator=torch.Generator().manual_seed(0))
    expected = 0.5 * functional.binary_cross_entropy_with_logits(logits, target)
    assert torch.isclose(focal_loss(logits, target, gamma=0.0, alpha=0.5), expected)


def test_focal_loss_puts_less_weight_on_easy_pixels(target):
    logits = 3.0 * (target - 0.5) * 2.0
    assert focal_loss(logits, target, gamma=2.0) < 0.1 * focal_loss(logits, target, gamma=0.0)


def test_dice_pools_over_the_batch(target):
    """A false positive on a slice without tumour costs as much as on the other."""
    on_tumour_slice, on_empty_slice = (40.0 * (target - 0.5) for _ in range(2))
    on_tumour_slice[0, 0, 0, :4] = 20.0
    on_empty_slice[1, 0, 0, :4] = 20.0
    assert torch.isclose(dice_loss(on_tumour_slice, target), dice_loss(on_empty_slice, target))


def test_gradient_points_towards_the_target(target):
    logits = torch.zeros(target.shape, requires_grad=True)
    FocalDiceLoss()(logits, target).backward()
    assert (logits.grad[target == 1] < 0).all()
    assert (logits.grad[target == 0] > 0).all()
