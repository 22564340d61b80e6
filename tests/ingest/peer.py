"""A sender that can do what a proper one must not: PDUs by hand over a plain socket."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any

from pydicom import Dataset
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RJ, A_ASSOCIATE_RQ, A_RELEASE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    A_RELEASE,
    ImplementationClassUIDNotification,
    MaximumLengthNotification,
)
from pynetdicom.presentation import build_context

from tests.ingest.objects import EXPLICIT, MR, encode

PATIENCE_S = 20.0
MR_EXPLICIT = 1


class Aborted(Exception):
    """The node aborted the association or closed the connection."""


class Rejected(Exception):
    """The node rejected the association: result, source, reason."""


def association_request(
    calling: str = "SCANNER", called: str = "NEUROSCAN", contexts: Sequence[tuple[str, str]] = ((MR, EXPLICIT),)
) -> bytes:
    """An A-ASSOCIATE-RQ PDU; contexts are numbered 1, 3, 5 ..."""
    request = A_ASSOCIATE()
    request.application_context_name = "1.2.840.10008.3.1.1.1"
    request.calling_ae_title, request.called_ae_title = calling, called
    proposed = []
    for number, (abstract, transfer) in enumerate(contexts):
        proposed.append(build_context(abstract, transfer))
        proposed[-1].context_id = 2 * number + 1
    request.presentation_context_definition_list = proposed
    length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received = 16384
    implementation.implementation_class_uid = "2.25.1"
    request.user_information = [length, implementation]
    return bytes(A_ASSOCIATE_RQ(request).encode())


def p_data(fragment: bytes, *, command: bool = False, last: bool = True, context_id: int = MR_EXPLICIT) -> bytes:
    control = command | last << 1
    return struct.pack(">BBLLBB", 4, 0, len(fragment) + 6, len(fragment) + 2, context_id, control) + fragment


def command_set(elements: Iterable[tuple[int, bytes]]) -> bytes:
    body = b"".join(struct.pack("<HHL", 0, tag, len(value)) + value for tag, value in elements)
    return struct.pack("<HHLL", 0, 0, 4, len(body)) + body


def _even(text: str) -> bytes:
    return text.encode() + b"\0" * (len(text) % 2)


def store_command(sop_class: str, sop_instance: str, message_id: int = 1) -> bytes:
    return command_set(
        [(0x2, _even(sop_class)), (0x100, b"\1\0"), (0x110, struct.pack("<H", message_id)), (0x700, b"\0\0"),
         (0x800, b"\1\0"), (0x1000, _even(sop_instance))]
    )  # fmt: skip


class Peer:
    """A connection to the node, associated unless told otherwise."""

    def __init__(self, address: tuple[str, int], *, associate: bool = True, **request: Any) -> None:
        self.socket = socket.create_connection(address, timeout=PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.accepted: dict[int, str] = {}
        if associate:
            self.send(association_request(**request))
            try:
                self._read_acceptance()
            except BaseException:
                self.socket.close()
                raise

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def _read_acceptance(self) -> None:
        pdu = self.read_pdu()
        if pdu[0] == 3:
            answer = A_ASSOCIATE_RJ()
            answer.decode(pdu)
            raise Rejected(answer.result, answer.source, answer.reason_diagnostic)
        assert pdu[0] == 2, pdu[:6]
        accepted = A_ASSOCIATE_AC()
        accepted.decode(pdu)
        self.max_pdu = accepted.user_information.maximum_length
        for context in accepted.to_primitive().presentation_context_definition_results_list:
            if context.result == 0:
                self.accepted[context.context_id] = str(context.transfer_syntax[0])

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read_pdu(self) -> bytes:
        """The next PDU; raises Aborted at an A-ABORT or the end of the connection."""
        head = self._read(6)
        pdu = head + self._read(struct.unpack(">L", head[2:])[0])
        if pdu[0] == 7:
            raise Aborted("A-ABORT")
        return pdu

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            try:
                part = self.socket.recv(size - len(data))
            except ConnectionError as exc:
                raise Aborted("reset") from exc
            if not part:
                raise Aborted("closed")
            data += part
        return data

    def response(self) -> tuple[int, str]:
        """Status and error comment of the next response."""
        pdu = self.read_pdu()
        values, position = {}, 12
        while position < len(pdu):
            _, tag, length = struct.unpack_from("<HHL", pdu, position)
            values[tag] = pdu[position + 8 : position + 8 + length]
            position += 8 + length
        return struct.unpack("<H", values[0x900])[0], values.get(0x902, b"").decode().strip()

    def store_bytes(
        self,
        data: bytes,
        sop_instance: str,
        *,
        sop_class: str = MR,
        context_id: int = MR_EXPLICIT,
        fragment_bytes: int = 10000,
    ) -> tuple[int, str]:
        """C-STORE of an encoded data set; the node's answer."""
        self.send(p_data(store_command(sop_class, sop_instance), command=True, context_id=context_id))
        for start in range(0, max(len(data), 1), fragment_bytes):
            fragment = data[start : start + fragment_bytes]
            self.send(p_data(fragment, last=start + fragment_bytes >= len(data), context_id=context_id))
        return self.response()

    def store(self, ds: Dataset, **options: Any) -> tuple[int, str]:
        """C-STORE in explicit VR little endian."""
        return self.store_bytes(encode(ds), str(ds.SOPInstanceUID), **options)

    def echo(self, context_id: int = MR_EXPLICIT) -> int:
        elements = [(0x2, _even("1.2.840.10008.1.1")), (0x100, b"\x30\0"), (0x110, b"\1\0"), (0x800, b"\1\1")]
        self.send(p_data(command_set(elements), command=True, context_id=context_id))
        return self.response()[0]

    def release(self) -> None:
        self.send(bytes(A_RELEASE_RQ(A_RELEASE()).encode()))
        assert self.read_pdu()[0] == 6
