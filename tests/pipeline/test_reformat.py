"""Reformats rename axes: every voxel keeps its place in the patient."""

from __future__ import annotations

import numpy as np
import pytest

from neuroscan_core.domain.errors import RejectionCode, SeriesRejection
from neuroscan_core.pipeline.reformat import AxialReformat
from neuroscan_core.pipeline.window25d import is_axial
from tests.pipeline.stacks import AXIAL, CORONAL, SAGITTAL, random_volume, stack_geometry


@pytest.mark.parametrize("orientation", [AXIAL, SAGITTAL, CORONAL, (0.0, 0.0, 1.0, 0.0, -1.0, 0.0)])
def test_every_voxel_keeps_its_place_in_the_patient(
    orientation: tuple[float, float, float, float, float, float],
) -> None:
    geometry = stack_geometry(5, shape=(7, 6), spacing_mm=(1.2, 0.9), gap_mm=1.5, orientation=orientation)
    volume = random_volume(geometry)
    reformat = AxialReformat.of(geometry)
    axial_kji = np.stack([slice_.pixels_ji for slice_ in reformat.slices(volume.voxels_kji)])
    assert axial_kji.shape == reformat.axial.shape
    assert is_axial(reformat.axial.first)
    for k, j, i in ((0, 0, 0), (1, 2, 3), (reformat.axial.shape[0] - 1, 1, 2)):
        place = reformat.axial.affine_lps @ (i, j, k, 1)
        si, sj, sk = np.linalg.solve(geometry.affine_lps, place)[:3].round(6)
        assert volume.voxels_kji[int(sk), int(sj), int(si)] == axial_kji[k, j, i]
    labels = (axial_kji > 150).astype(np.uint8)
    assert np.array_equal(reformat.to_source(labels), volume.voxels_kji > 150)


def test_slices_of_the_reformat_lie_where_their_geometry_says() -> None:
    geometry = stack_geometry(5, shape=(7, 6), orientation=SAGITTAL)
    reformat = AxialReformat.of(geometry)
    offsets = [s.geometry.offset_mm for s in reformat.slices(random_volume(geometry).voxels_kji)]
    assert np.allclose(np.diff(offsets), reformat.axial.spacing_mm)


def test_very_fine_voxels_are_strided_and_labels_go_to_the_nearest() -> None:
    geometry = stack_geometry(12, shape=(9, 10), spacing_mm=(0.45, 0.45), gap_mm=0.9, orientation=SAGITTAL)
    reformat = AxialReformat.of(geometry)
    assert (reformat.stride, reformat.axial.num_slices) == (2, 5)
    axial = np.zeros(reformat.axial.shape, np.uint8)
    axial[2] = 1
    rows_with_label = np.flatnonzero(reformat.to_source(axial).any(axis=(0, 2)))
    assert rows_with_label.tolist() == [3, 4]


def test_double_oblique_stacks_are_refused() -> None:
    a = 1 / np.sqrt(3)
    row, column = np.array([1.0, -1.0, 0.0]) / np.sqrt(2), np.array([1.0, 1.0, -2.0]) / np.sqrt(6)
    assert np.allclose(np.abs(np.cross(row, column)), a)
    orientation = tuple(float(x) for x in (*row, *column))
    # The axis nearest to the patient's is the column, 35 degrees off: that still counts as axial.
    AxialReformat.of(stack_geometry(9, orientation=orientation))  # type: ignore[arg-type]
    turn = np.array([[2, -1, 2], [2, 2, -1], [-1, 2, 2]]) / 3.0
    tilted = tuple(float(x) for x in (*turn[:, 0], *turn[:, 1]))
    assert np.abs(turn[2]).max() < 0.7071
    with pytest.raises(SeriesRejection) as refusal:
        AxialReformat.of(stack_geometry(9, orientation=tilted))  # type: ignore[arg-type]
    assert refusal.value.code is RejectionCode.UNSUPPORTED_PLANE
