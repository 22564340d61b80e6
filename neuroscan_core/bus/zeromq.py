"""The bus between processes, over ZeroMQ: no broker, every role binds its own sockets and connects to the others'.

Events travel PUB -> SUB and may be missed (a late start, a restart, a slow reader); `bus.feed` brings what was missed
by requests. Requests travel DEALER -> ROUTER, see `exchange`. Over TCP the sockets use CURVE, see `curve`.
"""

from __future__ import annotations

import fcntl
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import zmq

from neuroscan_core.bus.curve import Authenticator, Keys
from neuroscan_core.bus.endpoints import Channel, Endpoint, Endpoints
from neuroscan_core.bus.exchange import (
    RequestClient,
    RequestServer,
    ZmqSocket,
    decode_frames,
    receive_frames,
    send_frames,
)
from neuroscan_core.bus.signal import Signal
from neuroscan_core.bus.wire import MAX_ARRAY_BYTES, encode, topic_of
from neuroscan_core.bus.worker import RequestWorker
from neuroscan_core.config import BusConfig
from neuroscan_core.domain.errors import BusError, ConfigurationError, WireFormatError
from neuroscan_core.domain.events import Event
from neuroscan_core.domain.requests import Reply, Request
from neuroscan_core.lifetime import Closes
from neuroscan_core.log import get_logger

log = get_logger(__name__)

Q = TypeVar("Q", bound="Request[Reply]")
R = TypeVar("R", bound=Reply)

RECONNECT_MS, MAX_RECONNECT_MS = 20, 500
LINGER_MS = 200  # what is already answered may still leave when a process ends
HEARTBEAT_MS, HEARTBEAT_TIMEOUT_MS = 2000, 6000  # finds a TCP peer that lost its power


class ZeroMqSubscription(Closes):
    """See `ports.Subscription`; made by `ZeroMqBus.subscribe`. One thread receives, any thread may close."""

    def __init__(self, sub: ZmqSocket, on_close: Callable[[ZeroMqSubscription], None]) -> None:
        self._sub, self._on_close = sub, on_close
        self._closing = Signal()
        self._lock = threading.Lock()
        self._poller = zmq.Poller()
        self._poller.register(sub, zmq.POLLIN)
        self._poller.register(self._closing, zmq.POLLIN)

    def receive(self, timeout_s: float | None = None) -> Event | None:
        """Wait for the next event."""
        deadline_s = math.inf if timeout_s is None else time.monotonic() + timeout_s
        with self._lock:
            while not self._closing.is_set:
                frames = receive_frames(self._sub)
                if frames is not None:
                    event = _event(frames)
                    if event is not None:
                        return event
                    continue
                remaining_s = deadline_s - time.monotonic()
                if remaining_s <= 0:
                    return None
                self._poller.poll(None if math.isinf(remaining_s) else math.ceil(remaining_s * 1000))
        return None

    @property
    def is_closed(self) -> bool:
        """Whether nothing more will come."""
        return self._closing.is_set

    def close(self) -> None:
        """Stop; a waiting `receive` returns None."""
        self._closing.set()
        with self._lock:
            if not self._sub.closed:
                self._sub.close(linger=0)
                self._closing.close()
        self._on_close(self)


def _event(frames: list[zmq.Frame]) -> Event | None:
    try:
        event = decode_frames(frames)
    except WireFormatError as error:
        log.warning("event dropped, it does not decode", error=str(error))
        return None
    return event if isinstance(event, Event) else None


class ZeroMqBus(Closes):
    """A `ports.MessageBus` between processes.

    Parameters
    ----------
    role : str
        Role of this process: it publishes and serves what belongs to the role. Any number of processes may have a role
        that they only use to subscribe and to ask.
    config : BusConfig
    run_dir : Path
        Folder of the ``ipc://`` sockets.

    Raises
    ------
    ConfigurationError
        Addresses or keys cannot be used.
    """

    def __init__(self, role: str, config: BusConfig, run_dir: Path) -> None:
        self._role, self._queue_events = role, config.queue_events
        self._endpoints = Endpoints(config, run_dir)
        self._keys = Keys.load(config.curve_directory, role) if config.curve_directory else None
        self._context = zmq.Context()
        self._authenticator = Authenticator(self._context, self._keys) if self._keys else None
        self._client = RequestClient(self._connect_dealer)
        self._lock = threading.RLock()
        self._pub_lock = threading.Lock()
        self._pub: ZmqSocket | None = None
        self._server: RequestServer | None = None
        self._subscriptions: set[ZeroMqSubscription] = set()
        self._workers: set[RequestWorker] = set()
        self._locks = ExitStack()
        self._is_closed = False

    def publish(self, event: Event) -> None:
        """Hand an event to every subscriber; arrays in it must not be changed afterwards.

        Raises
        ------
        BusError
            The bus is closed, or another role publishes this type.
        ConfigurationError
            At the first event: the address cannot be bound.
        """
        if event.published_by != self._role:
            raise BusError(f"{type(event).__name__} is published by the {event.published_by}, not the {self._role}.")
        frames = encode(event)
        with self._pub_lock:
            send_frames(self._open_publisher(), frames)

    def subscribe(self, *event_types: type[Event], capacity: int = 256) -> ZeroMqSubscription:
        """Receive events of these types from now on."""
        with self._lock:
            self._check_open()
            sub = self._socket(zmq.SUB)
            sub.rcvhwm = max(1, capacity)
            for event_type in event_types:
                sub.subscribe(topic_of(event_type))
            for role in {event_type.published_by for event_type in event_types}:
                self._connect(sub, role, Channel.EVENTS)
            subscription = ZeroMqSubscription(sub, self._subscriptions.discard)
            self._subscriptions.add(subscription)
        return subscription

    @contextmanager
    def serve(self, request_type: type[Q], handler: Callable[[Q], Reply]) -> Iterator[None]:
        """Answer requests of a type until the context ends.

        Whoever serves a role publishes for it too: the address of its events is bound now, so that subscribers are
        there before the first event.

        Raises
        ------
        BusError
            The type is served already, or by another role.
        ConfigurationError
            An address cannot be bound.
        """
        name, topic = request_type.__name__, topic_of(request_type)
        if request_type.served_by != self._role:
            raise BusError(f"{name} is served by the {request_type.served_by}, not the {self._role}.")
        with self._pub_lock:
            self._open_publisher()
        server = self._open_server()
        worker = RequestWorker(name, cast("Callable[[Any], Reply]", handler))
        self._workers.add(worker)
        try:
            server.add(topic, worker)
            try:
                yield
            finally:
                server.remove(topic)
        finally:
            worker.close()
            self._workers.discard(worker)

    def request(self, request: Request[R], *, timeout_s: float) -> R:
        """Ask the process that serves this type."""
        return cast(R, self._client.ask(request.served_by, cast("Request[Reply]", request), timeout_s))

    def close(self) -> None:
        """Release everything; subscriptions end, and whoever waits for a reply times out."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
        for subscription in tuple(self._subscriptions):
            subscription.close()
        self._client.close()
        for worker in tuple(self._workers):
            worker.close()
        if self._server is not None:
            self._server.close()
        with self._pub_lock:
            if self._pub is not None:
                self._pub.close()
        if self._authenticator is not None:
            self._authenticator.close()
        self._context.term()
        self._locks.close()

    def _open_publisher(self) -> ZmqSocket:
        """Socket of the events, bound at the first use; the caller holds its lock."""
        self._check_open()
        if self._pub is None:
            pub = self._socket(zmq.PUB)
            pub.sndhwm = self._queue_events
            self._pub = self._bind(pub, Channel.EVENTS)
        return self._pub

    def _open_server(self) -> RequestServer:
        with self._lock:
            self._check_open()
            if self._server is None:
                router = self._bind(self._socket(zmq.ROUTER), Channel.REQUESTS)
                self._server = RequestServer(router, self._role)
            return self._server

    def _check_open(self) -> None:
        if self._is_closed:
            raise BusError("The bus is closed.")

    def _socket(self, kind: int) -> ZmqSocket:
        made = self._context.socket(kind)
        made.linger = LINGER_MS
        made.reconnect_ivl, made.reconnect_ivl_max = RECONNECT_MS, MAX_RECONNECT_MS
        made.maxmsgsize = MAX_ARRAY_BYTES
        return made

    def _connect_dealer(self, role: str) -> ZmqSocket:
        dealer = self._socket(zmq.DEALER)
        self._connect(dealer, role, Channel.REQUESTS)
        return dealer

    def _connect(self, made: ZmqSocket, role: str, channel: Channel) -> None:
        with _closed_on_error(made):
            endpoint = self._endpoints.of(role, channel)
            if endpoint.is_network:
                _keep_alive(made, endpoint)
                if self._keys is not None:
                    self._keys.protect_client(made, role)
            made.connect(endpoint.address)

    def _bind(self, made: ZmqSocket, channel: Channel) -> ZmqSocket:
        with _closed_on_error(made):
            endpoint = self._endpoints.of(self._role, channel, binding=True)
            if endpoint.path is not None:
                self._locks.enter_context(_sole_user(endpoint.path, self._role))
            else:
                _keep_alive(made, endpoint)
                if self._keys is not None:
                    self._keys.protect_server(made)
            _bind_or_explain(made, endpoint, self._role)
        return made


@contextmanager
def _closed_on_error(made: ZmqSocket) -> Iterator[None]:
    """A context does not end before its last socket is closed."""
    try:
        yield
    except (ConfigurationError, zmq.ZMQError):
        made.close(linger=0)
        raise


def _keep_alive(made: ZmqSocket, endpoint: Endpoint) -> None:
    made.heartbeat_ivl, made.heartbeat_timeout = HEARTBEAT_MS, HEARTBEAT_TIMEOUT_MS
    made.ipv6 = "[" in endpoint.address


def _bind_or_explain(made: ZmqSocket, endpoint: Endpoint, role: str) -> None:
    try:
        made.bind(endpoint.address)
        if endpoint.path is not None:
            endpoint.path.chmod(0o600)
    except (zmq.ZMQError, OSError) as exc:
        raise ConfigurationError(
            f"The {role} cannot listen on {endpoint.address}: {exc}.",
            remedy="Check that no other process uses this address, and bus.addresses or bus.directory.",
        ) from exc


@contextmanager
def _sole_user(path: Path, role: str) -> Iterator[None]:
    """Hold a lock on a socket file: ZeroMQ would take it from a living process as if it were a dead one's."""
    try:
        file = path.with_name(f"{path.name}.lock").open("w")
    except OSError as exc:
        raise ConfigurationError(
            f"The folder of the bus sockets {path.parent} cannot be written: {exc.strerror}.",
            remedy="Set bus.directory to a folder that this user may write.",
        ) from exc
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            raise ConfigurationError(
                f"Another {role} is running on {path.parent}.",
                remedy="Stop it, or give this one another state_dir.",
            ) from exc
        yield
