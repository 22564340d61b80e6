"""Runs delivery until an armed crash point ends the process: ``python crashing_node.py STATE_DIR PORT POINT``."""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

from prometheus_client import CollectorRegistry

from dicom_gateway.deliver import Delivery
from dicom_gateway.journal import Journal
from neuroscan_core import crashpoints
from neuroscan_core.config import NodeConfig


def main(state_dir: str, port: str, point: str) -> None:
    destination = {"name": "pacs", "host": "127.0.0.1", "port": int(port)}
    config = NodeConfig.model_validate({"state_dir": Path(state_dir), "destinations": [destination]})
    crashpoints.arm(point)
    with Journal(config.journal_path) as journal:
        Delivery(
            config, journal, lambda _: None, clock=time.time, registry=CollectorRegistry(), random=random.Random(0)
        ).run_once()


if __name__ == "__main__":
    main(*sys.argv[1:])
