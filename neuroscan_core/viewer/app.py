"""The HTTP side of the application: composition of its parts, nothing that is kept.

A part brings routes (a list of Starlette's) and topics (what it pushes); `process` makes them. Login, forged requests,
sizes and the audit trail are the door's business (`security.guard`), so that no route can forget them. Nothing is
fetched from other servers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from neuroscan_core import __version__
from neuroscan_core.config import GatewayConfig, UploadsConfig
from neuroscan_core.viewer.pages import page_routes
from neuroscan_core.viewer.problems import HANDLERS
from neuroscan_core.viewer.security.guard import Guard, GuardMiddleware
from neuroscan_core.viewer.security.routes import session_routes
from neuroscan_core.viewer.topics import Topic, push


class NodeStatus(Protocol):
    """What the page asks the node."""

    def report(self) -> tuple[list[str], list[str]]:
        """Sentences about what keeps the node from working, and about what a person should look at all the same."""
        ...

    def metrics(self) -> str:
        """Prometheus text of all processes."""
        ...


def create_app(
    status: NodeStatus,
    guard: Guard,
    *,
    uploads: UploadsConfig,
    is_stopping: Callable[[], bool],
    receiver: GatewayConfig | None = None,
    routes: Iterable[BaseRoute] = (),
    topics: Iterable[Topic] = (),
) -> Starlette:
    """Compose the application.

    Parameters
    ----------
    status : NodeStatus
        Asked in a worker thread; may block for a moment.
    guard : Guard
    uploads : UploadsConfig
        Limits that the page tells.
    is_stopping : callable
        Ends open event streams when it says so.
    receiver : GatewayConfig, optional
        Where images are sent to; told to people.
    routes : iterable of BaseRoute
        Of the parts: list of series, cases, diagnosis.
    topics : iterable of Topic
        What the parts push.
    """
    told = tuple(topics)

    async def events(request: Request) -> Response:
        def is_over() -> bool:
            return is_stopping() or not guard.is_allowed(request)

        stream = push(
            told, request.query_params.get("case", ""), is_over=is_over, is_disconnected=request.is_disconnected
        )
        return StreamingResponse(stream, media_type="text/event-stream")

    return Starlette(
        routes=[
            *page_routes(),
            *_health_routes(status),
            *session_routes(guard, uploads, receiver),
            Route("/api/events", events),
            *routes,
        ],
        middleware=[Middleware(GuardMiddleware, guard=guard)],
        exception_handlers=HANDLERS,
    )


def _health_routes(status: NodeStatus) -> list[BaseRoute]:
    """What monitoring asks; open to all, and without data of patients."""

    def live(_: Request) -> Response:
        return JSONResponse({"status": "live", "version": __version__})

    def ready(_: Request) -> Response:
        problems, warnings = status.report()
        body = {"status": "not ready" if problems else "ready", "problems": problems, "warnings": warnings}
        return JSONResponse(body, status_code=503 if problems else 200)

    def metrics(_: Request) -> Response:
        return PlainTextResponse(status.metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return [Route("/health/live", live), Route("/health/ready", ready), Route("/metrics", metrics)]
