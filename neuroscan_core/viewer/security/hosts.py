"""Names and addresses by which the page may be asked for.

A page that is open to this machine alone must not answer under a foreign name: a web site whose name is suddenly
resolved to 127.0.0.1 (DNS rebinding) would read it through the browser of whoever visits that site.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable


def is_loopback(host: str) -> bool:
    """Whether a name or an address stands for this machine alone."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0]).is_loopback
    except ValueError:
        return False


def host_name(header: str) -> str:
    """Name or address of a ``Host`` header or an origin's authority, without port and brackets, in small letters."""
    text = header.strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0]


class HostCheck:
    """Decides by the ``Host`` header.

    Parameters
    ----------
    listens_on : str
        Address of `viewer.host`.
    allowed : iterable of str
        Names of `viewer.allowed_hosts`.
    """

    def __init__(self, listens_on: str, allowed: Iterable[str]) -> None:
        self._allowed = frozenset(host_name(name) for name in allowed)
        self._is_local = is_loopback(listens_on)

    def allows(self, header: str) -> bool:
        """Whether a request for this host is meant for us."""
        name = host_name(header)
        if name in self._allowed:
            return True
        if self._is_local:
            return is_loopback(name)
        return not self._allowed or is_loopback(name)


def is_same_origin(origin: str, host: str) -> bool:
    """Whether an ``Origin`` header names the server that was asked, as its ``Host`` header has it."""
    scheme, separator, authority = origin.strip().lower().partition("://")
    return bool(separator) and scheme in ("http", "https") and authority == host.strip().lower()
