"""Series that are refused, ignored or reopened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dicom_gateway.assembly.ledger import Ledger
from dicom_gateway.journal import SeriesState
from neuroscan_core.config import RuleConfig
from neuroscan_core.domain.errors import JournalError, RejectionCode
from neuroscan_core.domain.events import SeriesCompleted

Make = Callable[..., Any]


def test_a_late_slice_makes_a_new_version(bench: Any, make_slice: Make) -> None:
    bench.send_all([make_slice(k) for k in range(4)])
    bench.close()
    bench.send(make_slice(4), association="late")
    assert bench.row().state is SeriesState.RECEIVING
    bench.close("late")
    assert bench.kinds() == ["Opened", *["Slice"] * 4, "Completed", "Slice", "Completed"]
    assert [event.sequence for event in bench.events()] == list(range(8))
    first, second = (event for event in bench.events() if isinstance(event, SeriesCompleted))
    assert (first.version, second.version) == (1, 2)
    assert (len(first.manifest), len(second.manifest)) == (4, 5)
    assert bench.row().version == 2 and bench.row().state is SeriesState.COMPLETE
    assert bench.assembler.completed("1.2.1").version == 2


def test_a_late_slice_of_a_forgotten_series_makes_a_new_version_too(bench: Any, make_slice: Make) -> None:
    bench.send_all([make_slice(k) for k in range(4)])
    bench.close()
    for n in range(2, 72):  # more series than are kept at rest
        bench.send(make_slice(0, series=f"1.2.{n}", Modality="CT"))
    bench.send(make_slice(4), association="late")
    bench.close("late")
    assert bench.events()[-1].version == 2 and [e.sequence for e in bench.events()] == list(range(8))


def test_a_missing_slice_that_comes_late_cures_a_rejected_series(bench: Any, make_slice: Make) -> None:
    bench.send_all([make_slice(k) for k in (0, 1, 2, 4, 5)])
    bench.close()
    bench.wait(121)
    assert bench.kinds()[-1] == "Rejected"
    bench.send(make_slice(3), association="b")
    assert bench.row().state is SeriesState.RECEIVING and bench.row().reason == ""
    bench.close("b")
    assert bench.kinds() == ["Opened", *["Slice"] * 5, "Rejected", "Slice", "Completed"]
    assert bench.events()[-1].version == 1


def test_two_time_points_in_one_series_are_refused_at_once(bench: Any, make_slice: Make) -> None:
    bench.send_all([make_slice(k) for k in range(4)])
    bench.send(make_slice(9, ImagePositionPatient=[0, 0, 4]))
    assert bench.kinds() == ["Opened", *["Slice"] * 4, "Rejected"]
    assert bench.events()[-1].code is RejectionCode.DUPLICATE_POSITIONS
    bench.send(make_slice(5))
    bench.close()
    bench.wait(130)
    assert bench.kinds()[-1] == "Rejected" and bench.kinds().count("Rejected") == 1
    assert bench.journal.unassembled() == []


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ({"Modality": "CT"}, RejectionCode.WRONG_MODALITY),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, RejectionCode.LOCALIZER),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]}, RejectionCode.MISSING_GEOMETRY),
        ({"ImagePositionPatient": ""}, RejectionCode.MISSING_GEOMETRY),
        ({"BodyPartExamined": "KNEE"}, RejectionCode.WRONG_BODY_PART),
        ({"Rows": 5}, RejectionCode.UNDECODABLE),
    ],
)
def test_an_unfit_first_object_rejects_its_series(
    bench: Any, make_slice: Make, attributes: dict[str, Any], code: RejectionCode
) -> None:
    bench.send(make_slice(0, **attributes))
    bench.send(make_slice(1, **attributes))
    rejected = bench.events()[-1]
    assert rejected.code is code and bench.kinds().count("Rejected") == 1
    row = bench.row()
    assert (row.state, row.reason, row.model) == (SeriesState.REJECTED, code.value, "some-model")
    assert bench.journal.unassembled() == []


def test_a_damaged_image_rejects_its_series_and_no_other(bench: Any, make_slice: Make) -> None:
    bench.send_all([make_slice(k) for k in range(3)])
    bench.send_all([make_slice(k, series="1.2.2") for k in range(3)])
    bench.send(make_slice(3)[:-7])
    bench.send(make_slice(3, series="1.2.2"))
    bench.close()
    assert bench.events()[-1].code is RejectionCode.UNDECODABLE
    assert bench.kinds("1.2.2")[-1] == "Completed"


def test_an_unforeseen_failure_rejects_the_series_and_the_assembler_goes_on(
    bench: Any, make_slice: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dicom_gateway.assembly import intake

    real = intake.frames_of

    def fail(header: Any) -> Any:
        if header.SeriesInstanceUID == "1.2.1":
            raise ZeroDivisionError("a bug")
        return real(header)

    monkeypatch.setattr(intake, "frames_of", fail)
    bench.send(make_slice(0))
    bench.send_all([make_slice(k, series="1.2.2") for k in range(3)])
    bench.close()
    assert bench.events()[-1].code is RejectionCode.UNDECODABLE
    assert bench.kinds("1.2.2")[-1] == "Completed"


@pytest.mark.parametrize("rules", [(), (RuleConfig(name="keep", when={"Modality": "MR"}, model=None),)])
def test_a_series_that_nobody_wants_is_ignored(make_bench: Make, make_slice: Make, rules: Any) -> None:
    bench = make_bench(rules=rules)
    bench.send_all([make_slice(k) for k in range(4)])
    bench.close()
    assert bench.kinds() == ["Rejected"]
    assert bench.events()[0].code is RejectionCode.NO_RULE
    row = bench.row()
    assert (row.state, row.reason, row.model) == (SeriesState.IGNORED, "no-rule", "")
    assert (row.modality, row.description) == ("MR", "AX FLAIR")
    assert bench.assembler.progress(open_only=True) == () and bench.headers == []


def test_rules_come_before_policy(make_bench: Make, make_slice: Make) -> None:
    bench = make_bench(rules=(RuleConfig(name="t1", when={"SeriesDescription": "T1"}, model="m"),))
    bench.send(make_slice(0, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]))
    assert bench.row().state is SeriesState.IGNORED


def test_objects_wait_while_the_journal_cannot_be_written(
    bench: Any, make_slice: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.send_all([make_slice(k) for k in range(2)])
    real = bench.journal.record

    def fail(*_: Any, **__: Any) -> int:
        raise JournalError("The journal cannot be written: disk full.")

    monkeypatch.setattr(bench.journal, "record", fail)
    bench.send_all([make_slice(k) for k in (2, 3)])
    assert bench.kinds() == ["Opened", "Slice", "Slice"]
    monkeypatch.setattr(bench.journal, "record", real)
    bench.wait(0.2)
    bench.close()
    assert bench.kinds() == ["Opened", *["Slice"] * 4, "Completed"]
    assert [event.sequence for event in bench.events()] == list(range(6))


def test_a_purged_series_starts_anew_with_a_higher_version(bench: Any, make_slice: Make) -> None:
    bench.send_all([make_slice(k) for k in range(3)])
    bench.close()
    bench.journal.forget_instances("1.2.1")
    bench.journal.record("1.2.1", state=SeriesState.PURGED)
    bench.published.clear()
    bench.send_all([make_slice(k) for k in range(3)], association="b")
    bench.close("b")
    assert bench.kinds() == ["Opened", *["Slice"] * 3, "Completed"]
    assert bench.events()[0].sequence == 0 and bench.events()[-1].version == 2


def test_an_object_that_is_told_of_twice_changes_nothing(bench: Any, make_slice: Make) -> None:
    bench.send_all([make_slice(k) for k in range(3)])
    bench.close()
    bench.send(make_slice(1), association="again")
    bench.close("again")
    bench.wait(20)
    assert bench.kinds() == ["Opened", *["Slice"] * 3, "Completed"]
    assert bench.row().state is SeriesState.COMPLETE


def restart(bench: Any) -> None:
    """A new life of the process; what it publishes is added to what was published."""
    bench.assembler.close()
    bench.start().recover()
    bench.settle()


def test_a_rejected_series_is_judged_again_by_the_policy_of_today(bench: Any, make_slice: Make) -> None:
    bench.send_all([make_slice(k, BodyPartExamined="KNEE") for k in range(5)])
    bench.close()
    assert bench.kinds() == ["Rejected"] and bench.row().state is SeriesState.REJECTED
    bench.config = bench.config.model_copy(
        update={"series": bench.config.series.model_copy(update={"body_parts": ("KNEE",)})}
    )
    restart(bench)
    bench.assembler.judge_again("1.2.1")
    bench.settle()
    bench.wait(11)
    assert bench.kinds() == ["Rejected", "Opened", *["Slice"] * 5, "Completed"]
    assert [event.sequence for event in bench.events()] == list(range(8))
    assert bench.events()[-1].version == 1 and len(bench.events()[-1].manifest) == 5
    assert (bench.row().state, bench.row().reason, bench.row().message) == (SeriesState.COMPLETE, "", "")


def test_a_series_with_a_gap_that_is_judged_again_begins_at_its_first_slice(bench: Any, make_slice: Make) -> None:
    bench.send_all([make_slice(k) for k in (0, 1, 2, 4, 5)])
    bench.close()
    bench.wait(121)
    assert bench.kinds()[-1] == "Rejected"
    bench.assembler.judge_again("1.2.1")
    bench.settle()
    assert bench.kinds() == ["Opened", *["Slice"] * 5, "Rejected"] * 2, "the gap is still there, at once"
    bench.send(make_slice(3), association="b")
    bench.close("b")
    assert bench.kinds()[-2:] == ["Slice", "Completed"]
    assert len(bench.events()[-1].manifest) == 6
    restart(bench)
    bench.send(make_slice(6), association="c")
    bench.close("c", released=False)
    bench.wait(11)
    assert len(bench.events()[-1].manifest) == 7, "what was read from the journal begins where it was judged again"


def test_a_failed_series_is_judged_again_with_the_next_version(bench: Any, make_slice: Make) -> None:
    bench.send_all([make_slice(k) for k in range(5)])
    bench.close()
    bench.journal.record("1.2.1", state=SeriesState.FAILED, reason="internal-error", message="It failed.")
    bench.assembler.judge_again("1.2.1")
    bench.settle()
    assert bench.kinds() == ["Opened", *["Slice"] * 5, "Completed"] * 2
    assert bench.events()[-1].version == bench.row().version == 2


@pytest.mark.parametrize("num_taken", [0, 1, 3])
def test_a_process_that_dies_while_it_judges_again_is_gone_on_with(
    bench: Any, make_slice: Make, monkeypatch: pytest.MonkeyPatch, num_taken: int
) -> None:
    bench.send_all([make_slice(k) for k in range(5)])
    bench.close()
    bench.journal.record("1.2.1", state=SeriesState.FAILED, reason="internal-error", message="It failed.")
    written, write = [], Ledger.write

    def write_until_it_dies(ledger: Ledger, assembly: Any, events: Any, **changes: Any) -> None:
        if not events and not changes:
            return
        if len(written) > num_taken:
            raise RuntimeError("the process died")
        written.append(events)
        write(ledger, assembly, events, **changes)

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "write", write_until_it_dies)
        bench.assembler.judge_again("1.2.1")
        bench.settle()
    assert len(written) == num_taken + 1 and bench.row().state is SeriesState.RECEIVING
    restart(bench)
    bench.wait(11)
    assert bench.row().state is SeriesState.COMPLETE and bench.row().version == 2
    assert len(bench.events()[-1].manifest) == 5 and bench.journal.unassembled() == []


def test_a_series_that_is_well_is_not_judged_again(bench: Any, make_slice: Make) -> None:
    bench.send_all([make_slice(k) for k in range(5)])
    bench.close()
    bench.assembler.judge_again("1.2.1")
    bench.assembler.judge_again("9.9.9")
    bench.settle()
    assert bench.kinds() == ["Opened", *["Slice"] * 5, "Completed"]
