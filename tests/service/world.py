"""A head on its way to the service, and a gateway that takes results, sometimes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from neuroscan_core.bus.feed import SeriesFeed
from neuroscan_core.bus.memory import InMemoryBus
from neuroscan_core.config import SegmenterConfig
from neuroscan_core.domain.errors import RequestRefused
from neuroscan_core.domain.events import (
    MaskReady,
    SegmentationFailed,
    SegmentationReady,
    SeriesCompleted,
    SeriesEvent,
    SeriesOpened,
    SliceReceived,
)
from neuroscan_core.domain.model_card import ModelCard
from neuroscan_core.domain.requests import Acknowledged, SubmitFailure, SubmitSegmentation
from neuroscan_core.domain.volume import FrameKey, Slice, Volume
from neuroscan_core.phantom import Weighting, head_phantom
from neuroscan_core.ports import InferenceEngine
from neuroscan_core.service import SegmentationService
from tests.bus.series import FakeGateway
from tests.pipeline.stacks import CheapEngine, card_mapping, slices_of

PATIENCE_S = 30.0
NUM_SLICES = 14
_INPUT = {**card_mapping()["input"], "size": [256, 256]}
HEAD_CARD = ModelCard.from_mapping(card_mapping(name="head", input=_INPUT, postprocessing={"min_component_ml": 1.0}))


class CheapModel:
    """A model source whose engine is cheap; `break_on` makes it fail for images that hold this value."""

    def __init__(self, break_on: float | None = None) -> None:
        self.card = HEAD_CARD
        self.break_on = break_on
        self.engines: list[BreakableEngine] = []

    def open_engine(self, config: SegmenterConfig) -> InferenceEngine:
        engine = BreakableEngine(self.break_on)
        self.engines.append(engine)
        return engine

    @property
    def num_seen(self) -> int:
        """Windows that its engines were shown."""
        return sum(len(engine.seen) for engine in self.engines)


class BreakableEngine(CheapEngine):
    """Fails where the middle pixel of a window's centre slice is at its maximum."""

    def __init__(self, break_on: float | None) -> None:
        super().__init__(HEAD_CARD)
        self.break_on = break_on
        self.seen: list[float] = []

    def run(self, image_NCHW: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        corner = image_NCHW[:, 1, 0, 0]
        self.seen += [float(value) for value in corner]
        if self.break_on is not None and (corner == self.break_on).any():
            raise FloatingPointError("made to fail")
        return super().run(image_NCHW)


@lru_cache
def _head_voxels(num_slices: int) -> npt.NDArray[np.float32]:
    voxels_kji = head_phantom(num_slices=num_slices).image(Weighting.FLAIR).astype(np.float32)
    voxels_kji.flags.writeable = False
    return voxels_kji


def head(uid: str = "1.2.3", num_slices: int = NUM_SLICES) -> Volume:
    """A generated head; the keys belong to the series `uid`."""
    geometry = head_phantom(num_slices=num_slices).geometry
    keys = tuple(FrameKey(f"{uid}.{k}") for k in range(num_slices))
    return Volume(geometry, keys, _head_voxels(num_slices))


def events_of(
    uid: str,
    volume: Volume,
    *,
    order: Sequence[int] | None = None,
    model: str = "head",
    priority: int = 0,
    opened_at_s: float = 0.0,
) -> list[SeriesEvent]:
    """All events of a series, complete at the end."""
    slices = slices_of(volume)
    opened = SeriesOpened(uid, 0, model, priority, slice_spacing_mm=volume.geometry.spacing_mm, opened_at_s=opened_at_s)
    events: list[SeriesEvent] = [opened]
    events += [received(uid, len(events) + n, slices[k]) for n, k in enumerate(order or range(len(slices)))]
    return [*events, SeriesCompleted(uid, len(events), volume.keys, volume.geometry, 1, "count")]


def received(uid: str, sequence: int, arrived: Slice) -> SliceReceived:
    return SliceReceived(uid, sequence, arrived.key, arrived.geometry, arrived.pixels_ji)


class TakingGateway(FakeGateway):
    """A gateway that takes results after refusing some."""

    def __init__(self, bus: InMemoryBus, num_refusals: int = 0) -> None:
        super().__init__(bus)
        self.num_refusals = num_refusals
        self.results: list[SegmentationReady] = []
        self.failures: list[SegmentationFailed] = []
        self.changed = threading.Condition()

    def _take(self, uid: str, add: Callable[[], None]) -> Acknowledged:
        with self.changed:
            if self.num_refusals > 0:
                self.num_refusals -= 1
                raise RequestRefused("not now")
            add()
            self.closed.add(uid)
            self.changed.notify_all()
            return Acknowledged()

    def take_result(self, request: SubmitSegmentation) -> Acknowledged:
        return self._take(request.result.series_instance_uid, lambda: self.results.append(request.result))

    def take_failure(self, request: SubmitFailure) -> Acknowledged:
        return self._take(request.failure.series_instance_uid, lambda: self.failures.append(request.failure))

    def wait_for(self, num_results: int = 0, num_failures: int = 0) -> None:
        with self.changed:
            arrived = self.changed.wait_for(
                lambda: len(self.results) >= num_results and len(self.failures) >= num_failures, PATIENCE_S
            )
        assert arrived, (len(self.results), len(self.failures))

    @contextmanager
    def serving(self) -> Iterator[TakingGateway]:  # type: ignore[override]
        with (
            super().serving(),
            self.bus.serve(SubmitSegmentation, self.take_result),
            self.bus.serve(SubmitFailure, self.take_failure),
        ):
            yield self


class World:
    """Bus and gateway; services come and go."""

    def __init__(self, bus: InMemoryBus, gateway: TakingGateway) -> None:
        self.bus, self.gateway = bus, gateway
        self.events = bus.subscribe(MaskReady, SegmentationReady, SegmentationFailed, capacity=10000)

    @contextmanager
    def service(self, model: CheapModel | None = None, **settings: int) -> Iterator[SegmentationService]:
        config = SegmenterConfig.model_validate(settings)
        with (
            SeriesFeed(self.bus) as feed,
            SegmentationService(self.bus, {"head": model or CheapModel()}, config, feed=feed) as service,
        ):
            yield service

    def published(self) -> list[object]:
        """All that was published so far."""
        found: list[object] = []
        while (event := self.events.receive(0.05)) is not None:
            found.append(event)
        return found
