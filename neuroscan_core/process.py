"""What the processes of a node have in common, whatever starts them: how they are told to end, how they give way."""

from __future__ import annotations

import signal
import threading

PICTURES_WAIT = 5  # niceness of the viewer: when the processor is short, masks come before pictures of them


def stop_on_signals() -> threading.Event:
    """An event that SIGTERM and SIGINT set; call in the main thread."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    return stopping
