"""Losses of several classes or regions: values of MONAI and scikit-learn, signs of gradients, names."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the `training` extra is not installed", exc_type=ImportError)

from sklearn.metrics import log_loss  # noqa: E402 - after the skip

from training.losses import LOSSES, UnknownLoss, build_loss  # noqa: E402

# MONAI 1.5 and 1.6 hand arguments to PyTorch that it renames.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


@pytest.fixture
def logits():
    return torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def target():
    return torch.randint(0, 4, (3, 8, 8), generator=torch.Generator().manual_seed(2))


def test_weighted_dice_is_monai_s_up_to_the_sum_of_the_weights(logits, target):
    from monai.losses import DiceLoss

    weights = [0.1, 4.0, 1.0, 1.0]
    monai = DiceLoss(softmax=True, to_onehot_y=True, batch=True, weight=weights, smooth_nr=1.0, smooth_dr=1.0)
    # MONAI divides the weighted losses by the number of classes, this loss by the sum of the weights.
    expected = monai(logits, target[:, None]) * 4 / sum(weights)
    assert torch.isclose(build_loss("weighted-dice")(logits, target), expected)


def test_dice_with_cross_entropy_is_monai_s(logits, target):
    from monai.losses import DiceCELoss

    monai = DiceCELoss(softmax=True, to_onehot_y=True, batch=True, smooth_nr=1.0, smooth_dr=1.0)
    assert torch.isclose(build_loss("dice-ce")(logits, target), monai(logits, target[:, None]))


def test_multi_label_dice_is_monai_s_on_volumes():
    from monai.losses import DiceLoss

    logits = torch.randn(2, 3, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    target = (torch.rand(logits.shape, generator=torch.Generator().manual_seed(4)) > 0.7).float()
    monai = DiceLoss(sigmoid=True, batch=True, smooth_nr=1.0, smooth_dr=1.0)
    own = build_loss("dice", cross_entropy_weight=0.0)
    assert torch.isclose(own(logits, target), monai(logits, target))
    with_entropy = build_loss("dice")(logits, target) - own(logits, target)
    assert torch.isclose(with_entropy, torch.nn.functional.binary_cross_entropy_with_logits(logits, target))


def test_cross_entropy_without_smoothing_is_scikit_learn_s():
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(5))
    target = torch.tensor([0, 1, 2, 3, 3, 1])
    expected = log_loss(target.numpy(), logits.double().softmax(1).numpy(), labels=range(4))
    # float32 against float64
    assert build_loss("cross-entropy", label_smoothing=0.0)(logits, target).item() == pytest.approx(expected, rel=1e-6)


def test_smoothing_makes_certainty_cost():
    certain, target = torch.tensor([[30.0, 0.0, 0.0, 0.0]]), torch.tensor([0])
    assert build_loss("cross-entropy", label_smoothing=0.0)(certain, target) < 1e-6
    assert build_loss("cross-entropy")(certain, target) > 1.0


def test_cross_entropy_takes_mixed_truth():
    logits = torch.zeros(1, 4)
    mixed = torch.tensor([[0.5, 0.5, 0.0, 0.0]])
    assert build_loss("cross-entropy")(logits, mixed).item() == pytest.approx(torch.log(torch.tensor(4.0)).item())


@pytest.mark.parametrize("name", ["weighted-dice", "dice-ce"])
def test_right_and_certain_answers_cost_nothing(name, target):
    right = 40.0 * torch.nn.functional.one_hot(target, 4).movedim(-1, 1).float()
    loss = build_loss(name)
    assert loss(right, target) < 1e-5
    assert loss(right.roll(1, dims=1), target) > 0.9


def test_heavier_class_draws_the_larger_gradient(target):
    logits = torch.zeros(3, 4, 8, 8, requires_grad=True)
    build_loss("weighted-dice", weights=[1.0, 10.0, 1.0, 1.0])(logits, target).backward()
    pull = logits.grad.abs().mean(dim=(0, 2, 3))
    assert pull.argmax() == 1


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_half_precision_logits_are_computed_in_float32(name):
    generator = torch.Generator().manual_seed(6)
    if name == "cross-entropy":
        logits, target = torch.randn(4, 4, generator=generator), torch.tensor([0, 1, 2, 3])
    elif name in ("weighted-dice", "dice-ce"):
        logits, target = torch.randn(1, 4, 64, 64, generator=generator), torch.zeros(1, 64, 64, dtype=torch.int64)
    else:
        logits, target = torch.randn(1, 3, 64, 64, generator=generator), torch.ones(1, 3, 64, 64)
    half = logits.bfloat16()
    loss = build_loss(name)(half, target)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, build_loss(name)(half.float(), target))


def test_negative_weights_are_refused():
    with pytest.raises(ValueError, match="negative"):
        build_loss("weighted-dice", weights=[1.0, -1.0])


def test_unknown_names_and_options_are_refused():
    with pytest.raises(UnknownLoss, match=r"hinge.*Known are cross-entropy"):
        build_loss("hinge")
    with pytest.raises(UnknownLoss, match="no option sharpness"):
        build_loss("dice", sharpness=2)
