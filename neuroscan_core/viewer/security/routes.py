"""Session, login, logout and the switch that shows patient identity."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from neuroscan_core import __version__
from neuroscan_core.config import GatewayConfig, UploadsConfig
from neuroscan_core.domain.errors import WebProblem
from neuroscan_core.viewer.security.credentials import Credentials
from neuroscan_core.viewer.security.guard import Guard
from neuroscan_core.viewer.security.sessions import Session, session_of


def session_routes(guard: Guard, uploads: UploadsConfig, receiver: GatewayConfig | None = None) -> list[BaseRoute]:
    """Routes about who asks.

    Parameters
    ----------
    guard : Guard
    uploads : UploadsConfig
        Limits that the page tells before an upload is refused.
    receiver : GatewayConfig, optional
        Where images are sent to, for people who see an empty list.
    """
    node = {"ae_title": receiver.ae_title, "port": receiver.port} if receiver is not None else None
    one_at_a_time = asyncio.Semaphore(1)  # a hash takes 32 MiB and a processor

    def describe(session: Session | None) -> dict[str, Any]:
        return {
            "authenticated": session is not None,
            "needs_login": guard.needs_login,
            "csrf": session.csrf if session else "",
            "identity_shown": session is not None and session.identity_shown,
            "version": __version__,
            "node": node if session is not None else None,
            "limits": {"upload_bytes": uploads.max_bytes, "upload_files": uploads.max_files},
        }

    async def session(request: Request) -> Response:
        found = session_of(request)
        if found is not None or guard.needs_login:
            return JSONResponse(describe(found))
        begun = guard.sessions.begin()
        response = JSONResponse(describe(begun))
        guard.set_cookie(request, response, begun)
        return response

    async def login(request: Request) -> Response:
        credentials = guard.credentials
        if credentials is None:
            raise WebProblem(HTTPStatus.CONFLICT, "No login is needed here.", remedy="Load the page again.")
        secret = (await _fields(request)).get("secret")
        if not isinstance(secret, str):
            raise WebProblem(HTTPStatus.BAD_REQUEST, "The login holds no secret.", remedy="Load the page again.")
        async with one_at_a_time:
            begun = await asyncio.to_thread(_try, guard, guard.address_of(request), credentials, secret)
        former = session_of(request)
        if former is not None:
            guard.sessions.end(former.id)
        guard.audit.note("login", session=begun.mark, address=guard.address_of(request))
        response = JSONResponse(describe(begun))
        guard.set_cookie(request, response, begun)
        return response

    async def logout(request: Request) -> Response:
        former = session_of(request)
        if former is not None:
            guard.sessions.end(former.id)
            guard.audit.note("logout", session=former.mark, address=guard.address_of(request))
        response = JSONResponse(describe(None))
        guard.set_cookie(request, response, None)
        return response

    async def identity(request: Request) -> Response:
        shown, found = (await _fields(request)).get("shown"), session_of(request)
        if not isinstance(shown, bool) or found is None:
            raise WebProblem(
                HTTPStatus.BAD_REQUEST, "Identity can be shown or hidden, for a session.", remedy="Load the page again."
            )
        if found.identity_shown != shown:
            action = "identity-shown" if shown else "identity-hidden"
            guard.audit.note(action, session=found.mark, address=guard.address_of(request))
        found.identity_shown = shown
        found.identities_seen.clear()
        return JSONResponse(describe(found))

    return [
        Route("/api/session", session),
        Route("/api/login", login, methods=["POST"]),
        Route("/api/logout", logout, methods=["POST"]),
        Route("/api/identity", identity, methods=["POST"]),
    ]


def _try(guard: Guard, address: str, credentials: Credentials, secret: str) -> Session:
    """Begin a session for a right secret; runs in a thread of its own because the hash takes long."""
    wait_s = guard.throttle.wait_s(address)
    if wait_s:
        raise WebProblem(
            HTTPStatus.TOO_MANY_REQUESTS, "Too many wrong logins.",
            meaning="Logins from this address have to wait.", remedy=f"Try again in {wait_s} s.", retry_after_s=wait_s,
        )  # fmt: skip
    if not credentials.accept(secret):
        guard.throttle.fail(address)
        guard.audit.note("login-failed", address=address)
        raise WebProblem(
            HTTPStatus.UNAUTHORIZED, "That is not right.", meaning="You are not logged in.",
            remedy="Check the password or token. It is set by viewer.auth in the configuration of the node.",
        )  # fmt: skip
    guard.throttle.succeed(address)
    return guard.sessions.begin()


async def _fields(request: Request) -> dict[str, Any]:
    """Object in the body of a request.

    Raises
    ------
    WebProblem
        There is none.
    """
    try:
        fields = json.loads(await request.body())
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise WebProblem(
            HTTPStatus.BAD_REQUEST, "The request holds no JSON object.", remedy="Load the page again."
        ) from None
    return fields
