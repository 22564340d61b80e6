"""Augmentation: image and mask stay together, randomness is repeatable."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the `training` extra is not installed", exc_type=ImportError)

from training.augment import AugmentConfig, augment_batch, scale_to_tissue, warp  # noqa: E402


@pytest.fixture
def batch():
    masks = torch.zeros(4, 1, 256, 256)
    masks[:, :, 90:150, 100:170] = 1.0
    return masks.repeat(1, 3, 1, 1), masks


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("size", [192, 256])
def test_mask_follows_the_image(batch, size):
    """The image is the mask itself: thresholded after the warp it must agree."""
    images, masks = warp(*batch, generator(), AugmentConfig(), size)
    assert images.shape == (4, 3, size, size)
    assert masks.sum() > 0
    assert torch.equal((images[:, 1:2] > 0.5).float(), masks)


def test_neighbouring_slices_move_together(batch):
    images, _ = warp(*batch, generator(), AugmentConfig(), 256)
    assert torch.equal(images[:, 0], images[:, 2])


def test_same_seed_gives_the_same_batch(batch):
    first = augment_batch(*batch, generator(7))
    second = augment_batch(*batch, generator(7))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[0], augment_batch(*batch, generator(8))[0])


def test_result_is_finite_not_negative_and_binary(batch):
    always = AugmentConfig(p_gamma=1, p_bias=1, p_noise=1, p_lowres=1, p_clahe=1, p_air=0.3)
    images, masks = augment_batch(*batch, generator(), always)
    assert torch.isfinite(images).all()
    assert images.min() >= 0.0
    assert set(masks.unique().tolist()) <= {0.0, 1.0}


def test_air_has_no_tumour(batch):
    images, masks = augment_batch(*batch, generator(), AugmentConfig(p_air=1.0))
    assert masks.sum() == 0
    assert images.std() > 0


def test_windows_without_scale_become_zero(batch):
    images, _ = batch
    scaled = scale_to_tissue(images, torch.tensor([2.0, 0.0, 1.0, 0.5]))
    assert scaled[0].max() == 0.5
    assert scaled[1].max() == 0.0
    assert scaled[3].max() == 2.0
