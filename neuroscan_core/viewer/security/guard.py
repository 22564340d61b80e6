"""The door of the application: every request passes it, and what it does not let in reaches no route.

In order: the host that was asked for, the size of the body, login, and the token against forged requests. What is done
to cases is noted in the audit trail on the way out.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from neuroscan_core.config import ViewerConfig
from neuroscan_core.domain.errors import ConfigurationError, NeuroScanError, WebProblem
from neuroscan_core.viewer.problems import response_to, unforeseen
from neuroscan_core.viewer.security.audit import AuditTrail
from neuroscan_core.viewer.security.credentials import Credentials, PasswordHash, load_token
from neuroscan_core.viewer.security.headers import protect
from neuroscan_core.viewer.security.hosts import HostCheck, is_loopback, is_same_origin
from neuroscan_core.viewer.security.sessions import Session, Sessions
from neuroscan_core.viewer.security.throttle import Throttle

MAX_BODY_BYTES = 64 << 10
FORM_SLACK_BYTES = 1 << 20  # headers and boundaries of a form's parts, beside the files
UPLOAD_PATHS = frozenset({"/api/diagnose"})
CSRF_HEADER = "x-csrf-token"
LOGIN_PATH = "/api/login"
PASSIVE_PATHS = frozenset({"/api/events"})  # what a page asks by itself is no sign that somebody sits before it
# No data of a patient or a series is behind these: page, files of the package, and what monitoring needs.
_OPEN = re.compile(r"/|/static/.*|/api/(session|login)|/health/(live|ready)|/metrics")
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_ANONYMOUS_IDLE_S, _ANONYMOUS_LIFETIME_S = 24 * 3600.0, 7 * 24 * 3600.0
_AUDITED = (
    ("GET", re.compile(r"/api/cases/(?P<case>\w+)/download/(?P<kind>[\w-]+)"), "download"),
    ("GET", re.compile(r"/api/cases/(?P<case>\w+)/report/(?P<kind>\w+)"), "report"),
    ("POST", re.compile(r"/api/cases/(?P<case>\w+)/retry"), "retry"),
    ("POST", re.compile(r"/api/cases/(?P<case>\w+)/segment"), "segment"),
    ("DELETE", re.compile(r"/api/cases/(?P<case>\w+)"), "delete"),
    ("POST", re.compile(r"/api/diagnose"), "upload"),
)
_CASE = re.compile(r"/api/cases/(?P<case>\w+)")


class Guard:
    """What the door knows; `middleware` is the door itself.

    Parameters
    ----------
    config : ViewerConfig
    monotonic, clock : callable
        Seconds that never go back; Unix time.

    Raises
    ------
    ConfigurationError
        Others than this machine could reach the page without a login; or hash, token or audit file cannot be used.
    """

    def __init__(
        self,
        config: ViewerConfig,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
    ) -> None:
        check_exposure(config)
        auth = config.auth
        self.credentials = check_credentials(config)
        self.sessions = (
            Sessions(idle_s=60 * auth.idle_minutes, lifetime_s=3600 * auth.session_hours, monotonic=monotonic)
            if auth
            else Sessions(idle_s=_ANONYMOUS_IDLE_S, lifetime_s=_ANONYMOUS_LIFETIME_S, monotonic=monotonic)
        )
        self.throttle = Throttle(monotonic)
        self.audit = AuditTrail(config.directory, clock=clock)
        self.is_secure = config.tls is not None or config.behind_tls_proxy
        self._is_behind_proxy = config.behind_tls_proxy
        self._hosts = HostCheck(config.host, config.allowed_hosts)
        self._upload_bytes = config.uploads.max_bytes + FORM_SLACK_BYTES

    @property
    def needs_login(self) -> bool:
        """Whether a secret is asked for."""
        return self.credentials is not None

    def address_of(self, connection: HTTPConnection) -> str:
        """Address of the browser; that of the proxy's peer where there is a proxy."""
        peer = connection.client.host if connection.client else ""
        if not self._is_behind_proxy:
            return peer
        forwarded = connection.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
        return forwarded[:64] or peer

    def cookie_name(self, connection: HTTPConnection) -> str:
        """Browsers share cookies between ports: two nodes on one machine must not overwrite each other's."""
        server = connection.scope.get("server") or ("", 0)
        return f"{'__Host-' if self.is_secure else ''}neuroscan-{server[1]}"

    def set_cookie(self, connection: HTTPConnection, response: Response, session: Session | None) -> None:
        """Give a browser its session, or take it away."""
        name = self.cookie_name(connection)
        response.set_cookie(
            name, session.id if session else "", max_age=None if session else 0, path="/", secure=self.is_secure,
            httponly=True, samesite="strict",
        )  # fmt: skip

    def session_by_cookie(self, connection: HTTPConnection, *, is_activity: bool = True) -> Session | None:
        """Session that a request belongs to."""
        session_id = connection.cookies.get(self.cookie_name(connection), "")
        return self.sessions.find(session_id, is_activity=is_activity) if session_id else None

    def is_allowed(self, connection: HTTPConnection) -> bool:
        """Whether a stream that was opened may go on: its session has not ended."""
        return not self.needs_login or self._carries_token(connection) or (
            self.session_by_cookie(connection, is_activity=False) is not None
        )  # fmt: skip

    def admit(self, request: Request) -> Session | None:
        """Let a request in, or raise.

        Raises
        ------
        WebProblem
        """
        path = _path_of(request)
        if path.startswith("/health/") or path == "/metrics":
            return None  # probes ask by address; there is nothing to read
        self._check_host(request)
        session = self.session_by_cookie(request, is_activity=path not in PASSIVE_PATHS)
        is_program = self._carries_token(request)
        if self.needs_login and session is None and not is_program and not _OPEN.fullmatch(path):
            raise WebProblem(
                HTTPStatus.UNAUTHORIZED, "You are not logged in.",
                meaning="The session has ended, or there was none.", remedy="Log in.",
            )  # fmt: skip
        if request.method not in _SAFE_METHODS and not is_program:
            self._check_forgery(request, session, path)
        return session

    def limit_of(self, path: str) -> int:
        """Most bytes that the body of a request may have."""
        return self._upload_bytes if path in UPLOAD_PATHS else MAX_BODY_BYTES

    def note(self, request: Request, status: int, session: Session | None) -> None:
        """Audit what a request did to a case."""
        path, mark, address = _path_of(request), session.mark if session else "", self.address_of(request)
        for method, pattern, action in _AUDITED:
            found = pattern.fullmatch(path)
            if request.method == method and found is not None:
                self.audit.note(action, session=mark, address=address, status=int(status), **found.groupdict())
        found = _CASE.fullmatch(path)
        if request.method != "GET" or found is None or session is None or not session.identity_shown:
            return
        if status == HTTPStatus.OK and found["case"] not in session.identities_seen:
            session.identities_seen.add(found["case"])
            self.audit.note("identity-seen", session=mark, address=address, case=found["case"])

    def _check_host(self, request: Request) -> None:
        host = request.headers.get("host", "")
        if not self._hosts.allows(host):
            raise WebProblem(
                HTTPStatus.MISDIRECTED_REQUEST, "The page is not to be had under this name.",
                meaning="Another web site may have sent you here.",
                remedy="Use the address that the node names, or add the name to viewer.allowed_hosts.",
            )  # fmt: skip

    def _check_forgery(self, request: Request, session: Session | None, path: str) -> None:
        origin = request.headers.get("origin")
        is_ours = origin is None or is_same_origin(origin, request.headers.get("host", ""))
        # A foreign page cannot send this type without asking first (CORS), which is never granted.
        is_json = request.headers.get("content-type", "").partition(";")[0].strip() == "application/json"
        if path == LOGIN_PATH:
            is_ours = is_ours and is_json
        else:
            is_ours = is_ours and session is not None and session.accepts(request.headers.get(CSRF_HEADER, ""))
        if not is_ours:
            raise WebProblem(
                HTTPStatus.FORBIDDEN, "This request does not come from the page.",
                meaning="Nothing was done: it may be a request that another web site made up.",
                remedy="Load the page again, then try once more.",
            )  # fmt: skip

    def _carries_token(self, connection: HTTPConnection) -> bool:
        scheme, _, secret = connection.headers.get("authorization", "").partition(" ")
        if self.credentials is None or scheme.lower() != "bearer":
            return False
        return self.credentials.accepts_token(secret.strip())


def check_exposure(config: ViewerConfig) -> None:
    """Refuse to show patients' images to whoever is on the network.

    Raises
    ------
    ConfigurationError
    """
    if config.auth is not None:
        return
    foreign = [name for name in config.allowed_hosts if not is_loopback(name.partition(":")[0])]
    reasons = [f"viewer.host is {config.host}"] if not is_loopback(config.host) else []
    reasons += [f"viewer.allowed_hosts names {foreign[0]}"] if foreign else []
    reasons += ["viewer.behind_tls_proxy is set"] if config.behind_tls_proxy else []
    if reasons:
        raise ConfigurationError(
            f"{' and '.join(reasons)}, but there is no viewer.auth: everybody on the network could see the images.",
            remedy="Set viewer.auth.token_file to a path (the file is made), or viewer.auth.password_hash to what "
            "`neuroscan viewer-password` prints; or set viewer.host to 127.0.0.1.",
        )


def check_credentials(config: ViewerConfig) -> Credentials | None:
    """What is accepted as a proof; None where no login is needed.

    Raises
    ------
    ConfigurationError
        The hash is none, or the token file cannot be used.
    """
    auth = config.auth
    if auth is None:
        return None
    password = PasswordHash.parse(auth.password_hash) if auth.password_hash is not None else None
    return Credentials(password, load_token(auth.token_file) if auth.token_file is not None else None)


class GuardMiddleware:
    """ASGI middleware around all routes.

    Parameters
    ----------
    app : ASGI application
    guard : Guard
    """

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self._app, self._guard = app, guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or answer it here."""
        if scope["type"] != "http":
            return  # no web sockets, no lifespan
        request = Request(scope)
        status = 0

        async def send_protected(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                protect(MutableHeaders(scope=message), is_secure=self._guard.is_secure)
            await send(message)

        session: Session | None = None
        try:
            session = self._guard.admit(request)
            scope["neuroscan.session"] = session
            limited = _limited(receive, request.headers, self._guard.limit_of(_path_of(request)))
            await self._app(scope, limited, send_protected)
        except NeuroScanError as error:
            if status:
                raise
            await response_to(error)(scope, receive, send_protected)
        except Exception as error:
            response = unforeseen(getattr(scope.get("route"), "path", ""), error)
            if status:
                raise RuntimeError("a response was cut off") from None
            await response(scope, receive, send_protected)
        finally:
            if status:
                self._guard.note(request, status, session)


def _path_of(request: Request) -> str:
    """The path that routes are chosen by; the URL is made of the ``Host`` header too, and anybody can write that."""
    path: str = request.scope["path"]
    return path


def _limited(receive: Receive, headers: Mapping[str, str], limit: int) -> Receive:
    """A `receive` that ends with an error where the body is too large."""
    announced = headers.get("content-length", "0")
    if not announced.isdigit() or int(announced) > limit:
        raise _too_large(limit)
    num_bytes = 0

    async def receive_limited() -> Message:
        nonlocal num_bytes
        message = await receive()
        num_bytes += len(message.get("body", b""))
        if num_bytes > limit:
            raise _too_large(limit)
        return message

    return receive_limited


def _too_large(limit: int) -> WebProblem:
    return WebProblem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "This is too large.",
        meaning=f"At most {limit / (1 << 20):.0f} MiB are taken." if limit >= 1 << 20 else "Nothing was done.",
        remedy="Drop less at once, or raise viewer.uploads.max_bytes.",
    )  # fmt: skip
