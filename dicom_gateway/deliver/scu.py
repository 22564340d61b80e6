"""One association with a peer, as requestor: C-STORE, C-ECHO and N-ACTION for storage commitment.

Knows nothing of queues, retries or the journal. pynetdicom's errors end here.

Latency: pynetdicom leaves Nagle's algorithm on, and writes the command and the data set of a C-STORE as separate
segments; DCMTK writes its response in two pieces as well. Together with delayed acknowledgements on either side this
costs 40 ms per object. TCP_NODELAY and TCP_QUICKACK on our socket remove both (48 ms -> 4 ms per object of 130 KB on
loopback).
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance, Verification  # type: ignore[attr-defined]

from dicom_gateway.deliver.store import NATIVE_SYNTAXES, SOP_CLASS_NOT_SUPPORTED, StoredObject, read_uncompressed
from neuroscan_core.config import DestinationConfig, TlsConfig
from neuroscan_core.domain.errors import (
    ConfigurationError,
    DestinationRefused,
    DestinationUnreachable,
    UnreadableObject,
)
from neuroscan_core.lifetime import Closes

MAX_CONTEXTS = 128  # PS3.8 9.3.2.2: presentation context IDs are odd numbers from 1 to 255
MAX_PDU_BYTES = 262144
LONGEST_RELEASE_S = 2.0
REQUEST_COMMITMENT = 1  # PS3.4 J.3.2: Action Type ID "Request Storage Commitment"


@dataclass(frozen=True)
class Peer:
    """Whom to call.

    Parameters
    ----------
    name : str
        For messages.
    timeout_s : float
        For the connection, the association and each response.
    """

    name: str
    host: str
    port: int
    ae_title: str = "ANY-SCP"
    calling_ae_title: str = "NEUROSCAN"
    timeout_s: float = 30.0
    tls: TlsConfig | None = None

    @classmethod
    def of(cls, destination: DestinationConfig, ae_title: str) -> Peer:
        """The peer of a destination; `ae_title` is the node's own."""
        return cls(
            destination.name,
            destination.host,
            destination.port,
            destination.ae_title,
            destination.calling_ae_title or ae_title,
            destination.timeout_s,
            destination.tls,
        )


def client_tls(tls: TlsConfig) -> ssl.SSLContext:
    """TLS context of a requestor (PS3.15 B.12).

    Host names are not compared: devices are called by address and identified by a certificate of the site's authority.

    Raises
    ------
    ConfigurationError
        A file is missing or is not what it should be.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED if tls.require_peer_certificate else ssl.CERT_NONE
    try:
        context.load_cert_chain(tls.certificate, tls.key)
        if tls.ca is not None:
            context.load_verify_locations(tls.ca)
        else:
            context.load_default_certs()
    except (OSError, ssl.SSLError) as exc:
        raise ConfigurationError(f"TLS files cannot be used: {exc}.", remedy="Check certificate, key and ca.") from exc
    return context


class StoreScu(Closes):
    """An association that stays open for many objects. One thread at a time.

    Parameters
    ----------
    peer : Peer
    contexts : iterable of (str, str)
        SOP class and transfer syntax of what will be stored. Native objects are also offered in both little-endian
        encodings. Verification is always added.
    commitment : bool
        Negotiate storage commitment too.
    on_report : callable, optional
        Gets the Event Information of an N-EVENT-REPORT (in a thread of pynetdicom) and returns the status to answer.

    Raises
    ------
    DestinationUnreachable
        No association.
    """

    def __init__(
        self,
        peer: Peer,
        contexts: Iterable[tuple[str, str]],
        *,
        commitment: bool = False,
        on_report: Callable[[Dataset], int] | None = None,
    ) -> None:
        self.peer = peer
        self.offered = frozenset(contexts)
        self._on_report = on_report
        self._is_connected = threading.Event()
        self._socket: socket.socket | None = None
        # pynetdicom's only switch for storing a file without decoding it; it concerns C-STORE of file paths alone.
        _config.STORE_SEND_CHUNKED_DATASET = True
        self._assoc = self._associate(_presentation_contexts(self.offered, commitment))
        if not self._assoc.is_established:
            raise DestinationUnreachable(self._why_not(), remedy="Check that it runs, its address and its AE titles.")

    def _associate(self, contexts: list[PresentationContext]) -> Association:
        ae = AE(ae_title=self.peer.calling_ae_title)
        ae.connection_timeout = ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = self.peer.timeout_s
        handlers: list[Any] = [
            (evt.EVT_CONN_OPEN, self._opened),
            (evt.EVT_DATA_SENT, _acknowledge_at_once),
            (evt.EVT_DATA_RECV, _acknowledge_at_once),
            (evt.EVT_N_EVENT_REPORT, self._reported),
        ]
        tls_args = (client_tls(self.peer.tls), self.peer.host) if self.peer.tls is not None else None
        try:
            return ae.associate(
                self.peer.host,
                self.peer.port,
                contexts=contexts,
                ae_title=self.peer.ae_title,
                max_pdu=MAX_PDU_BYTES,
                tls_args=tls_args,
                evt_handlers=handlers,
            )
        except OSError as exc:
            raise DestinationUnreachable(
                f"{self.peer.name}: the address {self.peer.host} cannot be resolved.", remedy="Check host and DNS."
            ) from exc

    def _why_not(self) -> str:
        where = f"{self.peer.name} ({self.peer.host}:{self.peer.port})"
        if self._assoc.is_rejected:
            answer: Any = self._assoc.acceptor.primitive
            return f"{where} rejected the association: {answer.reason_str}."
        if not self._is_connected.is_set():
            return f"Nothing answers at {where}."
        return f"{where} took the connection but no association came about."

    def _opened(self, event: evt.Event) -> None:
        self._is_connected.set()
        wrapped = event.assoc.dul.socket
        if wrapped is not None and wrapped.socket is not None:
            self._socket = wrapped.socket
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _reported(self, event: evt.Event) -> tuple[int, None]:
        if self._on_report is None:
            return SOP_CLASS_NOT_SUPPORTED, None
        return self._on_report(event.event_information), None

    @property
    def is_open(self) -> bool:
        """Whether the association is still there, as far as this side knows."""
        return bool(self._assoc.is_established)

    def close(self) -> None:
        """Release the association; a peer that does not answer is left after a moment."""
        if self._assoc.is_established:
            self._assoc.acse_timeout = min(self.peer.timeout_s, LONGEST_RELEASE_S)
            self._assoc.release()

    def abort(self) -> None:
        """Drop the association."""
        if self._assoc.is_established:
            self._assoc.abort()

    def cut(self) -> None:
        """Cut the connection, from any thread; what is under way fails at once."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def store(self, item: StoredObject) -> tuple[int, str]:
        """C-STORE one object, without decoding it where the peer accepts its transfer syntax.

        Returns
        -------
        status : int
            DIMSE status.
        comment : str
            Error Comment of the peer, if any.

        Raises
        ------
        DestinationRefused
            No presentation context was accepted for it.
        DestinationUnreachable
            The association broke or no response came in time.
        UnreadableObject, UndecodablePixels
            The file is damaged.
        """
        payload = self._payload(item)
        try:
            answer = self._assoc.send_c_store(payload)
        except RuntimeError as exc:
            raise self._broken("before the object was sent") from exc
        except (ValueError, AttributeError, OSError) as exc:
            raise UnreadableObject(f"{item.path.name} cannot be sent: {exc}", remedy="Check the file.") from exc
        if "Status" not in answer:
            raise self._broken("while an object was sent")
        return int(answer.Status), str(answer.get("ErrorComment", "") or "")

    def _payload(self, item: StoredObject) -> Any:
        accepted = {str(cx.transfer_syntax[0]) for cx in self._assoc.accepted_contexts
                    if cx.abstract_syntax == item.sop_class_uid}  # fmt: skip
        if item.transfer_syntax_uid in accepted:
            return item.path
        if any(syntax in accepted for syntax in NATIVE_SYNTAXES):
            return read_uncompressed(item)
        if not self.is_open:
            raise self._broken("before the object was sent")
        raise DestinationRefused(
            f"{self.peer.name} does not accept SOP class {item.sop_class_uid} in transfer syntax "
            f"{item.transfer_syntax_uid}.",
            status=SOP_CLASS_NOT_SUPPORTED,
            remedy="Allow it in the archive, or send it another format (seg_format, send).",
        )

    def _broken(self, when: str) -> DestinationUnreachable:
        self.abort()
        return DestinationUnreachable(f"The association with {self.peer.name} broke {when}.")

    def echo(self) -> None:
        """C-ECHO.

        Raises
        ------
        DestinationUnreachable
            No success came back.
        """
        try:
            answer = self._assoc.send_c_echo()
        except (RuntimeError, ValueError) as exc:
            raise self._broken("before C-ECHO") from exc
        if answer.get("Status") != 0x0000:
            raise self._broken("during C-ECHO")

    def request_commitment(self, action_information: Dataset) -> int:
        """N-ACTION: ask the peer to commit to keep objects; returns the status.

        Raises
        ------
        DestinationRefused
            It does not offer storage commitment.
        DestinationUnreachable
            The association broke.
        """
        try:
            answer, _ = self._assoc.send_n_action(
                action_information, REQUEST_COMMITMENT, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
            )
        except ValueError as exc:
            raise DestinationRefused(
                f"{self.peer.name} does not offer storage commitment.",
                status=SOP_CLASS_NOT_SUPPORTED,
                remedy="Allow it in the archive, or set storage_commitment to false.",
            ) from exc
        except RuntimeError as exc:
            raise self._broken("before storage commitment was asked for") from exc
        if "Status" not in answer:
            raise self._broken("while storage commitment was asked for")
        return int(answer.Status)


def _presentation_contexts(offered: Iterable[tuple[str, str]], commitment: bool) -> list[PresentationContext]:
    """One context per pair, so that the peer cannot choose between syntaxes for us."""
    pairs = list(dict.fromkeys(offered))
    for sop_class_uid in dict.fromkeys(sop_class for sop_class, _ in pairs):
        pairs.extend(pair for pair in ((sop_class_uid, syntax) for syntax in NATIVE_SYNTAXES) if pair not in pairs)
    contexts: list[PresentationContext] = [build_context(Verification)]
    if commitment:
        contexts.append(build_context(StorageCommitmentPushModel))
    room = MAX_CONTEXTS - len(contexts)
    contexts.extend(build_context(sop_class_uid, syntax) for sop_class_uid, syntax in pairs[:room])
    return contexts


def _acknowledge_at_once(event: evt.Event) -> None:
    """Switch delayed acknowledgements off; the kernel switches them on again by itself, hence after each transfer."""
    quick_ack = getattr(socket, "TCP_QUICKACK", None)
    wrapped = event.assoc.dul.socket
    if quick_ack is not None and wrapped is not None and wrapped.socket is not None:
        wrapped.socket.setsockopt(socket.IPPROTO_TCP, quick_ack, 1)
