"""A stack of slices does not depend on the order of arrival and knows what no later slice can cure."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_gateway.reading import CURABLE, SliceStack
from neuroscan_core.config import SeriesConfig
from neuroscan_core.domain.errors import RejectionCode, SeriesRejection
from neuroscan_core.domain.geometry import SliceGeometry
from neuroscan_core.domain.volume import FrameKey

CONFIG = SeriesConfig(min_slices=3)
OBLIQUE = (0.98, 0.0, -0.198997, 0.0, 1.0, 0.0)


def geometry(offset_mm: float, **changes: object) -> SliceGeometry:
    normal = np.cross(OBLIQUE[:3], OBLIQUE[3:])
    x, y, z = (float(v) for v in normal * offset_mm + np.array([10.0, -5.0, 3.0]))
    values = {"position_mm": (x, y, z), "orientation": OBLIQUE, "spacing_mm": (1.0, 1.0), "shape": (4, 4)}
    return SliceGeometry(**{**values, **changes})  # type: ignore[arg-type]


def filled(offsets_mm: list[float]) -> SliceStack:
    stack = SliceStack(CONFIG)
    for k, offset_mm in enumerate(offsets_mm):
        stack.add(FrameKey(f"1.{k}"), geometry(offset_mm))
    return stack


@settings(max_examples=50, deadline=None)
@given(st.permutations(range(9)))
def test_any_order_of_arrival_gives_the_same_stack(order: list[int]) -> None:
    stack = SliceStack(CONFIG)
    for k in order:
        stack.add(FrameKey(f"1.{k}"), geometry(2.5 * k))
    result, manifest = stack.judge()
    assert manifest == tuple(FrameKey(f"1.{k}") for k in range(9))
    assert result.num_slices == 9 and result.spacing_mm == pytest.approx(2.5, abs=1e-6)  # the cosines have six digits


@settings(max_examples=50, deadline=None)
@given(st.permutations(range(9)), st.integers(1, 7))
def test_a_missing_slice_is_missed_in_any_order(order: list[int], missing: int) -> None:
    stack = filled([2.5 * k for k in order if k != missing])
    with pytest.raises(SeriesRejection) as caught:
        stack.judge()
    assert caught.value.code is RejectionCode.MISSING_SLICES and caught.value.code in CURABLE
    stack.add(FrameKey("1.99"), geometry(2.5 * missing))
    assert stack.judge()[0].num_slices == 9


def test_the_same_slice_twice_is_one_slice() -> None:
    stack = filled([0, 1, 2])
    stack.add(FrameKey("1.0"), geometry(0))
    assert len(stack) == 3 and FrameKey("1.0") in stack


@pytest.mark.parametrize("offset_mm", [2.0, 2.0005, 1.9995])
def test_an_occupied_position_is_refused_at_once(offset_mm: float) -> None:
    stack = filled([0, 1, 2, 3])
    with pytest.raises(SeriesRejection) as caught:
        stack.add(FrameKey("2.1"), geometry(offset_mm))
    assert caught.value.code is RejectionCode.DUPLICATE_POSITIONS and caught.value.code not in CURABLE
    assert len(stack) == 4


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"orientation": (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)}, RejectionCode.MIXED_ORIENTATION),
        ({"orientation": (0.9950, 0.0, -0.0998, 0.0, 1.0, 0.0)}, RejectionCode.NON_PARALLEL),
        ({"shape": (4, 5)}, RejectionCode.MIXED_GEOMETRY),
        ({"spacing_mm": (1.0, 1.01)}, RejectionCode.MIXED_GEOMETRY),
        ({"frame_of_reference_uid": "1.9"}, RejectionCode.MIXED_GEOMETRY),
    ],
)
def test_a_slice_of_another_grid_is_refused_at_once(changes: dict[str, object], code: RejectionCode) -> None:
    stack = filled([0, 1, 2])
    with pytest.raises(SeriesRejection) as caught:
        stack.add(FrameKey("2.1"), geometry(3, **changes))
    assert caught.value.code is code and code not in CURABLE


def test_uneven_distances_are_refused() -> None:
    with pytest.raises(SeriesRejection) as caught:
        filled([0, 1, 2, 3.3, 4.3]).judge()
    assert caught.value.code is RejectionCode.UNEQUAL_SPACING


def test_a_sheared_stack_is_refused() -> None:
    stack = SliceStack(CONFIG)
    for k in range(6):
        stack.add(FrameKey(f"1.{k}"), SliceGeometry((0.0, 0.8 * k, 3.0 * k), (1, 0, 0, 0, 1, 0), (1, 1), (4, 4)))
    with pytest.raises(SeriesRejection) as caught:
        stack.judge()
    assert caught.value.code is RejectionCode.GANTRY_TILT and caught.value.code not in CURABLE


def test_an_empty_stack_is_too_small() -> None:
    with pytest.raises(SeriesRejection) as caught:
        SliceStack(CONFIG).judge()
    assert caught.value.code is RejectionCode.TOO_FEW_SLICES
