"""Probabilities on demand: the same as the masks say, one series at a time, never before a live one."""

from __future__ import annotations

import numpy as np
import pytest

from neuroscan_core.domain.errors import RequestRefused
from neuroscan_core.domain.requests import GetProbabilities, Probabilities
from neuroscan_core.pipeline.probability import ProbabilityMap
from tests.service.world import HEAD_CARD, BreakableEngine, CheapModel, World, events_of, head

TIMEOUT_S = 10.0


def ask(world: World, uid: str) -> Probabilities:
    return world.bus.request(GetProbabilities(uid), timeout_s=TIMEOUT_S)


def wait_until_ready(world: World, uid: str) -> Probabilities:
    for _ in range(1000):
        reply = ask(world, uid)
        if reply.state == "ready":
            return reply
        world.events.receive(0.02)
    raise AssertionError("the probabilities were never ready")


def test_probabilities_say_what_the_masks_say(world: World) -> None:
    with world.service():
        world.gateway.tell(*events_of("1.2.3", head()))
        world.gateway.wait_for(num_results=1)
        reply = wait_until_ready(world, "1.2.3")
    raw = ProbabilityMap(head(), BreakableEngine(None))
    while not raw.is_done:
        raw.step(3)
    np.testing.assert_array_equal(reply.probabilities_kji, raw.probabilities_kji)
    assert reply.version == 1 and reply.keys == head().keys
    (result,) = world.gateway.results
    labelled = result.segmentation.labels_kji > 0
    # Postprocessing only takes away, and a level is 1/255 wide.
    assert labelled.any()
    assert (reply.probabilities_kji[labelled] >= round(255 * HEAD_CARD.threshold)).all()


def test_series_that_is_not_complete_or_not_known_has_none(world: World) -> None:
    with world.service():
        world.gateway.tell(*events_of("1.2.3", head())[:-1])
        for uid in ("1.2.3", "9.9.9"):
            with pytest.raises(RequestRefused):
                wait_until_ready(world, uid)


def test_one_series_at_a_time_and_a_refused_one_does_not_block_the_next(world: World) -> None:
    with world.service():
        world.gateway.tell(*events_of("1.2.3", head()))
        world.gateway.wait_for(num_results=1)
        with pytest.raises(RequestRefused):
            wait_until_ready(world, "9.9.9")
        assert ask(world, "8.8.8").state == "computing"
        assert wait_until_ready(world, "1.2.3").version == 1


def test_live_series_is_segmented_while_probabilities_are_wanted(world: World) -> None:
    with world.service():
        world.gateway.tell(*events_of("1.2.3", head()))
        world.gateway.wait_for(num_results=1)
        ask(world, "1.2.3")
        world.gateway.tell(*events_of("4.5.6", head("4.5.6")))
        world.gateway.wait_for(num_results=2)
        assert wait_until_ready(world, "1.2.3").keys == head().keys


def test_network_that_fails_is_a_refusal_and_the_service_goes_on(world: World) -> None:
    model = CheapModel()
    with world.service(model):
        world.gateway.tell(*events_of("1.2.3", head()))
        world.gateway.wait_for(num_results=1)
        model.engines[0].break_on = model.engines[0].seen[3]
        with pytest.raises(RequestRefused, match="FloatingPointError"):
            wait_until_ready(world, "1.2.3")
        model.engines[0].break_on = None
        assert wait_until_ready(world, "1.2.3").version == 1


def test_reopened_series_is_computed_again(world: World) -> None:
    with world.service():
        events = events_of("1.2.3", head())
        world.gateway.tell(*events)
        world.gateway.wait_for(num_results=1)
        assert wait_until_ready(world, "1.2.3").version == 1
        again = type(events[-1])(**{**vars(events[-1]), "sequence": len(events), "version": 2})
        world.gateway.tell(again)
        assert wait_until_ready(world, "1.2.3").version == 2
