"""A walk over an encoded data set that proves its structure and picks the few values that ingest needs.

Every element, item and fragment must lie inside what was received; nothing is decoded but identifiers and the size of
the image. Turning objects into slices is the part of `dicom_gateway.reading`.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Final, Protocol

from dicom_gateway.ingest.deflated import inflate
from neuroscan_core.domain.errors import UnreadableObject

MAX_DEPTH: Final = 64
UNDEFINED: Final = 0xFFFFFFFF
_IMPLICIT_LITTLE = "1.2.840.10008.1.2"
_EXPLICIT_BIG = "1.2.840.10008.1.2.2"
_NATIVE = frozenset({_IMPLICIT_LITTLE, "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", _EXPLICIT_BIG})
_DEFLATED = frozenset({"1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"})
_BY_REFERENCE = frozenset({"1.2.840.10008.1.2.4.94", "1.2.840.10008.1.2.4.204"}) | _DEFLATED - _NATIVE

_SHORT_VRS = frozenset(
    {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL", b"SS",
     b"ST", b"TM", b"UI", b"UL", b"US"}
)  # fmt: skip
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_PIXEL_DATA = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_SOP_CLASS, _SOP_INSTANCE, _STUDY, _SERIES = 0x00080016, 0x00080018, 0x0020000D, 0x0020000E
_SAMPLES, _PHOTOMETRIC, _FRAMES, _ROWS, _COLUMNS, _BITS = (
    0x00280002, 0x00280004, 0x00280008, 0x00280010, 0x00280011, 0x00280100,
)  # fmt: skip
_WANTED = frozenset(
    {_SOP_CLASS, _SOP_INSTANCE, _STUDY, _SERIES, _SAMPLES, _PHOTOMETRIC, _FRAMES, _ROWS, _COLUMNS, _BITS}
)
_UID = re.compile(r"(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))*\Z")


class Readable(Protocol):
    """Bytes at hand: bytes, bytearray, memoryview or mmap."""

    def __len__(self) -> int: ...
    def __getitem__(self, key: slice, /) -> bytes | bytearray | memoryview: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...


@dataclass(frozen=True)
class ObjectHeader:
    """What ingest knows about a data set.

    Parameters
    ----------
    has_pixels : bool
        Pixel Data, Float Pixel Data or Double Float Pixel Data is there, or is said to be elsewhere (JPIP).
    """

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    has_pixels: bool


def is_uid(text: str) -> bool:
    """Whether `text` is a UID by PS3.5 9.1, and so safe as a file name: digits and single dots, at most 64."""
    return 0 < len(text) <= 64 and _UID.match(text) is not None


def read_header(data: Readable, transfer_syntax_uid: str, *, max_inflated_bytes: int = 1 << 30) -> ObjectHeader:
    """Walk a data set as received.

    Parameters
    ----------
    data : bytes-like
        The data set without file meta information.
    max_inflated_bytes : int
        Largest size of a deflated data set after inflating.

    Raises
    ------
    UnreadableObject
        An element, item or fragment does not end inside the data, sequences nest deeper than 64, a deflated data set
        does not inflate, or native pixels are fewer than rows, columns and frames say.
    """
    if transfer_syntax_uid in _DEFLATED:
        data = inflate(data, max_inflated_bytes)
    walk = _Walk(data, transfer_syntax_uid)
    try:
        walk.run()
    except struct.error as exc:
        raise UnreadableObject("The data set ends inside an element.") from exc
    return walk.header()


@dataclass
class _Open:
    """A sequence or item whose end is not reached; `end` is None where a delimiter ends it."""

    end: int | None
    is_sequence: bool
    was_implicit: bool


class _Walk:
    def __init__(self, data: Readable, transfer_syntax_uid: str) -> None:
        self._data = data
        self._size = len(data)
        self._syntax = transfer_syntax_uid
        self._is_implicit = transfer_syntax_uid == _IMPLICIT_LITTLE
        order = ">" if transfer_syntax_uid == _EXPLICIT_BIG else "<"
        self._explicit = struct.Struct(f"{order}HH2sH").unpack_from
        self._implicit = struct.Struct(f"{order}HHL").unpack_from
        self._u32 = struct.Struct(f"{order}L").unpack_from
        self._u16 = struct.Struct(f"{order}H")
        self._open: list[_Open] = []
        self._values: dict[int, bytes] = {}
        self._pixels_length: int | None = None

    def run(self) -> None:
        position, size = 0, self._size
        while position < size or self._open:
            position = self._close_finished(position)
            if position >= size and not self._open:
                break
            position = self._item(position) if self._open and self._open[-1].is_sequence else self._element(position)
            if position > size:
                raise UnreadableObject("The data set ends inside an element.")

    def header(self) -> ObjectHeader:
        has_pixels = self._pixels_length is not None or self._syntax in _BY_REFERENCE
        if self._pixels_length is not None and self._pixels_length != UNDEFINED:
            self._check_native_length(self._pixels_length)
        return ObjectHeader(
            self._text(_SOP_CLASS), self._text(_SOP_INSTANCE), self._text(_STUDY), self._text(_SERIES), has_pixels
        )

    # ---------------------------------------------------------------------------------------------------- structure

    def _close_finished(self, position: int) -> int:
        while self._open and self._open[-1].end is not None and position >= self._open[-1].end:
            if position > self._open[-1].end:
                raise UnreadableObject("An element goes beyond the end of its sequence.")
            self._is_implicit = self._open.pop().was_implicit
        return position

    def _push(self, end: int | None, *, is_sequence: bool) -> None:
        if len(self._open) >= 2 * MAX_DEPTH:
            raise UnreadableObject(f"Sequences nest deeper than {MAX_DEPTH}.")
        if end is not None and end > self._size:
            raise UnreadableObject("The data set ends inside a sequence.")
        self._open.append(_Open(end, is_sequence, self._is_implicit))

    def _item(self, position: int) -> int:
        group, element, length = self._implicit(self._data, position)
        tag = group << 16 | element
        position += 8
        if tag == _ITEM:
            self._push(None if length == UNDEFINED else position + length, is_sequence=False)
        elif tag == _SEQUENCE_END and self._open[-1].end is None:
            self._is_implicit = self._open.pop().was_implicit
        else:
            raise UnreadableObject("A sequence holds something that is no item.")
        return position

    def _element(self, position: int) -> int:
        if self._is_implicit:
            group, element, length = self._implicit(self._data, position)
            vr, value = b"", position + 8
        else:
            group, element, vr, length = self._explicit(self._data, position)
            if group == 0xFFFE:
                return self._delimiter(element, position)
            value = position + 8
            if vr not in _SHORT_VRS:
                if not vr.isalpha() or not vr.isupper():
                    raise UnreadableObject("An element has no value representation.")
                length, value = int(self._u32(self._data, value)[0]), position + 12
        if group == 0xFFFE:
            return self._delimiter(element, position)
        tag = group << 16 | element
        if not self._open:
            if tag in _WANTED:
                self._values[tag] = bytes(self._data[value : value + length]) if length < 1024 else b""
            elif tag in _PIXEL_DATA:
                return self._pixels(value, length)
        if length == UNDEFINED:
            if vr in (b"OB", b"OW"):  # the pixels of an icon
                return self._fragments(value)
            self._push(None, is_sequence=True)
            # Undefined length of unknown VR means an implicit VR little endian sequence (PS3.5 6.2.2 note).
            self._is_implicit = self._is_implicit or vr == b"UN"
            return value
        if vr == b"SQ":
            self._push(value + length, is_sequence=True)
            return value
        return value + int(length)

    def _delimiter(self, element: int, position: int) -> int:
        if element == _ITEM_END & 0xFFFF and self._open and self._open[-1].end is None:
            self._is_implicit = self._open.pop().was_implicit
            return position + 8
        raise UnreadableObject("A delimiter ends nothing.")

    # -------------------------------------------------------------------------------------------------------- pixels

    def _pixels(self, value: int, length: int) -> int:
        self._pixels_length = length
        if length != UNDEFINED:
            return value + int(length)
        if self._syntax in _NATIVE:
            raise UnreadableObject("Pixel Data is encapsulated, its transfer syntax is not.")
        return self._fragments(value)

    def _fragments(self, position: int) -> int:
        while True:
            group, element, length = self._implicit(self._data, position)
            tag, position = group << 16 | element, position + 8
            if tag == _SEQUENCE_END:
                return position
            if tag != _ITEM or position + length > self._size:
                raise UnreadableObject("The fragments of Pixel Data are damaged or end early.")
            position += length

    def _check_native_length(self, length: int) -> None:
        bits = self._number(_ROWS) * self._number(_COLUMNS) * self._number(_BITS) * self._num_frames()
        samples = self._number(_SAMPLES) or 1
        if samples == 3 and self._text(_PHOTOMETRIC) == "YBR_FULL_422":
            samples = 2
        if length < (bits * samples + 7) // 8:
            raise UnreadableObject("Pixel Data is shorter than rows, columns and frames say.")

    def _num_frames(self) -> int:
        text = self._text(_FRAMES)
        if not text:
            return 1
        try:
            return max(int(text), 0)
        except ValueError as exc:
            raise UnreadableObject("Number of Frames is no number.") from exc

    def _number(self, tag: int) -> int:
        value = self._values.get(tag, b"")
        return int(self._u16.unpack(value)[0]) if len(value) == 2 else 0

    def _text(self, tag: int) -> str:
        return self._values.get(tag, b"").strip(b"\0 ").decode("ascii", "replace")
