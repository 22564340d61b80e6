"""The ROS bus beside the ZeroMQ bus, on the same machine in the same run: ``python -m benchmarks.ros_bus``.

Needs a sourced ROS 2 with the packages of ``ros_ws``. A child process runs the segmentation service with the model of
the default configuration, as the node does; this one publishes the slices of a head as the gateway does and receives
the masks as a viewer does. Measured are

- slice to mask: from the publication of the last slice that a mask needs to the receipt of the mask, at ten slices a
  second;
- slices per second when all are published at once, and the processor time that the segmentation service needs for
  each, which depends less on what else the machine does;
- one way: from publication to receipt of one slice of 256 x 256, another child process being the publisher.

Rounds of both buses alternate, and all rounds count.
"""

from __future__ import annotations

import json
import multiprocessing
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing.synchronize import Event as ProcessEvent
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from neuroscan_core.bus.feed import MaskFeed, SeriesFeed
from neuroscan_core.bus.zeromq import ZeroMqBus
from neuroscan_core.config import BusConfig, NodeConfig
from neuroscan_core.domain.events import (
    GATEWAY,
    SEGMENTER,
    VIEWER,
    GatewayHeartbeat,
    SeriesCompleted,
    SeriesEvent,
    SeriesOpened,
    SeriesProgress,
    SliceReceived,
)
from neuroscan_core.domain.geometry import SliceGeometry
from neuroscan_core.domain.model_card import ModelKind
from neuroscan_core.domain.requests import (
    Acknowledged,
    ListSeries,
    ReplayedEvents,
    ReplaySeries,
    SeriesList,
    SubmitFailure,
    SubmitSegmentation,
)
from neuroscan_core.domain.volume import FrameKey
from neuroscan_core.inference.select import bundles_in_use
from neuroscan_core.phantom import Weighting, head_phantom
from neuroscan_core.ports import MessageBus

KINDS = ("zeromq", "ros2")
ROUNDS = 2
REPETITIONS = 3
NUM_SLICES = 60
SLICES_PER_S = 10.0
ONE_WAY_SHAPE, ONE_WAY_INTERVAL_S = (256, 256), 0.005
PATIENCE_S = 300.0
WARM_UP = 0


def open_bus(kind: str, role: str, run_dir: Path) -> AbstractContextManager[MessageBus]:
    """Open the bus of a role, either over Unix sockets or under ROS."""
    if kind == "zeromq":
        return ZeroMqBus(role, BusConfig(), run_dir)
    from neuroscan_ros.bus import open_ros2_bus

    opened: AbstractContextManager[MessageBus] = open_ros2_bus(role)
    return opened


class _Gateway:
    """Publishes, and keeps what it has published for replays."""

    def __init__(self, bus: MessageBus) -> None:
        self._bus = bus
        self._kept: dict[str, list[SeriesEvent]] = {}
        self._lock = threading.Lock()

    def tell(self, event: SeriesEvent) -> None:
        with self._lock:
            self._kept.setdefault(event.series_instance_uid, []).append(event)
        self._bus.publish(event)

    def beat(self) -> None:
        with self._lock:
            progress = [SeriesProgress(uid, "", len(kept), 0, 0, True) for uid, kept in self._kept.items()]
        self._bus.publish(GatewayHeartbeat(tuple(progress)))

    def _replay(self, request: ReplaySeries) -> ReplayedEvents:
        with self._lock:
            kept = self._kept.get(request.series_instance_uid, [])
            return ReplayedEvents.of(kept[request.from_sequence : request.from_sequence + request.limit])

    @contextmanager
    def serving(self) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(self._bus.serve(ReplaySeries, self._replay))
            stack.enter_context(self._bus.serve(ListSeries, lambda _: SeriesList(())))
            stack.enter_context(self._bus.serve(SubmitSegmentation, lambda _: Acknowledged()))
            stack.enter_context(self._bus.serve(SubmitFailure, lambda _: Acknowledged()))
            yield


def _segmenter(kind: str, run_dir: Path, done: ProcessEvent) -> None:
    from neuroscan_core.config import LogConfig
    from neuroscan_core.log import configure_logging
    from neuroscan_core.service import SegmentationService

    configure_logging(LogConfig(level="error"), process=SEGMENTER)
    config = NodeConfig()
    with (
        open_bus(kind, SEGMENTER, run_dir) as bus,
        SeriesFeed(bus) as feed,
        SegmentationService(bus, bundles_in_use(config), config.segmenter, feed=feed),
    ):
        done.wait()


def _publisher(kind: str, run_dir: Path, num_slices: int, heard: ProcessEvent, done: ProcessEvent) -> None:
    pixels_ji = np.random.default_rng(0).normal(size=ONE_WAY_SHAPE).astype(np.float32)
    geometry = SliceGeometry((0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), (1.0, 1.0), ONE_WAY_SHAPE, "1.2")

    def publish(sequence: int) -> None:
        key = FrameKey(f"1.2.3.{sequence}")
        bus.publish(SliceReceived("1.2.3", sequence, key, geometry, pixels_ji, time.perf_counter()))

    with open_bus(kind, GATEWAY, run_dir) as bus:
        while not heard.wait(0.02):
            publish(WARM_UP)
        for sequence in range(1, num_slices + 1):
            publish(sequence)
            time.sleep(ONE_WAY_INTERVAL_S)
        done.wait()


@contextmanager
def _child(target: Callable[..., None], *arguments: Any) -> Iterator[psutil.Process]:
    """Have a function run in a process of its own; its last argument is the sign to end."""
    spawn = multiprocessing.get_context("spawn")
    done = spawn.Event()
    child = spawn.Process(target=target, args=(*arguments, done))
    child.start()
    try:
        yield psutil.Process(child.pid)
    finally:
        done.set()
        child.join(20)
        child.kill()


class _Series:
    """The slices of a head, published by `gateway` under new UIDs, and the masks that come back."""

    def __init__(self, gateway: _Gateway, masks: MaskFeed, num_slices: int) -> None:
        self._gateway, self._masks = gateway, masks
        phantom = head_phantom(num_slices=num_slices)
        self._geometry = phantom.geometry
        self._voxels_kji = phantom.image(Weighting.FLAIR).astype(np.float32)
        self._keys = tuple(FrameKey(f"2.25.{k + 1}") for k in range(num_slices))
        bundles = bundles_in_use(NodeConfig()).items()
        self._model = next(name for name, bundle in bundles if bundle.card.kind is ModelKind.SLICE25D)

    def run(self, uid: str, interval_s: float) -> tuple[list[float], float]:
        """Seconds from the last slice that a mask needs to the mask, and masks per second."""
        published_s: list[float] = []
        publication = threading.Thread(target=self._publish, args=(uid, interval_s, published_s), name="publication")
        began_s = time.perf_counter()
        publication.start()
        received_s = self._receive(uid)
        publication.join()
        ended_s = max(received_s.values())
        # The masks at both ends wait until it is known that the stack ends there.
        latencies_s = [received_s[k] - published_s[k + 1] for k in range(1, len(self._keys) - 1)]
        return latencies_s, len(received_s) / (ended_s - began_s)

    def _publish(self, uid: str, interval_s: float, published_s: list[float]) -> None:
        spacing_mm = self._geometry.spacing_mm
        self._gateway.tell(SeriesOpened(uid, 0, self._model, slice_spacing_mm=spacing_mm, modality="MR"))
        for k, key in enumerate(self._keys):
            geometry = self._geometry.slice_geometry(k)
            event = SliceReceived(uid, 1 + k, key, geometry, self._voxels_kji[k], time.time())
            published_s.append(time.perf_counter())
            self._gateway.tell(event)
            time.sleep(interval_s)
        self._gateway.tell(SeriesCompleted(uid, 1 + len(self._keys), self._keys, self._geometry, 1, "count"))

    def _receive(self, uid: str) -> dict[int, float]:
        received_s: dict[int, float] = {}
        index = {key: k for k, key in enumerate(self._keys)}
        deadline_s = time.monotonic() + PATIENCE_S
        while len(received_s) < len(self._keys):
            mask = self._masks.receive(0.5)
            if mask is not None and mask.series_instance_uid == uid and mask.revision == 0:
                received_s[index[mask.key]] = time.perf_counter()
            elif mask is None:
                self._gateway.beat()
            assert time.monotonic() < deadline_s, f"only {len(received_s)} of {len(index)} masks came"
        return received_s


@dataclass
class _Figures:
    """What was measured of one bus."""

    to_mask_s: list[float] = field(default_factory=list)
    one_way_s: list[float] = field(default_factory=list)
    masks_per_s: list[float] = field(default_factory=list)
    cpu_s_per_slice: list[float] = field(default_factory=list)


def _time_masks(kind: str, run_dir: Path, num_slices: int, figures: _Figures) -> None:
    """At the pace of a scanner, then several times without one."""
    with (
        _child(_segmenter, kind, run_dir) as segmenter,
        open_bus(kind, GATEWAY, run_dir) as bus,
        open_bus(kind, VIEWER, run_dir) as viewer_bus,
        MaskFeed(viewer_bus) as masks,
    ):
        gateway = _Gateway(bus)
        series = _Series(gateway, masks, num_slices)
        with gateway.serving():
            series.run("1.1", 0.0)  # finds one another, and warms up
            latencies_s, _ = series.run("1.2", 1 / SLICES_PER_S)
            figures.to_mask_s += latencies_s
            for repetition in range(REPETITIONS):
                began_s = _cpu_s(segmenter)
                _, masks_per_s = series.run(f"1.3.{repetition + 1}", 0.0)
                figures.cpu_s_per_slice.append((_cpu_s(segmenter) - began_s) / num_slices)
                figures.masks_per_s.append(masks_per_s)


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _time_one_way(kind: str, run_dir: Path, num_slices: int) -> list[float]:
    """Seconds from publication to receipt of one slice."""
    heard = multiprocessing.get_context("spawn").Event()
    latencies_s: list[float] = []
    with (
        open_bus(kind, SEGMENTER, run_dir) as bus,
        bus.subscribe(SliceReceived) as subscription,
        _child(_publisher, kind, run_dir, num_slices, heard),
    ):
        sequence = WARM_UP
        while sequence < num_slices:
            event = subscription.receive(20.0)
            now_s = time.perf_counter()
            assert isinstance(event, SliceReceived), f"only {len(latencies_s)} of {num_slices} slices came"
            heard.set()
            sequence = event.sequence
            if sequence != WARM_UP:
                latencies_s.append(now_s - event.received_at_s)
    return latencies_s


def measure(*, num_slices: int = NUM_SLICES, num_one_way: int = 1000, rounds: int = ROUNDS) -> dict[str, Any]:
    """Latencies in milliseconds, slices per second, and the ratio of both buses.

    Returns
    -------
    dict
        ``{zeromq,ros2}_slice_to_mask_{p50,p99}_ms``, ``{zeromq,ros2}_one_way_{p50,p99}_ms``,
        ``{zeromq,ros2}_slices_per_s`` (the best of all repetitions), ``{zeromq,ros2}_cpu_ms_per_slice`` (the median),
        and ``ratio_...``: that of ROS 2 to that of ZeroMQ.
    """
    from rclpy.utilities import get_rmw_implementation_identifier

    measured = {kind: _Figures() for kind in KINDS}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for kind in KINDS:
                _time_masks(kind, Path(folder), num_slices, measured[kind])
                measured[kind].one_way_s += _time_one_way(kind, Path(folder), num_one_way)
    figures: dict[str, Any] = {"rmw": get_rmw_implementation_identifier()}
    for kind, found in measured.items():
        figures |= _percentiles(f"{kind}_slice_to_mask", found.to_mask_s)
        figures |= _percentiles(f"{kind}_one_way", found.one_way_s)
        figures[f"{kind}_slices_per_s"] = round(max(found.masks_per_s), 2)
        figures[f"{kind}_cpu_ms_per_slice"] = round(1e3 * float(np.median(found.cpu_s_per_slice)), 3)
    for name in [name for name in figures if name.startswith("ros2_")]:
        what = name.removeprefix("ros2_")
        figures[f"ratio_{what.removesuffix('_ms')}"] = round(figures[name] / figures[f"zeromq_{what}"], 3)
    return figures


def _percentiles(name: str, times_s: list[float]) -> dict[str, float]:
    p50, p99 = np.percentile(np.array(times_s) * 1e3, (50, 99))
    return {f"{name}_p50_ms": round(float(p50), 3), f"{name}_p99_ms": round(float(p99), 3)}


if __name__ == "__main__":
    from benchmarks.__main__ import device

    print(json.dumps({"device": device(), **measure()}, indent=1))
