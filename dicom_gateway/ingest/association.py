"""One association with a sender: pynetdicom's, with the event-driven upper layer and this node's rules of access."""

from __future__ import annotations

import socket
import ssl
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from pynetdicom import AE, evt
from pynetdicom._globals import MODE_ACCEPTOR
from pynetdicom.acse import ACSE
from pynetdicom.association import Association
from pynetdicom.transport import AddressInformation, AssociationSocket

from dicom_gateway.ingest.access import LOCAL_LIMIT_EXCEEDED, AccessList, Rejection
from dicom_gateway.ingest.command import Command
from dicom_gateway.ingest.contexts import in_order
from dicom_gateway.ingest.intake import Intake, Reception, StoreRequest
from dicom_gateway.ingest.sink import IngestSink
from dicom_gateway.ingest.upper_layer import EventDrivenUpperLayer, NotifyingQueue, Transfer
from neuroscan_core import crashpoints
from neuroscan_core.config import GatewayConfig
from neuroscan_core.log import get_logger

log = get_logger(__name__)

LOOK_ROUND_S: Final = 1.0
"""The association's thread is woken by events; this often it also looks at its idle time."""


@dataclass(frozen=True)
class Services:
    """What every association of a listener shares.

    Parameters
    ----------
    ae : AE
        pynetdicom's application entity: titles, time-outs, implementation UID.
    contexts : sequence of PresentationContext
    handlers : sequence of (event, callable) or (event, callable, args)
    """

    config: GatewayConfig
    ae: AE
    contexts: list[Any]
    handlers: tuple[Any, ...]
    access: AccessList
    intake: Intake
    sink: IngestSink


class IngestAssociation(Association):
    """An accepted connection and what is negotiated on it.

    Parameters
    ----------
    services : Services
    connection : socket
        TLS sockets before their handshake.
    local, remote : tuple
        Socket addresses.
    is_full : callable
        Whether there are more associations than allowed, this one included.
    ended : callable
        Called with this association when all is over.
    """

    def __init__(
        self,
        services: Services,
        connection: Any,
        local: Any,
        remote: Any,
        *,
        is_full: Callable[[], bool],
        ended: Callable[[IngestAssociation], None],
    ) -> None:
        super().__init__(services.ae, MODE_ACCEPTOR)
        self.identifier = uuid.uuid4().hex[:16]
        self.name = f"ingest-{self.identifier}"
        self._services, self._connection = services, connection
        self._is_full, self._ended = is_full, ended
        limits = services.config.limits
        self.max_transfer_bytes = limits.max_object_bytes
        self._activity = threading.Event()
        self._serving = threading.RLock()
        self.acse = _AccessCheckingAcse(self)
        self._upper_layer = EventDrivenUpperLayer(
            self, self, self._activity.set, max_pdu_bytes=limits.max_pdu_bytes,
            acse_timeout_s=limits.acse_timeout_s, dimse_timeout_s=limits.dimse_timeout_s,
        )  # fmt: skip
        self.dul = self._upper_layer
        self.dul.name = f"{self.name}-upper-layer"
        self.dimse.msg_queue = NotifyingQueue(self._activity.set)
        self.acse_timeout, self.dimse_timeout = limits.acse_timeout_s, limits.dimse_timeout_s
        self.network_timeout = limits.network_timeout_s
        self._describe(local, remote)
        for event, handler, *args in services.handlers:
            self.bind(event, handler, *args)

    def _describe(self, local: Any, remote: Any) -> None:
        self.acceptor.maximum_length = self._services.config.limits.max_pdu_bytes
        self.acceptor.ae_title = self._services.config.ae_title
        self.acceptor.address_info = AddressInformation.from_tuple(local)
        self.acceptor.implementation_class_uid = self.ae.implementation_class_uid
        self.acceptor.implementation_version_name = self.ae.implementation_version_name
        self.acceptor.supported_contexts = self._services.contexts
        self.requestor.address_info = AddressInformation.from_tuple(remote)

    def _bind_defaults(self) -> None:
        """Bind default handlers of interventions; pynetdicom's debug logs of every message are left out."""
        for event in evt._INTERVENTION_EVENTS:
            self.bind(event, evt.get_default_handler(event))

    # ------------------------------------------------------------------------------------------------------- threads

    def run_reactor(self) -> None:
        """Secure the connection, then serve it. The association's thread."""
        try:
            if self._secure():
                self._upper_layer.connect(AssociationSocket(self, client_socket=self._connection))
                super().run_reactor()
        except Exception:
            log.exception("an association failed", association=self.identifier)
        finally:
            self._close()
            self._ended(self)

    def _secure(self) -> bool:
        if not isinstance(self._connection, ssl.SSLSocket):
            return True
        try:
            self._connection.settimeout(self._services.config.limits.acse_timeout_s)
            self._connection.do_handshake()
        except (OSError, ssl.SSLError) as exc:
            log.warning("TLS refused", reason=getattr(exc, "reason", None) or str(exc), association=self.identifier)
            return False
        return True

    def _close(self) -> None:
        self.dul.kill_dul()
        self.cut()
        if self.dul.is_alive():
            self.dul.join()
        self._connection.close()

    def end(self) -> None:
        """Abort the association, or close the connection where there is none yet."""
        if self.is_established:
            self.acse.send_abort(0)
        else:
            self.cut()

    def cut(self) -> None:
        """End the connection at once, without an abort."""
        with suppress(OSError):  # it is closed already
            self._connection.shutdown(socket.SHUT_RDWR)

    def _run_reactor(self) -> None:
        """Serve what does not concern storage, as pynetdicom does, but woken by events."""
        while not self._kill:
            self._is_paused = True
            self._activity.wait(LOOK_ROUND_S)
            self._reactor_checkpoint.wait()
            self._is_paused = False
            self._activity.clear()
            self._serve_messages()
            if self._is_over():
                self.kill()

    def _serve_messages(self) -> None:
        while not self.dimse.msg_queue.empty():
            context_id, message = self.dimse.get_msg(block=False)
            if message and context_id is not None:
                self._serve_request(message, context_id)

    def _serve_request(self, msg: Any, context_id: int) -> None:
        with self._serving:
            super()._serve_request(msg, context_id)

    def send_n_event_report(self, *args: Any, **kwargs: Any) -> Any:
        """Report once the request that is being served is answered; else the two messages would mingle."""
        with self._serving:
            pass
        return super().send_n_event_report(*args, **kwargs)

    def _is_over(self) -> bool:
        if self.is_established and self.acse.is_release_requested():
            self.acse.send_release(is_response=True)
            self.is_released, self.is_established = True, False
            evt.trigger(self, evt.EVT_RELEASED, {})
            return True
        if self.acse.is_aborted():
            self.dul.receive_pdu(wait=False)
            self.is_aborted, self.is_established = True, False
            evt.trigger(self, evt.EVT_ABORTED, {})
            return True
        if not self.dul.is_alive():
            return True
        if self.dul.idle_timer_expired():
            log.warning("association aborted", reason="idle for too long", association=self.identifier)
            self.abort()
            return True
        return False

    # -------------------------------------------------------------------------------------------------------- access

    def rejection(self) -> Rejection | None:
        """Why this association must be rejected, or None."""
        request = self.requestor.primitive
        assert request is not None, "asked for once the request has come"
        rejection = self._services.access.rejection(request.calling_ae_title or "", request.called_ae_title or "")
        return rejection or (LOCAL_LIMIT_EXCEEDED if self._is_full() else None)

    def prefer_what_the_sender_prefers(self) -> None:
        """Accept, of several transfer syntaxes, the one that stands first in the request: it saves a conversion."""
        assert self.requestor.primitive is not None
        order: dict[str, list[Any]] = {}
        for proposed in self.requestor.primitive.presentation_context_definition_list:
            order.setdefault(str(proposed.abstract_syntax), []).extend(proposed.transfer_syntax)
        self.acceptor.supported_contexts = [
            in_order(context, order.get(str(context.abstract_syntax), ())) for context in self._services.contexts
        ]

    # --------------------------------------------------------------- what the upper layer asks for, in its thread

    def opened(self) -> None:
        """The association is accepted."""
        log.info("association opened", association=self.identifier, calling_ae=self._calling_ae)
        self._services.sink.association_opened(self.identifier, self._calling_ae)

    def begin(self, context_id: int, command: Command) -> Transfer | None:
        """A C-STORE request came."""
        context = self._accepted_cx.get(context_id)
        if context is None or not context.as_scp:
            return None
        request = StoreRequest(
            self.identifier, self._calling_ae, command.sop_class_uid, command.sop_instance_uid,
            str(context.transfer_syntax[0]),
        )  # fmt: skip
        return self._services.intake.begin(request, str(context.abstract_syntax))

    def finish(self, transfer: Transfer) -> tuple[int, str]:
        """Its data set is whole."""
        assert isinstance(transfer, Reception)
        return self._services.intake.finish(transfer)

    def responded(self) -> None:
        """The response is on its way."""
        crashpoints.reach("ingest.after-response")

    def closed(self, *, released: bool) -> None:
        """The association is over."""
        log.info("association closed", association=self.identifier, released=released)
        self._services.sink.association_closed(self.identifier, released=released)

    @property
    def counts(self) -> bool:
        """Whether this is an association, or wants to become one."""
        return self.requestor.primitive is not None and not self.is_rejected

    @property
    def _calling_ae(self) -> str:
        request = self.requestor.primitive
        return str(request.calling_ae_title or "").strip() if request is not None else ""


class _AccessCheckingAcse(ACSE):
    def __init__(self, association: IngestAssociation) -> None:
        super().__init__(association)
        self._association = association

    def _negotiate_as_acceptor(self) -> None:
        rejection = self._association.rejection()
        if rejection is None:
            self._association.prefer_what_the_sender_prefers()
            super()._negotiate_as_acceptor()
            return
        log.warning("association rejected", result_source_reason=rejection, association=self._association.identifier)
        self.send_reject(*rejection)
        evt.trigger(self.assoc, evt.EVT_REJECTED, {})
        self.assoc.kill()
