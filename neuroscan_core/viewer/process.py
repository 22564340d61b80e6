"""The viewer process: listens on the bus, asks gateway and segmenter how they are, serves HTTP."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import uvicorn
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from starlette.types import ASGIApp

from neuroscan_core.config import GatewayConfig, ViewerConfig
from neuroscan_core.domain.errors import BusError, ConfigurationError
from neuroscan_core.domain.events import (
    Event,
    GatewayHeartbeat,
    MaskReady,
    ResultDelivered,
    SegmentationFailed,
    SegmentationReady,
    SeriesCompleted,
    SeriesOpened,
    SeriesRejected,
    SliceReceived,
    StudyReady,
)
from neuroscan_core.domain.model_card import ModelCard
from neuroscan_core.domain.requests import (
    DescribeSeries,
    GetGatewayHealth,
    GetSegmenterHealth,
    Health,
    ListSeries,
    Request,
)
from neuroscan_core.lifetime import Runs
from neuroscan_core.log import get_logger
from neuroscan_core.ports import MessageBus
from neuroscan_core.viewer.app import create_app
from neuroscan_core.viewer.board import MAX_SERIES, Board
from neuroscan_core.viewer.cases.compare import CompareJobs
from neuroscan_core.viewer.cases.routes import case_routes, case_topic
from neuroscan_core.viewer.cases.store import CaseStore
from neuroscan_core.viewer.diagnose.routes import Diagnoses, agents_topic, diagnose_routes, diagnoses_of
from neuroscan_core.viewer.live import BoardTopic, live_routes
from neuroscan_core.viewer.metrics import join_metrics
from neuroscan_core.viewer.recovery import Recovery
from neuroscan_core.viewer.security import is_identity_shown
from neuroscan_core.viewer.security.guard import Guard
from neuroscan_core.viewer.security.hosts import is_loopback

log = get_logger(__name__)

ASK_TIMEOUT_S = 2.0
REFRESH_S = 1.0
DESCRIBE_S, DESCRIBE_DELIVERING_S = 10.0, 2.0  # at least so often
MAX_CONNECTIONS = 256
WAIT_S = 0.5  # how soon the threads notice that the viewer stops
_WATCHED = (
    SeriesOpened, SliceReceived, SeriesCompleted, SeriesRejected, GatewayHeartbeat, ResultDelivered, SegmentationReady,
    SegmentationFailed, StudyReady,
)  # fmt: skip
_CHANGING_DETAILS = (SeriesOpened, SeriesCompleted, SeriesRejected, ResultDelivered, SegmentationReady)
_NO_ANSWER = {
    "gateway": "The gateway does not answer: no images can be received. Look at its log, or start `neuroscan gateway`.",
    "segmenter": "The segmenter does not answer: series wait. Look at its log, or start `neuroscan segmenter`.",
}


class MaskSource(Protocol):
    """Brings every mask of the open series once, in order; see `bus.feed.MaskFeed`."""

    def receive(self, timeout_s: float | None = None) -> MaskReady | None:
        """Wait for the next mask; None after `timeout_s` without one, or after close."""
        ...

    def close(self) -> None:
        """Stop; a waiting `receive` returns None."""
        ...


class BusStatus:
    """Asks gateway and segmenter how they are, each time anew.

    Parameters
    ----------
    bus : MessageBus
    registry : CollectorRegistry
        Of this process.
    """

    def __init__(self, bus: MessageBus, registry: CollectorRegistry, *, timeout_s: float = ASK_TIMEOUT_S) -> None:
        self._bus, self._registry, self._timeout_s = bus, registry, timeout_s

    def report(self) -> tuple[list[str], list[str]]:
        """Sentences about what keeps the node from working, and about what a person should look at all the same."""
        problems: list[str] = []
        warnings: list[str] = []
        for role, health in self._ask().items():
            if health is None:
                problems.append(_NO_ANSWER[role])
            elif health.is_ready:
                warnings.extend(health.problems)
            else:
                problems.extend(health.problems or (f"The {role} is not ready yet.",))
        return problems, warnings

    def metrics(self) -> str:
        """Prometheus text of all processes."""
        texts = {role: health.metrics if health else "" for role, health in self._ask().items()}
        return join_metrics({**texts, "viewer": generate_latest(self._registry).decode()})

    def _ask(self) -> dict[str, Health | None]:
        """Ask both at once, so that one that does not answer costs the time-out only once."""
        requests: tuple[Request[Health], ...] = (GetGatewayHealth(), GetSegmenterHealth())
        with ThreadPoolExecutor(len(requests), thread_name_prefix="viewer-ask") as pool:
            answers = pool.map(self._ask_one, requests)
            return {request.served_by: answer for request, answer in zip(requests, answers, strict=True)}

    def _ask_one(self, request: Request[Health]) -> Health | None:
        try:
            return self._bus.request(request, timeout_s=self._timeout_s)
        except BusError as exc:
            log.debug("no answer", role=request.served_by, error=str(exc))
            return None


class Viewer(Runs):
    """The status page with health and metrics.

    Parameters
    ----------
    config : ViewerConfig
    bus : MessageBus
        Opened for the role ``viewer``; the caller closes it.
    masks : MaskSource
        The caller closes it after `stop`.
    receiver : GatewayConfig, optional
        Where images are sent to; told to people.
    cards : mapping of str to ModelCard, optional
        Models by name, for names and colours of labels and for comparisons.
    segment_command : sequence of str, optional
        Worker that runs another model on a case, see `cases.compare`; without it none can be run.
    diagnose_command : sequence of str, optional
        Worker that looks at what people drop on the page, see `diagnose.queue`; without it nothing is taken.

    Raises
    ------
    ConfigurationError
        Its port is taken, or others than this machine could reach it without a login.
    """

    def __init__(
        self,
        config: ViewerConfig,
        bus: MessageBus,
        masks: MaskSource,
        *,
        receiver: GatewayConfig | None = None,
        cards: Mapping[str, ModelCard] | None = None,
        segment_command: Sequence[str] = (),
        diagnose_command: Sequence[str] = (),
    ) -> None:
        self._config, self._bus, self._masks = config, bus, masks
        self._board = Board()
        self._recovery = Recovery(self._board, bus)
        self.cases = CaseStore(bus, cards, max_bytes=config.max_case_bytes)
        self._compare = CompareJobs(segment_command, self.cases.cards)
        self.diagnoses: Diagnoses | None = None
        if diagnose_command and config.diagnose.enabled:
            self.diagnoses = diagnoses_of(config, diagnose_command)
            self.cases.add_finder(self.diagnoses.find)
        self._stopping = threading.Event()
        self._should_describe = threading.Event()
        self.registry = CollectorRegistry()
        self._events_total = Counter("neuroscan_viewer_events", "Events seen", ["type"], registry=self.registry)
        Gauge("neuroscan_viewer_series", "Series on the page", registry=self.registry).set_function(
            lambda: len(self._board.snapshot())
        )
        app = create_app(
            BusStatus(bus, self.registry), Guard(config), uploads=config.uploads, is_stopping=self._stopping.is_set,
            receiver=receiver,
            routes=[
                *live_routes(self._board, bus),
                *case_routes(self.cases, self._compare, is_identity_shown=is_identity_shown),
                *(diagnose_routes(self.diagnoses, config, self.cases.cards) if self.diagnoses else ()),
            ],
            topics=[
                BoardTopic(self._board), case_topic(self.cases),
                *([agents_topic(self.diagnoses)] if self.diagnoses else ()),
            ],
        )  # fmt: skip
        self._server = uvicorn.Server(_server_config(app, config))
        self._socket = _listen(config.host, config.port)
        self._subscription = bus.subscribe(*_WATCHED)
        self._threads = [
            threading.Thread(target=self._watch, args=(self._subscription.receive,), name="viewer-events", daemon=True),
            threading.Thread(target=self._watch, args=(self._masks.receive,), name="viewer-masks", daemon=True),
            threading.Thread(target=self._refresh, name="viewer-refresh", daemon=True),
            threading.Thread(target=self._serve, name="viewer-http", daemon=True),
        ]

    @property
    def address(self) -> tuple[str, int]:
        """Host and port on which the page is."""
        host, port = self._socket.getsockname()[:2]
        return str(host), int(port)

    def start(self) -> None:
        """Begin to watch and to serve."""
        self.cases.start()
        self._compare.start()
        if self.diagnoses is not None:
            self.diagnoses.queue.start()
        for thread in self._threads:
            thread.start()
        host, port = self.address
        scheme = "https" if self._config.tls else "http"
        log.info("status page is ready", url=f"{scheme}://{host}:{port}/", needs_login=self._config.auth is not None)
        is_secure = self._config.tls is not None or self._config.behind_tls_proxy
        if self._config.auth is not None and not is_secure and not is_loopback(self._config.host):
            log.warning("passwords and images cross the network unencrypted; set viewer.tls or viewer.behind_tls_proxy")

    def stop(self) -> None:
        """End open streams, then the threads."""
        self._stopping.set()
        self._server.should_exit = True
        self._subscription.close()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(timeout=5)
        self._compare.stop()
        if self.diagnoses is not None:
            self.diagnoses.queue.stop()
        self.cases.stop()
        self._socket.close()

    def _serve(self) -> None:
        self._server.run(sockets=[self._socket])

    def _watch(self, receive: Callable[[float], Event | None]) -> None:
        while not self._stopping.is_set():
            event = receive(WAIT_S)
            if event is None:
                continue
            self._events_total.labels(type(event).__name__).inc()
            try:
                self._board.apply(event)
                self.cases.apply(event)
                if isinstance(event, _CHANGING_DETAILS):
                    self._should_describe.set()
            except Exception:
                log.exception("an event cannot be shown; the page goes on", type=type(event).__name__)

    def _refresh(self) -> None:
        described_s = -DESCRIBE_S
        while not self._stopping.is_set():
            try:
                listed = self._bus.request(ListSeries(), timeout_s=ASK_TIMEOUT_S).series
                self._board.merge(listed)
                self.cases.merge(listed)
                pause_s = DESCRIBE_DELIVERING_S if self._board.is_delivering else DESCRIBE_S
                if self._should_describe.is_set() or time.monotonic() >= described_s + pause_s:
                    self._should_describe.clear()
                    self._board.describe(self._bus.request(DescribeSeries(MAX_SERIES), timeout_s=ASK_TIMEOUT_S).series)
                    described_s = time.monotonic()
                self._recovery.step()
            except BusError as exc:
                log.debug("the list of series cannot be had", error=str(exc))
            except Exception:
                log.exception("the page cannot be refreshed; it goes on")
            self._stopping.wait(REFRESH_S)


def _server_config(app: ASGIApp, config: ViewerConfig) -> uvicorn.Config:
    tls = config.tls
    made = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", ws="none", timeout_graceful_shutdown=2,
        server_header=False, proxy_headers=False, limit_concurrency=MAX_CONNECTIONS,
        ssl_certfile=str(tls.certificate) if tls else None, ssl_keyfile=str(tls.key) if tls else None,
    )  # fmt: skip
    try:
        made.load()
    except (OSError, ValueError) as exc:  # ssl.SSLError is an OSError
        raise ConfigurationError(
            f"The certificate of the page cannot be used: {exc}.", remedy="Check viewer.tls.certificate and key."
        ) from exc
    return made


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(64)
    except OSError as exc:
        listener.close()
        raise ConfigurationError(
            f"The status page cannot listen on {host}:{port}: {exc.strerror or exc}.",
            remedy="Free the port or set viewer.port to another one.",
        ) from exc
    return listener
