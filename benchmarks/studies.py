"""What a study costs the series that arrive beside it: latency from slice to mask, alone and with a study at work.

Both run in one segmentation service over the in-memory bus, at a scanner's pace; rounds alternate. The study is that of
the first bundled model of several sequences; without one there is nothing to measure.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from neuroscan_core.bus.feed import SeriesFeed
from neuroscan_core.bus.memory import InMemoryBus
from neuroscan_core.config import SegmenterConfig
from neuroscan_core.domain.events import (
    MaskReady,
    SeriesCompleted,
    SeriesEvent,
    SeriesOpened,
    SliceReceived,
    StudyReady,
    StudySource,
)
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
from neuroscan_core.domain.study import SEQUENCES
from neuroscan_core.domain.volume import FrameKey, Volume
from neuroscan_core.inference.bundle import Bundle, find_bundles
from neuroscan_core.phantom import Weighting, head_phantom
from neuroscan_core.service import SegmentationService

NUM_SLICES = 120
ROUNDS = 3
SLICES_PER_S = 10.0  # what two cores segment with room to spare
STUDY_UID = "2.25.1"


def measure(
    *, num_slices: int = NUM_SLICES, rounds: int = ROUNDS, slices_per_s: float = SLICES_PER_S
) -> dict[str, Any]:
    """Measure.

    Returns
    -------
    dict
        Percentiles of the latency of masks in ms, alone and beside a study, over all rounds; how long the study took.
    """
    bundles = find_bundles()
    several = [name for name, bundle in bundles.items() if bundle.card.kind is ModelKind.MULTIMODAL2D]
    single = [name for name, bundle in bundles.items() if bundle.card.kind is ModelKind.SLICE25D]
    if not several or not single:
        return {"study_model": "none is bundled"}
    world = _World({name: bundles[name] for name in (single[0], several[0])}, num_slices)
    latencies: dict[str, list[float]] = {"alone": [], "beside_a_study": []}
    study_s: list[float] = []
    for _ in range(rounds):
        latencies["alone"] += world.run(single[0], "", slices_per_s)[0]
        found, took_s = world.run(single[0], several[0], slices_per_s)
        latencies["beside_a_study"] += found
        study_s.append(took_s)
    figures: dict[str, Any] = {
        "study_model": several[0],
        "slices_per_s": slices_per_s,
        "study_s": round(min(study_s), 1),
    }
    for name, values in latencies.items():
        for q in (50, 99):
            figures[f"{name}_p{q}_ms"] = round(float(np.percentile(values, q)), 1)
    return figures


class _World:
    """A gateway's half of the bus: four series that are there, and one that arrives."""

    def __init__(self, bundles: Mapping[str, Bundle], num_slices: int) -> None:
        self._bundles = bundles
        head = head_phantom(num_slices=num_slices)
        self._volumes = {}
        for n, name in enumerate(SEQUENCES):
            keys = tuple(FrameKey(f"1.{n}.{k}") for k in range(num_slices))
            self._volumes[f"1.{n}"] = Volume(head.geometry, keys, head.image(Weighting(name)).astype(np.float32))

    def run(self, model: str, study_model: str, slices_per_s: float) -> tuple[list[float], float]:
        """Latencies of all masks of one series in ms, and seconds until the study was done (0 without one)."""
        bus = InMemoryBus()
        done_at_s: dict[str, float] = {}

        def submit(request: SubmitSegmentation) -> Acknowledged:
            done_at_s[request.result.series_instance_uid] = time.monotonic()
            return Acknowledged()

        masks = bus.subscribe(MaskReady, capacity=100_000)
        with (
            bus.serve(ReplaySeries, self._replay),
            bus.serve(ListSeries, lambda _: SeriesList(())),
            bus.serve(SubmitSegmentation, submit),
            bus.serve(SubmitFailure, lambda _: Acknowledged()),
            SeriesFeed(bus) as feed,
            SegmentationService(bus, self._bundles, SegmenterConfig(), feed=feed),
        ):
            began_s = time.monotonic()
            if study_model:
                bus.publish(self._study(study_model))
            for n, event in enumerate(self._events("9", model, self._volumes[f"1.{SEQUENCES.index('FLAIR')}"])):
                time.sleep(max(0.0, began_s + n / slices_per_s - time.monotonic()))
                bus.publish(event)
            wanted = {"9", STUDY_UID} if study_model else {"9"}
            while not wanted <= done_at_s.keys():
                time.sleep(0.05)
            latencies = []
            while isinstance(mask := masks.receive(0.05), MaskReady):
                latencies.append(mask.latency_ms)
        bus.close()
        return latencies, done_at_s.get(STUDY_UID, began_s) - began_s

    def _study(self, model: str) -> StudyReady:
        sources = tuple(
            StudySource(name, f"1.{n}", 1, self._volumes[f"1.{n}"].keys, self._volumes[f"1.{n}"].geometry)
            for n, name in enumerate(SEQUENCES)
        )
        return StudyReady(STUDY_UID, 0, model, sources, "FLAIR")

    def _replay(self, request: ReplaySeries) -> ReplayedEvents:
        events = self._events(request.series_instance_uid, "", self._volumes[request.series_instance_uid])
        wanted = range(request.from_sequence, request.from_sequence + request.limit)
        return ReplayedEvents.of([event for event in events if event.sequence in wanted])

    def _events(self, uid: str, model: str, volume: Volume) -> Iterator[SeriesEvent]:
        yield SeriesOpened(uid, 0, model, slice_spacing_mm=volume.geometry.spacing_mm)
        for k, key in enumerate(volume.keys):
            yield SliceReceived(uid, k + 1, key, volume.geometry.slice_geometry(k), volume.voxels_kji[k])
        yield SeriesCompleted(uid, len(volume.keys) + 1, volume.keys, volume.geometry, 1, "count", time.time())
