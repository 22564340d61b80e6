"""Augmentation: image and target stay together, randomness is repeatable, the network gets what the node would give."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the `training` extra is not installed", exc_type=ImportError)

from neuroscan_core.phantom import Tissue, Weighting, head_phantom  # noqa: E402
from neuroscan_core.pipeline.normalise import normalise_window, slice_scale  # noqa: E402
from training.augment import AugmentConfig, build_augmentation  # noqa: E402
from training.augment.clahe import equalise  # noqa: E402
from training.augment.config import DEFAULTS, config_of  # noqa: E402
from training.augment.heads import add_skull, is_stripped, remove_skull, replace_by_air  # noqa: E402
from training.augment.intensity import gamma_contrast, low_resolution, rician_noise  # noqa: E402
from training.augment.space import plane_grid, smooth_field, warp_images, warp_labels, warp_volumes  # noqa: E402
from training.augment.stripping import strip  # noqa: E402
from training.augment.tissue import normalise_windows, tissue_of_zscores, zscores_of_tissue  # noqa: E402
from training.data.errors import DataError  # noqa: E402

STILL = {
    "max_rotation_deg": 0.0,
    "zoom": (1.0, 1.0),
    "max_shift": 0.0,
    "p_elastic": 0.0,
    "p_flip_lr": 0.0,
    "p_flip_ud": 0.0,
}
DULL = {
    "p_gamma": 0.0,
    "channel_gain": (1.0, 1.0),
    "p_bias": 0.0,
    "p_noise": 0.0,
    "p_lowres": 0.0,
    "p_clahe": 0.0,
    "p_air": 0.0,
}
SIDE = 64


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch_of(kind: str, seed: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """A block of tumour in a block of tissue in air, in the units of the kind."""
    noise = torch.rand(4, 1, SIDE, SIDE, generator=generator(seed)) * 0.1
    tissue = torch.zeros(4, 1, SIDE, SIDE)
    tissue[:, :, 16:48, 14:50] = 1.0
    labels = torch.zeros(4, SIDE, SIDE, dtype=torch.int64)
    labels[:, 24:36, 20:32] = 2
    image = (tissue + 0.8 * (labels > 0)[:, None]) * (1 + noise)
    if kind == "slice25d":
        return image.repeat(1, 3, 1, 1), (labels > 0)[:, None].float()
    if kind == "multimodal2d":
        return (image.repeat(1, 4, 1, 1) - 1.0) * 3.0, labels
    if kind == "classifier":
        return (image / 2.2) * 2.0 - 1.0, torch.arange(4)
    volume = ((image - 1.0) * 3.0)[:, :, None].repeat(1, 4, 16, 1, 1)
    return volume, (labels > 0)[:, None, None].repeat(1, 3, 16, 1, 1).float()


@pytest.mark.parametrize("kind", DEFAULTS)
def test_same_seed_gives_the_same_batch_and_the_input_stays_as_it_was(kind):
    image, target = batch_of(kind)
    before = image.clone(), target.clone()
    augment = build_augmentation(kind, {"p_noise": 1.0, "p_bias": 1.0, "p_lowres": 0.5, "p_flip_lr": 0.5})
    first, second = augment(image, target, generator(7)), augment(image, target, generator(7))
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])
    assert not torch.equal(first[0], augment(image, target, generator(8))[0])
    assert torch.equal(image, before[0]) and torch.equal(target, before[1])


@pytest.mark.parametrize("kind", DEFAULTS)
def test_shapes_types_and_range_are_kept_with_everything_switched_on(kind):
    on = {name: 1.0 for name in vars(AugmentConfig()) if name.startswith("p_") and name != "p_air"}
    image, target = batch_of(kind)
    out, out_target = build_augmentation(kind, on)(image, target, generator())
    assert out.shape == image.shape and out_target.shape == target.shape
    assert out.dtype == torch.float32 and out_target.dtype == target.dtype
    assert torch.isfinite(out).all()
    low, high = {"slice25d": (0, 4), "classifier": (-1, 1)}.get(kind, (-5, 5))
    assert out.min() >= low and out.max() <= high
    assert set(out_target.unique().tolist()) <= set(target.unique().tolist())


@pytest.mark.parametrize("kind", ["multimodal2d", "volume3d", "classifier"])
def test_nothing_happens_with_everything_switched_off(kind):
    image, target = batch_of(kind)
    out, out_target = build_augmentation(kind, {**STILL, **DULL, "p_spatial": 0.0})(image, target, generator())
    torch.testing.assert_close(out, image, atol=1e-4, rtol=0)
    assert torch.equal(out_target, target)


@pytest.mark.parametrize("size", [48, 64])
def test_mask_follows_the_image(size):
    """The image is the mask itself: thresholded after the warp it must agree."""
    _, masks = batch_of("slice25d")
    grid = plane_grid(4, SIDE, size, generator(), AugmentConfig())
    warped = warp_images(masks, grid)
    labels = warp_labels(masks[:, 0], grid)
    assert warped.shape == (4, 1, size, size) and labels.sum() > 0
    # Bilinear and nearest differ on the edge alone.
    assert ((warped[:, 0] > 0.5) != (labels > 0.5)).float().mean() < 0.01


def test_volume_and_regions_move_together():
    _, regions = batch_of("volume3d")
    config = config_of("volume3d", {"p_spatial": 1.0, "p_flip_depth": 0.5})
    images, moved = warp_volumes(regions, regions, generator(2), config)
    assert torch.equal((images > 0.5).float(), moved)
    assert not torch.equal(moved, regions) and moved.sum() > 0


def test_channels_of_a_study_move_together_and_vary_by_themselves():
    image, target = batch_of("multimodal2d")
    moved, _ = build_augmentation("multimodal2d", DULL)(image, target, generator())
    assert torch.equal(moved[:, 0], moved[:, 3])
    changed, _ = build_augmentation("multimodal2d", {**STILL, "p_gamma": 1.0})(image, target, generator())
    assert not torch.allclose(changed[:, 0], changed[:, 3])


def test_rotation_stays_within_its_limit():
    config = config_of("slice25d", {**STILL, "max_rotation_deg": 35.0})
    grid = plane_grid(500, 8, 8, generator(), config)
    across = grid[:, 0, 1] - grid[:, 0, 0]
    angle = torch.rad2deg(torch.atan2(across[:, 1], across[:, 0]))
    assert angle.abs().max() <= 35.01 and angle.max() > 30 and angle.min() < -30


def test_probabilities_are_those_of_the_configuration():
    config = config_of("slice25d", {"p_air": 0.25})
    images = torch.ones(2000, 1, 2, 2)
    changed, _ = replace_by_air(images, torch.ones(2000, 1, 2, 2), generator(), config)
    assert float((changed != 1).flatten(1).any(1).float().mean()) == pytest.approx(0.25, abs=0.04)  # 4 sigma


def test_air_has_no_tumour():
    image, target = batch_of("slice25d")
    air, mask = build_augmentation("slice25d", {"p_air": 1.0})(image, target, generator())
    assert mask.sum() == 0 and air.std() > 0


def test_tissue_is_a_fixed_point_of_gamma_and_air_stays_air():
    config = config_of("slice25d", {**DULL, "p_gamma": 1.0, "contrast": (1.0, 1.0)})
    images = torch.tensor([0.0, 0.5, 1.0, 2.0]).reshape(1, 1, 2, 2).repeat(50, 1, 1, 1)
    changed = gamma_contrast(images, generator(), config)
    assert (changed[:, 0, 0, 0] < 1e-4).all()
    torch.testing.assert_close(changed[:, 0, 1, 0], torch.ones(50))
    assert changed[:, 0, 0, 1].min() < 0.4 and changed[:, 0, 0, 1].max() > 0.55


def test_noise_is_rician():
    """On air the mean is sigma * sqrt(pi / 2); far above it the noise is Gaussian and leaves the mean nearly alone."""
    config = config_of("slice25d", {"p_noise": 1.0, "noise": 0.01})
    air = rician_noise(torch.zeros(4, 1, 128, 128), generator(), config)
    assert float(air.mean()) == pytest.approx(0.01 * (np.pi / 2) ** 0.5, rel=0.02)
    tissue = rician_noise(torch.ones(4, 1, 128, 128), generator(), config)
    assert float(tissue.mean()) == pytest.approx(1.0, abs=1e-3) and float(tissue.std()) == pytest.approx(0.01, rel=0.03)


@pytest.mark.parametrize("shape", [(16, 16), (8, 16, 16)])
def test_low_resolution_removes_fine_texture_and_keeps_the_mean(shape):
    config = config_of("slice25d", {"p_lowres": 1.0, "lowres": (2.0, 2.5)})
    images = torch.rand(2, 2, *shape, generator=generator())
    coarse = low_resolution(images.clone(), generator(), config)
    assert coarse.shape == images.shape and coarse.std() < 0.6 * images.std()
    assert float(coarse.mean()) == pytest.approx(float(images.mean()), abs=0.03)


@pytest.mark.parametrize("shape", [(256, 256), (150, 150)])
def test_equalisation_is_that_of_the_reference(shape):
    """Both round once more at the end: less than one grey value of 255 apart."""
    rng = np.random.default_rng(5)
    smooth = cv2.GaussianBlur(rng.random(shape).astype(np.float32), (0, 0), 6)
    grey = cv2.normalize(smooth, None, 0, 200, cv2.NORM_MINMAX).astype(np.uint8)
    reference = cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8)).apply(grey)
    ours = equalise(torch.from_numpy(grey.astype(np.float32) / 255.0)[None])[0].numpy() * 255.0
    assert np.abs(ours - reference).max() < 1.0
    assert np.abs(ours - grey).max() > 10


def test_batched_normalisation_is_that_of_the_node():
    rng = np.random.default_rng(2)
    windows = (rng.gamma(2.0, 0.5, (4, 3, 40, 40)) * (rng.random((4, 3, 40, 40)) > 0.4)).astype(np.float32)
    windows[3] = 0.0
    expected = np.stack([normalise_window(list(window)) for window in windows])
    np.testing.assert_allclose(normalise_windows(torch.from_numpy(windows)).numpy(), expected, rtol=1e-6, atol=1e-6)


def test_z_scores_go_to_units_of_tissue_and_back():
    scores = (batch_of("multimodal2d")[0]).clamp(-5, 5)
    tissue, scale = tissue_of_zscores(scores)
    assert float(tissue.min()) == 0.0 and float(tissue[:, :, 20, 16].mean()) == pytest.approx(1.05, abs=0.06)
    torch.testing.assert_close(zscores_of_tissue(tissue, scale), scores, atol=1e-5, rtol=0)


def test_smooth_field_is_the_bicubic_resize():
    nodes = torch.randn(2, 3, 6, 5, generator=generator())
    expected = torch.nn.functional.interpolate(nodes, (40, 50), mode="bicubic", align_corners=True)
    torch.testing.assert_close(smooth_field(nodes, 40, 50), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_stripped_head_gets_a_shell_and_keeps_its_brain(ndim):
    side = 96 if ndim == 2 else 64
    axes = torch.meshgrid(*[torch.arange(side) - side / 2] * ndim, indexing="ij")
    brain = sum(axis**2 for axis in axes) < (side / 4.5) ** 2
    images = (brain.float() * 1.0)[None, None].repeat(2, 3, *[1] * ndim)
    assert is_stripped(images).all()
    shelled = add_skull(images, generator(), AugmentConfig(p_skull=1.0))
    assert torch.equal(shelled[:, :, brain], images[:, :, brain])
    around = shelled[:, :, ~brain]
    assert around.max() > 0.5 and (around > 0.4).float().mean() > 0.02


def test_a_head_with_skull_gets_no_second_one():
    images = torch.rand(2, 3, 64, 64, generator=generator()) + 0.01
    assert not is_stripped(images).any()
    assert torch.equal(add_skull(images, generator(), AugmentConfig(p_skull=1.0)), images)


@pytest.fixture(scope="module")
def heads():
    """Four slices of a generated head in units of tissue, and what is where."""
    phantom = head_phantom(num_slices=8, size=256)
    inside = slice(3, 7)
    flair = phantom.image(Weighting.FLAIR)[inside].astype(np.float32)
    images = torch.from_numpy(np.stack([plane / slice_scale(plane) for plane in flair]))[:, None].repeat(1, 3, 1, 1)
    return images, phantom.tissue_kji[inside]


def test_a_head_loses_its_scalp_and_keeps_its_brain(heads):
    images, tissue = heads
    kept = strip(images, torch.zeros(images[:, 0].shape))[:, 0].numpy() > 0
    for n in range(len(images)):
        assert kept[n][np.isin(tissue[n], (Tissue.GREY, Tissue.WHITE))].mean() > 0.95
        assert kept[n][np.isin(tissue[n], (Tissue.FAT, Tissue.MUSCLE))].mean() < 0.05
    assert is_stripped(strip(images, torch.zeros(images[:, 0].shape))).all()


def test_stripping_never_takes_tumour(heads):
    images, tissue = heads
    scalp = torch.from_numpy(np.isin(tissue, (Tissue.FAT,)).astype(np.float32))
    assert torch.equal(strip(images, scalp), images)


def test_what_is_no_head_is_not_stripped():
    noise = torch.rand(2, 3, 128, 128, generator=generator())
    assert torch.equal(strip(noise, torch.zeros(2, 128, 128)), noise)


def test_only_the_chosen_heads_are_stripped(heads):
    images, _ = heads
    mask = torch.zeros(len(images), *images.shape[2:])
    assert torch.equal(remove_skull(images, mask, generator(), AugmentConfig(p_strip=0.0)), images)
    many, masks = images[1:2, :, ::2, ::2].repeat(60, 1, 1, 1), mask[1:2, ::2, ::2].repeat(60, 1, 1)
    changed = remove_skull(many, masks, generator(), AugmentConfig(p_strip=0.5))
    share = (changed != many).flatten(1).any(1).float().mean()
    assert float(share) == pytest.approx(0.5, abs=0.26)  # 4 sigma of 60


def test_a_dropped_channel_is_air_as_the_node_would_normalise_it():
    image, target = batch_of("multimodal2d")
    out, _ = build_augmentation("multimodal2d", {**STILL, **DULL, "p_channel_drop": 1.0})(image, target, generator())
    constant = (out.flatten(2).std(dim=2) < 1e-6).sum(dim=1)
    assert constant.tolist() == [1, 1, 1, 1]


def test_unknown_words_are_said():
    with pytest.raises(DataError, match="p_flop"):
        build_augmentation("slice25d", {"p_flop": 1.0})
    with pytest.raises(DataError, match="slice3d"):
        build_augmentation("slice3d")
    with pytest.raises(DataError, match="p_flip_lr is 2"):
        build_augmentation("slice25d", {"p_flip_lr": 2.0})
    with pytest.raises(DataError, match="zoom"):
        build_augmentation("slice25d", {"zoom": (1.2, 0.8)})
