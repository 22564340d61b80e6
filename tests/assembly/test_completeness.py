"""When a series counts as complete, and when it does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dicom_gateway.journal import SeriesState
from neuroscan_core.domain.errors import RejectionCode
from neuroscan_core.domain.events import SeriesCompleted, SeriesOpened, SeriesRejected, SliceReceived

Make = Callable[..., Any]


def test_the_announced_number_completes_a_series(bench: Any, make_slice: Make) -> None:
    bench.send_all([make_slice(k, ImagesInAcquisition=5) for k in (0, 2, 1, 4)])
    assert bench.kinds() == ["Opened", "Slice", "Slice", "Slice", "Slice"]
    bench.send(make_slice(3, ImagesInAcquisition=5))
    assert bench.kinds()[-1] == "Completed"
    completed = bench.events()[-1]
    assert completed.reason == "count" and completed.version == 1
    assert [key.sop_instance_uid for key in completed.manifest] == [f"1.2.1.{k + 1}" for k in range(5)]
    assert completed.geometry.num_slices == 5 and completed.geometry.spacing_mm == 2.0
    assert completed.last_received_at_s == bench.clock()
    assert (bench.row().state, bench.row().version, bench.row().num_slices) == (SeriesState.COMPLETE, 1, 5)


def test_the_first_object_opens_the_series(bench: Any, make_slice: Make) -> None:
    bench.send(make_slice(7, ImagesInAcquisition=9))
    opened, first = bench.events()
    assert isinstance(opened, SeriesOpened) and isinstance(first, SliceReceived)
    assert (opened.model, opened.priority, opened.modality, opened.description) == ("some-model", 3, "MR", "AX FLAIR")
    assert (opened.num_expected, opened.slice_spacing_mm, opened.opened_at_s) == (9, 2.0, bench.clock())
    assert (opened.sequence, first.sequence) == (0, 1)
    assert first.key.sop_instance_uid == "1.2.1.8" and first.received_at_s == bench.clock()
    np.testing.assert_array_equal(first.pixels_ji, np.arange(16, dtype=np.float32).reshape(4, 4) + 7)
    row = bench.row()
    assert (row.model, row.rule, row.priority, row.state) == ("some-model", "all", 3, SeriesState.RECEIVING)
    assert [uid for uid, _ in bench.headers] == ["1.2.1"]


def test_release_completes_a_series_without_gaps(bench: Any, make_slice: Make) -> None:
    bench.send_all([make_slice(k) for k in range(4)])
    assert "Completed" not in bench.kinds()
    bench.close()
    assert bench.events()[-1].reason == "release"


def test_release_with_a_gap_waits_and_then_gives_up(bench: Any, make_slice: Make) -> None:
    bench.send_all([make_slice(k) for k in (0, 1, 3, 4)])
    bench.close()
    bench.wait(11)
    assert bench.kinds()[-1] == "Slice"
    bench.wait(120)
    rejected = bench.events()[-1]
    assert isinstance(rejected, SeriesRejected) and rejected.code is RejectionCode.MISSING_SLICES
    assert bench.row().state is SeriesState.REJECTED and bench.row().reason == "missing-slices"
    assert bench.row().finished_at_s is not None
    assert bench.journal.audit_trail()[0][1:] == ("not-segmented", "1.2.1", "missing-slices")


def test_release_waits_for_every_association_that_contributed(bench: Any, make_slice: Make) -> None:
    for k in range(6):
        bench.send(make_slice(k), association="a" if k % 2 else "b")
    bench.close("a")
    assert "Completed" not in bench.kinds()
    bench.close("b")
    assert bench.events()[-1].reason == "release"


def test_an_association_that_did_not_contribute_does_not_matter(bench: Any, make_slice: Make) -> None:
    bench.assembler.association_opened("other", "SCANNER")
    bench.send_all([make_slice(k) for k in range(4)])
    bench.send(make_slice(0, series="1.2.2"), association="other")
    bench.close("a")
    assert bench.kinds()[-1] == "Completed" and "Completed" not in bench.kinds("1.2.2")


def test_an_abort_is_no_release(bench: Any, make_slice: Make) -> None:
    bench.send_all([make_slice(k) for k in range(4)])
    bench.close(released=False)
    assert "Completed" not in bench.kinds()
    bench.wait(9)
    assert "Completed" not in bench.kinds()
    bench.wait(2)
    assert bench.events()[-1].reason == "quiet"


def test_silence_completes_a_series_without_gaps(bench: Any, make_slice: Make) -> None:
    for k in range(5):
        bench.send(make_slice(k))
        bench.wait(8)
        assert bench.kinds()[-1] == "Slice"
    bench.wait(3)
    assert bench.events()[-1].reason == "quiet"


def test_signs_can_be_switched_off(make_bench: Make, make_slice: Make) -> None:
    bench = make_bench(complete_on_count=False, complete_on_release=False)
    bench.send_all([make_slice(k, ImagesInAcquisition=4) for k in range(4)])
    bench.close()
    assert bench.kinds()[-1] == "Slice"
    bench.wait(11)
    assert bench.events()[-1].reason == "quiet"


def test_a_wrong_announcement_does_not_make_a_version_of_every_slice(bench: Any, make_slice: Make) -> None:
    bench.send_all([make_slice(k, ImagesInAcquisition=4) for k in range(8)])
    assert bench.kinds().count("Completed") == 1
    bench.close()
    assert bench.kinds().count("Completed") == 2
    assert bench.events()[-1].version == 2 and len(bench.events()[-1].manifest) == 8


def test_too_few_slices_are_refused_in_the_end(bench: Any, make_slice: Make) -> None:
    bench.send_all([make_slice(k) for k in range(2)])
    bench.close()
    bench.wait(130)
    assert bench.events()[-1].code is RejectionCode.TOO_FEW_SLICES


def test_interleaved_series_are_kept_apart(bench: Any, make_slice: Make) -> None:
    for k in range(5):
        for n in (1, 2, 3):
            bench.assembler.stored(bench.keep(make_slice(k, series=f"1.2.{n}"), association=f"a{n}"))
    for n in (1, 2, 3):
        bench.close(f"a{n}")
        assert bench.kinds(f"1.2.{n}") == ["Opened", *["Slice"] * 5, "Completed"]
        assert [event.sequence for event in bench.events(f"1.2.{n}")] == list(range(7))


def test_a_burst_is_complete_once(bench: Any, make_slice: Make) -> None:
    """With many objects waiting, the release must not overtake them."""
    for k in range(60):
        bench.assembler.stored(bench.keep(make_slice(k)))
    bench.assembler.association_closed("a", released=True)
    bench.settle()
    assert bench.kinds().count("Completed") == 1 and len(bench.events()[-1].manifest) == 60


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(6)), missing=st.none() | st.integers(1, 4))
def test_any_order_of_arrival_gives_one_completion(
    make_bench: Make, make_slice: Make, tmp_path_factory: pytest.TempPathFactory, order: list[int], missing: int | None
) -> None:
    bench = make_bench(folder=tmp_path_factory.mktemp("bench"))
    for k in order:
        if k != missing:
            bench.assembler.stored(bench.keep(make_slice(k)))
    bench.close()
    if missing is not None:
        assert "Completed" not in bench.kinds()
        bench.send(make_slice(missing), association="b")
        bench.close("b")
    completions = [event for event in bench.events() if isinstance(event, SeriesCompleted)]
    assert len(completions) == 1
    assert [key.sop_instance_uid for key in completions[0].manifest] == [f"1.2.1.{k + 1}" for k in range(6)]
    assert [event.sequence for event in bench.events()] == list(range(8))
    assert {event.key for event in bench.events() if isinstance(event, SliceReceived)} == set(completions[0].manifest)
