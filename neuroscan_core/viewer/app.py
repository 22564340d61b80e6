"""The HTTP side of the status page: routes, nothing that is kept.

Every route only reads. Nothing is fetched from other servers by the page.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from neuroscan_core import __version__
from neuroscan_core.viewer.board import Board
from neuroscan_core.viewer.picture import encode_png, overlay_picture

PUSH_INTERVAL_S = 0.2
KEEP_ALIVE_TICKS = 50
_PAGE = Path(__file__).parent / "static" / "index.html"
_SECURITY_HEADERS = (
    (b"content-security-policy", b"default-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)


class NodeStatus(Protocol):
    """What the page asks the node."""

    def report(self) -> tuple[list[str], list[str]]:
        """Sentences about what keeps the node from working, and about what a person should look at all the same."""
        ...

    def metrics(self) -> str:
        """Prometheus text of all processes."""
        ...


class _SecurityHeaders:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_SECURITY_HEADERS]
            await send(message)

        await self._app(scope, receive, send_with_headers)


def create_app(board: Board, status: NodeStatus, *, is_stopping: Callable[[], bool]) -> Starlette:
    """Compose the application.

    Parameters
    ----------
    board : Board
    status : NodeStatus
        Asked in a worker thread; may block for a moment.
    is_stopping : callable
        Ends open event streams when it says so.
    """

    def live(_: Request) -> Response:
        return JSONResponse({"status": "live", "version": __version__})

    def ready(_: Request) -> Response:
        problems, warnings = status.report()
        body = {"status": "not ready" if problems else "ready", "problems": problems, "warnings": warnings}
        return JSONResponse(body, status_code=503 if problems else 200)

    def metrics(_: Request) -> Response:
        return PlainTextResponse(status.metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")

    def page(_: Request) -> Response:
        return HTMLResponse(_PAGE.read_text(encoding="utf-8"))

    def series(_: Request) -> Response:
        return JSONResponse(board.snapshot())

    def overlay(request: Request) -> Response:
        found = board.overlay(request.path_params["uid"])
        if found is None:
            return PlainTextResponse("There is no picture of this series (yet).", status_code=404)
        return Response(encode_png(overlay_picture(found.pixels_ji, found.labels_ji)), media_type="image/png")

    async def events(request: Request) -> Response:
        stream = _push(board, is_stopping, request.is_disconnected)
        return StreamingResponse(stream, media_type="text/event-stream")

    return Starlette(
        routes=[
            Route("/", page),
            Route("/health/live", live),
            Route("/health/ready", ready),
            Route("/metrics", metrics),
            Route("/api/series", series),
            Route("/api/events", events),
            Route("/series/{uid}/overlay.png", overlay),
        ],
        middleware=[Middleware(_SecurityHeaders)],
    )


async def _push(
    board: Board, is_stopping: Callable[[], bool], is_disconnected: Callable[[], Any]
) -> AsyncIterator[str]:
    """Server-sent events: the whole board whenever it has changed."""
    shown, ticks = -1, 0
    while not is_stopping() and not await is_disconnected():
        revision = board.revision
        if revision != shown:
            shown, ticks = revision, 0
            yield f"data: {json.dumps(board.snapshot())}\n\n"
        elif (ticks := ticks + 1) >= KEEP_ALIVE_TICKS:
            ticks = 0
            yield ": still here\n\n"
        await asyncio.sleep(PUSH_INTERVAL_S)
