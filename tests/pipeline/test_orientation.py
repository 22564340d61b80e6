"""A stack in any orientation is seen the right way round, and brought back voxel by voxel."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroscan_core.pipeline.orientation import CanonicalView
from tests.pipeline.stacks import AXIAL, CORONAL, FEET_UP, SAGITTAL
from tests.pipeline.studies import geometry, positions_mm

OBLIQUE = (0.9980103502087, 0.0452014937917, 0.0439564083525, -0.0342042276612, 0.9738053338552, -0.2247960001230)
SIGNED_AXES = [tuple(sign * np.eye(3)[axis]) for axis in range(3) for sign in (1.0, -1.0)]
ALL = [(*row, *column) for row, column in itertools.product(SIGNED_AXES, repeat=2) if abs(np.dot(row, column)) < 0.5]


@pytest.mark.parametrize("orientation", [*ALL, OBLIQUE])
def test_slices_run_to_the_head_rows_to_the_back_and_columns_to_the_left(orientation: tuple[float, ...]) -> None:
    stack = geometry((5, 6, 7), (3.0, 2.0, 1.5), orientation)  # type: ignore[arg-type]
    view = CanonicalView.of(stack)
    x, y, z = (view.to_canonical(positions_mm(stack)[..., axis]) for axis in range(3))
    assert (np.diff(z, axis=0) > 0).all()
    assert (np.diff(y, axis=1) > 0).all()
    assert (np.diff(x, axis=2) > 0).all()
    corners = np.stack([x, y, z], axis=-1)
    steps = [np.linalg.norm(np.diff(corners, axis=axis), axis=-1).mean() for axis in range(3)]
    np.testing.assert_allclose(steps, view.spacing_mm, rtol=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([AXIAL, SAGITTAL, CORONAL, FEET_UP, OBLIQUE]), st.integers(0, 99))
def test_the_way_back_is_exact(orientation: tuple[float, float, float, float, float, float], seed: int) -> None:
    stack = geometry((3, 4, 5), orientation=orientation)
    view = CanonicalView.of(stack)
    voxels_kji = np.random.default_rng(seed).integers(0, 255, stack.shape).astype(np.uint8)
    back = view.to_source(view.to_canonical(voxels_kji))
    assert np.array_equal(back, voxels_kji) and back.flags.c_contiguous
    assert np.shares_memory(view.to_canonical(voxels_kji), voxels_kji)
