"""Surfaces: closed, right side out, of the right size, at the right place in the patient."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from neuroscan_core.domain.geometry import StackGeometry
from neuroscan_core.phantom import Weighting, head_phantom
from neuroscan_core.pipeline.surface import SurfacePart, head_surface, label_surfaces
from tests.viewer.volumes import CENTRE_LPS_MM, ORIENTATIONS, RADIUS_MM, distances_mm, lesion, stack


def assert_closed(part: SurfacePart) -> None:
    """Every edge belongs to two triangles that run along it in opposite directions."""
    edges = Counter(
        (int(triangle[corner]), int(triangle[(corner + 1) % 3]))
        for triangle in part.triangles_t3
        for corner in range(3)
    )
    assert edges
    assert all(edges[end, start] == count for (start, end), count in edges.items())


def volume_ml(labels_kji: np.ndarray, geometry: StackGeometry, label: int = 1) -> float:
    return float(np.count_nonzero(labels_kji == label)) * geometry.voxel_volume_ml


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_surface_is_closed_looks_outwards_and_lies_where_the_lesion_is(orientation: str) -> None:
    geometry = stack(ORIENTATIONS[orientation], (100, 104, 104), (1.0, 1.0, 1.0))
    (part,) = label_surfaces(lesion(geometry), geometry)
    assert_closed(part)
    outwards = part.vertices_v3 - CENTRE_LPS_MM
    distances = np.linalg.norm(outwards, axis=1)
    assert np.all(np.einsum("ij,ij->i", outwards / distances[:, None], part.normals_v3) > 0)
    np.testing.assert_allclose(np.linalg.norm(part.normals_v3, axis=1), 1, atol=1e-5)
    # The ball's border runs up to one voxel from the voxels' borders.
    assert distances.min() > RADIUS_MM - 1.0 and distances.max() < RADIUS_MM + 1.0


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (3.0, 0.8, 0.8)])
@pytest.mark.parametrize("max_triangles", [10**9, 3000])
def test_volume_inside_is_that_of_the_voxels(spacing_mm: tuple[float, float, float], max_triangles: int) -> None:
    geometry = stack(ORIENTATIONS["axial"], (60, 130, 130), spacing_mm)
    labels_kji = lesion(geometry)
    (part,) = label_surfaces(labels_kji, geometry, max_triangles=max_triangles)
    assert_closed(part)
    # Corners of voxels are cut off and smoothed: a few per cent for a ball of this size.
    assert part.volume_ml == pytest.approx(volume_ml(labels_kji, geometry), rel=0.05)


def test_large_tumour_is_made_coarser() -> None:
    geometry = stack(ORIENTATIONS["axial"], (60, 200, 200), (1.0, 0.5, 0.5))
    labels_kji = (distances_mm(geometry, np.zeros(3)) < 28).astype(np.uint8)
    (part,) = label_surfaces(labels_kji, geometry, max_triangles=10_000)
    assert len(part.triangles_t3) < 12_000
    assert part.volume_ml == pytest.approx(volume_ml(labels_kji, geometry), rel=0.05)


def test_every_label_has_a_closed_surface_of_its_own() -> None:
    geometry = stack(ORIENTATIONS["axial"], (60, 96, 104), (1.0, 1.1, 1.0))
    distances = distances_mm(geometry, CENTRE_LPS_MM)
    labels_kji = np.select([distances < 5, distances < 9, distances < 14], [1, 3, 2]).astype(np.uint8)
    parts = label_surfaces(labels_kji, geometry)
    assert [part.label for part in parts] == [1, 2, 3]
    for part in parts:
        assert_closed(part)
        assert part.volume_ml == pytest.approx(volume_ml(labels_kji, geometry, part.label), rel=0.08)


def test_border_of_the_images_and_single_voxels_are_closed() -> None:
    geometry = stack(ORIENTATIONS["axial"], (10, 20, 30))
    labels_kji = np.zeros(geometry.shape, np.uint8)
    labels_kji[:4, 10:, :8] = 1
    labels_kji[9, 19, 29] = 2
    for part in label_surfaces(labels_kji, geometry):
        assert_closed(part)
        assert part.volume_ml > 0
    whole = np.ones(geometry.shape, np.uint8)
    (part,) = label_surfaces(whole, geometry)
    assert_closed(part)


def test_nothing_labelled_has_no_surface() -> None:
    geometry = stack(ORIENTATIONS["axial"])
    assert label_surfaces(np.zeros(geometry.shape, np.uint8), geometry) == []


def test_head_is_one_closed_surface_about_the_size_of_the_head() -> None:
    phantom = head_phantom(num_slices=60)
    image_kji = phantom.image(Weighting.FLAIR)
    part = head_surface(image_kji, phantom.geometry)
    assert part is not None
    assert_closed(part)
    inside_ml = float(np.count_nonzero(image_kji > 0.1 * image_kji.max())) * phantom.geometry.voxel_volume_ml
    # The skull is dark and belongs to the head all the same; coarse voxels reach over its border.
    assert inside_ml < part.volume_ml < 2.0 * inside_ml
    low, high = part.vertices_v3.min(axis=0), part.vertices_v3.max(axis=0)
    corners = (np.array([0, 0, 0, 1]), np.array([*phantom.geometry.shape[::-1], 1]))
    box = np.stack([(phantom.geometry.affine_lps @ corner)[:3] for corner in corners])
    assert np.all(low > box.min(axis=0) - 6) and np.all(high < box.max(axis=0) + 6)
    assert len(part.triangles_t3) < 60_000


def test_air_alone_has_no_head() -> None:
    geometry = stack(ORIENTATIONS["axial"], (10, 20, 30))
    assert head_surface(np.zeros(geometry.shape, np.uint16), geometry) is None
