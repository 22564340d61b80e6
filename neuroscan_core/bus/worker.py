"""How a request is answered, and the thread that answers one type of request, one at a time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import suppress

from neuroscan_core.bus.wire import Failure
from neuroscan_core.domain.errors import NeuroScanError
from neuroscan_core.domain.requests import Reply, Request
from neuroscan_core.log import get_logger

log = get_logger(__name__)

MAX_WAITING = 1024
CLOSE_TIMEOUT_S = 5.0

Load = Callable[[], Request[Reply]]
Answer = Callable[[Reply], None]


def reply_to(name: str, handler: Callable[[Request[Reply]], Reply], load: Load) -> Reply:
    """Reply of a handler to one request.

    Parameters
    ----------
    name : str
        Name of the request type.
    handler : callable
        Makes the reply. A `NeuroScanError` becomes a `Failure`, and so does, without its text, any other exception.
    load : callable
        Gives the request; may raise as the handler may.
    """
    try:
        request = load()
        reply = handler(request)
        if not isinstance(reply, type(request).reply_type):
            raise TypeError(f"the handler of {name} answered with {type(reply).__name__}")
        return reply
    except NeuroScanError as error:
        return Failure.of(error)
    except Exception as error:  # a service loop: the asker learns of it, the next request is served
        log.exception("request failed", request=name)
        return Failure(
            "InternalError",
            f"{name} failed in the server ({type(error).__name__}).",
            "The log of the server has the details.",
        )


class RequestWorker:
    """Answers requests with a handler until it is closed.

    Parameters
    ----------
    name : str
        Name of the request type.
    handler : callable
        See `reply_to`.
    """

    def __init__(self, name: str, handler: Callable[[Request[Reply]], Reply]) -> None:
        self._name, self._handler = name, handler
        self._waiting: queue.Queue[tuple[Load, Answer] | None] = queue.Queue(MAX_WAITING)
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name=f"serve-{name}", daemon=True)
        self._thread.start()

    def submit(self, load: Load, answer: Answer) -> None:
        """Queue a request; dropped, so that its asker times out, where too many wait.

        Parameters
        ----------
        load : callable
            Gives the request, in the thread of this worker; may raise `NeuroScanError`.
        answer : callable
            Takes the reply.
        """
        try:
            self._waiting.put_nowait((load, answer))
        except queue.Full:
            log.warning("request dropped, too many wait", request=self._name, num_waiting=MAX_WAITING)

    def _run(self) -> None:
        while True:
            job = self._waiting.get()
            if job is None or self._is_closed:
                return
            load, answer = job
            answer(reply_to(self._name, self._handler, load))
            del job, load, answer  # the next request may be long in coming; do not hold its pixels until then

    def close(self) -> None:
        """Let the running handler end and drop what waits."""
        self._is_closed = True
        with suppress(queue.Full):  # then the thread meets `_is_closed` after its request
            self._waiting.put_nowait(None)
        if threading.current_thread() is not self._thread:
            self._thread.join(CLOSE_TIMEOUT_S)
