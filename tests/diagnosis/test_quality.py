"""Numbers of quality, against images whose quality is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from neuroscan_core.diagnosis import limits
from neuroscan_core.diagnosis.quality import measure_quality
from neuroscan_core.domain.volume import Volume
from neuroscan_core.phantom import HeadPhantom, Weighting


def with_voxels(volume: Volume, voxels_kji: np.ndarray) -> Volume:
    return Volume(volume.geometry, volume.keys, voxels_kji.astype(np.float32))


def rician(clean_kji: np.ndarray, sigma: float) -> np.ndarray:
    rng = np.random.default_rng(1)
    real, imaginary = (rng.normal(0, sigma, clean_kji.shape) for _ in range(2))
    return np.hypot(clean_kji + real, imaginary)


@pytest.mark.parametrize("sigma", [5.0, 20.0, 60.0])
def test_noise_is_measured_in_the_air(flair: Volume, small_phantom: HeadPhantom, sigma: float) -> None:
    clean = small_phantom.image(Weighting.FLAIR, noise=0.0).astype(np.float64)
    quality = measure_quality(with_voxels(flair, rician(clean, sigma)))
    assert quality.is_noise_from_air
    assert quality.noise == pytest.approx(sigma, rel=0.05)  # thousands of voxels of air


def test_noise_without_air_is_estimated_inside_the_head(flair: Volume, small_phantom: HeadPhantom) -> None:
    clean = small_phantom.image(Weighting.FLAIR, noise=0.0).astype(np.float64)
    noisy = np.where(clean > 20, rician(clean, 40.0), 0.0)
    quality = measure_quality(with_voxels(flair, noisy))
    assert not quality.is_noise_from_air and quality.ghost is None
    # Anatomy adds to what is taken for noise, never takes away from it.
    assert 35.0 <= quality.noise <= 80.0


def test_noisier_images_have_less_signal_to_noise(flair: Volume, small_phantom: HeadPhantom) -> None:
    quiet, loud = (measure_quality(with_voxels(flair, small_phantom.image(Weighting.FLAIR, noise=noise)))
                   for noise in (0.01, 0.1))  # fmt: skip
    assert quiet.snr is not None and loud.snr is not None and quiet.snr > 5 * loud.snr


def test_cut_off_intensities_are_seen(flair: Volume) -> None:
    assert measure_quality(flair).clipped < 0.001
    limit = np.percentile(flair.voxels_kji[flair.voxels_kji > 100], 80)
    assert measure_quality(with_voxels(flair, np.minimum(flair.voxels_kji, limit))).clipped > 0.1


def test_a_ghost_along_one_axis_is_seen(flair: Volume) -> None:
    still = measure_quality(flair).ghost
    moved = measure_quality(
        with_voxels(flair, flair.voxels_kji + 0.08 * np.roll(flair.voxels_kji, flair.voxels_kji.shape[1] // 2, axis=1))
    ).ghost
    assert still is not None and moved is not None and still < 0.01 and moved > limits.MAX_GHOST


def test_thick_slices_are_anisotropic_and_the_head_is_measured(flair: Volume) -> None:
    thick = replace(flair.geometry, spacing_mm=6.0)
    quality = measure_quality(Volume(thick, flair.keys, flair.voxels_kji))
    assert quality.anisotropy == pytest.approx(6.0)
    assert quality.head_mm[1] == pytest.approx(200, abs=12) and quality.head_mm[2] == pytest.approx(162, abs=12)


def test_a_head_that_is_cut_off_touches_the_edge(flair: Volume) -> None:
    assert not {"left", "right", "front", "back"} & set(measure_quality(flair).touches)
    cut = flair.voxels_kji.copy()
    cut[:, :, :128] = np.roll(cut, 60, axis=2)[:, :, :128]
    moved = np.roll(flair.voxels_kji, -60, axis=2)
    moved[:, :, -60:] = 0
    assert "right" in measure_quality(with_voxels(flair, moved)).touches


def test_an_empty_volume_has_no_signal_and_breaks_nothing(flair: Volume) -> None:
    quality = measure_quality(with_voxels(flair, np.zeros_like(flair.voxels_kji)))
    assert quality.signal == 0.0 and quality.snr is None and quality.head_mm == (0.0, 0.0, 0.0)
