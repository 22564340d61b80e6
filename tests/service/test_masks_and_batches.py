"""The parts of the service by themselves: numbering of masks, order of batches, repeated submission."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

import numpy as np

from neuroscan_core.bus.memory import InMemoryBus
from neuroscan_core.config import SegmenterConfig
from neuroscan_core.domain.errors import RequestRefused
from neuroscan_core.domain.events import Event, SegmentationFailed, SeriesEvent
from neuroscan_core.domain.requests import Acknowledged, ReplayMasks, SubmitFailure
from neuroscan_core.domain.segmentation import ModelIdentity
from neuroscan_core.domain.volume import FrameKey
from neuroscan_core.pipeline.streaming import SliceMask
from neuroscan_core.service import SegmentationService
from neuroscan_core.service.masks import MaskLog
from neuroscan_core.service.submit import Submitter
from tests.service.world import PATIENCE_S, CheapModel, events_of, head

MODEL = ModelIdentity("m", "1", "0" * 64)


def mask(key: str, value: int) -> SliceMask:
    return SliceMask(FrameKey(key), np.full((2, 2), value, np.uint8), 0)


def test_masks_are_numbered_without_gaps_and_the_same_mask_is_told_once() -> None:
    log = MaskLog()
    told = [log.append("s", mask(key, value), 1.0, MODEL) for key, value in
            (("a", 0), ("b", 0), ("a", 0), ("a", 1), ("b", 0), ("a", 0))]  # fmt: skip
    assert [(event.sequence, event.key.sop_instance_uid, event.revision) for event in told if event] == [
        (0, "a", 0), (1, "b", 0), (2, "a", 1), (3, "a", 2),
    ]  # fmt: skip


def test_masks_are_replayed_from_where_one_asks() -> None:
    log = MaskLog()
    for n in range(10):
        log.append("s", mask(str(n), 1), 1.0, MODEL)
    assert [event.sequence for event in log.replay(ReplayMasks("s", 4, 3)).masks] == [4, 5, 6]
    assert log.replay(ReplayMasks("unknown")).masks == ()


def num_kept(log: MaskLog, *uids: str) -> list[int]:
    return [len(log.replay(ReplayMasks(uid)).masks) for uid in uids]


def test_only_the_series_used_last_are_remembered() -> None:
    log = MaskLog(max_series=2)
    for uid in ("a", "b", "a", "c"):
        log.append(uid, mask("x", 1), 1.0, MODEL)
        log.release(uid)
    assert num_kept(log, "a", "b", "c") == [1, 0, 1]


def test_masks_of_finished_series_give_way_when_memory_is_short() -> None:
    log = MaskLog(max_bytes=23)  # a mask here takes 4
    for uid in ("a", "b", "open", "c"):
        for n in range(3):
            log.append(uid, mask(str(n), 1), 1.0, MODEL)
        if uid != "open":
            log.release(uid)
    assert num_kept(log, "a", "b", "open", "c") == [0, 0, 3, 0]


def test_masks_of_an_open_series_are_never_forgotten() -> None:
    log = MaskLog(max_series=1, max_bytes=1)
    for n in range(9):
        for uid in ("a", "b"):
            told = log.append(uid, mask(str(n), 1), 1.0, MODEL)
            assert told is not None and told.sequence == n
    assert num_kept(log, "a", "b") == [9, 9]


class ScriptedFeed:
    """Hands out events as if all had been waiting."""

    def __init__(self, events: list[Event], on_empty: Callable[[], None]) -> None:
        self._events, self._on_empty = deque(events), on_empty

    def receive(self, timeout_s: float | None = None) -> Event | None:
        if self._events:
            return self._events.popleft()
        self._on_empty()
        return None

    def forget(self, series_instance_uid: str) -> None: ...
    def restart(self, series_instance_uid: str) -> None: ...
    def is_outdated(self, event: SeriesEvent) -> bool:
        return False


def test_windows_of_the_higher_priority_go_first_then_those_of_the_older_series() -> None:
    events: list[Event] = []
    for uid, priority, opened_at_s, marker in (("1.1", 0, 1.0, 1), ("1.2", 0, 0.0, 2), ("1.3", 5, 9.0, 3)):
        volume = head(uid)
        voxels_kji = volume.voxels_kji.copy()
        voxels_kji[:, 0, 0] = 200.0 * marker
        marked = type(volume)(volume.geometry, volume.keys, voxels_kji)
        events += events_of(uid, marked, priority=priority, opened_at_s=opened_at_s)[:4]
    bus, model, done = InMemoryBus(), CheapModel(), threading.Event()
    feed = ScriptedFeed(events, lambda: done.set() if model.num_seen == 3 else None)
    # Twelve events are taken in two steps of eight; the first holds the two older series.
    with SegmentationService(bus, {"head": model}, SegmenterConfig(max_batch=1), feed=feed):
        assert done.wait(PATIENCE_S)
    bus.close()
    (engine,) = model.engines
    markers = [round(value / min(engine.seen)) for value in engine.seen]
    assert markers == [3, 2, 1]


def failure(uid: str, version: int = 1) -> SubmitFailure:
    return SubmitFailure(SegmentationFailed(uid, version, "internal-error", ""))


def test_a_newer_result_takes_the_place_of_one_that_waits() -> None:
    bus, taken, done, may_take = InMemoryBus(), [], threading.Event(), threading.Event()

    def take(request: SubmitFailure) -> Acknowledged:
        if not may_take.is_set():
            raise RequestRefused("not now")
        taken.append(request.failure.version)
        done.set()
        return Acknowledged()

    clock_s = [0.0]
    submitter = Submitter(bus, monotonic=lambda: clock_s[0])
    submitter.submit(failure("s", 1))
    submitter.submit(failure("s", 2))
    may_take.set()
    with bus.serve(SubmitFailure, take):
        submitter.start()
        assert done.wait(PATIENCE_S)
        submitter.stop(PATIENCE_S)
    assert taken == [2]
    assert submitter.num_pending == 0
    bus.close()


def test_one_refused_result_does_not_hold_up_another() -> None:
    bus, taken, done = InMemoryBus(), [], threading.Event()

    def take(request: SubmitFailure) -> Acknowledged:
        if request.failure.series_instance_uid == "stuck":
            raise RequestRefused("never")
        taken.append(request.failure.series_instance_uid)
        done.set()
        return Acknowledged()

    submitter = Submitter(bus, monotonic=lambda: 0.0)
    submitter.submit(failure("stuck"))
    submitter.submit(failure("free"))
    with bus.serve(SubmitFailure, take):
        submitter.start()
        assert done.wait(PATIENCE_S)
        submitter.stop(0.1)
    assert taken == ["free"]
    assert submitter.num_pending == 1
    bus.close()
