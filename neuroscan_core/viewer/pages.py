"""The page and its files: served as they lie in the package, checked again at each visit, never from elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

STATIC = Path(__file__).parent / "static"
# Browsers refuse a module of the wrong type, and the table of the operating system may hold anything.
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".woff2": "font/woff2",
}
# Names carry no version: a browser asks each time whether the file is still the same (ETag), and gets 304 if so.
CACHE_CONTROL = "no-cache"


class _Files(StaticFiles):
    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        media_type = MEDIA_TYPES.get(Path(full_path).suffix)
        if media_type is not None and response.status_code == status_code:
            response.headers["content-type"] = media_type
        response.headers["cache-control"] = CACHE_CONTROL
        return response


def page_routes(static: Path = STATIC) -> list[BaseRoute]:
    """The page at ``/`` and its files below ``/static``."""

    def page(_: Request) -> Response:
        return FileResponse(
            static / "index.html", media_type=MEDIA_TYPES[".html"], headers={"cache-control": CACHE_CONTROL}
        )

    return [Route("/", page), Mount("/static", _Files(directory=static))]
