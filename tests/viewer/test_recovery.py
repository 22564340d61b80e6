"""A viewer that has just begun completes its list from what the gateway kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from neuroscan_core.domain.errors import RejectionCode
from neuroscan_core.domain.events import SeriesRejected, StudyReady, StudySource
from neuroscan_core.domain.requests import GetSegmentation, ReplaySeries
from neuroscan_core.viewer.board import Board
from neuroscan_core.viewer.cases.fetch import REPLAY_LIMIT
from neuroscan_core.viewer.picture import grey_levels
from neuroscan_core.viewer.recovery import Recovery
from tests.viewer.cases.node import SHAPE, Node, completed, labels, mask_out, opened, result, slice_in

NUM_SLICES = 20  # more than are replayed at once
TALLEST = 4  # first slice with the tallest rectangle of `labels`; nothing is left in slice 0


@pytest.fixture
def node() -> Iterator[Node]:
    with Node().serving() as serving:
        yield serving


def begun(node: Node) -> tuple[Board, Recovery]:
    """A list as it is after the first answer of the gateway."""
    board = Board()
    board.merge(node.list_series().series)
    return board, Recovery(board, node.bus)


def num_asked(node: Node) -> int:
    return sum(isinstance(request, GetSegmentation) for request in node.asked)


def test_masks_volume_and_picture_of_a_series_that_ended_before_are_there_again(node: Node) -> None:
    node.whole(None, "1.1", NUM_SLICES)
    board, recovery = begun(node)
    [before] = board.snapshot()
    assert (before["num_masks"], before["volume_ml"], before["picture"]) == (0, None, "")
    recovery.step()
    [entry] = board.snapshot()
    assert entry["num_masks"] == NUM_SLICES and entry["picture"] and entry["overlay_number"] == 1
    [found] = node.results["1.1"]
    assert entry["volume_ml"] == pytest.approx(found.segmentation.measurements[0].volume_ml)
    drawn = board.overlay(entry["case"])
    assert drawn is not None and np.array_equal(drawn.labels_ji, labels(TALLEST))
    assert np.array_equal(drawn.pixels_ji, grey_levels(slice_in("1.1", 0, TALLEST).pixels_ji))
    recovery.step()
    assert num_asked(node) == 1, "what is there is not asked for again"


def test_one_series_with_each_step_the_newest_first_and_none_while_images_arrive(node: Node) -> None:
    for uid in ("1.1", "1.2"):
        node.whole(None, uid, 2)
    node.send(None, opened("1.3"))
    board, recovery = begun(node)
    newest = board.snapshot()[0]["series"]  # the gateway lists the newest first
    recovery.step()
    assert num_asked(node) == 0
    node.states["1.3"] = "rejected"
    board.merge(node.list_series().series)
    for number in (1, 2):
        recovery.step()
        assert sum(bool(entry["picture"]) for entry in board.snapshot()) == number
        assert board.snapshot()[0]["picture"] and board.snapshot()[0]["series"] == newest


class Busy:
    """A bus on which a series opens with every replay."""

    def __init__(self, node: Node, board: Board) -> None:
        self.node, self.board = node, board

    def request(self, request: Any, timeout_s: float) -> Any:
        reply = self.node.bus.request(request, timeout_s=timeout_s)
        if isinstance(request, ReplaySeries):
            self.board.apply(opened("1.2"))
        return reply


def test_a_picture_is_given_up_for_images_that_arrive_and_made_later(node: Node) -> None:
    node.whole(None, "1.1", NUM_SLICES)
    for k in range(REPLAY_LIMIT):  # the tumour is in the images that were sent last
        node.results["1.1"][0].segmentation.labels_kji[k] = 0
    board, recovery = begun(node)
    Recovery(board, Busy(node, board)).step()  # type: ignore[arg-type]
    assert len(node.replays) == 1 and not board.is_idle
    board.apply(SeriesRejected("1.2", 1, RejectionCode.MISSING_SLICES, "One is missing.", "Send it."))
    assert not any(entry["picture"] for entry in board.snapshot())
    recovery.step()
    assert [bool(entry["picture"]) for entry in board.snapshot()] == [False, True]


def test_a_study_is_shown_on_the_slices_of_its_reference(node: Node) -> None:
    node.whole(None, "1.1", 4)
    end = completed("1.1", 0, 4)
    node.send(
        None, StudyReady("9.9", 0, "tiny", (StudySource("FLAIR", "1.1", 1, end.manifest, end.geometry),), "FLAIR")
    )
    node.send(None, replace(result("1.1", 4), series_instance_uid="9.9"))
    board, recovery = begun(node)
    recovery.step()
    recovery.step()
    assert [(entry["num_masks"], bool(entry["picture"])) for entry in board.snapshot()] == [(4, True), (4, True)]


def test_a_series_whose_images_are_gone_has_its_numbers_and_one_without_a_seg_its_finding(node: Node) -> None:
    found = result("1.1", 4)
    node.send(None, opened("1.1"), found)
    node.send(None, opened("1.2"))
    node.states["1.2"] = "delivered"
    board, recovery = begun(node)
    for _ in range(4):
        recovery.step()
    entries = {entry["series"]: entry for entry in board.snapshot()}
    assert (entries["1.1"]["num_masks"], entries["1.1"]["picture"]) == (4, "")
    assert (entries["1.2"]["num_masks"], entries["1.2"]["finding"], entries["1.2"]["volume_ml"]) == (0, "", None)
    assert num_asked(node) == 2, "neither is asked for for ever"


def test_a_new_version_of_a_series_is_drawn_over_what_was_read_back(node: Node) -> None:
    node.whole(None, "1.1", 4)
    board, recovery = begun(node)
    recovery.step()
    [before] = board.snapshot()
    board.apply(slice_in("1.1", 9, 0))
    larger = np.ones(SHAPE, np.uint8)
    board.apply(replace(mask_out("1.1", 9, 0), labels_ji=larger))
    [after] = board.snapshot()
    assert after["overlay_number"] > before["overlay_number"]
    drawn = board.overlay(after["case"])
    assert drawn is not None and drawn.labels_ji.all()
