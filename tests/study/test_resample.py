"""Volumes on other grids: positions are kept, to a fraction of a voxel, whatever the rotation and spacing."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy.spatial.transform import Rotation

from neuroscan_core.domain.geometry import SliceGeometry, StackGeometry
from neuroscan_core.pipeline.resample import is_same_grid, overlap, resample

Vector = npt.NDArray[np.float64]
CENTRE = np.array([12.0, -7.5, 20.25])
RADII = np.array([34.0, 45.0, 27.0])


def grid(
    shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], turn: Rotation | None = None
) -> StackGeometry:
    """A stack (k, j, i) around the ellipsoid's centre."""
    axes = (turn or Rotation.identity()).as_matrix()  # columns: i, j, k
    half = axes @ (np.array([(n - 1) * s / 2 for n, s in zip(shape[::-1], spacing_mm[::-1], strict=True)]))
    x, y, z = (float(c) for c in CENTRE - half)
    orientation = tuple(float(c) for c in (*axes[:, 0], *axes[:, 1]))
    first = SliceGeometry((x, y, z), orientation, spacing_mm[1:], shape[1:])  # type: ignore[arg-type]
    return StackGeometry(first, spacing_mm[0], shape[0])


AXIAL_1MM = grid((90, 120, 110), (1.0, 1.0, 1.0))
OBLIQUE = grid((70, 150, 150), (1.5, 0.8, 0.8), Rotation.from_euler("xyz", (12, -8, 25), degrees=True))
SAGITTAL = grid((100, 130, 130), (1.2, 0.9, 0.9), Rotation.from_matrix([[0, 0, 1], [1, 0, 0], [0, 1, 0]]))
THICK = grid((24, 160, 160), (5.0, 0.75, 0.75), Rotation.from_euler("x", 10, degrees=True))


def positions(geometry: StackGeometry) -> Vector:
    k, j, i = np.meshgrid(*(np.arange(n) for n in geometry.shape), indexing="ij")
    ijk1 = np.stack([i, j, k, np.ones_like(i)], axis=-1)
    return np.asarray((ijk1 @ geometry.affine_lps.T)[..., :3])


def distance_mm(geometry: StackGeometry) -> Vector:
    """Signed distance from the ellipsoid's surface to first order; positive outside."""
    scaled = (positions(geometry) - CENTRE) / RADII
    radius = np.linalg.norm(scaled, axis=-1)
    gradient = np.linalg.norm(scaled / RADII, axis=-1) / np.maximum(radius, 1e-6)
    return np.asarray((radius - 1.0) / np.maximum(gradient, 1e-6))


def ramp(geometry: StackGeometry) -> npt.NDArray[np.float32]:
    """A field that is linear in space: trilinear interpolation must reproduce it."""
    return (300.0 + positions(geometry) @ np.array([1.0, -2.0, 0.5])).astype(np.float32)


@pytest.mark.parametrize("source", [OBLIQUE, SAGITTAL, THICK], ids=["oblique", "sagittal", "thick"])
def test_a_field_that_is_linear_in_space_is_reproduced(source: StackGeometry) -> None:
    found = resample(ramp(source), source, AXIAL_1MM)
    inner = np.zeros(AXIAL_1MM.shape, bool)
    inner[25:-25, 35:-35, 30:-30] = True  # inside every source, away from its borders
    # The steepest slope is 2.3 per mm: 0.01 is 4 micrometres.
    assert np.abs(found - ramp(AXIAL_1MM))[inner].max() < 0.01


@pytest.mark.parametrize(
    ("source", "limit_mm"), [(OBLIQUE, 0.15), (SAGITTAL, 0.15), (THICK, 0.6)], ids=["oblique", "sagittal", "thick"]
)
def test_the_surface_of_an_ellipsoid_stays_where_it_is(source: StackGeometry, limit_mm: float) -> None:
    soft = np.clip(distance_mm(source), -8.0, 8.0).astype(np.float32)
    found = resample(soft, source, AXIAL_1MM)
    truth = distance_mm(AXIAL_1MM)
    near = np.abs(truth) < 3.0
    error_mm = np.abs(found[near] - truth[near])
    # What is left is the curvature of the field between voxels: some hundredths of the voxel's length.
    assert error_mm.mean() < limit_mm / 3
    assert np.percentile(error_mm, 99) < limit_mm


def test_the_same_grid_is_given_back_untouched() -> None:
    voxels = np.random.default_rng(0).gamma(2.0, 50.0, AXIAL_1MM.shape).astype(np.float32)
    assert np.array_equal(resample(voxels, AXIAL_1MM, AXIAL_1MM), voxels)
    shifted = grid(AXIAL_1MM.shape, (1.0, 1.0, 1.01))
    assert not is_same_grid(AXIAL_1MM, shifted)


def test_outside_of_the_source_there_is_nothing() -> None:
    small = grid((20, 30, 30), (1.0, 1.0, 1.0))
    found = resample(np.full(small.shape, 7.0, np.float32), small, AXIAL_1MM)
    # Half a voxel of border on each side belongs to the image; the grids lie half a voxel apart on no axis.
    assert found.max() == 7.0
    assert (found > 0).sum() == np.prod(small.shape)


def test_what_is_not_finite_counts_as_nothing() -> None:
    voxels = np.ones(AXIAL_1MM.shape, np.float32)
    voxels[40, 50, 50] = np.nan
    voxels[41, 50, 50] = np.inf
    found = resample(voxels, AXIAL_1MM, OBLIQUE)
    assert np.isfinite(found).all()
    assert found.max() <= 1.0 + 1e-6


def test_fine_noise_is_averaged_before_a_coarse_grid_takes_every_fourth_voxel() -> None:
    fine = grid((120, 100, 100), (0.5, 1.0, 1.0))
    coarse = grid((15, 100, 100), (4.0, 1.0, 1.0))
    noise = np.random.default_rng(1).normal(0.0, 1.0, fine.shape).astype(np.float32)
    assert resample(noise, fine, coarse).std() < 0.45  # every eighth slice alone would have 0.7 to 1


def test_overlap_is_the_share_of_the_smaller_volume() -> None:
    half = grid((45, 120, 110), (1.0, 1.0, 1.0))
    assert overlap(AXIAL_1MM, half) == 1.0
    x, y, z = half.first.position_mm
    moved = StackGeometry(
        SliceGeometry((x + 55.0, y, z), half.first.orientation, half.first.spacing_mm, half.first.shape), 1.0, 45
    )
    assert overlap(AXIAL_1MM, moved) == pytest.approx(0.5, abs=0.05)
    away = StackGeometry(
        SliceGeometry((x + 500.0, y, z), half.first.orientation, half.first.spacing_mm, half.first.shape), 1.0, 45
    )
    assert overlap(AXIAL_1MM, away) == 0.0


def test_a_caller_can_stop_between_slabs() -> None:
    class Enough(Exception):
        pass

    calls: list[None] = []

    def pause() -> None:
        calls.append(None)
        if len(calls) == 3:
            raise Enough

    with pytest.raises(Enough):
        resample(ramp(OBLIQUE), OBLIQUE, AXIAL_1MM, pause=pause)
