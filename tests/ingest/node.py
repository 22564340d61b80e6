"""A storage SCP under test, in this process, with a sink that remembers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from dicom_gateway.ingest import Spool, StorageScp, StoredObject
from dicom_gateway.journal import Journal
from neuroscan_core.config import GatewayConfig

PATIENCE_S = 20.0


@dataclass
class RecordingSink:
    """Remembers what ingest said, and lets tests wait for it."""

    opened: list[tuple[str, str]] = field(default_factory=list)
    objects: list[StoredObject] = field(default_factory=list)
    closed: list[tuple[str, bool]] = field(default_factory=list)
    on_stored: Callable[[StoredObject], None] | None = None
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def association_opened(self, association: str, calling_ae: str) -> None:
        with self._changed:
            self.opened.append((association, calling_ae))
            self._changed.notify_all()

    def stored(self, stored: StoredObject) -> None:
        if self.on_stored is not None:
            self.on_stored(stored)
        with self._changed:
            self.objects.append(stored)
            self._changed.notify_all()

    def association_closed(self, association: str, *, released: bool) -> None:
        with self._changed:
            self.closed.append((association, released))
            self._changed.notify_all()

    def await_closed(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.closed) >= count, PATIENCE_S), self.closed


@dataclass
class Node:
    """Spool, journal, sink and SCP, and the folder that they are in."""

    folder: Path
    spool: Spool
    journal: Journal
    sink: RecordingSink
    scp: StorageScp
    registry: CollectorRegistry

    @property
    def address(self) -> tuple[str, int]:
        return self.scp.address

    def files(self) -> list[Path]:
        """What is in the spool, conflicts left out."""
        folders = (self.spool.folder / part for part in ("series", "incoming"))
        return sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())

    def answered(self, status: int) -> float:
        return self.registry.get_sample_value("neuroscan_ingest_objects_total", {"status": f"0x{status:04X}"}) or 0


def make_node(
    folder: Path, *, spool: Spool | None = None, journal: Journal | None = None, scp: dict[str, Any] | None = None,
    **config: Any,
) -> Node:  # fmt: skip
    """A node that does not listen yet."""
    spool, journal = spool or Spool(folder / "spool"), journal or Journal(folder / "journal.sqlite")
    sink, registry = RecordingSink(), CollectorRegistry()
    settings = GatewayConfig.model_validate({"host": "127.0.0.1", "port": 0, "min_free_bytes": 0, **config})
    server = StorageScp(settings, spool, journal, sink, clock=time.time, registry=registry, **(scp or {}))
    return Node(folder, spool, journal, sink, server, registry)
