"""The wire format: any event, request or reply as frames ``[topic, header, array, array, ...]`` and back.

The header is msgpack: protocol version, name of the message type, data type and shape of every array, and the fields
of the message, in which each array is replaced by its index. The arrays follow as they lie in memory, little-endian:
nothing is copied on the way out of numpy, and what comes in is a read-only view of the received frame. An array that
was handed over must not be changed afterwards.

Whatever arrives, `decode` gives a message or raises `WireFormatError`. It allocates nothing by the numbers that a
header claims, only by the bytes that are there. Sockets, addresses and keys are not known here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Union, get_args

import msgspec
import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.errors import NeuroScanError, RequestRefused, RequestTimeout, WireFormatError
from neuroscan_core.domain.events import EVENT_TYPES, Event, SliceReceived
from neuroscan_core.domain.requests import REQUEST_TYPES, ReplayedEvents, Reply, Request

PROTOCOL_MAJOR = 1
PROTOCOL_MINOR = 0

MAX_HEADER_BYTES = 16 << 20
MAX_ARRAY_BYTES = 2 << 30
MAX_ARRAYS = 4096
MAX_DIMENSIONS = 4
DTYPES: tuple[np.dtype[Any], ...] = (np.dtype("<f4"), np.dtype("|u1"))

Message = Union[Event, "Request[Reply]", Reply]
Frame = bytes | memoryview


@dataclass(frozen=True, eq=False)
class Failure(Reply):
    """What a server answers where it cannot give the reply that was asked for.

    Parameters
    ----------
    code : str
        Name of the server's error class.
    message, remedy : str
        As in `NeuroScanError`.
    """

    code: str
    message: str
    remedy: str = ""

    @classmethod
    def of(cls, error: NeuroScanError) -> Failure:
        """The failure that tells of an error; a refusal that came from another server stays what it was."""
        code = error.code if isinstance(error, RequestRefused) else ""
        return cls(code or type(error).__name__, error.message, error.remedy)

    def as_error(self) -> RequestRefused | RequestTimeout:
        """The error for whoever asked: that of the server, or that the server itself asked another one in vain."""
        if self.code == RequestTimeout.__name__:
            return RequestTimeout(self.message, remedy=self.remedy)
        return RequestRefused(self.message, remedy=self.remedy, code=self.code)


REPLY_TYPES: tuple[type[Reply], ...] = tuple(dict.fromkeys(request_type.reply_type for request_type in REQUEST_TYPES))
_TYPES: dict[str, type[Message]] = {
    message_type.__name__: message_type for message_type in (*EVENT_TYPES, *REQUEST_TYPES, *REPLY_TYPES, Failure)
}


class _Array(msgspec.Struct, array_like=True, frozen=True):
    """What is needed to read one array frame."""

    dtype: str
    shape: tuple[int, ...]


class _Header(msgspec.Struct, array_like=True, frozen=True):
    """First the version, so that every later protocol can be told from this one."""

    major: int
    minor: int
    kind: str
    arrays: tuple[_Array, ...]
    body: msgspec.Raw


class _Version(msgspec.Struct, array_like=True, frozen=True):
    """The part of the header that all protocols share."""

    major: int


def topic_of(message_type: type[Message]) -> bytes:
    """First frame of messages of this type; no topic is the beginning of another one."""
    return message_type.__name__.encode("ascii") + b"/"


def encode(message: Message) -> list[Frame]:
    """Turn a message into frames.

    Returns
    -------
    list of bytes or memoryview
        Topic, header, then one view per array, in order.

    Raises
    ------
    WireFormatError
        It is not a message, or holds something that has no place in one (another array type, an object).
    """
    kind = type(message).__name__
    if _TYPES.get(kind) is not type(message):
        raise WireFormatError(
            f"{kind} is not a message.", remedy="Only the types of domain.events and domain.requests travel on the bus."
        )
    arrays: list[npt.NDArray[Any]] = []

    def replace(value: object) -> int:
        if not isinstance(value, np.ndarray):
            raise WireFormatError(f"{kind} holds a {type(value).__name__}, which the wire format does not know.")
        arrays.append(_portable(value, kind))
        return len(arrays) - 1

    try:
        body = msgspec.msgpack.encode(message, enc_hook=replace)
        described = tuple(_Array(array.dtype.str, array.shape) for array in arrays)
        header = _Header(PROTOCOL_MAJOR, PROTOCOL_MINOR, kind, described, msgspec.Raw(body))
        packed = msgspec.msgpack.encode(header)
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError) as exc:
        raise WireFormatError(f"{kind} cannot be written: {exc}.") from exc
    return [topic_of(type(message)), packed, *(_bytes_of(array) for array in arrays)]


def _portable(array: npt.NDArray[Any], kind: str) -> npt.NDArray[Any]:
    if array.dtype.newbyteorder("<") not in DTYPES or not 0 < array.ndim <= MAX_DIMENSIONS:
        raise WireFormatError(
            f"{kind} holds an array of {array.dtype} with {array.ndim} dimensions.",
            remedy="Arrays on the bus are float32 or uint8.",
        )
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))


def _bytes_of(array: npt.NDArray[Any]) -> Frame:
    return array.reshape(-1).view(np.uint8).data if array.size else b""


def decode(frames: Sequence[Frame]) -> Message:
    """Turn frames back into a message; arrays are read-only views of the frames.

    Raises
    ------
    WireFormatError
        The frames are not a message of this protocol.
    """
    if len(frames) < 2 or len(frames) - 2 > MAX_ARRAYS:
        raise WireFormatError(f"A message has {len(frames)} frames.", remedy="Something else uses this address.")
    topic, packed = bytes(frames[0][:256]), frames[1]
    header = _read_header(packed)
    message_type = _TYPES.get(header.kind)
    if message_type is None or topic != topic_of(message_type):
        raise WireFormatError(f"The message type {header.kind[:64]!r} under topic {topic[:64]!r} is not known.")
    arrays = _read_arrays(header, frames[2:])
    return _read_body(message_type, header.body, arrays)


def _read_header(packed: Frame) -> _Header:
    if len(packed) > MAX_HEADER_BYTES:
        raise WireFormatError(f"A header of {len(packed)} bytes is too large.")
    try:
        major = _VERSION_DECODER.decode(packed).major
        if major != PROTOCOL_MAJOR:
            raise WireFormatError(
                f"The other side speaks protocol {major}, this one {PROTOCOL_MAJOR}.",
                remedy="Run the same version of NeuroScan on both sides.",
            )
        return _HEADER_DECODER.decode(packed)
    except (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError) as exc:
        raise WireFormatError(f"A header does not decode: {exc}.") from exc


def _read_arrays(header: _Header, frames: Sequence[Frame]) -> list[npt.NDArray[Any]]:
    if len(header.arrays) != len(frames):
        raise WireFormatError(f"{header.kind} announces {len(header.arrays)} arrays and carries {len(frames)}.")
    return [_read_array(array, frame) for array, frame in zip(header.arrays, frames, strict=True)]


def _read_array(described: _Array, frame: Frame) -> npt.NDArray[Any]:
    dtype = _DTYPES_BY_NAME.get(described.dtype)
    if dtype is None:
        raise WireFormatError(f"Arrays of type {described.dtype[:32]!r} are not known.")
    shape = described.shape
    if not 0 < len(shape) <= MAX_DIMENSIONS or min(shape) < 0:
        raise WireFormatError("An array has an impossible shape.")
    num_bytes = math.prod(shape) * dtype.itemsize
    if num_bytes > MAX_ARRAY_BYTES or num_bytes != memoryview(frame).nbytes:
        raise WireFormatError(f"An array needs {num_bytes} bytes and has {memoryview(frame).nbytes}.")
    try:
        array = np.frombuffer(frame, dtype=dtype).reshape(shape) if num_bytes else np.zeros(shape, dtype)
    except (ValueError, OverflowError) as exc:  # an empty array may still have dimensions beyond numpy's index type
        raise WireFormatError("An array has an impossible shape.") from exc
    if not array.flags.aligned:  # small frames may start anywhere in the receive buffer
        array = array.copy()
    array.flags.writeable = False
    return array


def _read_body(message_type: type[Message], body: msgspec.Raw, arrays: list[npt.NDArray[Any]]) -> Message:
    def restore(wanted: Any, index: Any) -> npt.NDArray[Any]:  # msgspec's hook
        if type(index) is not int or not 0 <= index < len(arrays):
            raise ValueError("a field refers to an array that is not there")
        array = arrays[index]
        if array.dtype != _dtype_of(wanted):
            raise ValueError(f"an array is {array.dtype}")
        return array

    try:
        with np.errstate(all="ignore"):  # numbers that overflow in the checks of a geometry are refused by them
            message = msgspec.msgpack.decode(body, type=message_type, dec_hook=restore)
            _check_slices(message)
    except (
        msgspec.MsgspecError, NeuroScanError, AssertionError, ValueError, TypeError, OverflowError, RecursionError,
        MemoryError,
    ) as exc:  # fmt: skip
        raise WireFormatError(f"{message_type.__name__} does not decode: {exc}.") from exc
    return message


def _check_slices(message: Message) -> None:
    slices = message.slices if isinstance(message, ReplayedEvents) else (message,)
    for event in slices:
        if isinstance(event, SliceReceived) and event.pixels_ji.shape != event.geometry.shape:
            raise ValueError(f"pixels of shape {event.pixels_ji.shape} do not fit the geometry {event.geometry.shape}")


def _dtype_of(wanted: Any) -> np.dtype[Any]:  # a generic alias such as NDArray[np.float32]
    dtype: np.dtype[Any] = np.dtype(get_args(get_args(wanted)[1])[0])
    return dtype


def pack(message: Message) -> bytes:
    """One self-contained block of bytes for a message without arrays, e.g. to keep it in a file.

    Raises
    ------
    WireFormatError
        It holds arrays, or `encode` would refuse it.
    """
    frames = encode(message)
    if len(frames) > 2:
        raise WireFormatError(f"{type(message).__name__} holds arrays and cannot be packed.")
    return bytes(frames[1])


def unpack(packed: bytes) -> Message:
    """The message that `pack` was given.

    Raises
    ------
    WireFormatError
        The bytes are not a packed message of this protocol.
    """
    kind = _read_header(packed).kind
    return decode([kind[:256].encode("utf-8", "replace") + b"/", packed])


_VERSION_DECODER = msgspec.msgpack.Decoder(_Version)
_HEADER_DECODER = msgspec.msgpack.Decoder(_Header)
_DTYPES_BY_NAME = {dtype.str: dtype for dtype in DTYPES}
