"""DIMSE statuses of C-STORE (PS3.4 table B.2-1, PS3.7 9.1.1.1.9), by name."""

from __future__ import annotations

from typing import Final

SUCCESS: Final = 0x0000
"""The object and the record of it are on disk."""

INVALID_SOP_INSTANCE: Final = 0x0117
"""Refused: the SOP Instance UID breaks the rules for UIDs, by its form (PS3.5 9.1) or by naming two objects."""

SOP_CLASS_NOT_SUPPORTED: Final = 0x0122
"""Refused: the class of the request is not the one that was negotiated for its presentation context."""

NOT_AUTHORISED: Final = 0x0124
"""Refused: this peer may not store. Peers are refused at association; the name stands for handlers that need it."""

OUT_OF_RESOURCES: Final = 0xA700
"""Refused: out of resources. Disk nearly full, disk or journal not writable, object too large, or shutting down."""

DATA_SET_MISMATCH: Final = 0xA900
"""Error: the data set does not match the SOP class or instance of the request."""

CANNOT_UNDERSTAND: Final = 0xC000
"""Error: the data set cannot be parsed, or ends early."""

MEANINGS: Final = {
    SUCCESS: "success",
    INVALID_SOP_INSTANCE: "invalid SOP instance",
    SOP_CLASS_NOT_SUPPORTED: "SOP class not supported",
    NOT_AUTHORISED: "not authorised",
    OUT_OF_RESOURCES: "out of resources",
    DATA_SET_MISMATCH: "data set does not match",
    CANNOT_UNDERSTAND: "cannot understand",
}
"""Status to words, for logs and metrics."""
