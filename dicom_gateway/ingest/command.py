"""Command sets (PS3.7 6.3, annex E): reading requests and writing C-STORE and C-ECHO responses as P-DATA-TF PDUs."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from neuroscan_core.domain.errors import UnreadableObject

C_STORE_RQ: Final = 0x0001
C_ECHO_RQ: Final = 0x0030
RESPONSE: Final = 0x8000
NO_DATA_SET: Final = 0x0101
MAX_COMMENT: Final = 64

_ELEMENT = struct.Struct("<HHL")
_U16 = struct.Struct("<H")


@dataclass(frozen=True)
class Command:
    """The parts of a request that the fast path needs."""

    field: int
    message_id: int
    sop_class_uid: str
    sop_instance_uid: str
    has_data_set: bool


def parse_command(encoded: bytes | bytearray) -> Command:
    """Read a command set (implicit VR little endian, group 0000).

    Raises
    ------
    UnreadableObject
        The bytes are no command set.
    """
    elements: dict[int, bytes] = {}
    position, end = 0, len(encoded)
    while position + 8 <= end:
        group, element, length = _ELEMENT.unpack_from(encoded, position)
        position += 8
        if group != 0 or position + length > end:
            raise UnreadableObject("A command set is damaged.")
        elements[element] = bytes(encoded[position : position + length])
        position += length
    if position != end or len(elements.get(0x0100, b"")) != 2:
        raise UnreadableObject("A command set is damaged.")
    return Command(
        field=_u16(elements, 0x0100),
        message_id=_u16(elements, 0x0110),
        sop_class_uid=_text(elements, 0x0002),
        sop_instance_uid=_text(elements, 0x1000),
        has_data_set=_u16(elements, 0x0800) != NO_DATA_SET,
    )


def _u16(elements: dict[int, bytes], element: int) -> int:
    value = elements.get(element, b"\0\0")
    return int(_U16.unpack(value)[0]) if len(value) == 2 else 0


def _text(elements: dict[int, bytes], element: int) -> str:
    return elements.get(element, b"").rstrip(b"\0 ").decode("ascii", "replace")


def response_pdu(context_id: int, command: Command, status: int, comment: str = "") -> bytes:
    """The response to `command` as one P-DATA-TF PDU (PS3.8 9.3.5).

    Parameters
    ----------
    comment : str
        Error Comment (0000,0902), cut to 64 characters.
    """
    elements = [
        _element(0x0002, command.sop_class_uid.encode("ascii", "replace"), b"\0"),
        _element(0x0100, _U16.pack(command.field | RESPONSE)),
        _element(0x0120, _U16.pack(command.message_id)),
        _element(0x0800, _U16.pack(NO_DATA_SET)),
        _element(0x0900, _U16.pack(status)),
    ]
    if comment:
        elements.append(_element(0x0902, comment.encode("ascii", "replace")[:MAX_COMMENT], b" "))
    if command.field == C_STORE_RQ:
        elements.append(_element(0x1000, command.sop_instance_uid.encode("ascii", "replace"), b"\0"))
    body = b"".join(elements)
    fragment = _ELEMENT.pack(0, 0, 4) + struct.pack("<L", len(body)) + body
    # PDU type 4, reserved, length; then one presentation data value: length, context, command and last fragment.
    return struct.pack(">BBLLBB", 4, 0, len(fragment) + 6, len(fragment) + 2, context_id, 3) + fragment


def _element(element: int, value: bytes, padding: bytes = b"") -> bytes:
    if len(value) % 2:
        value += padding
    return _ELEMENT.pack(0, element, len(value)) + value
