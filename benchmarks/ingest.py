"""Images per second that receivers store: this node beside Orthanc, pynetdicom's and DCMTK's storescp.

This node makes file, folder and journal durable before it answers; Orthanc runs with ``SyncStorageArea`` (the file is
synced, the index is not); the two storescp are not durable at all. All get the same bytes from `raw_sender` on one and
on four associations, in turns, so that what else the machine does hits all alike. ``python -m benchmarks.ingest``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import loopback
from benchmarks.ports import free_port, wait_for_port

PATIENCE_S = 60.0
ASSOCIATIONS = (1, 4)
REFERENCE = "orthanc_sync"


def receivers() -> dict[str, Callable[[Path, int], list[str]]]:
    """Name -> command line of each receiver that is installed."""
    commands: dict[str, Callable[[Path, int], list[str]]] = {
        "neuroscan": lambda folder, port: [
            sys.executable, "-m", "benchmarks.ingest", "--serve", str(folder), str(port),
        ],
        "pynetdicom_storescp": lambda folder, port: [
            sys.executable, "-m", "pynetdicom", "storescp", str(port), "-od", str(folder), "-ba", "127.0.0.1",
        ],
    }  # fmt: skip
    if shutil.which("Orthanc"):
        commands[REFERENCE] = _orthanc
    # pynetdicom puts a storescp of its own before DCMTK's into the PATH of a virtual environment.
    if storescp := shutil.which("storescp", path=os.defpath):
        commands["dcmtk_storescp"] = lambda folder, port: [storescp, "--fork", "-od", str(folder), str(port)]
    return commands


def _orthanc(folder: Path, port: int) -> list[str]:
    settings = {
        "StorageDirectory": str(folder / "db"), "IndexDirectory": str(folder / "db"), "SyncStorageArea": True,
        "DicomPort": port, "DicomAet": "ANY-SCP", "DicomCheckCalledAet": False, "DicomAlwaysAllowStore": True,
        "HttpPort": free_port(), "RemoteAccessAllowed": False, "AuthenticationEnabled": False, "Plugins": [],
    }  # fmt: skip
    path = folder / "orthanc.json"
    path.write_text(json.dumps(settings))
    return ["Orthanc", str(path)]


@contextmanager
def running(name: str) -> Iterator[int]:
    """Run a receiver in a folder of its own; its port."""
    with tempfile.TemporaryDirectory(prefix="ingest-bench-") as folder:
        port = free_port()
        command = receivers()[name](Path(folder), port)
        with (Path(folder) / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
            try:
                wait_for_port(port, PATIENCE_S)
                yield port
            finally:
                process.terminate()
                process.wait(PATIENCE_S)


def rate(port: int, num_associations: int, num_images: int, seed: int) -> float:
    """Images per second on that many associations at once, from the first byte to the last response."""
    count = num_images // num_associations
    senders = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.raw_sender", str(port), str(count), str(seed + 100_000 * k)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for k in range(num_associations)
    ]  # fmt: skip
    try:
        assert all(_readline(sender) == "ready" for sender in senders)
        for sender in senders:
            assert sender.stdin is not None
            sender.stdin.write("go\n")
            sender.stdin.flush()
        spans = [tuple(map(float, _readline(sender).split())) for sender in senders]
    finally:
        for sender in senders:
            sender.communicate(timeout=PATIENCE_S)
    return count * num_associations / (max(end for _, end in spans) - min(start for start, _ in spans))


def _readline(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    assert line, "a sender failed"
    return line


def measure(num_images: int = 400, rounds: int = 3, progress: Callable[[str], None] = print) -> dict[str, Any]:
    """Median rates of all receivers over the rounds, and this node's as a multiple of the others'."""
    rates: dict[str, list[float]] = {}
    for number in range(rounds):
        for name in receivers():
            with running(name) as port:
                rate(port, 1, 20, seed=1)
                for num_associations in ASSOCIATIONS:
                    value = rate(port, num_associations, num_images, seed=10 + 1_000_000 * (number + num_associations))
                    rates.setdefault(f"{name}, {num_associations} associations, images/s", []).append(value)
                    progress(f"{name}, {num_associations}: {value:.0f} images/s")
    figures: dict[str, Any] = {key: statistics.median(values) for key, values in sorted(rates.items())}
    for num_associations in ASSOCIATIONS:
        own = figures[f"neuroscan, {num_associations} associations, images/s"]
        for name in receivers():
            if name != "neuroscan":
                other = figures[f"{name}, {num_associations} associations, images/s"]
                figures[f"neuroscan / {name}, {num_associations} associations"] = own / other
    return figures


class _Nobody:
    def association_opened(self, association: str, calling_ae: str) -> None:
        pass

    def stored(self, stored: object) -> None:
        pass

    def association_closed(self, association: str, *, released: bool) -> None:
        pass


def serve(folder: Path, port: int) -> None:
    """Run this node's storage SCP with nothing behind it until the process is ended."""
    from prometheus_client import CollectorRegistry

    from dicom_gateway.ingest import Spool, StorageScp
    from dicom_gateway.journal import Journal
    from neuroscan_core.config import GatewayConfig, LogConfig
    from neuroscan_core.log import configure_logging

    configure_logging(LogConfig(level="warning"), process="bench")
    config = GatewayConfig(host="127.0.0.1", port=port, min_free_bytes=0)
    with (
        Journal(folder / "journal.sqlite") as journal,
        StorageScp(config, Spool(folder / "spool"), journal, _Nobody(), clock=time.time, registry=CollectorRegistry()),
    ):
        while True:
            time.sleep(3600)


def main() -> int:
    """Measure and print as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", nargs=2, metavar=("FOLDER", "PORT"), help=argparse.SUPPRESS)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if options.serve:
        serve(Path(options.serve[0]), int(options.serve[1]))
    fair = loopback.enter(["-m", "benchmarks.ingest", *sys.argv[1:]])
    figures = measure(options.images, options.rounds, lambda line: print(line, file=sys.stderr))
    print(json.dumps({"loopback_quickack": fair, **figures}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
