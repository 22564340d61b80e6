"""The storage SCP: C-STORE and C-ECHO, put together from the parts beside this file."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from prometheus_client import CollectorRegistry, Gauge
from pynetdicom import AE

from dicom_gateway.ingest.access import AccessList
from dicom_gateway.ingest.association import Services
from dicom_gateway.ingest.contexts import storage_contexts
from dicom_gateway.ingest.intake import Intake
from dicom_gateway.ingest.listener import Listener
from dicom_gateway.ingest.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicom_gateway.ingest.sink import IngestSink
from dicom_gateway.ingest.spool import Spool
from dicom_gateway.ingest.syncer import Syncer
from dicom_gateway.ingest.tls import server_context
from dicom_gateway.journal import Journal
from neuroscan_core.config import GatewayConfig


class StorageScp:
    """Receive objects; each is on disk and in the journal before it is acknowledged.

    Parameters
    ----------
    config : GatewayConfig
        Port 0 takes a free one.
    spool : Spool
        After `Spool.recover`.
    sink : IngestSink
        Hears of new objects, and of associations.
    clock : callable
        Unix time in seconds.
    registry : CollectorRegistry
        Gets the metrics of ingest.
    extra_contexts : sequence of PresentationContext
        Offered beside storage, with roles where they have any.
    extra_handlers : sequence of (event, callable) or (event, callable, args)
        pynetdicom handlers of what comes on those contexts. C-STORE and C-ECHO never reach pynetdicom's events.

    Raises
    ------
    ConfigurationError
        Networks, SOP classes or TLS files of the configuration cannot be used.
    """

    def __init__(
        self,
        config: GatewayConfig,
        spool: Spool,
        journal: Journal,
        sink: IngestSink,
        *,
        clock: Callable[[], float] = time.time,
        registry: CollectorRegistry,
        extra_contexts: Sequence[Any] = (),
        extra_handlers: Sequence[Any] = (),
    ) -> None:
        self._config, self._spool = config, spool
        self._tls = None if config.tls is None else server_context(config.tls)
        # A thread for each sync that may wait at once: of contents and of name for every association.
        self._syncer = Syncer(2 * config.limits.max_associations)
        intake = Intake(config, spool, journal, sink, syncer=self._syncer, clock=clock, registry=registry)
        self._services = Services(
            config, _application_entity(config), [*storage_contexts(config.extra_sop_classes), *extra_contexts],
            tuple(extra_handlers), AccessList(config.allow), intake, sink,
        )  # fmt: skip
        self._listener: Listener | None = None
        gauge = Gauge("neuroscan_ingest_associations", "Connections of senders", registry=registry)
        gauge.set_function(lambda: 0 if self._listener is None else self._listener.num_associations)

    def __enter__(self) -> StorageScp:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(0.0)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that are listened on; only while started."""
        assert self._listener is not None, "started"
        return self._listener.address

    def start(self) -> None:
        """Listen.

        Raises
        ------
        ConfigurationError
            The address cannot be listened on.
        """
        if self._listener is None:
            self._listener = Listener(self._services, self._tls)

    def stop(self, drain_s: float) -> None:
        """Accept no more; associations that do not end within `drain_s` are aborted. Final."""
        if self._listener is not None:
            self._listener.stop(drain_s)
            self._listener = None
        self._syncer.stop()

    def problems(self) -> list[str]:
        """What keeps objects out at this moment, as sentences."""
        problems = []
        if self._listener is None or not self._listener.is_alive:
            problems.append("The storage SCP does not listen.")
        if self._spool.free_bytes() < self._config.min_free_bytes:
            problems.append("The spool's disk is nearly full; objects are refused.")
        return problems


def _application_entity(config: GatewayConfig) -> Any:
    ae = AE(config.ae_title)
    ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    ae.maximum_associations = 1_000_000  # `Listener` counts
    return ae
