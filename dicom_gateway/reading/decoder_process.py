"""The process that `sandbox` runs: reads compressed frames from standard input, writes decoded ones to standard output.

Messages are MessagePack behind a length of four bytes. It ends when its input does.
"""

from __future__ import annotations

import resource
import struct
import sys
from typing import IO

import msgspec
from pydicom.uid import UID

from dicom_gateway.reading.decoding import decode_frame
from dicom_gateway.reading.layout import PixelLayout
from neuroscan_core.domain.errors import UndecodablePixels

MAX_MEMORY_BYTES = 4 << 30


class DecodeRequest(msgspec.Struct, frozen=True, array_like=True):
    """One compressed frame."""

    transfer_syntax_uid: str
    layout: PixelLayout
    codestream: bytes


class DecodeReply(msgspec.Struct, frozen=True, array_like=True):
    """Stored values of the frame, or why there are none."""

    dtype: str = ""
    pixels: bytes = b""
    problem: str = ""
    remedy: str = ""


def write_message(stream: IO[bytes], message: msgspec.Struct) -> None:
    """Write one message."""
    encoded = msgspec.msgpack.encode(message)
    stream.write(struct.pack("!I", len(encoded)))
    stream.write(encoded)
    stream.flush()


def read_message(stream: IO[bytes]) -> bytes:
    """Read the bytes of one message; empty at the end of the stream."""
    head = stream.read(4)
    if len(head) < 4:
        return b""
    (length,) = struct.unpack("!I", head)
    body = stream.read(length)
    return body if len(body) == length else b""


def main() -> None:
    """Answer requests until the input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while encoded := read_message(sys.stdin.buffer):
        write_message(sys.stdout.buffer, _answer(msgspec.msgpack.decode(encoded, type=DecodeRequest)))


def _answer(request: DecodeRequest) -> DecodeReply:
    try:
        pixels = decode_frame(request.codestream, UID(request.transfer_syntax_uid), request.layout)
    except UndecodablePixels as exc:
        return DecodeReply(problem=exc.message, remedy=exc.remedy)
    return DecodeReply(pixels.dtype.str, pixels.tobytes())


if __name__ == "__main__":
    main()
