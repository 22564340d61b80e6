"""Last image to SEG acknowledged by the archive: the node against the sequential pipeline, and the node's memory.

Both receive the same phantom series over one association from the same sender, use the same network and deliver to the
same archive process. The clock starts when the sender has the response to its last image.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import yaml

from benchmarks.ports import free_port, wait_for_port
from dicom_gateway.journal import DeliveryState, Journal
from dicom_gateway.phantom_series import write_phantom_series
from dicom_gateway.send import send_folder
from neuroscan_core.phantom import Weighting, head_phantom

MODEL = "mobilenetv2-unet-flair"
SCANNER_PACE = 25.0  # images per second
PATIENCE_S = 120.0


@dataclass(frozen=True)
class Delay:
    """From the response to the last image to the archive's acknowledgement, seconds."""

    series: list[float]

    def percentile(self, q: float) -> float:
        """Percentile over all series, seconds."""
        return float(np.percentile(self.series, q))


class Processes:
    """Child processes that end with the context."""

    def __init__(self, log: Path) -> None:
        self._log = log.open("ab")
        self._running: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str, piped: bool = False) -> subprocess.Popen[str]:
        """Start ``python ...``."""
        process = subprocess.Popen(
            [sys.executable, *arguments], stdout=subprocess.PIPE if piped else self._log, stderr=self._log, text=True
        )
        self._running.append(process)
        return process

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._running):
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
        self._log.close()


@dataclass(frozen=True)
class NodeUnderTest:
    """A started node: where it listens, its journal and its processes."""

    port: int
    journal: Journal
    process: psutil.Process

    def delay_s(self, series_uid: str, sent_s: float) -> float:
        """Wait until the SEG of a series is acknowledged; seconds after `sent_s`."""
        deadline_s = time.time() + PATIENCE_S
        while time.time() < deadline_s:
            for delivery in self.journal.deliveries(series_uid=series_uid):
                if delivery.result.kind == "SEG" and delivery.state is not DeliveryState.QUEUED:
                    assert delivery.delivered_at_s is not None
                    return delivery.delivered_at_s - sent_s
            time.sleep(0.05)
        raise TimeoutError(f"no SEG for {series_uid}")

    def resident_bytes(self) -> int:
        """Resident memory of all processes of the node; pages that they share count once (PSS)."""
        total = 0
        for process in (self.process, *self.process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += process.memory_full_info().pss
        return total


@contextlib.contextmanager
def node(folder: Path, processes: Processes) -> Iterator[NodeUnderTest]:
    """Start an archive and `neuroscan up`."""
    archive_port, port, viewer_port = free_port(), free_port(), free_port()
    processes.start("-m", "neuroscan_core.cli", "archive", str(folder / "archive"), "--port", str(archive_port))
    config = {
        "state_dir": str(folder / "state"),
        "gateway": {"host": "127.0.0.1", "port": port},
        "viewer": {"port": viewer_port},
        "destinations": [{"name": "archive", "host": "127.0.0.1", "port": archive_port, "ae_title": "ARCHIVE"}],
        "log": {"level": "warning"},
    }
    (folder / "neuroscan.yaml").write_text(yaml.safe_dump(config))
    up = processes.start("-m", "neuroscan_core.cli", "up", "-c", str(folder / "neuroscan.yaml"))
    for listening in (archive_port, port, viewer_port):
        wait_for_port(listening, PATIENCE_S)
    journal = Journal(folder / "state" / "journal.sqlite")
    time.sleep(2.0)  # the engine checks itself at start; not what is measured here
    try:
        yield NodeUnderTest(port, journal, psutil.Process(up.pid))
    finally:
        journal.close()


def measure_node(series: list[Path], uids: list[str], pace: float | None) -> tuple[Delay, int]:
    """Delays of the node for each series, and its peak resident memory in bytes."""
    peak = 0
    finished = threading.Event()
    with (
        tempfile.TemporaryDirectory() as name,
        Processes(Path(name) / "log") as processes,
        node(Path(name), processes) as under_test,
    ):

        def watch() -> None:
            nonlocal peak
            while not finished.wait(0.5):
                peak = max(peak, under_test.resident_bytes())

        watcher = threading.Thread(target=watch, name="memory", daemon=True)
        watcher.start()
        delays = []
        for folder, uid in zip(series, uids, strict=True):
            delays.append(under_test.delay_s(uid, _send(folder, under_test.port, pace)))
        finished.set()
        watcher.join()
    return Delay(delays), peak


def measure_sequential(series: list[Path], pace: float | None) -> Delay:
    """Delays of the sequential pipeline."""
    with tempfile.TemporaryDirectory() as name, Processes(Path(name) / "log") as processes:
        folder, port, archive_port = Path(name), free_port(), free_port()
        processes.start("-m", "neuroscan_core.cli", "archive", str(folder / "archive"), "--port", str(archive_port))
        pipeline = processes.start(
            "-m", "benchmarks.sequential", str(folder / "in"), str(port), str(archive_port), MODEL, piped=True
        )
        for listening in (port, archive_port):
            wait_for_port(listening, PATIENCE_S)
        delays = []
        assert pipeline.stdout is not None
        for source in series:
            sent_s = _send(source, port, pace)
            word, done_s, status, _ = pipeline.stdout.readline().split()
            assert (word, status) == ("done", "0x0000"), (word, status)
            delays.append(float(done_s) - sent_s)
    return Delay(delays)


def _send(folder: Path, port: int, pace: float | None) -> float:
    """Send one series; Unix time at which the last image was acknowledged."""
    report = send_folder(folder, "127.0.0.1", port, images_per_s=pace)
    assert not report.failures, report.failures
    return report.last_response_at_s


def phantom_series(folder: Path, num_series: int, num_slices: int = 155) -> tuple[list[Path], list[str]]:
    """Write that many FLAIR series of the phantom; their folders and UIDs."""
    import pydicom

    phantom = head_phantom(num_slices=num_slices)
    series, uids = [], []
    for number in range(num_series):
        target = folder / f"{number}"
        target.mkdir(parents=True)
        paths = write_phantom_series(target, phantom, Weighting.FLAIR, series=f"bench-{number}")
        series.append(target)
        uids.append(str(pydicom.dcmread(paths[0], stop_before_pixels=True).SeriesInstanceUID))
    return series, uids


def measure(num_series: int = 20, progress: Callable[[str], None] = print) -> dict[str, Any]:
    """All figures of this module."""
    with tempfile.TemporaryDirectory() as name:
        series, uids = phantom_series(Path(name), num_series)
        progress(f"node, {num_series} series at {SCANNER_PACE:.0f} images/s")
        paced, peak = measure_node(series, uids, SCANNER_PACE)
        progress("sequential pipeline at the same pace")
        sequential_paced = measure_sequential(series[: max(3, num_series // 4)], SCANNER_PACE)
        progress("node, as fast as possible")
        fast, peak_fast = measure_node(series[:5], uids[:5], None)
        progress("sequential pipeline, as fast as possible")
        sequential_fast = measure_sequential(series[:5], None)
    return {
        "paced_p50_s": paced.percentile(50),
        "paced_p99_s": paced.percentile(99),
        "paced_max_s": max(paced.series),
        "paced_num_series": num_series,
        "sequential_paced_p50_s": sequential_paced.percentile(50),
        "paced_ratio_sequential_to_node": sequential_paced.percentile(50) / paced.percentile(50),
        "fast_p50_s": fast.percentile(50),
        "sequential_fast_p50_s": sequential_fast.percentile(50),
        "fast_ratio_sequential_to_node": sequential_fast.percentile(50) / fast.percentile(50),
        "peak_resident_mb": max(peak, peak_fast) / 1e6,
    }
