"""How long an event and a request take between two processes over ZeroMQ: ``python -m benchmarks.bus``.

A child process publishes slices of 256 x 256 float32 at the pace of a fast scanner; this one receives them. Both read
the same monotonic clock, so the difference is the latency. Each kind of connection is measured alone: Unix sockets,
and TCP on loopback with CURVE keys.
"""

from __future__ import annotations

import json
import multiprocessing
import socket
import tempfile
import time
from multiprocessing.synchronize import Event as ProcessEvent
from pathlib import Path
from typing import Any

import numpy as np

from neuroscan_core.bus.curve import generate_keys
from neuroscan_core.bus.zeromq import ZeroMqBus
from neuroscan_core.config import BusConfig
from neuroscan_core.domain.events import GATEWAY, SEGMENTER, SliceReceived
from neuroscan_core.domain.geometry import SliceGeometry
from neuroscan_core.domain.requests import GetGatewayHealth, Health, ReplayedEvents, ReplaySeries
from neuroscan_core.domain.volume import FrameKey

SHAPE = (256, 256)
INTERVAL_S = 0.005
REPLAY_LIMIT = 16
WARM_UP = -1


def _slice(sequence: int) -> SliceReceived:
    geometry = SliceGeometry((0.0, 0.0, float(sequence)), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), (1.0, 1.0), SHAPE, "1.2")
    pixels_ji = np.full(SHAPE, sequence, np.float32)
    return SliceReceived("1.2.3", sequence, FrameKey(f"1.2.3.{sequence}"), geometry, pixels_ji, time.perf_counter())


def _gateway(config: BusConfig, run_dir: Path, num_slices: int, heard: ProcessEvent, done: ProcessEvent) -> None:
    kept = [_slice(sequence) for sequence in range(REPLAY_LIMIT)]
    with (
        ZeroMqBus(GATEWAY, config, run_dir) as bus,
        bus.serve(GetGatewayHealth, lambda _: Health(True)),
        bus.serve(ReplaySeries, lambda _: ReplayedEvents.of([*kept])),
    ):
        while not heard.wait(0.02):
            bus.publish(_slice(WARM_UP))
        for sequence in range(num_slices):
            bus.publish(_slice(sequence))
            time.sleep(INTERVAL_S)
        done.wait()


def _percentiles(times_s: list[float]) -> dict[str, float]:
    p50, p99 = np.percentile(np.array(times_s) * 1e3, (50, 99))
    return {"p50_ms": round(float(p50), 3), "p99_ms": round(float(p99), 3)}


def _time_events(bus: ZeroMqBus, num_slices: int, heard: ProcessEvent) -> dict[str, float]:
    latencies_s: list[float] = []
    with bus.subscribe(SliceReceived) as subscription:
        while len(latencies_s) < num_slices:
            event = subscription.receive(10.0)
            assert event is not None, f"only {len(latencies_s)} of {num_slices} slices came"
            heard.set()
            if isinstance(event, SliceReceived) and event.sequence != WARM_UP:
                latencies_s.append(time.perf_counter() - event.received_at_s)
    return _percentiles(latencies_s)


def _time_requests(bus: ZeroMqBus, request: Any, num_requests: int) -> dict[str, float]:
    times_s = []
    for _ in range(num_requests):
        started_s = time.perf_counter()
        bus.request(request, timeout_s=10.0)
        times_s.append(time.perf_counter() - started_s)
    return _percentiles(times_s)


def _measure(config: BusConfig, run_dir: Path, num_slices: int) -> dict[str, dict[str, float]]:
    spawn = multiprocessing.get_context("spawn")
    heard, done = spawn.Event(), spawn.Event()
    child = spawn.Process(target=_gateway, args=(config, run_dir, num_slices, heard, done))
    child.start()
    try:
        with ZeroMqBus(SEGMENTER, config, run_dir) as bus:
            return {
                "slice": _time_events(bus, num_slices, heard),
                "request": _time_requests(bus, GetGatewayHealth(), num_slices),
                "replay_of_16": _time_requests(bus, ReplaySeries("1.2.3", 0), num_slices // 5),
            }
    finally:
        done.set()
        child.join(10)
        child.kill()


def _free_port() -> int:
    """A port that was free a moment ago, and so was the one after it, which serves requests."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            try:
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


def measure(num_slices: int = 1000) -> dict[str, float]:
    """Latencies in milliseconds.

    Returns
    -------
    dict
        ``{ipc,curve}_{slice,request,replay_of_16}_{p50,p99}_ms``: publication to receipt of one slice; a round trip of
        a small request; a round trip that brings 16 slices.
    """
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        generate_keys(Path(folder) / "keys")
        addresses = {"gateway": f"tcp://127.0.0.1:{_free_port()}"}
        configs = {
            "ipc": BusConfig(),
            "curve": BusConfig.model_validate({"addresses": addresses, "curve_directory": Path(folder) / "keys"}),
        }
        for name, config in configs.items():
            for what, percentiles in _measure(config, Path(folder) / "run", num_slices).items():
                figures |= {f"{name}_{what}_{key}": value for key, value in percentiles.items()}
    return figures


if __name__ == "__main__":
    print(json.dumps(measure(), indent=1))
