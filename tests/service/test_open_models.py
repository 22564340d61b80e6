"""Engines that are opened before a service needs them, and outlive it."""

from __future__ import annotations

import pytest

from neuroscan_core.bus.feed import SeriesFeed
from neuroscan_core.config import SegmenterConfig
from neuroscan_core.domain.errors import EngineUnavailable
from neuroscan_core.ports import InferenceEngine, ReportsProblem
from neuroscan_core.service import SegmentationService
from neuroscan_core.service.models import OpenModels, replacements
from tests.service.world import HEAD_CARD, CheapModel, World, events_of, head

CONFIG = SegmenterConfig(threads=2)


class Closed:
    """An engine that notes that it was closed, and says why it serves."""

    name, card, problem = "cheap", HEAD_CARD, "head runs on cheap instead of dear"

    def __init__(self) -> None:
        self.num_closed = 0

    def close(self) -> None:
        self.num_closed += 1


class Counting:
    """A model that keeps its engines, and whose opening may fail."""

    card = HEAD_CARD

    def __init__(self, *, is_broken: bool = False) -> None:
        self.engines: list[Closed] = []
        self.is_broken = is_broken

    def open_engine(self, config: SegmenterConfig) -> InferenceEngine:
        if self.is_broken:
            raise EngineUnavailable("There is no engine.")
        self.engines.append(Closed())
        return self.engines[-1]  # type: ignore[return-value]


def test_two_services_one_after_the_other_use_the_same_engine(world: World) -> None:
    model = CheapModel()
    models = OpenModels({"head": model}, CONFIG)
    for num, uid in enumerate(("1.2.3", "1.2.4"), start=1):
        with (
            SeriesFeed(world.bus) as feed,
            SegmentationService(world.bus, models.by_name, CONFIG, feed=feed) as service,
        ):
            assert service.engines == {"head": "cheap"}
            world.gateway.tell(*events_of(uid, head(uid)))
            world.gateway.wait_for(num_results=num)
    assert len(model.engines) == 1
    models.close()


def test_the_engine_is_closed_by_its_owner_alone() -> None:
    model = Counting()
    models = OpenModels({"head": model}, CONFIG)
    lent = models.by_name["head"].open_engine(CONFIG)
    lent.close()
    assert model.engines[0].num_closed == 0
    models.close()
    assert model.engines[0].num_closed == 1


def test_a_second_user_and_another_configuration_get_engines_of_their_own() -> None:
    model = Counting()
    source = OpenModels({"head": model}, CONFIG).by_name["head"]
    first = source.open_engine(CONFIG)
    source.open_engine(CONFIG)
    source.open_engine(SegmenterConfig(threads=1))
    assert len(model.engines) == 3
    first.close()
    source.open_engine(CONFIG)
    assert len(model.engines) == 3


def test_the_reason_why_an_engine_serves_is_told_through_the_loan() -> None:
    lent = OpenModels({"head": Counting()}, CONFIG).by_name["head"].open_engine(CONFIG)
    assert isinstance(lent, ReportsProblem)
    assert replacements([lent]) == ["head runs on cheap instead of dear"]


def test_engines_that_were_opened_are_closed_where_a_later_one_cannot_be() -> None:
    good = Counting()
    with pytest.raises(EngineUnavailable):
        OpenModels({"good": good, "broken": Counting(is_broken=True)}, CONFIG)
    assert good.engines[0].num_closed == 1
