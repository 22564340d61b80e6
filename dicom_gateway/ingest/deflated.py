"""Inflating deflated data sets (PS3.5 A.5) within a limit."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from neuroscan_core.domain.errors import UnreadableObject

if TYPE_CHECKING:
    from dicom_gateway.ingest.header import Readable


def inflate(data: Readable, max_bytes: int) -> bytes:
    """Inflate a raw deflate stream, at most to `max_bytes`.

    Raises
    ------
    UnreadableObject
        The stream is damaged, ends early or becomes larger.
    """
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = inflater.decompress(memoryview(data), max_bytes)
    except zlib.error as exc:
        raise UnreadableObject("The deflated data set is damaged.") from exc
    if not inflater.eof:
        raise UnreadableObject("The deflated data set ends early, or inflates beyond the limit.")
    return inflated
