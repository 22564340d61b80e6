"""Errors as a browser gets them: what happened, what it means, what to do, with the right status."""

from __future__ import annotations

import traceback
from http import HTTPStatus
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from neuroscan_core.domain.errors import (
    CaseError,
    CaseNotFound,
    ConfigurationError,
    DicomError,
    NeuroScanError,
    RequestRefused,
    RequestTimeout,
    SeriesRejection,
    StorageError,
    WebProblem,
)
from neuroscan_core.log import get_logger

log = get_logger(__name__)

_STATUS: tuple[tuple[type[NeuroScanError], HTTPStatus], ...] = (
    (CaseNotFound, HTTPStatus.NOT_FOUND),
    (CaseError, HTTPStatus.CONFLICT),
    (RequestTimeout, HTTPStatus.SERVICE_UNAVAILABLE),
    (RequestRefused, HTTPStatus.CONFLICT),
    (StorageError, HTTPStatus.INSUFFICIENT_STORAGE),
    (SeriesRejection, HTTPStatus.UNPROCESSABLE_ENTITY),
    (DicomError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (ConfigurationError, HTTPStatus.UNPROCESSABLE_ENTITY),
)
_MEANING = {
    HTTPStatus.SERVICE_UNAVAILABLE: "A part of the node does not answer; nothing was lost.",
    HTTPStatus.INSUFFICIENT_STORAGE: "The disk of the node cannot take it.",
}
_OF_STATUS = {
    HTTPStatus.NOT_FOUND: ("There is nothing here.", "", "Go back to the list."),
    HTTPStatus.METHOD_NOT_ALLOWED: ("This address does not do that.", "", "Load the page again."),
}


def problem_response(
    status: int, error: str, meaning: str = "", remedy: str = "", *, headers: dict[str, str] | None = None
) -> JSONResponse:
    """An error for a person, as every route answers it."""
    return JSONResponse({"error": error, "meaning": meaning, "remedy": remedy}, status_code=status, headers=headers)


def response_to(error: NeuroScanError) -> JSONResponse:
    """What a browser gets for one of our errors."""
    if isinstance(error, WebProblem):
        headers = {"retry-after": str(error.retry_after_s)} if error.retry_after_s else None
        return problem_response(error.status, error.message, error.meaning, error.remedy, headers=headers)
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), HTTPStatus.INTERNAL_SERVER_ERROR)
    return problem_response(status, error.message, _MEANING.get(status, ""), error.remedy)


def _answer_ours(_: Request, error: Exception) -> Response:
    assert isinstance(error, NeuroScanError)
    return response_to(error)


def _answer_http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    text, meaning, remedy = _OF_STATUS.get(status, (str(error.detail), "", ""))
    return problem_response(status, text, meaning, remedy, headers=dict(error.headers or {}))


def unforeseen(route: str, error: Exception) -> JSONResponse:
    """A fault of ours. Its text may hold anything, so where it happened is logged, and nothing of it is shown."""
    places = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
    log.error("a request failed", route=route, exception=type(error).__name__, at=" ".join(places[-8:]))
    return problem_response(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "This request failed.",
        "The viewer has a fault; the node goes on working.",
        "Try again; if it stays, report it with the log of the viewer.",
    )


HANDLERS: dict[Any, Any] = {  # the type that Starlette wants
    NeuroScanError: _answer_ours,
    HTTPException: _answer_http,
}
