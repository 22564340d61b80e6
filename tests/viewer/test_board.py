"""What the status page knows after which events."""

from __future__ import annotations

import numpy as np
import pytest

from neuroscan_core.domain.errors import RejectionCode
from neuroscan_core.domain.events import (
    Event,
    GatewayHeartbeat,
    MaskReady,
    ResultDelivered,
    SegmentationFailed,
    SeriesCompleted,
    SeriesOpened,
    SeriesProgress,
    SeriesRejected,
    SliceReceived,
)
from neuroscan_core.domain.geometry import SliceGeometry, StackGeometry
from neuroscan_core.domain.segmentation import ModelIdentity
from neuroscan_core.domain.volume import FrameKey
from neuroscan_core.viewer import board as board_module
from neuroscan_core.viewer.board import Board
from neuroscan_core.viewer.case_ids import series_case_id

UID = "1.2.3"
CASE = series_case_id(UID)
MODEL = ModelIdentity("net", "1.0", "0" * 64)


def geometry(k: int) -> SliceGeometry:
    return SliceGeometry((0.0, 0.0, float(k)), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), (1.0, 1.0), (4, 4))


def opened() -> SeriesOpened:
    return SeriesOpened(UID, 0, model="net", modality="MR", description="AX FLAIR", opened_at_s=5.0)


def slice_in(k: int) -> SliceReceived:
    return SliceReceived(UID, k + 1, FrameKey(f"1.2.3.{k}"), geometry(k), np.full((4, 4), k, np.float32))


def mask_out(k: int, *, area: int = 1, revision: int = 0) -> MaskReady:
    labels_ji = np.zeros((4, 4), np.uint8)
    labels_ji.flat[:area] = 1
    return MaskReady(UID, k, FrameKey(f"1.2.3.{k}"), labels_ji, 10.0 + k, MODEL, revision)


def progress(state: str = "receiving", **changes: object) -> SeriesProgress:
    values = {"num_events": 1, "num_slices": 0, "version": 0, "is_open": True, **changes}
    return SeriesProgress(UID, state, **values)  # type: ignore[arg-type]


def board_after(*events: Event) -> Board:
    board = Board()
    for event in events:
        board.apply(event)
    return board


def test_counts_each_slice_and_each_mask_once() -> None:
    board = board_after(opened(), slice_in(0), slice_in(1), slice_in(1), mask_out(0), mask_out(0), mask_out(1))
    [shown] = board.snapshot()
    assert (shown["num_slices"], shown["num_masks"]) == (2, 2)
    assert (shown["description"], shown["model"], shown["opened_at_s"]) == ("AX FLAIR", "net", 5.0)


def test_revised_mask_replaces_the_first_and_is_no_second_mask() -> None:
    board = board_after(slice_in(0), mask_out(0, area=2), mask_out(0, area=3, revision=1))
    overlay = board.overlay(CASE)
    assert overlay is not None and np.count_nonzero(overlay.labels_ji) == 3
    assert board.snapshot()[0]["num_masks"] == 1


def test_picture_shows_the_slice_with_the_largest_mask() -> None:
    board = board_after(slice_in(0), slice_in(1), slice_in(2), mask_out(0, area=3), mask_out(1, area=7), mask_out(2))
    overlay = board.overlay(CASE)
    assert overlay is not None and np.count_nonzero(overlay.labels_ji) == 7


def test_a_mask_is_drawn_that_comes_after_the_list_has_said_that_the_series_is_delivered() -> None:
    board = board_after(opened(), slice_in(0), slice_in(1))
    delivered = progress("delivered", is_open=False, num_slices=2)
    board.merge((delivered,))
    board.apply(mask_out(0))
    board.merge((delivered,))
    board.apply(mask_out(1, area=5))
    overlay = board.overlay(CASE)
    assert overlay is not None and np.count_nonzero(overlay.labels_ji) == 5
    board.merge((delivered,))
    board.apply(mask_out(1, area=9, revision=1))
    assert board.overlay(CASE) is overlay, "once all masks were there, slices are not kept"


def test_mask_that_overtakes_its_slice_is_counted_at_once_and_drawn_later() -> None:
    board = board_after(mask_out(0))
    assert board.overlay(CASE) is None
    assert board.snapshot()[0]["num_masks"] == 1
    board.apply(slice_in(0))
    assert board.overlay(CASE) is not None


def test_holds_a_bounded_number_of_slices_for_a_segmenter_that_lags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board_module, "MAX_HELD_BYTES", 10 * 16)
    lagging = board_after(*(slice_in(k) for k in range(30)), mask_out(0))
    assert lagging.overlay(CASE) is None, "its slice is forgotten"
    assert lagging.snapshot()[0]["num_slices"] == 30
    lagging.apply(mask_out(29))
    assert lagging.overlay(CASE) is not None


def test_rejected_series_shows_reason_and_remedy() -> None:
    board = board_after(SeriesRejected(UID, 1, RejectionCode.LOCALIZER, "It is a localizer.", "Send the series."))
    [shown] = board.snapshot()
    assert (shown["state"], shown["reason"], shown["remedy"]) == ("rejected", "It is a localizer.", "Send the series.")


def test_sentence_of_a_rejection_stays_when_the_journal_repeats_it_as_a_code() -> None:
    board = board_after(SeriesRejected(UID, 1, RejectionCode.LOCALIZER, "It is a localizer."))
    board.merge((progress("rejected", reason="localizer", is_open=False),))
    assert board.snapshot()[0]["reason"] == "It is a localizer."


def test_failure_of_the_segmenter_is_shown() -> None:
    [shown] = board_after(SegmentationFailed(UID, 1, "internal-error", "The network broke.")).snapshot()
    assert (shown["state"], shown["reason"]) == ("failed", "The network broke.")


def test_completion_tells_how_many_slices_there_are() -> None:
    keys = tuple(FrameKey(f"1.2.3.{k}") for k in range(3))
    [shown] = board_after(SeriesCompleted(UID, 4, keys, StackGeometry(geometry(0), 1.0, 3))).snapshot()
    assert (shown["num_expected"], shown["state"]) == (3, "complete")


def test_commitment_replaces_the_delivery_it_belongs_to() -> None:
    board = board_after(
        ResultDelivered(UID, "2.25.1", "SEG", "pacs", False, 0.5),
        ResultDelivered(UID, "2.25.1", "SEG", "pacs", True, 0.5),
    )
    [shown] = board.snapshot()
    assert [delivery["is_committed"] for delivery in shown["deliveries"]] == [True]


@pytest.mark.parametrize("by_heartbeat", [True, False])
def test_state_of_the_journal_is_believed(by_heartbeat: bool) -> None:
    board = board_after(opened(), slice_in(0))
    entry = progress("delivering", num_slices=60, version=2)
    if by_heartbeat:
        board.apply(GatewayHeartbeat((entry,)))
    else:
        board.merge((entry,))
    [shown] = board.snapshot()
    assert (shown["state"], shown["num_slices"], shown["version"]) == ("delivering", 60, 2)


def test_forgets_the_oldest_series() -> None:
    board = Board(max_series=2)
    for number in range(3):
        board.apply(SeriesOpened(f"1.2.{number}", 0, model="net"))
    assert [shown["series"] for shown in board.snapshot()] == ["1.2.2", "1.2.1"]


def test_every_event_changes_the_revision() -> None:
    board = Board()
    before = board.revision
    board.apply(opened())
    assert board.revision > before
