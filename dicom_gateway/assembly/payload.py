"""Numbered events as the journal keeps them: everything but pixels, series UID and sequence number."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import msgspec

from neuroscan_core.domain.errors import JournalError
from neuroscan_core.domain.events import (
    SeriesCompleted,
    SeriesEvent,
    SeriesOpened,
    SeriesRejected,
    SliceReceived,
    StudyReady,
)
from neuroscan_core.domain.geometry import SliceGeometry

KINDS: dict[str, type[SeriesEvent]] = {
    kind.__name__: kind for kind in (SeriesOpened, SliceReceived, SeriesCompleted, SeriesRejected, StudyReady)
}
LEFT_OUT = frozenset({"series_instance_uid", "sequence", "pixels_ji", "key"})
"""Columns of the journal, and pixels, which stay in the object."""


@dataclass(frozen=True)
class SliceFacts:
    """What the journal keeps of a slice beside its key."""

    geometry: SliceGeometry
    received_at_s: float


def encode_payload(event: SeriesEvent) -> bytes:
    """Content of an event as MessagePack."""
    return msgspec.msgpack.encode(
        {field.name: getattr(event, field.name) for field in fields(event) if field.name not in LEFT_OUT}
    )


def decode_slice_facts(payload: bytes) -> SliceFacts:
    """Content of a `SliceReceived`.

    Raises
    ------
    JournalError
        The payload is damaged.
    """
    try:
        return msgspec.msgpack.decode(payload, type=SliceFacts)
    except msgspec.MsgspecError as exc:
        raise _damaged() from exc


def decode_payload(kind: str, series_instance_uid: str, sequence: int, payload: bytes) -> SeriesEvent:
    """Rebuild an event that carries no pixels.

    Raises
    ------
    JournalError
        The payload is damaged or of an unknown kind.
    """
    try:
        content: dict[str, Any] = msgspec.msgpack.decode(payload)
        return msgspec.convert(
            {**content, "series_instance_uid": series_instance_uid, "sequence": sequence}, KINDS[kind]
        )
    except (msgspec.MsgspecError, KeyError, TypeError) as exc:
        raise _damaged() from exc


def _damaged() -> JournalError:
    return JournalError("An event in the journal does not decode.", remedy="The journal was written by other software.")
