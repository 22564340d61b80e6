"""The listening socket: which connections become associations, and what ends them."""

from __future__ import annotations

import select
import socket
import ssl
import threading
import time
from typing import Any, Final

from dicom_gateway.ingest.association import IngestAssociation, Services
from neuroscan_core.domain.errors import ConfigurationError
from neuroscan_core.log import get_logger

log = get_logger(__name__)

BACKLOG: Final = 64
UNDECIDED_CONNECTIONS: Final = 32
"""Connections beyond the allowed associations that may exist while they are being rejected; more are closed at once."""
ABORT_WAIT_S: Final = 1.0
RESOURCES_WAIT_S: Final = 0.2


class Listener:
    """Accept connections in a thread of its own.

    Parameters
    ----------
    services : Services
    tls : SSLContext or None

    Raises
    ------
    ConfigurationError
        The address cannot be listened on.
    """

    def __init__(self, services: Services, tls: ssl.SSLContext | None) -> None:
        self._services, self._tls = services, tls
        self._associations: set[IngestAssociation] = set()
        self._changed = threading.Condition()
        self._is_stopping = False
        config = services.config
        try:
            self._socket = socket.create_server(
                (config.host, config.port), backlog=BACKLOG,
                family=socket.AF_INET6 if ":" in config.host else socket.AF_INET,
            )  # fmt: skip
        except OSError as exc:
            raise ConfigurationError(
                f"Cannot listen on {config.host}:{config.port}: {exc.strerror or exc}.",
                remedy="Set gateway.host and gateway.port to a free address of this machine.",
            ) from exc
        self._socket.setblocking(False)
        self._wake_receiver, self._wake_sender = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="ingest-listener", daemon=True)
        self._thread.start()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that are listened on."""
        host, port = self._socket.getsockname()[:2]
        return str(host), int(port)

    @property
    def num_associations(self) -> int:
        """Connections at this moment."""
        with self._changed:
            return len(self._associations)

    @property
    def is_alive(self) -> bool:
        """Whether connections are accepted."""
        return self._thread.is_alive()

    def stop(self, drain_s: float) -> None:
        """Accept no more, let associations end for `drain_s`, then abort them."""
        self._is_stopping = True
        self._wake_sender.send(b"\0")
        self._thread.join()
        if not self._await_end(drain_s):
            for association in self._snapshot():
                association.end()
            if not self._await_end(ABORT_WAIT_S):
                for association in self._snapshot():
                    association.cut()
                self._await_end(ABORT_WAIT_S)
        self._wake_receiver.close()
        self._wake_sender.close()

    def _snapshot(self) -> list[IngestAssociation]:
        with self._changed:
            return list(self._associations)

    def _await_end(self, timeout_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._associations, timeout_s)

    # -------------------------------------------------------------------------------------------------------- thread

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.register(self._wake_receiver, select.POLLIN)
        with self._socket:
            while not self._is_stopping:
                poll.poll()
                if not self._is_stopping:
                    self._accept()

    def _accept(self) -> None:
        try:
            connection, remote = self._socket.accept()
        except BlockingIOError:
            return
        except OSError as exc:
            # The connection is gone already, or descriptors are short: wait, not to spin until some are free.
            log.warning("a connection was not accepted", reason=exc.strerror)
            time.sleep(RESOURCES_WAIT_S)
            return
        try:
            self._admit(connection, remote)
        except Exception:
            log.exception("a connection failed")
            connection.close()

    def _admit(self, connection: socket.socket, remote: Any) -> None:
        limit = self._services.config.limits.max_associations + UNDECIDED_CONNECTIONS
        if not self._services.access.admits_address(remote[0]):
            log.warning("connection refused", reason="the address is not allowed", peer=remote[0])
            connection.close()
        elif self.num_associations >= limit:
            log.warning("connection refused", reason="too many connections", peer=remote[0])
            connection.close()
        else:
            self._associate(connection, remote)

    def _associate(self, connection: socket.socket, remote: Any) -> None:
        connection.setblocking(True)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if self._tls is not None:
            connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        association = IngestAssociation(
            self._services, connection, connection.getsockname(), remote, is_full=self._is_full, ended=self._ended
        )
        with self._changed:
            self._associations.add(association)
        association.start()

    def _is_full(self) -> bool:
        with self._changed:
            num_active = sum(association.counts for association in self._associations)
        return num_active > self._services.config.limits.max_associations

    def _ended(self, association: IngestAssociation) -> None:
        with self._changed:
            self._associations.discard(association)
            self._changed.notify_all()
