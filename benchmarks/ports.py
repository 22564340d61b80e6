"""Loopback ports for measured processes."""

from __future__ import annotations

import socket
import time


def free_port() -> int:
    """A TCP port on loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, patience_s: float) -> None:
    """Return as soon as somebody listens on a loopback port.

    Raises
    ------
    TimeoutError
        Nobody did in time.
    """
    deadline_s = time.monotonic() + patience_s
    while time.monotonic() < deadline_s:
        with socket.socket() as probe:
            probe.settimeout(0.5)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"nobody listens on port {port}")
