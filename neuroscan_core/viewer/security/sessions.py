"""Sessions of browsers: who is logged in, with which token against forged requests, and whether identity is shown.

Kept in memory: whoever restarts the viewer logs in again.
"""

from __future__ import annotations

import hmac
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.requests import Request

MAX_SESSIONS = 256


@dataclass
class Session:
    """One browser.

    Parameters
    ----------
    id : str
        Value of its cookie.
    csrf : str
        Must come with every request that changes something.
    mark : str
        Stands for the session in the audit trail; says nothing of its cookie.
    identity_shown : bool
        Whether patient identity is shown to it.
    """

    id: str = field(repr=False)
    csrf: str = field(repr=False)
    mark: str
    began_s: float
    used_s: float
    identity_shown: bool = False
    identities_seen: set[str] = field(default_factory=set)

    def accepts(self, csrf: str) -> bool:
        """Whether a request really comes from our page."""
        return hmac.compare_digest(self.csrf.encode(), csrf.encode("utf-8", "replace"))


class Sessions:
    """Thread-safe; the one that was not used for the longest time gives way to a new one.

    Parameters
    ----------
    idle_s, lifetime_s : float
        Without a request, and in all.
    monotonic : callable
        Seconds that never go back.
    """

    def __init__(
        self, *, idle_s: float, lifetime_s: float, monotonic: Callable[[], float], max_sessions: int = MAX_SESSIONS
    ) -> None:
        self._idle_s, self._lifetime_s, self._monotonic = idle_s, lifetime_s, monotonic
        self._max_sessions = max_sessions
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self) -> Session:
        """Make a new session."""
        now_s = self._monotonic()
        session = Session(secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_hex(4), now_s, now_s)
        with self._lock:
            self._sessions[session.id] = session
            while len(self._sessions) > self._max_sessions:
                self._sessions.popitem(last=False)
        return session

    def find(self, session_id: str, *, is_activity: bool = True) -> Session | None:
        """The session of a cookie, unless it has expired; `is_activity` puts its end off."""
        with self._lock:
            session = self._sessions.get(session_id)
            if session is None:
                return None
            now_s = self._monotonic()
            if now_s - session.used_s >= self._idle_s or now_s - session.began_s >= self._lifetime_s:
                del self._sessions[session_id]
                return None
            if is_activity:
                session.used_s = now_s
                self._sessions.move_to_end(session_id)
            return session

    def end(self, session_id: str) -> None:
        """Forget a session."""
        with self._lock:
            self._sessions.pop(session_id, None)


def session_of(request: Request) -> Session | None:
    """Session of a request; None for a program that carries a token, or none at all where no login is needed."""
    session = request.scope.get("neuroscan.session")
    assert session is None or isinstance(session, Session)
    return session


def is_identity_shown(request: Request) -> bool:
    """Whether the answer to this request may hold patient identity."""
    session = session_of(request)
    return session is not None and session.identity_shown
