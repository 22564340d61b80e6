"""The upper layer of one association: pynetdicom's state machine, driven by events instead of by polling.

pynetdicom's own service provider looks at its socket and queues every millisecond, and so does its association. Here
one thread blocks until the peer or another thread has something, and C-STORE and C-ECHO are served in it: bytes are
taken from the PDUs without copies through pynetdicom's messages. All else (association, release, abort, N-ACTION,
N-EVENT-REPORT and what handlers send) runs through pynetdicom unchanged.
"""

from __future__ import annotations

import queue
import struct
import threading
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from pynetdicom.dul import _PDU_TYPES, DULServiceProvider
from pynetdicom.pdu import A_ABORT_RQ
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.transport import AssociationSocket

from dicom_gateway.ingest.command import C_ECHO_RQ, C_STORE_RQ, Command, parse_command, response_pdu
from dicom_gateway.ingest.stream import P_DATA_TF, ConnectionLost, InvalidPdu, PduStream, PeerTooSlow
from neuroscan_core.domain.errors import UnreadableObject
from neuroscan_core.log import get_logger

log = get_logger(__name__)

# Events of PS3.8 table 9-10, by pynetdicom's names.
EVT_CONNECTION_OPENED: Final = "Evt5"
EVT_RELEASE_RESPONSE: Final = "Evt14"
EVT_CONNECTION_CLOSED: Final = "Evt17"
EVT_ARTIM_EXPIRED: Final = "Evt18"
EVT_INVALID_PDU: Final = "Evt19"
STA_IDLE: Final = "Sta1"
STA_DATA_TRANSFER: Final = "Sta6"
STA_AWAITING_CLOSE: Final = "Sta13"

MAX_COMMAND_BYTES: Final = 1 << 16
MAX_OTHER_MESSAGE_BYTES: Final = 16 << 20
CLOSE_WAIT_S: Final = 1.0
_PDV = struct.Struct(">LBB")


class NotifyingQueue(queue.Queue[Any]):  # pynetdicom puts many types in
    """A queue that calls `notify` after each put."""

    def __init__(self, notify: Callable[[], None]) -> None:
        super().__init__()
        self._notify = notify

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Put and notify."""
        super().put(item, block, timeout)
        self._notify()


class Transfer(Protocol):
    """A data set while it arrives."""

    @property
    def size(self) -> int:
        """Bytes so far."""
        ...

    def append(self, fragment: memoryview) -> None:
        """Take the next part."""
        ...

    def close(self) -> None:
        """Forget it."""
        ...


class StoreService(Protocol):
    """What the upper layer hands C-STORE requests to."""

    identifier: str
    max_transfer_bytes: int

    def opened(self) -> None:
        """The association is accepted."""
        ...

    def begin(self, context_id: int, command: Command) -> Transfer | None:
        """A C-STORE request came; None where its presentation context was not accepted."""
        ...

    def finish(self, transfer: Transfer) -> tuple[int, str]:
        """Its data set is whole: the status to answer and why."""
        ...

    def responded(self) -> None:
        """The response is on its way."""
        ...

    def closed(self, *, released: bool) -> None:
        """The association is over."""
        ...


class EventDrivenUpperLayer(DULServiceProvider):
    """The DUL service provider of an ingest association.

    Parameters
    ----------
    assoc : Association
    service : StoreService
    notify_user : callable
        Called when the association's own thread has something to look at.
    max_pdu_bytes : int
    acse_timeout_s, dimse_timeout_s : float
        Time for the rest of an association request, and of any other message.
    """

    def __init__(
        self,
        assoc: Any,
        service: StoreService,
        notify_user: Callable[[], None],
        *,
        max_pdu_bytes: int,
        acse_timeout_s: float,
        dimse_timeout_s: float,
    ) -> None:
        super().__init__(assoc)
        self.daemon = True
        self._service = service
        self._max_pdu_bytes = max_pdu_bytes
        self._acse_timeout_s, self._dimse_timeout_s = acse_timeout_s, dimse_timeout_s
        self.to_provider_queue = NotifyingQueue(self._wake)
        self.to_user_queue = NotifyingQueue(notify_user)
        self._stream: PduStream | None = None
        self._command = bytearray()
        self._request: tuple[int, Command] | None = None
        self._transfer: Transfer | None = None
        self._other_bytes = 0
        self._last_fragment_s: float | None = None
        self._was_opened = self._was_closed = False
        self._is_connected = True

    # ------------------------------------------------------------------------------------------------------ lifetime

    def connect(self, wrapper: AssociationSocket) -> None:
        """Use the socket in `wrapper`, which is connected and, with TLS, secured."""
        assert wrapper.socket is not None, "connected"
        self.socket = wrapper
        self._stream = PduStream(wrapper.socket, self._max_pdu_bytes)

    def _wake(self) -> None:
        if self._stream is not None:
            self._stream.wake()

    def kill_dul(self) -> None:
        """Ask the thread to end."""
        super().kill_dul()
        self._wake()

    def stop_dul(self) -> bool:
        """Whether the thread has ended; it does so once the state machine is idle."""
        if self.state_machine.current_state != STA_IDLE:
            return False
        self.kill_dul()
        if threading.current_thread() is not self:
            self.join()
        return True

    def run_reactor(self) -> None:
        """Serve the association until it is over."""
        assert self._stream is not None, "connected before it is started"
        self._idle_timer.start()
        self.assoc._dul_ready.set()
        try:
            while not self._kill_thread:
                self._step()
        except Exception:
            log.exception("the upper layer failed; association aborted")
            self._abort_hard()
        finally:
            self._forget_message()
            self._report_closed(released=False)
            self._stream.release()
            # The user may be waiting for what will not come now.
            self.to_user_queue.put(None)  # type: ignore[arg-type]  # pynetdicom takes it for a time-out
            self.assoc.dimse.msg_queue.put((None, None))

    def _abort_hard(self) -> None:
        abort = A_ABORT_RQ()
        abort.source, abort.reason_diagnostic = 2, 0
        if self.socket is not None and self.socket.socket is not None:
            self.socket.send(abort.encode())
        self.assoc.is_aborted, self.assoc.is_established = True, False
        self.assoc._kill = self._kill_thread = True

    def _step(self) -> None:
        """One round: act on an event if there is one, else take from the user, else from the peer."""
        try:
            event = self.event_queue.get(block=False)
        except queue.Empty:
            self._find_event()
            return
        if self.state_machine.current_state == STA_IDLE and event != EVT_CONNECTION_OPENED:
            return  # what comes when all is over has no meaning
        self.state_machine.do_action(event)
        self._report(event)

    def _find_event(self) -> None:
        if self.state_machine.current_state in (STA_IDLE, STA_AWAITING_CLOSE):
            while not self.to_provider_queue.empty():
                self.to_provider_queue.get(block=False)
        elif self.artim_timer.expired:
            self.event_queue.put(EVT_ARTIM_EXPIRED)
            return
        elif self._process_recv_primitive():
            return
        self._await_peer()

    def _report(self, event: str) -> None:
        state = self.state_machine.current_state
        if state == STA_DATA_TRANSFER and not self._was_opened:
            self._was_opened = True
            self._service.opened()
        elif event == EVT_RELEASE_RESPONSE:
            self._report_closed(released=True)
        elif state in (STA_IDLE, STA_AWAITING_CLOSE):
            self._report_closed(released=False)

    def _report_closed(self, *, released: bool) -> None:
        if self._was_opened and not self._was_closed:
            self._was_closed = True
            self._forget_message()
            self._service.closed(released=released)

    # ----------------------------------------------------------------------------------------------------- transport

    def _await_peer(self) -> None:
        assert self._stream is not None
        if not self._is_connected:
            self._stream.wait(None)
        elif self.state_machine.current_state == STA_AWAITING_CLOSE:
            self._await_close()
        elif self._stream.wait(self._remaining_s()):
            self._idle_timer.restart()
            self._receive()
        elif self._last_fragment_s is not None and self._remaining_s() <= 0:
            self._fail("the rest of a message did not come in time")

    def _remaining_s(self) -> float:
        """Time until something must be looked at, though nothing comes."""
        remaining_s = 1.0
        if self.state_machine.current_state != STA_DATA_TRANSFER and self.artim_timer.timeout is not None:
            remaining_s = min(remaining_s, max(self.artim_timer.remaining, 0.01))
        if self._last_fragment_s is not None:
            remaining_s = min(remaining_s, self._last_fragment_s + self._dimse_timeout_s - time.monotonic())
        return remaining_s

    def _await_close(self) -> None:
        """Let the peer close first, so that it reads our last PDU; not for long (PS3.8 9.2.3, Sta13)."""
        assert self._stream is not None
        deadline_s = time.monotonic() + CLOSE_WAIT_S
        while not self._kill_thread and (remaining_s := deadline_s - time.monotonic()) > 0:
            if self._stream.wait(remaining_s) and not self._stream.discard():
                break
        self._disconnect()
        assert self.socket is not None
        self.socket.close()
        self.event_queue.put(EVT_CONNECTION_CLOSED)

    def _disconnect(self) -> None:
        """Listen to the peer no more."""
        assert self._stream is not None
        self._is_connected = False
        self._stream.close()

    def _receive(self) -> None:
        assert self._stream is not None
        is_established = self.state_machine.current_state == STA_DATA_TRANSFER
        try:
            kind, pdu = self._stream.read(self._dimse_timeout_s if is_established else self._acse_timeout_s)
            if kind == P_DATA_TF and is_established:
                self._receive_data(pdu)
            else:
                self._receive_other(pdu)
        except ConnectionLost:
            self._disconnect()
            self.event_queue.put(EVT_CONNECTION_CLOSED)
        except (InvalidPdu, PeerTooSlow, UnreadableObject) as exc:
            self._fail(exc.message)

    def _fail(self, reason: str) -> None:
        log.warning("association aborted", reason=reason, association=self._service.identifier)
        self._forget_message()
        self.event_queue.put(EVT_INVALID_PDU)

    def _receive_other(self, pdu: memoryview) -> None:
        try:
            decoded, event = self._decode_pdu(bytearray(pdu))
        except Exception as exc:  # whatever pynetdicom stumbles over in hostile bytes
            raise InvalidPdu(f"A PDU of type {pdu[0]:#04x} does not decode.") from exc
        assert pdu[0:1].tobytes() in _PDU_TYPES
        self._recv_pdu.put(decoded)
        self.event_queue.put(event)

    # ------------------------------------------------------------------------------------------------------ messages

    def _receive_data(self, pdu: memoryview) -> None:
        position, end = 6, len(pdu)
        if position == end:
            raise InvalidPdu("A P-DATA-TF PDU without presentation data values.")
        while position < end:
            if position + _PDV.size > end:
                raise InvalidPdu("A presentation data value is damaged.")
            length, context_id, control = _PDV.unpack_from(pdu, position)
            fragment_end = position + 4 + length
            if length < 2 or fragment_end > end:
                raise InvalidPdu("A presentation data value is damaged.")
            self._receive_value(context_id, control, pdu[position + _PDV.size : fragment_end])
            position = fragment_end

    def _receive_value(self, context_id: int, control: int, fragment: memoryview) -> None:
        self._last_fragment_s = time.monotonic()
        is_command, is_last = control & 1, control & 2
        if self._transfer is not None:
            self._receive_data_set(context_id, fragment, is_command=bool(is_command), is_last=bool(is_last))
        elif self._other_bytes and not is_command:
            self._forward(context_id, control, fragment)
        elif self._other_bytes or not is_command:
            raise InvalidPdu("Commands and data sets are out of order.")
        else:
            self._command += fragment
            if len(self._command) > MAX_COMMAND_BYTES:
                raise InvalidPdu("A command set is too large.")
            if is_last:
                self._receive_command(context_id)

    def _receive_command(self, context_id: int) -> None:
        encoded, self._command = self._command, bytearray()
        command = parse_command(encoded)
        if command.field == C_STORE_RQ and command.has_data_set:
            self._request = (context_id, command)
            self._transfer = self._service.begin(context_id, command)
            if self._transfer is None:
                raise InvalidPdu("C-STORE on a presentation context that was not accepted.")
        elif command.field == C_ECHO_RQ and not command.has_data_set:
            self._last_fragment_s = None
            self._send(response_pdu(context_id, command, 0))
        else:
            self._forward(context_id, 3, memoryview(encoded), has_data_set=command.has_data_set)

    def _receive_data_set(self, context_id: int, fragment: memoryview, *, is_command: bool, is_last: bool) -> None:
        assert self._transfer is not None and self._request is not None
        if is_command or context_id != self._request[0]:
            raise InvalidPdu("A data set is interrupted by something else.")
        self._transfer.append(fragment)
        if self._transfer.size > 2 * self._service.max_transfer_bytes:
            raise InvalidPdu("A data set does not end.")
        if is_last:
            transfer, (_, command) = self._transfer, self._request
            status, reason = self._service.finish(transfer)
            self._forget_message()
            self._send(response_pdu(context_id, command, status, reason))
            self._service.responded()

    def _send(self, pdu: Any) -> None:
        """Send a PDU: bytes of this module's own, or one of pynetdicom's."""
        if isinstance(pdu, bytes):
            assert self.socket is not None
            self.socket.send(pdu)
        else:
            super()._send(pdu)

    def _forget_message(self) -> None:
        if self._transfer is not None:
            self._transfer.close()
        self._transfer = self._request = self._last_fragment_s = None
        self._command, self._other_bytes = bytearray(), 0

    def _forward(self, context_id: int, control: int, fragment: memoryview, *, has_data_set: bool = True) -> None:
        """Give a part of a message to pynetdicom."""
        self._other_bytes += len(fragment) + 1
        if self._other_bytes > MAX_OTHER_MESSAGE_BYTES:
            raise InvalidPdu("A message is too large.")
        primitive = P_DATA()
        primitive.presentation_data_value_list = [
            [context_id, bytes((control,)) + bytes(fragment)]  # type: ignore[list-item]  # it refuses the tuples it declares
        ]
        if not has_data_set or control == 2:
            self._forget_message()
        self.assoc.dimse.receive_primitive(primitive)
