"""C-STORE over a blocking socket: one association, no threads, no polling, no decoding.

For `send`, which plays the scanner beside the node and must take little of its processor. pynetdicom encodes the
negotiation; the other messages are few and are written here (PS3.7 9.3.1, PS3.8 9.3). Delivery uses `deliver.scu`,
which a peer can also speak to.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator
from typing import Any

from pydicom.uid import UID
from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION
from pynetdicom.dsutils import split_dataset
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RJ, A_ASSOCIATE_RQ, A_RELEASE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
)
from pynetdicom.presentation import PresentationContext, build_context

from dicom_gateway.deliver.scu import MAX_PDU_BYTES, Peer, client_tls
from dicom_gateway.deliver.store import SOP_CLASS_NOT_SUPPORTED, StoredObject
from neuroscan_core.domain.errors import DestinationRefused, DestinationUnreachable, UnreadableObject
from neuroscan_core.lifetime import Closes

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
# PS3.8 9.3.1: PDU types.
ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA, RELEASE_RP = 0x02, 0x03, 0x04, 0x06
# PS3.8 E.2: message control header.
COMMAND, LAST = 0x01, 0x02
# PS3.7 E.1: elements of group 0000.
AFFECTED_SOP_CLASS_UID, COMMAND_FIELD, MESSAGE_ID, PRIORITY = 0x0002, 0x0100, 0x0110, 0x0700
COMMAND_DATA_SET_TYPE, STATUS, ERROR_COMMENT, AFFECTED_SOP_INSTANCE_UID = 0x0800, 0x0900, 0x0902, 0x1000
C_STORE_RQ, MEDIUM, HAS_DATA_SET = 0x0001, 0x0000, 0x0001
# Of a peer that sets no limit, and of one whose limit is absurd.
LARGEST_PDU_BYTES = 1 << 20


class BlockingStoreScu(Closes):
    """An association for C-STORE. One thread at a time.

    Parameters
    ----------
    contexts : iterable of (str, str)
        SOP class and transfer syntax of what will be stored, at most 128.

    Raises
    ------
    DestinationUnreachable
        No association.
    """

    def __init__(self, peer: Peer, contexts: Iterable[tuple[str, str]]) -> None:
        self.peer = peer
        self._message_id = 0
        self._accepted: dict[tuple[str, str], int] = {}
        self._max_pdu = LARGEST_PDU_BYTES
        proposed = _proposed(contexts)
        self._socket = _connect(peer)
        self.is_open = True
        try:
            self._socket.sendall(_associate_request(peer, proposed))
            self._take_answer(proposed, *self._read_pdu())
        except OSError as exc:
            raise self._broken("while it was negotiated") from exc
        except DestinationUnreachable:
            self._drop()
            raise

    def _take_answer(self, proposed: list[PresentationContext], kind: int, pdu: bytes) -> None:
        if kind == ASSOCIATE_RJ:
            rejection = A_ASSOCIATE_RJ()
            rejection.decode(pdu)
            raise DestinationUnreachable(f"{self.peer.name} rejected the association: {rejection.reason_str}.")
        if kind != ASSOCIATE_AC:
            raise self._broken("while it was negotiated")
        acceptance = A_ASSOCIATE_AC()
        acceptance.decode(pdu)
        sop_classes = {context.context_id: str(context.abstract_syntax) for context in proposed}
        for item in acceptance.presentation_context:
            if item.result == 0 and item.context_id is not None and item.context_id in sop_classes:
                self._accepted[sop_classes[item.context_id], str(item.transfer_syntax)] = item.context_id
        information: Any = acceptance.user_information
        self._max_pdu = min(information.maximum_length or LARGEST_PDU_BYTES, LARGEST_PDU_BYTES)

    def close(self) -> None:
        """Release the association."""
        if not self.is_open:
            return
        try:
            self._socket.sendall(A_RELEASE_RQ().encode())
            while self._read_pdu()[0] != RELEASE_RP:
                pass
        except (OSError, DestinationUnreachable):
            pass  # it is gone, which is what was asked for
        finally:
            self._drop()

    def _drop(self) -> None:
        self.is_open = False
        self._socket.close()

    def store(self, item: StoredObject) -> tuple[int, str]:
        """C-STORE one object as it is.

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
        UnreadableObject
            The file cannot be read.
        """
        context_id = self._accepted.get(item.context)
        if context_id is None:
            raise DestinationRefused(
                f"{self.peer.name} does not accept SOP class {item.sop_class_uid} in transfer syntax "
                f"{item.transfer_syntax_uid}.",
                status=SOP_CLASS_NOT_SUPPORTED,
            )
        data_set = _data_set(item)
        self._message_id = self._message_id % 65535 + 1
        try:
            for chunk in self._messages(context_id, _store_request(item, self._message_id), data_set):
                self._socket.sendall(chunk)
            return self._read_response()
        except OSError as exc:
            raise self._broken("while an object was sent") from exc

    def _messages(self, context_id: int, command: bytes, data_set: memoryview) -> Iterator[bytes]:
        """P-DATA-TF PDUs; the command travels with the first piece of the data set, in one segment."""
        room = self._max_pdu - 6
        head = _p_data(context_id, COMMAND | LAST, command)
        num_pieces = max(1, -(-len(data_set) // room))
        for k in range(num_pieces):
            is_last = k == num_pieces - 1
            piece = _p_data(context_id, LAST if is_last else 0, data_set[k * room : (k + 1) * room])
            yield head + piece if k == 0 else piece

    def _read_response(self) -> tuple[int, str]:
        command = bytearray()
        while True:
            kind, pdu = self._read_pdu()
            if kind != P_DATA:
                raise self._broken("while a response was awaited")
            for control, value in _pdvs(pdu):
                command += value
                if control & LAST:
                    elements = _elements(bytes(command))
                    if len(elements.get(STATUS, b"")) != 2:
                        raise self._broken("over a response without a status")
                    (status,) = struct.unpack("<H", elements[STATUS])
                    return status, elements.get(ERROR_COMMENT, b"").decode("latin-1").strip(" \0")

    def _read_pdu(self) -> tuple[int, bytes]:
        """Type and all bytes of the next PDU."""
        header = self._read(6)
        kind, length = struct.unpack(">BxL", header)
        if length > MAX_PDU_BYTES:
            raise self._broken("over a PDU that is too long")
        return kind, header + self._read(length)

    def _read(self, length: int) -> bytes:
        quick_ack = getattr(socket, "TCP_QUICKACK", None)
        parts = bytearray()
        while len(parts) < length:
            if quick_ack is not None:
                # The kernel switches it off by itself; without it a response in two segments takes 40 ms.
                self._socket.setsockopt(socket.IPPROTO_TCP, quick_ack, 1)
            part = self._socket.recv(length - len(parts))
            if not part:
                raise self._broken("because the peer closed it")
            parts += part
        return bytes(parts)

    def _broken(self, when: str) -> DestinationUnreachable:
        self._drop()
        return DestinationUnreachable(f"The association with {self.peer.name} broke {when}.")


def _connect(peer: Peer) -> socket.socket:
    try:
        plain = socket.create_connection((peer.host, peer.port), timeout=peer.timeout_s)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return plain if peer.tls is None else client_tls(peer.tls).wrap_socket(plain)
    except OSError as exc:
        raise DestinationUnreachable(
            f"Nothing answers at {peer.host}:{peer.port}.", remedy="Check that it runs, its address and TLS."
        ) from exc


def _proposed(contexts: Iterable[tuple[str, str]]) -> list[PresentationContext]:
    proposed = []
    for k, (sop_class_uid, transfer_syntax_uid) in enumerate(contexts):
        context = build_context(sop_class_uid, transfer_syntax_uid)
        context.context_id = 2 * k + 1
        proposed.append(context)
    return proposed


def _associate_request(peer: Peer, proposed: list[PresentationContext]) -> bytes:
    primitive = A_ASSOCIATE()
    primitive.application_context_name = UID(APPLICATION_CONTEXT)
    primitive.calling_ae_title, primitive.called_ae_title = peer.calling_ae_title, peer.ae_title
    primitive.presentation_context_definition_list = proposed
    length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    version = ImplementationVersionNameNotification()
    length.maximum_length_received = MAX_PDU_BYTES
    implementation.implementation_class_uid = PYNETDICOM_IMPLEMENTATION_UID
    version.implementation_version_name = PYNETDICOM_IMPLEMENTATION_VERSION
    primitive.user_information = [length, implementation, version]
    request = A_ASSOCIATE_RQ()
    request.from_primitive(primitive)
    return request.encode()


def _data_set(item: StoredObject) -> memoryview:
    """Everything after the file meta information."""
    try:
        _, offset = split_dataset(item.path)
        return memoryview(item.path.read_bytes())[offset:]
    except OSError as exc:
        raise UnreadableObject(f"{item.path.name} cannot be read: {exc.strerror}.") from exc


def _element(number: int, value: bytes) -> bytes:
    return struct.pack("<HHL", 0x0000, number, len(value)) + value


def _uid(text: str) -> bytes:
    encoded = text.encode("ascii")
    return encoded + b"\0" * (len(encoded) % 2)


def _store_request(item: StoredObject, message_id: int) -> bytes:
    """Command set of C-STORE-RQ, implicit VR little endian (PS3.7 6.3.1)."""
    elements = b"".join(
        (
            _element(AFFECTED_SOP_CLASS_UID, _uid(item.sop_class_uid)),
            _element(COMMAND_FIELD, struct.pack("<H", C_STORE_RQ)),
            _element(MESSAGE_ID, struct.pack("<H", message_id)),
            _element(PRIORITY, struct.pack("<H", MEDIUM)),
            _element(COMMAND_DATA_SET_TYPE, struct.pack("<H", HAS_DATA_SET)),
            _element(AFFECTED_SOP_INSTANCE_UID, _uid(item.sop_instance_uid)),
        )
    )
    return _element(0x0000, struct.pack("<L", len(elements))) + elements


def _p_data(context_id: int, control: int, value: bytes | memoryview) -> bytes:
    """A P-DATA-TF PDU with one presentation data value."""
    length = len(value) + 2
    return struct.pack(">BxLLBB", P_DATA, length + 4, length, context_id, control) + value


def _pdvs(pdu: bytes) -> Iterator[tuple[int, bytes]]:
    """Message control header and content of each presentation data value."""
    position = 6
    while position + 6 <= len(pdu):
        length, _, control = struct.unpack_from(">LBB", pdu, position)
        yield control, pdu[position + 6 : position + 4 + length]
        position += 4 + length


def _elements(command: bytes) -> dict[int, bytes]:
    """Elements of a command set by their number in group 0000."""
    elements: dict[int, bytes] = {}
    position = 0
    while position + 8 <= len(command):
        _, number, length = struct.unpack_from("<HHL", command, position)
        elements[number] = command[position + 8 : position + 8 + length]
        position += 8 + length
    return elements
