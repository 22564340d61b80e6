"""Receives objects until an armed crash point ends the process: ``python crashing_node.py FOLDER POINT AFTER``."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from prometheus_client import CollectorRegistry

from dicom_gateway.ingest import Spool, StorageScp, StoredObject
from dicom_gateway.journal import Journal
from neuroscan_core import crashpoints
from neuroscan_core.config import GatewayConfig, LogConfig
from neuroscan_core.log import configure_logging


class Nobody:
    """Forgets what it hears."""

    def association_opened(self, association: str, calling_ae: str) -> None:
        pass

    def stored(self, stored: StoredObject) -> None:
        pass

    def association_closed(self, association: str, *, released: bool) -> None:
        pass


def main(folder: Path, point: str, after: int) -> None:
    configure_logging(LogConfig(level="error"), process="test")
    if point:
        crashpoints.arm(point, after=after)
    spool = Spool(folder / "spool")
    config = GatewayConfig(host="127.0.0.1", port=0, min_free_bytes=0)
    with Journal(folder / "journal.sqlite") as journal:
        recovered = spool.recover(journal)
        with StorageScp(config, spool, journal, Nobody(), clock=time.time, registry=CollectorRegistry()) as scp:
            print(scp.address[1], recovered, flush=True)
            threading.Event().wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
