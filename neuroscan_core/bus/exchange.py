"""Requests and replies over ZeroMQ: the server's ROUTER, and the client's pool of DEALER sockets.

On the wire a request is ``[correlation, topic, header, arrays...]``, and its reply the same with the correlation of
the request. What requests mean is not known here.
"""

from __future__ import annotations

import itertools
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import zmq

from neuroscan_core.bus.signal import Signal
from neuroscan_core.bus.wire import Failure, Frame, Message, decode, encode
from neuroscan_core.bus.worker import Answer, Load, RequestWorker
from neuroscan_core.domain.errors import BusError, RequestTimeout, WireFormatError
from neuroscan_core.domain.requests import Reply, Request
from neuroscan_core.log import get_logger

log = get_logger(__name__)

ZmqSocket = zmq.Socket[bytes]

MAX_EARLY, EARLY_S = 32, 5.0


def send_frames(to: ZmqSocket, frames: list[Frame]) -> None:
    """Send without copying large frames; what ZeroMQ cannot queue is dropped, this never blocks."""
    try:
        to.send_multipart(frames, flags=zmq.NOBLOCK, copy=False)
    except zmq.Again:
        log.warning("message dropped, the other side does not read")


def receive_frames(source: ZmqSocket) -> list[zmq.Frame] | None:
    """The next message without waiting or copying; None where there is none."""
    try:
        return source.recv_multipart(flags=zmq.NOBLOCK, copy=False)
    except zmq.Again:
        return None


def decode_frames(frames: list[zmq.Frame]) -> Message:
    """Decode what `receive_frames` gave; raises `WireFormatError`."""
    return decode([frame.buffer for frame in frames])


@dataclass(frozen=True)
class _EarlyRequest:
    """A request that came before its type was served."""

    topic: bytes
    came_at_s: float
    load: Load
    answer: Answer


class RequestServer:
    """Hands requests to the worker of their type and its replies back.

    A process begins to serve its types one after the other: the few requests that come in between wait for a moment.

    Parameters
    ----------
    router : zmq.Socket
        Bound ROUTER; belongs to this object from now on.
    role : str
        Names the thread.
    """

    def __init__(self, router: ZmqSocket, role: str) -> None:
        self._router = router
        self._workers: dict[bytes, RequestWorker] = {}
        self._early: deque[_EarlyRequest] = deque(maxlen=MAX_EARLY)
        self._workers_lock = threading.Lock()
        self._outbox: queue.SimpleQueue[list[Frame]] = queue.SimpleQueue()
        self._wake = Signal()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name=f"bus-server-{role}", daemon=True)
        self._thread.start()

    def add(self, topic: bytes, worker: RequestWorker) -> None:
        """Give requests of a topic to a worker."""
        with self._workers_lock:
            if topic in self._workers:
                raise BusError(f"{topic.decode()} is served already.")
            self._workers[topic] = worker
            for early in [early for early in self._early if early.topic == topic]:
                self._early.remove(early)
                if time.monotonic() - early.came_at_s < EARLY_S:
                    worker.submit(early.load, early.answer)

    def remove(self, topic: bytes) -> None:
        """Stop giving requests of a topic to its worker."""
        with self._workers_lock:
            self._workers.pop(topic, None)

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._router, zmq.POLLIN)
        poller.register(self._wake, zmq.POLLIN)
        while not self._is_closed:
            poller.poll()
            self._wake.clear()
            self._send_replies()
            if (frames := receive_frames(self._router)) is not None:
                self._dispatch(frames)
        self._send_replies()
        self._router.close()

    def _send_replies(self) -> None:
        while not self._outbox.empty():
            send_frames(self._router, self._outbox.get())

    def _dispatch(self, frames: list[zmq.Frame]) -> None:
        if len(frames) < 4:
            log.warning("request dropped, it is not one", num_frames=len(frames))
            return
        envelope: list[Frame] = [frames[0].bytes, frames[1].bytes]
        topic = frames[2].bytes[:256]

        def load() -> Request[Reply]:
            message = decode_frames(frames[2:])
            if not isinstance(message, Request):
                raise WireFormatError(f"{type(message).__name__} is not a request.")
            return message

        def answer(reply: Reply) -> None:
            self._answer(envelope, reply)

        with self._workers_lock:
            worker = self._workers.get(topic)
            if worker is None:
                log.info("request waits, nobody serves its type yet", topic=topic[:64])
                self._early.append(_EarlyRequest(topic, time.monotonic(), load, answer))
                return
        worker.submit(load, answer)

    def _answer(self, envelope: list[Frame], reply: Reply) -> None:
        try:
            frames = encode(reply)
        except WireFormatError as error:
            log.error("reply cannot be written", error=str(error))
            frames = encode(Failure.of(error))
        self._outbox.put([*envelope, *frames])
        self._wake.set()

    def close(self) -> None:
        """Send what is answered and stop; the workers must be closed before."""
        self._is_closed = True
        self._wake.set()
        self._thread.join()
        self._wake.close()


class RequestClient:
    """Asks from any number of threads, each on a connection of its own.

    A connection on which an answer failed to come is thrown away, so that nothing stale is left in it, and the next
    request begins afresh (the "lazy pirate" of the ZeroMQ guide).

    Parameters
    ----------
    connect : callable
        Gives a connected DEALER to the server of a role.
    """

    def __init__(self, connect: Callable[[str], ZmqSocket]) -> None:
        self._connect = connect
        self._changed = threading.Condition()
        self._idle: dict[str, list[ZmqSocket]] = {}
        self._num_asking = 0
        self._closing = Signal()
        self._correlations = itertools.count(1)

    def ask(self, role: str, request: Request[Reply], timeout_s: float) -> Reply:
        """Send a request and wait for its reply.

        Raises
        ------
        RequestTimeout
            No reply came, or the bus was closed.
        RequestRefused
            The server answered with an error.
        WireFormatError
            The request cannot be written, or the reply does not decode.
        """
        frames = encode(request)
        dealer = self._take(role)
        is_sound = False
        try:
            reply = self._exchange(dealer, frames, timeout_s)
            is_sound = reply is not None
        finally:
            self._give_back(role, dealer, is_sound=is_sound)
        if reply is None:
            raise RequestTimeout(
                f"The {role} did not answer {type(request).__name__} within {timeout_s:g} s.",
                remedy=f"Check that the {role} is running.",
            )
        message = decode_frames(reply)
        if isinstance(message, Failure):
            raise message.as_error()
        if not isinstance(message, type(request).reply_type):
            raise WireFormatError(f"The {role} answered {type(request).__name__} with {type(message).__name__}.")
        return message

    def _exchange(self, dealer: ZmqSocket, frames: list[Frame], timeout_s: float) -> list[zmq.Frame] | None:
        correlation = next(self._correlations).to_bytes(8, "little")
        deadline_s = time.monotonic() + timeout_s
        poller = zmq.Poller()
        poller.register(dealer, zmq.POLLIN)
        poller.register(self._closing, zmq.POLLIN)
        send_frames(dealer, [correlation, *frames])
        while not self._closing.is_set:
            reply = receive_frames(dealer)
            if reply is not None and reply[0].bytes == correlation:
                return reply[1:]
            remaining_s = deadline_s - time.monotonic()
            if remaining_s <= 0:
                return None
            if reply is None:
                poller.poll(math.ceil(remaining_s * 1000))
        return None

    def _take(self, role: str) -> ZmqSocket:
        with self._changed:
            if self._closing.is_set:
                raise BusError("The bus is closed.")
            idle = self._idle.setdefault(role, [])
            self._num_asking += 1
            if idle:
                return idle.pop()
        try:
            return self._connect(role)
        except BaseException:
            self._end_asking()
            raise

    def _give_back(self, role: str, dealer: ZmqSocket, *, is_sound: bool) -> None:
        with self._changed:
            if is_sound and not self._closing.is_set:
                self._idle[role].append(dealer)
            else:
                dealer.close(linger=0)
        self._end_asking()

    def _end_asking(self) -> None:
        with self._changed:
            self._num_asking -= 1
            self._changed.notify_all()

    def close(self) -> None:
        """Let whoever waits time out now, and release all connections."""
        with self._changed:
            self._closing.set()
            self._changed.wait_for(lambda: self._num_asking == 0)
            for dealer in itertools.chain.from_iterable(self._idle.values()):
                dealer.close(linger=0)
            self._idle.clear()
        self._closing.close()
