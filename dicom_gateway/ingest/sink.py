"""What ingest hands on: objects that are durable, and the beginnings and ends of associations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dicom_gateway.journal import InstanceRecord


@dataclass(frozen=True)
class StoredObject:
    """An object that is on disk and in the journal.

    Parameters
    ----------
    record : InstanceRecord
    path : Path
        The Part 10 file.
    encoded : bytes or memoryview or None
        The data set as received, without preamble and file meta information; None where it was too large to keep.
    """

    record: InstanceRecord
    path: Path
    encoded: bytes | memoryview | None


class IngestSink(Protocol):
    """Listener of ingest. Calls of one association come in order from one thread; those of several interleave."""

    def association_opened(self, association: str, calling_ae: str) -> None:
        """An association was accepted."""
        ...

    def stored(self, stored: StoredObject) -> None:
        """A new object is durable; its response waits for this call, so it must only queue."""
        ...

    def association_closed(self, association: str, *, released: bool) -> None:
        """An association ended: by release, or by abort or loss of the connection."""
        ...
