"""Small parts go, what remains is measured in millimetres."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from neuroscan_core.domain.model_card import ModelCard
from neuroscan_core.domain.volume import FrameKey
from neuroscan_core.pipeline.measure import finish_segmentation, largest_diameter, measure_region
from neuroscan_core.pipeline.postprocess import bounding_box, remove_small_components
from tests.pipeline.stacks import card_mapping, stack_geometry


def keys(num_slices: int) -> tuple[FrameKey, ...]:
    return tuple(FrameKey(f"1.2.{k}") for k in range(num_slices))


def ellipse(
    shape: tuple[int, int], centre_ij: tuple[float, float], radii_ij: tuple[float, float], angle_deg: float = 0.0
) -> npt.NDArray[np.bool_]:
    j, i = np.mgrid[: shape[0], : shape[1]].astype(float)
    x, y, a = i - centre_ij[0], j - centre_ij[1], np.radians(angle_deg)
    u, v = x * np.cos(a) + y * np.sin(a), -x * np.sin(a) + y * np.cos(a)
    return (u / radii_ij[0]) ** 2 + (v / radii_ij[1]) ** 2 <= 1.0


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**16), density=st.floats(0.0, 0.4), limit=st.integers(0, 12))
def test_components_are_those_of_a_plain_labelling(seed: int, density: float, limit: int) -> None:
    mask = np.random.default_rng(seed).random((6, 9, 8)) < density
    kept, num_components = remove_small_components(mask, 0.01, limit * 0.01)
    labels, num_all = ndimage.label(mask, structure=np.ones((3, 3, 3)))
    sizes = np.bincount(labels.ravel(), minlength=num_all + 1)
    wanted = [n for n in range(1, num_all + 1) if sizes[n] >= limit]
    assert np.array_equal(kept, np.isin(labels, wanted))
    assert num_components == len(wanted)


def test_a_part_of_exactly_the_limit_stays() -> None:
    mask = np.zeros((4, 8, 8), dtype=bool)
    mask[1, 2:4, 2:7] = True
    assert remove_small_components(mask, 0.1 / 3, 10 * 0.1 / 3)[1] == 1
    assert remove_small_components(mask, 0.1 / 3, 10.5 * 0.1 / 3)[1] == 0


def test_parts_that_touch_at_a_corner_are_one() -> None:
    mask = np.zeros((3, 4, 4), dtype=bool)
    mask[0, 0, 0] = mask[1, 1, 1] = mask[2, 2, 0] = True
    assert remove_small_components(mask, 1.0, 0.0)[1] == 1


def test_the_bounding_box_holds_all_and_nothing_else() -> None:
    mask = np.zeros((5, 6, 7), dtype=bool)
    assert bounding_box(mask) is None
    mask[1, 2, 3] = mask[3, 4, 3] = True
    assert bounding_box(mask) == (slice(1, 4), slice(2, 5), slice(3, 4))


def test_a_sphere_has_its_volume_and_its_diameter() -> None:
    geometry = stack_geometry(50, shape=(64, 64), gap_mm=1.0)
    k, j, i = np.ogrid[:50, :64, :64]
    mask = (k - 25) ** 2 + (j - 30) ** 2 + (i - 31) ** 2 <= 15**2
    measured = measure_region(1, mask, 1, geometry, keys(50))
    assert measured.volume_ml == pytest.approx(4 / 3 * np.pi * 1.5**3, rel=0.01)
    assert measured.diameter is not None
    assert measured.diameter.key == FrameKey("1.2.25")
    # One pixel is what a digital circle leaves open.
    assert measured.diameter.long_mm == pytest.approx(31, abs=1.0)
    assert measured.diameter.short_mm == pytest.approx(31, abs=1.0)


@pytest.mark.parametrize("angle_deg", [0, 17, 45, 90, 133])
def test_the_axes_of_an_ellipse_are_found_at_any_angle(angle_deg: float) -> None:
    geometry = stack_geometry(3, shape=(128, 128), spacing_mm=(0.5, 0.5))
    mask = np.zeros((3, 128, 128), dtype=bool)
    mask[1] = ellipse((128, 128), (60, 64), (50, 20), angle_deg)
    diameter = largest_diameter(mask, geometry, keys(3))
    assert diameter is not None
    assert diameter.long_mm == pytest.approx(50, abs=1.0)
    assert diameter.short_mm == pytest.approx(20, abs=1.0)
    long_axis, short_axis = (np.diff(np.reshape(axis, (2, 2)), axis=0)[0] for axis in
                             (diameter.long_axis_ij, diameter.short_axis_ij))  # fmt: skip
    assert abs(long_axis @ short_axis) < 0.01 * np.linalg.norm(long_axis) * np.linalg.norm(short_axis)


def test_spacing_decides_which_axis_is_long() -> None:
    geometry = stack_geometry(1, shape=(40, 40), spacing_mm=(3.0, 1.0))
    mask = np.zeros((1, 40, 40), dtype=bool)
    mask[0, 10:16, 10:22] = True  # 18 mm by 12 mm
    diameter = largest_diameter(mask, geometry, keys(1))
    assert diameter is not None
    i0, j0, i1, j1 = diameter.long_axis_ij
    assert np.hypot((i1 - i0) * 1.0, (j1 - j0) * 3.0) == pytest.approx(diameter.long_mm, abs=0.01)
    assert abs(j1 - j0) * 3.0 > abs(i1 - i0) * 1.0


def test_parts_far_apart_are_not_measured_as_one() -> None:
    mask = np.zeros((1, 60, 60), dtype=bool)
    mask[0, 2:8, 2:8] = mask[0, 50:58, 50:58] = True
    diameter = largest_diameter(mask, stack_geometry(1, shape=(60, 60)), keys(1))
    assert diameter is not None and diameter.long_mm < 12


def test_a_single_voxel_is_as_long_as_a_pixel() -> None:
    mask = np.zeros((2, 8, 8), dtype=bool)
    mask[1, 3, 5] = True
    diameter = largest_diameter(mask, stack_geometry(2, shape=(8, 8), spacing_mm=(2.0, 2.0)), keys(2))
    assert diameter is not None
    assert (diameter.long_mm, diameter.short_mm) == (2.0, 2.0)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_no_slice_holds_a_longer_diameter_than_the_one_reported(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = ndimage.binary_dilation(rng.random((5, 20, 20)) < 0.01, np.ones((1, 3, 5)))
    geometry = stack_geometry(5, shape=(20, 20), spacing_mm=(1.5, 0.7))
    diameter = largest_diameter(mask, geometry, keys(5))
    longest = 0.0
    for image in mask:
        labels, num_parts = ndimage.label(image, structure=np.ones((3, 3)))
        for part in range(1, num_parts + 1):
            j, i = np.nonzero(labels == part)
            corners = np.stack([i * 0.7, j * 1.5], axis=1)[:, None] + [(-0.35, 0), (0.35, 0), (0, -0.75), (0, 0.75)]
            points = corners.reshape(-1, 2)
            longest = max(longest, float(np.linalg.norm(points[:, None] - points[None], axis=2).max()))
    assert (diameter.long_mm if diameter else 0.0) == pytest.approx(longest, abs=1e-4)
    assert diameter is None or diameter.short_mm <= diameter.long_mm + 1e-6


def test_an_empty_map_gives_an_empty_result_with_measurements() -> None:
    geometry = stack_geometry(4)
    card = ModelCard.from_mapping(card_mapping())
    segmentation = finish_segmentation(np.zeros(geometry.shape, np.uint8), geometry, keys(4), card)
    (measured,) = segmentation.measurements
    assert segmentation.is_empty
    assert (measured.volume_ml, measured.num_components, measured.diameter) == (0.0, 0, None)


def test_labels_are_measured_one_by_one() -> None:
    (label,) = card_mapping()["labels"]
    card = ModelCard.from_mapping(card_mapping(labels=[label, {**label, "value": 2}]))
    geometry = stack_geometry(4, gap_mm=1.0)
    labels = np.zeros(geometry.shape, np.uint8)
    labels[1:3, 4:14, 4:14], labels[1, 20:30, 20:30] = 1, 2
    labels[3, 31, 31] = 2  # below the smallest component of 2 microlitres
    segmentation = finish_segmentation(labels, geometry, keys(4), card)
    assert [m.volume_ml for m in segmentation.measurements] == pytest.approx([0.2, 0.1])
    assert [m.num_components for m in segmentation.measurements] == [1, 1]
    assert segmentation.labels_kji[3, 31, 31] == 0
