"""The service as a whole, over a bus: slices in, masks and results out, whatever goes wrong on the way."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from neuroscan_core import crashpoints
from neuroscan_core.domain.errors import RejectionCode
from neuroscan_core.domain.events import (
    MaskReady,
    SegmentationFailed,
    SegmentationReady,
    SeriesCompleted,
    SeriesOpened,
    SeriesRejected,
)
from neuroscan_core.domain.requests import GetSegmenterHealth, ReplayMasks
from neuroscan_core.domain.volume import Volume
from neuroscan_core.offline import segment_volume
from tests.pipeline.stacks import CheapEngine, slices_of
from tests.service.world import HEAD_CARD, NUM_SLICES, PATIENCE_S, CheapModel, World, events_of, head, received

UID = "1.2.3"


def noise_like(volume: Volume) -> Volume:
    noise = np.random.default_rng(0).gamma(2.0, 100.0, volume.geometry.shape).astype(np.float32)
    return replace(volume, voxels_kji=noise)


def settled(world: World) -> None:
    """Wait until the service has taken all that was told so far: it works through a second series meanwhile."""
    world.gateway.tell(*events_of("8.8", head("8.8")))
    world.gateway.wait_for(num_results=1)
    world.gateway.results.clear()


def marked(volume: Volume) -> Volume:
    """The same head with a bright corner in each slice, by which an engine can know it."""
    voxels_kji = volume.voxels_kji.copy()
    voxels_kji[:, :2, :2] = 1e6
    return replace(volume, voxels_kji=voxels_kji)


@pytest.mark.parametrize("order_seed", [None, 1, 2])
def test_a_series_becomes_masks_and_the_result_of_the_batch(world: World, order_seed: int | None) -> None:
    volume = head()
    order = list(range(len(volume.keys)))
    if order_seed is not None:
        random.Random(order_seed).shuffle(order)
    with world.service():
        world.gateway.tell(*events_of(UID, volume, order=order))
        world.gateway.wait_for(num_results=1)
        replayed = world.bus.request(ReplayMasks(UID), timeout_s=PATIENCE_S).masks
    (result,) = world.gateway.results
    batch = segment_volume(volume, CheapEngine(HEAD_CARD))
    assert np.array_equal(result.segmentation.labels_kji, batch.labels_kji)
    assert result.segmentation.measurements == batch.measurements
    assert not batch.is_empty
    assert (result.version, result.model.name, result.model.engine) == (1, "head", "cheap")
    published = world.published()
    masks = [event for event in published if isinstance(event, MaskReady)]
    assert [mask.sequence for mask in masks] == list(range(len(masks)))
    assert {mask.key for mask in masks} == set(volume.keys)
    assert [mask.sequence for mask in replayed] == [mask.sequence for mask in masks]
    assert sum(isinstance(event, SegmentationReady) for event in published) == 1


def test_a_classifier_that_is_not_there_costs_a_warning_and_not_the_series(world: World) -> None:
    opened, *others = events_of(UID, head())
    assert isinstance(opened, SeriesOpened)
    with world.service():
        world.gateway.tell(replace(opened, triage="nobody"), *others)
        world.gateway.wait_for(num_results=1)
    (result,) = world.gateway.results
    assert not result.segmentation.is_empty and result.segmentation.triage is None
    assert result.segmentation.warnings == (
        "There is no opinion of nobody: The segmentation service has no such classifier.",
    )


def test_masks_are_published_before_the_series_is_complete(world: World) -> None:
    volume = head()
    *before, completed = events_of(UID, volume)
    with world.service():
        world.gateway.tell(*before)
        keys = set()
        while len(keys) < len(volume.keys) - 2:
            event = world.events.receive(PATIENCE_S)
            assert isinstance(event, MaskReady)
            keys.add(event.key)
        assert world.gateway.results == []
        world.gateway.tell(completed)
        world.gateway.wait_for(num_results=1)


def test_a_result_is_handed_over_again_until_the_gateway_takes_it(world: World) -> None:
    world.gateway.num_refusals = 3
    with world.service():
        world.gateway.tell(*events_of(UID, head()))
        world.gateway.wait_for(num_results=1)
    assert world.gateway.num_refusals == 0


def test_a_stack_that_is_no_head_is_reported_as_rejected(world: World) -> None:
    with world.service():
        world.gateway.tell(*events_of(UID, noise_like(head())))
        world.gateway.wait_for(num_failures=1)
    (failure,) = world.gateway.failures
    assert (failure.code, failure.version) == (RejectionCode.NOT_BRAIN_LIKE.value, 1)
    assert any(isinstance(event, SegmentationFailed) for event in world.published())


def test_a_series_for_an_unknown_model_fails_when_it_is_complete(world: World) -> None:
    with world.service():
        world.gateway.tell(*events_of(UID, head(), model="nobody"))
        world.gateway.wait_for(num_failures=1)
    (failure,) = world.gateway.failures
    assert failure.version == 1
    assert "nobody" in failure.message


def test_a_series_that_breaks_the_network_does_not_take_others_with_it(world: World) -> None:
    bad, good = marked(head("9.9")), head("1.1")
    with world.service(CheapModel(break_on=4.0), max_batch=4):
        for pair in zip(events_of("9.9", bad), events_of("1.1", good), strict=True):
            world.gateway.tell(*pair)
        world.gateway.wait_for(num_results=1, num_failures=1)
    (failure,), (result,) = world.gateway.failures, world.gateway.results
    assert (failure.series_instance_uid, failure.code, failure.version) == ("9.9", "internal-error", 1)
    assert "FloatingPointError" in failure.message
    batch = segment_volume(good, CheapEngine(HEAD_CARD))
    assert np.array_equal(result.segmentation.labels_kji, batch.labels_kji)


def test_a_late_slice_makes_a_second_version(world: World) -> None:
    volume = head(num_slices=NUM_SLICES + 1)
    first_keys = volume.keys[:-1]
    first = Volume(replace(volume.geometry, num_slices=NUM_SLICES), first_keys, volume.voxels_kji[:-1])
    events = events_of(UID, first)
    late = received(UID, len(events), slices_of(volume)[-1])
    again = SeriesCompleted(UID, len(events) + 1, volume.keys, volume.geometry, 2, "quiet")
    with world.service():
        world.gateway.tell(*events)
        world.gateway.wait_for(num_results=1)
        world.gateway.tell(late, again)
        world.gateway.wait_for(num_results=2)
    second = [result for result in world.gateway.results if result.version == 2][-1]
    batch = segment_volume(volume, CheapEngine(HEAD_CARD))
    assert np.array_equal(second.segmentation.labels_kji, batch.labels_kji)
    masks = [event for event in world.published() if isinstance(event, MaskReady)]
    # Only what changed is told again: the new slice, and the former last one with its new neighbour.
    assert [mask.sequence for mask in masks] == list(range(len(masks)))
    assert len(masks) <= NUM_SLICES + 2
    assert {mask.key for mask in masks} == set(volume.keys)


@pytest.mark.parametrize("is_heard_live", [True, False])
def test_a_late_slice_that_cures_a_rejected_series_leads_to_a_result(world: World, is_heard_live: bool) -> None:
    volume = head()
    *slices, completed = events_of(UID, volume)
    *early, late = slices
    rejected = SeriesRejected(UID, len(early), RejectionCode.MISSING_SLICES, "A slice is missing.")
    cured = (replace(late, sequence=len(early) + 1), replace(completed, sequence=len(early) + 2))
    if not is_heard_live:
        world.gateway.tell(*early, rejected, *cured)
    with world.service():
        if is_heard_live:
            world.gateway.tell(*early, rejected)
            settled(world)
            world.gateway.tell(*cured)
        world.gateway.beat()
        world.gateway.wait_for(num_results=1)
    batch = segment_volume(volume, CheapEngine(HEAD_CARD))
    assert np.array_equal(world.gateway.results[-1].segmentation.labels_kji, batch.labels_kji)


@pytest.mark.parametrize("is_heard_live", [True, False])
def test_a_failed_series_that_is_judged_again_leads_to_a_result(world: World, is_heard_live: bool) -> None:
    volume = head()
    failing = events_of(UID, volume, model="nobody")
    again = [replace(event, sequence=len(failing) + event.sequence) for event in events_of(UID, volume)]
    again[-1] = replace(again[-1], version=2)
    if not is_heard_live:
        world.gateway.tell(*failing, *again)
    with world.service():
        if is_heard_live:
            world.gateway.tell(*failing)
            world.gateway.wait_for(num_failures=1)
            world.gateway.closed.clear()
            world.gateway.tell(*again)
        world.gateway.beat()
        world.gateway.wait_for(num_results=1)
    assert world.gateway.results[-1].version == 2
    batch = segment_volume(volume, CheapEngine(HEAD_CARD))
    assert np.array_equal(world.gateway.results[-1].segmentation.labels_kji, batch.labels_kji)


def test_after_a_restart_in_the_middle_the_result_is_the_same(world: World) -> None:
    volume = head()
    events = events_of(UID, volume)
    with world.service():
        world.gateway.tell(*events[:9])
        assert isinstance(world.events.receive(PATIENCE_S), MaskReady)
    world.gateway.keep(*events[9:12])  # nobody hears these
    with world.service():
        world.gateway.beat()
        world.gateway.tell(*events[12:])
        world.gateway.wait_for(num_results=1)
    (result,) = world.gateway.results
    batch = segment_volume(volume, CheapEngine(HEAD_CARD))
    assert np.array_equal(result.segmentation.labels_kji, batch.labels_kji)


def test_more_series_than_fit_into_memory_wait_and_are_done_all(world: World) -> None:
    uids = [f"1.{n}" for n in range(4)]
    all_events = [events_of(uid, head(uid), opened_at_s=n) for n, uid in enumerate(uids)]
    with world.service(max_open_series=1):
        for events in zip(*all_events, strict=True):
            world.gateway.tell(*events)
        world.gateway.wait_for(num_results=4)
    assert {result.series_instance_uid for result in world.gateway.results} == set(uids)
    batch = segment_volume(head(), CheapEngine(HEAD_CARD))
    for result in world.gateway.results:
        assert np.array_equal(result.segmentation.labels_kji, batch.labels_kji)


def test_a_series_that_the_gateway_rejects_is_dropped(world: World) -> None:
    events = events_of(UID, head())
    rejected = SeriesRejected(UID, 8, RejectionCode.GANTRY_TILT, "sheared")
    with world.service(max_open_series=1):
        world.gateway.tell(*events[:8], rejected)
        world.gateway.closed.add(UID)
        world.gateway.tell(*events_of("7.7", head("7.7")))
        world.gateway.wait_for(num_results=1)
    assert [result.series_instance_uid for result in world.gateway.results] == ["7.7"]
    assert world.gateway.failures == []


def test_health_tells_of_models_and_counts(world: World) -> None:
    with world.service():
        world.gateway.tell(*events_of(UID, head()))
        world.gateway.wait_for(num_results=1)
        health = world.bus.request(GetSegmenterHealth(), timeout_s=PATIENCE_S)
    assert health.is_ready and not health.problems
    assert f"neuroscan_segmenter_slices_total {NUM_SLICES}.0" in health.metrics
    assert 'neuroscan_segmenter_series_total{outcome="segmented"} 1.0' in health.metrics


def test_crash_points_are_reached_where_they_say(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    reached: list[tuple[str, int]] = []
    monkeypatch.setattr(crashpoints, "reach", lambda point: reached.append((point, len(world.gateway.results))))
    *before, completed = events_of(UID, head())
    with world.service():
        world.gateway.tell(*before)
        for _ in range(NUM_SLICES - 2):
            assert isinstance(world.events.receive(PATIENCE_S), MaskReady)
        world.gateway.tell(completed)
        world.gateway.wait_for(num_results=1)
    assert [point for point, _ in reached].count("segmenter.mid-series") == NUM_SLICES
    assert reached[-1] == ("segmenter.before-submit", 0)
