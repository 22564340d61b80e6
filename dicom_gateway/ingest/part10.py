"""File meta information (PS3.10 7.1) for data sets that are kept as received."""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Final

from dicom_gateway.results.uids import derived_uid
from neuroscan_core import __version__

IMPLEMENTATION_CLASS_UID: Final = derived_uid("implementation class")
IMPLEMENTATION_VERSION_NAME: Final = f"NEUROSCAN_{__version__}"[:16]
_PREAMBLE = bytes(128) + b"DICM"


def file_meta(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, source_ae: str) -> bytes:
    """Preamble, prefix and file meta information, all that stands before the data set in a Part 10 file."""
    tail = _after_instance(transfer_syntax_uid, source_ae)
    group = b"".join((_before_instance(sop_class_uid), _element(3, b"UI", sop_instance_uid, b"\0"), tail))
    return b"".join((_PREAMBLE, struct.pack("<HH2sHL", 2, 0, b"UL", 4, len(group)), group))


@lru_cache(maxsize=64)
def _before_instance(sop_class_uid: str) -> bytes:
    version = struct.pack("<HH2sHL", 2, 1, b"OB", 0, 2) + b"\0\1"
    return version + _element(2, b"UI", sop_class_uid, b"\0")


@lru_cache(maxsize=256)
def _after_instance(transfer_syntax_uid: str, source_ae: str) -> bytes:
    return b"".join(
        (
            _element(0x10, b"UI", transfer_syntax_uid, b"\0"),
            _element(0x12, b"UI", IMPLEMENTATION_CLASS_UID, b"\0"),
            _element(0x13, b"SH", IMPLEMENTATION_VERSION_NAME, b" "),
            _element(0x16, b"AE", source_ae, b" ") if source_ae else b"",
        )
    )


def _element(element: int, vr: bytes, text: str, padding: bytes) -> bytes:
    value = text.encode("ascii", "replace")
    value += padding * (len(value) % 2)
    return struct.pack("<HH2sH", 2, element, vr, len(value)) + value
