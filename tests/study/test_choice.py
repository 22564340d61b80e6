"""Which of several series is taken for a role, and whether those taken fit together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dicom_gateway.study.choice import Candidate, choose
from dicom_gateway.study.roles import RoleVerdict
from neuroscan_core.domain.errors import RejectionCode, SeriesRejection
from neuroscan_core.domain.geometry import SliceGeometry, StackGeometry
from neuroscan_core.domain.study import SEQUENCES
from neuroscan_core.domain.volume import FrameKey, Volume
from neuroscan_core.pipeline.study import bring_together, match_series

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)


def geometry(
    num: int = 30,
    gap_mm: float = 5.0,
    pixel_mm: float = 1.0,
    frame: str = "1.1",
    shift_mm: float = 0.0,
    orientation: tuple[float, ...] = AXIAL,
) -> StackGeometry:
    first = SliceGeometry((shift_mm, 0.0, 0.0), orientation, (pixel_mm, pixel_mm), (40, 40), frame)  # type: ignore[arg-type]
    return StackGeometry(first, gap_mm, num)


def candidate(uid: str, role: str, where: StackGeometry | None = None, **values: object) -> Candidate:
    return Candidate(uid, RoleVerdict(role, ("why",)), where or geometry(), name=f"series {uid}", **values)  # type: ignore[arg-type]


def chosen(*candidates: Candidate) -> tuple[str, str]:
    choice = choose(candidates, ["T1"])
    return choice.chosen["T1"].series_instance_uid, " ".join(choice.reasons)


def test_the_original_goes_before_the_reformat() -> None:
    derived = candidate("2", "T1", geometry(90, 1.0), is_original=False)
    assert chosen(candidate("1", "T1"), derived) == ("1", "T1: series 1 before series 2, because it is original.")


def test_the_finer_voxels_go_before_more_slices_and_those_before_the_later() -> None:
    coarse, fine = candidate("1", "T1", geometry(60, 5.0)), candidate("2", "T1", geometry(30, 2.0))
    assert chosen(coarse, fine)[0] == "2"
    more = candidate("3", "T1", geometry(40, 2.0))
    assert chosen(fine, more)[0] == "3"
    again = candidate("4", "T1", geometry(40, 2.0), acquired=("20200102", 0.0))
    assert chosen(again, more) == ("4", "T1: series 4 before series 3, because it is the latest.")


def test_series_of_one_frame_of_reference_go_together() -> None:
    old = [candidate(f"1.{role}", role, geometry(frame="old")) for role in SEQUENCES]
    new = candidate("2", "T1", geometry(90, 1.0, frame="new"), acquired=("20200102", 0.0))
    choice = choose([*old, new], SEQUENCES)
    assert {one.series_instance_uid for one in choice.chosen.values()} == {one.series_instance_uid for one in old}
    assert "lies in the frame of reference of the others" in choice.reasons[0]


def test_what_is_missing_is_said_and_what_has_no_role_is_left_out() -> None:
    choice = choose([candidate("1", "T1"), candidate("2", "other")], SEQUENCES)
    assert (list(choice.chosen), choice.missing) == (["T1"], ("T1ce", "T2", "FLAIR"))


def everything(**changes: StackGeometry) -> dict[str, StackGeometry]:
    return {role: geometry() for role in SEQUENCES} | changes


def test_the_grid_is_that_of_the_finest_reference_sequence() -> None:
    match = match_series(everything(T2=geometry(150, 1.0), FLAIR=geometry(75, 2.0), T1ce=geometry(30, 5.0)))
    assert match.reference == "FLAIR"
    assert "finest voxels (1.00 x 1.00 x 2.00 mm) of T1ce, FLAIR" in match.why
    assert match_series(everything(), references=("FLAIR",)).reference == "FLAIR"
    assert match_series(everything()).reference == "T1ce"


def test_of_equally_fine_grids_the_axial_one_is_taken() -> None:
    sagittal = replace(
        geometry(40, 1.0), first=replace(geometry().first, orientation=SAGITTAL, position_mm=(39, 0, 39))
    )
    match = match_series({"T1ce": sagittal, "FLAIR": geometry(40, 1.0)})
    assert match.reference == "FLAIR"


def test_another_frame_of_reference_is_refused_unless_allowed() -> None:
    studied = everything(T2=geometry(frame="2.2"))
    with pytest.raises(SeriesRejection, match="T2 is in another frame of reference than T1ce") as caught:
        match_series(studied)
    assert caught.value.code is RejectionCode.DIFFERENT_FRAMES
    (warning,) = match_series(studied, allow_different_frames=True).warnings
    assert "taken to lie where they say" in warning


def test_series_that_do_not_cover_one_another_are_refused_and_small_overlaps_are_told() -> None:
    with pytest.raises(SeriesRejection, match="FLAIR and T1ce share 0% of their volume") as caught:
        match_series(everything(FLAIR=geometry(shift_mm=200.0)))
    assert caught.value.code is RejectionCode.NO_OVERLAP
    (warning,) = match_series(everything(FLAIR=geometry(shift_mm=10.0))).warnings
    assert warning == "FLAIR and T1ce share 75% of their volume only."


def test_channels_come_in_the_order_of_the_model_on_the_grid_of_the_reference() -> None:
    keys = tuple(FrameKey(f"1.{k}") for k in range(30))
    volumes = {
        role: Volume(geometry(), keys, np.full(geometry().shape, value, np.float32))
        for value, role in enumerate(reversed(SEQUENCES), 1)
    }
    study = bring_together(volumes, "FLAIR")
    assert study.channels == SEQUENCES
    assert [float(study.channel(role).mean()) for role in SEQUENCES] == [4.0, 3.0, 2.0, 1.0]
    assert study.keys == keys
