"""The list of series: its routes, what is pushed of it, and the retry that is asked of the gateway."""

from __future__ import annotations

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from neuroscan_core.domain.errors import WebProblem
from neuroscan_core.domain.requests import RetrySeries
from neuroscan_core.ports import MessageBus
from neuroscan_core.viewer.board import Board
from neuroscan_core.viewer.picture import encode_png, overlay_picture

RETRY_TIMEOUT_S = 5.0


class BoardTopic:
    """Pushes the whole list at first and when series come or go, else only the entries that changed.

    Parameters
    ----------
    board : Board
    """

    def __init__(self, board: Board) -> None:
        self._board = board
        self._revision = -1
        self._entries: dict[str, tuple[str, dict[str, Any]]] = {}  # case -> (as text, entry), in order of the list

    def news(self, case_id: str, seen: Any) -> tuple[Any, Sequence[tuple[str, Any]]]:
        """See `topics.Topic`."""
        if case_id:
            return seen, ()  # who looks at one case sees no list
        revision = self._board.revision
        if revision != self._revision:
            entries = self._board.snapshot()
            self._revision = revision
            self._entries = {entry["case"]: (json.dumps(entry), entry) for entry in entries}
        now = {case: text for case, (text, _) in self._entries.items()}
        if now == seen:
            return now, ()
        if seen is None or list(seen) != list(now):
            return now, (("board", [entry for _, entry in self._entries.values()]),)
        return now, (("series", [entry for case, (text, entry) in self._entries.items() if text != seen[case]]),)


def live_routes(board: Board, bus: MessageBus) -> list[BaseRoute]:
    """Routes of the list; what a person wants to have tried again is asked of the gateway by `bus`."""

    def series(_: Request) -> Response:
        return JSONResponse(board.snapshot())

    def overlay(request: Request) -> Response:
        found = board.overlay(request.path_params["case"])
        if found is None:
            raise WebProblem(HTTPStatus.NOT_FOUND, "There is no picture of this series (yet).")
        return Response(encode_png(overlay_picture(found.pixels_ji, found.labels_ji)), media_type="image/png")

    def retry(request: Request) -> Response:
        uid = board.series_of(request.path_params["case"])
        if uid is None:
            raise WebProblem(HTTPStatus.NOT_FOUND, "This series is not on the list.", remedy="Load the page again.")
        retried = bus.request(RetrySeries(uid), timeout_s=RETRY_TIMEOUT_S)
        return JSONResponse({"is_judged_again": retried.is_judged_again, "num_deliveries": retried.num_deliveries})

    return [
        Route("/api/series", series),
        Route("/api/cases/{case}/overlay.png", overlay),
        Route("/api/cases/{case}/retry", retry, methods=["POST"]),
    ]
