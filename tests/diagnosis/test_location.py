"""Midline, side and place, on heads that lie as a test wants them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neuroscan_core.diagnosis.head import head_mask
from neuroscan_core.diagnosis.location import locate
from neuroscan_core.diagnosis.midline import find_midline
from neuroscan_core.domain.geometry import SliceGeometry, StackGeometry
from neuroscan_core.domain.volume import FrameKey, Volume
from neuroscan_core.nifti import read_nifti
from neuroscan_core.phantom import HeadPhantom, Weighting, head_phantom
from neuroscan_core.pipeline.resample import resample


@pytest.fixture(scope="module")
def phantom() -> HeadPhantom:
    return head_phantom(num_slices=60)


def seen_along(
    phantom: HeadPhantom, axes: np.ndarray, voxel_mm: float = 2.0, shift_mm: float = 0.0
) -> tuple[Volume, np.ndarray]:
    """The phantom on a grid whose i, j, k run along the columns of `axes`; and its tumour there."""
    shape, voxel_mm = (70, 80, 80), 2.8
    source = phantom.geometry
    k, j, i = ((length - 1) / 2 for length in source.shape)
    centre = (source.affine_lps @ (i, j, k, 1.0))[:3] + np.array([shift_mm, 0.0, 0.0])
    half = axes @ (np.array([shape[2] - 1, shape[1] - 1, shape[0] - 1]) * voxel_mm) / 2
    orientation = tuple(float(x) for x in (*axes[:, 0], *axes[:, 1]))
    first = SliceGeometry(tuple(centre - half), orientation, (voxel_mm, voxel_mm), shape[1:])  # type: ignore[arg-type]
    grid = StackGeometry(first, voxel_mm, shape[0])
    voxels = resample(phantom.image(Weighting.FLAIR).astype(np.float32), source, grid)
    tumour = resample(phantom.tumour_kji.astype(np.float32), source, grid) > 0.5
    return Volume(grid, tuple(FrameKey("x", n + 1) for n in range(shape[0])), voxels), tumour


def turned(degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


AXIAL = np.eye(3)
SAGITTAL = np.array([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
CORONAL = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])


@pytest.mark.parametrize(
    "axes", [AXIAL, SAGITTAL, CORONAL, turned(8.0), turned(-8.0), np.diag([-1.0, -1.0, 1.0])],
    ids=["axial", "sagittal", "coronal", "turned left", "turned right", "feet first"],
)  # fmt: skip
def test_the_midline_of_a_head_is_found_however_it_is_seen(phantom: HeadPhantom, axes: np.ndarray) -> None:
    volume, tumour = seen_along(phantom, axes)
    midline = find_midline(volume, tumour)
    assert midline.is_sure, midline
    # The phantom is symmetric about x = 0.
    assert abs(midline.offset_mm) < 3.0 and midline.normal[0] > 0.99


def test_the_midline_does_not_lie_in_the_middle_of_the_images_but_of_the_head(phantom: HeadPhantom) -> None:
    volume, tumour = seen_along(phantom, AXIAL, shift_mm=12.0)
    assert abs(find_midline(volume, tumour).offset_mm) < 3.0


@pytest.mark.parametrize("axes", [AXIAL, SAGITTAL, CORONAL], ids=["axial", "sagittal", "coronal"])
def test_a_tumour_on_the_patients_left_is_said_to_be_there(phantom: HeadPhantom, axes: np.ndarray) -> None:
    volume, tumour = seen_along(phantom, axes)
    location = locate(tumour, head_mask(volume), volume.geometry, find_midline(volume, tumour))
    assert location is not None and location.side == "left" and location.left_share > 0.99
    assert location.centre_mm == pytest.approx((33.0, -20.0, 27.0), abs=5.0)  # where the phantom has it
    low, high = location.box_mm[:3], location.box_mm[3:]
    assert all(a < c < b for a, c, b in zip(low, location.centre_mm, high, strict=True))
    assert "no atlas" not in location.place_words and "left hemisphere" in location.sentence


def test_a_finding_on_both_sides_is_said_to_be_on_both(phantom: HeadPhantom) -> None:
    volume, tumour = seen_along(phantom, AXIAL)
    both = tumour | tumour[:, :, ::-1]
    location = locate(both, head_mask(volume), volume.geometry, find_midline(volume, both))
    assert location is not None and location.side == "both sides"
    assert location.left_share == pytest.approx(0.5, abs=0.05)


def test_no_side_is_claimed_of_what_is_not_symmetric() -> None:
    noise = np.random.default_rng(3).random((40, 64, 64)).astype(np.float32) * 1000
    grid = StackGeometry(SliceGeometry((0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0), (3.0, 3.0), (64, 64)), 3.0, 40)
    midline = find_midline(Volume(grid, tuple(FrameKey("x", n + 1) for n in range(40)), noise))
    assert midline.sureness == "unsure"
    location = locate(noise > 990, np.ones(noise.shape, bool), grid, midline)
    assert location is not None and "must be looked at" in location.sentence


def test_an_empty_finding_lies_nowhere(flair: Volume) -> None:
    nothing = np.zeros(flair.voxels_kji.shape, bool)
    assert locate(nothing, nothing, flair.geometry, find_midline(flair)) is None


def test_heads_in_the_space_of_an_atlas_are_divided_where_the_atlas_divides_them(shared_data: Path) -> None:
    cases = sorted(path for path in (shared_data / "brats_volumes_u8").iterdir() if path.is_dir())[:3]
    for folder in cases:
        volume = read_nifti(folder / f"{folder.name}_flair.nii.gz").volume
        middle = (volume.geometry.affine_lps @ (119.5, 120.0, 77.0, 1.0))[:3]
        midline = find_midline(volume)
        assert abs(float(midline.left_of_mm(middle[None])[0])) < 3.0 and midline.is_sure, folder.name


def test_head_mask_fills_what_is_dark_inside_and_leaves_air_out(flair: Volume, small_phantom: HeadPhantom) -> None:
    mask = head_mask(flair)
    assert mask[small_phantom.tumour_kji].all()
    assert not mask[:, :10].any() and not mask[:, :, :10].any()
