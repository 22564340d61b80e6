"""Studies in the service: voxels asked of the gateway, one result, out of the way of series that are arriving."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from neuroscan_core.bus.feed import SeriesFeed
from neuroscan_core.bus.memory import InMemoryBus
from neuroscan_core.config import SegmenterConfig
from neuroscan_core.domain.errors import RequestRefused
from neuroscan_core.domain.events import SegmentationFailed, SegmentationReady, SeriesOpened, StudyReady, StudySource
from neuroscan_core.domain.requests import ReplayedEvents, ReplaySeries
from neuroscan_core.domain.study import SEQUENCES
from neuroscan_core.domain.volume import FrameKey, Volume
from neuroscan_core.inference.bundle import Bundle, find_bundles
from neuroscan_core.phantom import Weighting, head_phantom
from neuroscan_core.pipeline.study import bring_together, segment_study
from neuroscan_core.service import SegmentationService
from neuroscan_core.service.study import StudySegmenter
from tests.pipeline.stacks import slices_of
from tests.service.world import PATIENCE_S, CheapModel, World, events_of, head, received

MODELS = Path(__file__).parents[1] / "study" / "models"
CONFIG = SegmenterConfig(threads=1)
JOB = "2.25.1"
PHANTOM = head_phantom(num_slices=12)


@pytest.fixture(scope="module")
def bundles() -> dict[str, Bundle]:
    return find_bundles(MODELS)


def volume_of(name: str) -> Volume:
    voxels_kji = PHANTOM.image(Weighting(name)).astype(np.float32)
    keys = tuple(FrameKey(f"1.{SEQUENCES.index(name)}.{k}") for k in range(12))
    return Volume(PHANTOM.geometry, keys, voxels_kji)


VOLUMES = {name: volume_of(name) for name in SEQUENCES}


def study(
    version: int = 1, model: str = "unet-tiny", triage: str = "", priority: int = 0, uid: str = JOB
) -> StudyReady:
    sources = tuple(
        StudySource(name, f"1.{k}", 1, VOLUMES[name].keys, VOLUMES[name].geometry) for k, name in enumerate(SEQUENCES)
    )
    return StudyReady(uid, version - 1, model, sources, "FLAIR", version, priority, triage, ("Mind the gap.",))


class Spool:
    """Answers replays of the four series as the gateway does; may fail or wait first."""

    def __init__(self) -> None:
        self.num_asked = 0
        self.lost: set[str] = set()
        self.before: Callable[[], None] = lambda: None

    def replay(self, request: ReplaySeries) -> ReplayedEvents:
        self.num_asked += 1
        self.before()
        if request.series_instance_uid in self.lost:
            raise RequestRefused("An object of the series is no longer kept.")
        name = SEQUENCES[int(request.series_instance_uid[-1])]
        opened = SeriesOpened(request.series_instance_uid, 0, "")
        slices = [received(request.series_instance_uid, n, one) for n, one in enumerate(slices_of(VOLUMES[name]), 1)]
        events = [opened, *slices][request.from_sequence : request.from_sequence + request.limit]
        return ReplayedEvents.of(list(events))


class Bench:
    """A study segmenter over an in-memory bus, and what it hands over."""

    def __init__(self, bus: InMemoryBus, bundles: dict[str, Bundle]) -> None:
        self.spool, self.is_busy = Spool(), False
        self.outcomes: list[SegmentationReady | SegmentationFailed] = []
        self.changed = threading.Condition()
        self.segmenter = StudySegmenter(bus, bundles, CONFIG, hand_over=self._take, is_busy=lambda: self.is_busy)

    def _take(self, outcome: SegmentationReady | SegmentationFailed) -> None:
        with self.changed:
            self.outcomes.append(outcome)
            self.changed.notify_all()

    def wait_for(self, num: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.outcomes) >= num, PATIENCE_S)


@pytest.fixture
def bench(bundles: dict[str, Bundle]) -> Iterator[Bench]:
    bus = InMemoryBus()
    made = Bench(bus, bundles)
    with bus.serve(ReplaySeries, made.spool.replay):
        made.segmenter.start()
        yield made
        made.segmenter.stop(PATIENCE_S)
    bus.close()


@pytest.mark.parametrize("model", ["unet-tiny", "segresnet-tiny"])
def test_a_study_becomes_the_result_that_the_same_volumes_have_offline(
    bench: Bench, bundles: dict[str, Bundle], model: str
) -> None:
    bench.segmenter.take(study(model=model, triage="classifier-tiny"))
    bench.wait_for(1)
    (result,) = bench.outcomes
    assert isinstance(result, SegmentationReady)
    engine = bundles[model].open_engine(CONFIG)
    offline = segment_study(bring_together(VOLUMES, "FLAIR"), engine)
    engine.close()
    assert np.array_equal(result.segmentation.labels_kji, offline.labels_kji)
    assert not offline.is_empty
    assert result.segmentation.keys == VOLUMES["FLAIR"].keys
    assert result.segmentation.warnings[0] == "Mind the gap."
    assert result.segmentation.triage is not None
    assert (result.version, result.model.name) == (1, model)


def test_a_classifier_that_cannot_be_asked_costs_a_warning_and_not_the_study(bench: Bench) -> None:
    bench.segmenter.take(study(triage="nobody"))
    bench.wait_for(1)
    (result,) = bench.outcomes
    assert isinstance(result, SegmentationReady)
    assert not result.segmentation.is_empty and result.segmentation.triage is None
    assert "There is no opinion of nobody" in result.segmentation.warnings[-1]


def test_an_engine_that_is_closed_under_a_study_does_not_fail_the_study(
    bench: Bench, bundles: dict[str, Bundle]
) -> None:
    is_running, is_closed = threading.Event(), threading.Event()

    class Slow:
        card, name = bundles["unet-tiny"].card, "slow"

        def open_engine(self, _: SegmenterConfig) -> Slow:
            return self

        def run(self, _: np.ndarray) -> np.ndarray:
            is_running.set()
            assert is_closed.wait(PATIENCE_S)
            raise RuntimeError("cannot schedule new futures after shutdown")

        def close(self) -> None:
            is_closed.set()

    bench.segmenter._bundles = {"unet-tiny": Slow()}
    bench.segmenter.take(study())
    assert is_running.wait(PATIENCE_S)
    bench.segmenter.stop(0.0)
    bench.segmenter.stop(PATIENCE_S)
    assert bench.outcomes == []


def test_a_newer_version_takes_the_place_of_the_one_in_hand(bench: Bench) -> None:
    is_asked, may_go = threading.Event(), threading.Event()

    def wait() -> None:
        is_asked.set()
        assert may_go.wait(PATIENCE_S)

    bench.spool.before = wait
    bench.segmenter.take(study(1))
    assert is_asked.wait(PATIENCE_S)
    bench.segmenter.take(study(2))
    may_go.set()
    bench.wait_for(1)
    assert [outcome.version for outcome in bench.outcomes] == [2]


def test_the_study_of_higher_priority_goes_first(bench: Bench) -> None:
    is_asked, may_go = threading.Event(), threading.Event()

    def wait() -> None:
        is_asked.set()
        assert may_go.wait(PATIENCE_S)

    bench.spool.before = wait
    bench.segmenter.take(study(uid="2.25.1"))
    assert is_asked.wait(PATIENCE_S)
    bench.segmenter.take(study(uid="2.25.2"))
    bench.segmenter.take(study(uid="2.25.3", priority=5))
    may_go.set()
    bench.wait_for(3)
    assert [outcome.series_instance_uid for outcome in bench.outcomes] == ["2.25.1", "2.25.3", "2.25.2"]


def test_images_that_are_gone_and_models_that_are_not_there_are_reported(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neuroscan_core.service.study.RETRY_S", 0.0)
    bench.spool.lost.add("1.2")
    bench.segmenter.take(study())
    bench.wait_for(1)
    bench.segmenter.take(study(model="nobody"))
    bench.wait_for(2)
    bench.segmenter.take(study(model="classifier-tiny"))
    bench.wait_for(3)
    failures = [outcome for outcome in bench.outcomes if isinstance(outcome, SegmentationFailed)]
    assert [failure.code for failure in failures] == ["internal-error", "no-rule", "no-rule"]
    assert "no longer kept" in failures[0].message
    assert "nobody" in failures[1].message


def test_a_busy_node_finishes_its_studies_all_the_same(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neuroscan_core.service.study.MAX_PAUSE_S", 0.001)
    bench.is_busy = True
    bench.segmenter.take(study())
    bench.wait_for(1)
    assert isinstance(bench.outcomes[0], SegmentationReady)


def test_nothing_is_done_while_series_are_arriving(bundles: dict[str, Bundle], world: World) -> None:
    bench = Bench(world.bus, bundles)
    num_replays_at_looks: list[int] = []

    def is_busy() -> bool:
        num_replays_at_looks.append(len(world.gateway.replays))
        return len(num_replays_at_looks) < 5

    segmenter = StudySegmenter(world.bus, bundles, CONFIG, hand_over=bench._take, is_busy=is_busy)
    for name in SEQUENCES:
        world.gateway.keep(*events_of(f"1.{SEQUENCES.index(name)}", VOLUMES[name], model=""))
    segmenter.start()
    segmenter.take(study())
    bench.wait_for(1)
    segmenter.stop(PATIENCE_S)
    assert num_replays_at_looks[:5] == [0] * 5
    # It looks before each request and after each slice; the four series are on one grid, so nothing is resampled.
    assert len(num_replays_at_looks) >= len(world.gateway.replays) + 12


def test_stopping_does_not_wait_for_the_study_in_hand(bundles: dict[str, Bundle], world: World) -> None:
    bench = Bench(world.bus, bundles)
    bench.is_busy = True  # it pauses between any two pieces
    bench.segmenter.start()
    bench.segmenter.take(study())
    bench.segmenter.stop(PATIENCE_S)
    assert bench.outcomes == []


def test_series_that_are_only_kept_for_a_study_are_not_segmented_and_studies_are(
    world: World, bundles: dict[str, Bundle]
) -> None:
    models = {"head": CheapModel(), "unet-tiny": bundles["unet-tiny"]}
    with SeriesFeed(world.bus) as feed, SegmentationService(world.bus, models, CONFIG, feed=feed):
        world.gateway.tell(*(events_of("7.7", head("7.7"), model="")))
        for k, name in enumerate(SEQUENCES):
            world.gateway.tell(*events_of(f"1.{k}", VOLUMES[name], model=""))
        world.gateway.tell(study())
        world.gateway.wait_for(num_results=1)
    (result,) = world.gateway.results
    assert result.series_instance_uid == JOB
    assert world.gateway.failures == []
