"""The surface of a tumour: closed, right side out, of the right size."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("skimage", reason='needs scikit-image: pip install "neuroscan[ros]"')

from neuroscan_ros.surface import Surface, tumour_surface

from neuroscan_core.domain.geometry import StackGeometry
from neuroscan_core.nifti import read_nifti
from neuroscan_core.viewer.label_volume import LabelVolume
from tests.viewer.volumes import CENTRE_LPS_MM, MODEL, ORIENTATIONS, RADIUS_MM, distances_mm, lesion_volume, stack


def assert_closed(surface: Surface) -> None:
    """Every edge belongs to two triangles that run along it in opposite directions."""
    edges = Counter(
        (int(triangle[corner]), int(triangle[(corner + 1) % 3]))
        for triangle in surface.triangles_t3
        for corner in range(3)
    )
    assert edges
    assert all(edges[end, start] == count for (start, end), count in edges.items())


def voxels_ml(volume: LabelVolume) -> float:
    return float(np.count_nonzero(volume.labels_kji)) * volume.geometry.voxel_volume_ml


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_surface_is_closed_and_looks_outwards(orientation: str) -> None:
    surface = tumour_surface(lesion_volume(orientation))
    assert_closed(surface)
    outwards = surface.vertices_v3 - CENTRE_LPS_MM / 1000
    outwards /= np.linalg.norm(outwards, axis=1, keepdims=True)
    assert np.all(np.einsum("ij,ij->i", outwards, surface.normals_v3) > 0)


@pytest.mark.parametrize(
    ("spacing_mm", "shape_kji"),
    [((1.0, 1.0, 1.0), (64, 96, 104)), ((5.0, 0.5, 0.5), (24, 192, 208)), ((1.0, 0.9, 0.9), (64, 120, 120))],
)
@pytest.mark.parametrize("max_triangles", [10**9, 3000])
def test_volume_inside_is_that_of_the_voxels(
    spacing_mm: tuple[float, float, float], shape_kji: tuple[int, int, int], max_triangles: int
) -> None:
    volume = lesion_volume("axial", spacing_mm=spacing_mm, shape_kji=shape_kji)
    surface = tumour_surface(volume, max_triangles=max_triangles)
    # Marching cubes cut the corners off voxels: a few per cent for a ball of this size.
    assert surface.volume_ml == pytest.approx(voxels_ml(volume), rel=0.03)
    assert_closed(surface)


def test_surface_has_the_size_of_the_ball() -> None:
    surface = tumour_surface(lesion_volume("oblique", spacing_mm=(1.0, 1.0, 1.0), shape_kji=(100, 100, 100)))
    distances = np.linalg.norm(surface.vertices_v3 * 1000 - CENTRE_LPS_MM, axis=1)
    # The ball's border runs up to one voxel from the voxels' borders.
    assert distances.min() > RADIUS_MM - 1.0 and distances.max() < RADIUS_MM + 1.0


def test_surface_is_closed_where_the_tumour_reaches_the_border_of_the_images() -> None:
    geometry = stack(ORIENTATIONS["axial"], (10, 20, 30))
    labels_kji = np.zeros(geometry.shape, np.uint8)
    labels_kji[:4, 10:, :8] = 1
    volume = LabelVolume.of(geometry, labels_kji, MODEL)
    surface = tumour_surface(volume)
    assert_closed(surface)
    assert surface.volume_ml == pytest.approx(voxels_ml(volume), rel=0.05)


def test_whole_volume_and_single_voxel_have_a_surface() -> None:
    geometry = stack(ORIENTATIONS["axial"], (4, 6, 5))
    for labels_kji in (np.ones(geometry.shape, np.uint8), np.eye(1, 120, 59, dtype=np.uint8).reshape(geometry.shape)):
        surface = tumour_surface(LabelVolume.of(geometry, labels_kji, MODEL))
        assert_closed(surface)
        assert surface.volume_ml > 0


def test_every_label_has_a_closed_surface_of_its_own() -> None:
    geometry = stack(ORIENTATIONS["axial"], (60, 96, 104), (1.0, 1.1, 1.0))
    distances = distances_mm(geometry, CENTRE_LPS_MM)
    labels_kji = np.select([distances < 5, distances < 9, distances < 14], [1, 3, 2]).astype(np.uint8)
    volume = LabelVolume.of(geometry, labels_kji, MODEL)
    surface = tumour_surface(volume, max_triangles=10**9)
    assert_closed(surface)
    assert set(surface.labels_v.tolist()) == {1, 2, 3}
    for label in (1, 2, 3):
        inside = surface.labels_v[surface.triangles_t3[:, 0]] == label
        assert np.all(surface.labels_v[surface.triangles_t3[inside]] == label)
        part = Surface(surface.vertices_v3, surface.triangles_t3[inside], surface.labels_v)
        wanted = np.count_nonzero(labels_kji == label) * geometry.voxel_volume_ml
        assert part.volume_ml == pytest.approx(wanted, rel=0.05)


def test_large_tumour_is_made_coarser_and_a_thin_one_does_not_vanish() -> None:
    geometry = stack(ORIENTATIONS["axial"], (60, 200, 200), (1.0, 0.5, 0.5))
    labels_kji = (distances_mm(geometry, np.zeros(3)) < 28).astype(np.uint8)
    fine = tumour_surface(LabelVolume.of(geometry, labels_kji, MODEL), max_triangles=10**9)
    coarse = tumour_surface(LabelVolume.of(geometry, labels_kji, MODEL), max_triangles=10_000)
    assert len(fine.triangles_t3) > 50_000
    assert len(coarse.triangles_t3) < 12_000
    assert coarse.volume_ml == pytest.approx(fine.volume_ml, rel=0.03)
    labels_kji[0, 0, 0] = 2
    both = tumour_surface(LabelVolume.of(geometry, labels_kji, MODEL), max_triangles=10_000)
    assert 2 in both.labels_v


def test_nothing_labelled_has_no_surface() -> None:
    geometry = stack(ORIENTATIONS["axial"])
    surface = tumour_surface(LabelVolume.of(geometry, np.zeros(geometry.shape, np.uint8), MODEL))
    assert surface.triangles_t3.shape == (0, 3) and surface.volume_ml == 0


def brats(folder: Path) -> tuple[StackGeometry, np.ndarray, np.ndarray]:
    case = folder / "brats_volumes" / "BraTS2021_00006"
    labels = read_nifti(case / "BraTS2021_00006_seg.nii.gz").volume
    brain = read_nifti(case / "BraTS2021_00006_flair.nii.gz").volume
    return labels.geometry, labels.voxels_kji.astype(np.uint8), brain.voxels_kji > 0


def test_surface_of_a_real_tumour_stays_in_the_head(shared_data: Path) -> None:
    geometry, labels_kji, brain_kji = brats(shared_data)
    volume = LabelVolume.of(geometry, labels_kji, MODEL)
    surface = tumour_surface(volume)
    assert_closed(surface)
    assert surface.volume_ml == pytest.approx(voxels_ml(volume), rel=0.03)
    to_voxels = np.linalg.inv(geometry.affine_lps)
    homogeneous = np.column_stack((surface.vertices_v3 * 1000, np.ones(len(surface.vertices_v3))))
    i, j, k = np.rint(homogeneous @ to_voxels.T)[:, :3].astype(int).T
    nearby = np.zeros_like(brain_kji)  # a vertex lies between the last voxel of the tumour and its neighbour
    for axis in range(3):
        for shift in (-1, 0, 1):
            nearby |= np.roll(brain_kji, shift, axis)
    assert nearby[k, j, i].all()
