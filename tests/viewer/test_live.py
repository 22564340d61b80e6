"""The list of series: details of the gateway, retries, and what is pushed of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from neuroscan_core.domain.errors import RejectionCode
from neuroscan_core.domain.events import ResultDelivered, SeriesOpened, SeriesRejected
from neuroscan_core.domain.requests import DeliveryProgress, SeriesDetail
from neuroscan_core.viewer.board import Board
from neuroscan_core.viewer.live import BoardTopic
from tests.viewer.test_board import UID, board_after, mask_out, opened, progress, slice_in

QUEUED = DeliveryProgress("1.2.9", "SEG", "pacs", "queued")


def entry(board: Board) -> dict[str, Any]:
    [shown] = board.snapshot()
    return shown


def test_details_of_the_gateway_are_shown_with_the_state_of_every_delivery() -> None:
    board = board_after(opened())
    dead = DeliveryProgress("1.2.8", "SR", "pacs", "dead-letter", 12, "The archive has no room.")
    tried = replace(QUEUED, num_attempts=3, message="No answer.")
    board.describe((SeriesDetail(UID, "FLAIR head", 24, "", True, (tried, dead)), SeriesDetail("9.9")))
    shown = entry(board)
    assert (shown["rule"], shown["num_expected"], shown["can_retry"]) == ("FLAIR head", 24, True)
    assert [(one["modality"], one["state"], one["error"]) for one in shown["deliveries"]] == [
        ("SEG", "retrying", "No answer."), ("SR", "dead-letter", "The archive has no room."),
    ]  # fmt: skip


def test_a_delivery_is_shown_at_once_and_its_commitment_does_not_change_how_fast_it_was() -> None:
    board = board_after(opened())
    board.describe((SeriesDetail(UID, deliveries=(QUEUED,)),))
    board.apply(ResultDelivered(UID, "1.2.9", "SEG", "pacs", is_committed=False, delay_s=0.5))
    [stored] = entry(board)["deliveries"]
    assert (stored["state"], stored["delay_s"]) == ("delivered", 0.5)
    board.apply(ResultDelivered(UID, "1.2.9", "SEG", "pacs", is_committed=True, delay_s=9.0))
    [committed] = entry(board)["deliveries"]
    assert (committed["state"], committed["is_committed"], committed["delay_s"]) == ("committed", True, 0.5)


def test_reason_and_remedy_stay_apart_though_the_journal_keeps_one_sentence() -> None:
    board = Board()
    board.merge((progress("rejected", is_open=False, message="It is tilted. Send it straight.", reason="gantry-tilt"),))
    board.describe((SeriesDetail(UID, remedy="Send it straight.", is_retryable=True),))
    shown = entry(board)
    assert (shown["reason"], shown["remedy"]) == ("It is tilted.", "Send it straight.")
    board.merge((progress("rejected", is_open=False, message="It is tilted. Send it straight.", reason="gantry-tilt"),))
    board.describe((SeriesDetail(UID, remedy="Send it straight.", is_retryable=True),))
    assert entry(board)["reason"] == "It is tilted."


def test_a_rejected_series_can_be_tried_again_before_any_details_came() -> None:
    board = board_after(opened(), SeriesRejected(UID, 1, RejectionCode.GANTRY_TILT, "It is tilted.", "Mend it."))
    assert entry(board)["can_retry"]


def test_a_series_that_is_judged_again_begins_anew_on_the_list() -> None:
    rejected = SeriesRejected(UID, 3, RejectionCode.MISSING_SLICES, "One is missing.", "Send it.")
    board = board_after(opened(), slice_in(0), slice_in(1), rejected)
    again = SeriesOpened(UID, 4, model="other", modality="MR", description="AX FLAIR", opened_at_s=9.0, priority=5)
    board.apply(again)
    shown = entry(board)
    assert (shown["state"], shown["reason"], shown["remedy"], shown["can_retry"]) == ("receiving", "", "", False)
    assert (shown["num_slices"], shown["model"], shown["priority"]) == (0, "other", 5)


def test_the_reason_of_a_former_end_goes_when_the_gateway_says_that_the_series_is_open() -> None:
    board = Board()
    board.merge((progress("failed", is_open=False, message="The network failed.", reason="internal-error"),))
    assert entry(board)["reason"] == "The network failed."
    board.merge((progress("complete"),))
    assert (entry(board)["reason"], entry(board)["can_retry"]) == ("", False)


def test_a_result_is_on_its_way_until_it_is_stored_or_given_up() -> None:
    board = board_after(opened())
    assert not board.is_delivering
    for state in ("queued", "dead-letter", "queued", "delivered", "committed"):
        board.describe((SeriesDetail(UID, deliveries=(replace(QUEUED, state=state, num_attempts=2),)),))
        assert board.is_delivering == (state == "queued")


def test_what_was_found_is_asked_for_once_where_the_viewer_did_not_see_the_result() -> None:
    board = Board()
    others = [replace(progress("delivered", is_open=False), series_instance_uid=f"5.{n}") for n in range(4)]
    board.merge((progress("receiving"), *others))
    assert board.unsummarised(3) == ["5.0", "5.1", "5.2"], "newest first, and none that is still open"
    for uid in board.unsummarised(3):
        board.summarise(uid, "whole tumour 51.5 ml in 1 part")
    assert board.unsummarised(3) == ["5.3"]
    board.summarise("5.3", "")
    assert board.unsummarised(3) == []
    assert {one["finding"] for one in board.snapshot()} == {"", "whole tumour 51.5 ml in 1 part"}


def test_the_picture_of_a_series_has_an_address_without_its_uid() -> None:
    board = board_after(opened(), slice_in(0))
    assert entry(board)["picture"] == ""
    board.apply(mask_out(0))
    assert entry(board)["picture"].startswith("api/cases/s") and UID not in entry(board)["picture"]


def test_pushes_the_list_first_then_changed_entries_only_and_nothing_twice() -> None:
    board = board_after(opened())
    topic = BoardTopic(board)
    seen, messages = topic.news("", None)
    assert [(name, len(data)) for name, data in messages] == [("board", 1)]
    board.apply(replace(opened(), series_instance_uid="7.7"))
    seen, messages = topic.news("", seen)
    assert [(name, [one["series"] for one in data]) for name, data in messages] == [("board", ["7.7", UID])]
    board.apply(slice_in(0))
    seen, messages = topic.news("", seen)
    assert [(name, [one["series"] for one in data]) for name, data in messages] == [("series", [UID])]
    board.apply(slice_in(0))
    board.merge(())
    assert topic.news("", seen) == (seen, ()), "the board was touched, and shows the same"
    late_seen, messages = topic.news("", None)
    assert [name for name, _ in messages] == ["board"] and late_seen == seen, "a browser that comes later gets it all"


def test_who_looks_at_one_case_is_not_pushed_the_list() -> None:
    assert BoardTopic(board_after(opened())).news("s0123456789abcdef", None) == (None, ())
