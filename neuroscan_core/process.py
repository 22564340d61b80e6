"""What the processes of a node have in common, whatever starts them: how they are told to end, how they give way."""

from __future__ import annotations

import signal
import threading

_ENDING = (signal.SIGTERM, signal.SIGINT)
PICTURES_WAIT = 5  # niceness of the viewer: when the processor is short, masks come before pictures of them


def stop_on_signals() -> threading.Event:
    """An event that SIGTERM and SIGINT set; call in the main thread.

    Only the first counts. Ctrl-C under `ros2 launch` comes twice, from the terminal and from the launch, and the second
    must not kill a process that is ending: Python gives up its handlers before it is done.
    """
    stopping = threading.Event()

    def stop(*_: object) -> None:
        for number in _ENDING:
            signal.signal(number, signal.SIG_IGN)
        stopping.set()

    for number in _ENDING:
        signal.signal(number, stop)
    return stopping
