"""Probabilities of whole cases: every kind, flips averaged, volumes resampled there and back."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch", reason="the `training` extra is not installed", exc_type=ImportError)

from training.data.cache import ArrayCache, CachedCase
from training.inference import CaseOptions, predict_case, predict_pictures, sigmoid, softmax

CASE = CachedCase("case", "brats", 2, 6, "case", mean=(125.0,) * 4, std=(43.0,) * 4)
NOTHING = np.zeros(0)


def cache_of(num_channels, size=32):
    """Ten slices, six of them the case: noise on a dark background."""
    rng = np.random.default_rng(42)
    images = np.zeros((10, num_channels, size, size), dtype=np.uint16)
    images[:, :, 4:-4, 4:-4] = rng.integers(50, 200, (10, num_channels, size - 8, size - 8))
    return ArrayCache("multimodal", images, np.zeros((0, 0, 0), np.uint8), (CASE,), NOTHING, NOTHING, NOTHING)


def pick(channels):
    """A network whose logits are some of its input channels."""
    return lambda batch: np.ascontiguousarray(batch[:, channels])


def test_a_slice_network_sees_its_own_slice_in_the_middle_channel():
    probabilities = predict_case(pick([1]), cache_of(1), CASE, "slice25d", batch_size=4)
    assert probabilities.shape == (1, 6, 32, 32)
    assert probabilities[0, :, 0, 0] == pytest.approx(0.5)  # air is 0, sigmoid(0) = 0.5
    assert (probabilities[0, :, 10, 10] > 0.5).all()


def test_multimodal_probabilities_sum_to_one():
    probabilities = predict_case(pick([0, 1, 2, 3]), cache_of(4), CASE, "multimodal2d", batch_size=4)
    assert probabilities.shape == (4, 6, 32, 32)
    np.testing.assert_allclose(probabilities.sum(axis=0), 1.0, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "channels", "outputs"),
    [("slice25d", 1, [1]), ("multimodal2d", 4, [0, 1, 2, 3]), ("volume3d", 4, [0, 1, 2])],
)
def test_flips_change_nothing_for_a_network_that_looks_at_single_pixels(kind, channels, outputs):
    cache, options = cache_of(channels), CaseOptions(patch_size=(16, 16, 16))
    plain = predict_case(pick(outputs), cache, CASE, kind, options=options)
    averaged = predict_case(pick(outputs), cache, CASE, kind, options=options, tta=True)
    np.testing.assert_allclose(plain, averaged, atol=1e-5)


def test_flips_are_averaged_for_a_network_that_looks_left():
    def shifted(batch):
        return np.roll(batch[:, [1]], 1, axis=-1)

    plain = predict_case(shifted, cache_of(1), CASE, "slice25d")
    averaged = predict_case(shifted, cache_of(1), CASE, "slice25d", tta=True)
    left, right = np.roll(plain, -2, axis=-1), plain
    np.testing.assert_allclose(averaged, (2 * right + left) / 3, atol=1e-5)


def test_a_volume_network_gets_patches_and_gives_the_size_of_the_case():
    shapes = set()

    def spy(batch):
        shapes.add(batch.shape)
        return batch[:, :3]

    probabilities = predict_case(spy, cache_of(4), CASE, "volume3d", options=CaseOptions(2.0, (8, 8, 8)))
    assert shapes == {(1, 4, 8, 8, 8)}
    assert probabilities.shape == (3, 6, 32, 32)


def test_the_sliding_window_reproduces_a_network_that_looks_at_single_voxels():
    cache = cache_of(4)
    probabilities = predict_case(pick([0, 1, 2]), cache, CASE, "volume3d", options=CaseOptions(1.0, (4, 16, 16)))
    whole = predict_case(pick([0, 1, 2]), cache, CASE, "volume3d", options=CaseOptions(1.0, (6, 32, 32)))
    np.testing.assert_allclose(probabilities, whole, atol=1e-5)
    assert probabilities.max() > 0.5


def test_there_is_no_tumour_outside_the_head():
    images = np.zeros((10, 4, 64, 64), dtype=np.uint16)
    images[:, :, 24:40, 24:40] = 100
    cache = SimpleNamespace(images_SCHW=images)
    options = CaseOptions(1.0, (6, 16, 16))
    probabilities = predict_case(
        lambda patch: np.full_like(patch[:, :3], 9.0), cache, CASE, "volume3d", options=options
    )
    assert probabilities[:, :, 32, 32].min() > 0.99
    assert probabilities[:, :, :8].max() == 0.0
    images[:] = 0
    assert not predict_case(pick([0, 1, 2]), cache, CASE, "volume3d", options=options).any()


def test_pictures_go_through_the_preprocessing_of_the_node():
    pytest.importorskip("neuroscan_core.pipeline.picture")
    images = np.random.default_rng(1).integers(0, 255, (3, 1, 40, 40), dtype=np.uint8)

    def mean_as_first_logit(batch):
        assert batch.shape[1:] == (1, 16, 16) and batch.min() >= -1 and batch.max() <= 1
        return np.stack([batch.mean(axis=(1, 2, 3)), *np.zeros((3, len(batch)), np.float32)], axis=1)

    probabilities = predict_pictures(mean_as_first_logit, SimpleNamespace(images_SCHW=images), [2, 0], 16)
    assert probabilities.shape == (2, 4)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-6)


def test_no_pictures_give_no_rows():
    assert predict_pictures(lambda batch: batch, SimpleNamespace(images_SCHW=np.zeros((0, 1, 8, 8))), [], 8).shape == (
        0,
        4,
    )


def test_a_classifier_has_no_cases():
    with pytest.raises(ValueError, match="predict_pictures"):
        predict_case(pick([0]), cache_of(1), CASE, "classifier")


def test_activations_survive_large_logits():
    logits = np.array([[-1e4, 0.0, 1e4]], dtype=np.float32)
    np.testing.assert_allclose(sigmoid(logits), [[0, 0.5, 1]], atol=1e-7)
    np.testing.assert_allclose(softmax(logits), [[0, 0, 1]], atol=1e-7)
