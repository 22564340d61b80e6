"""Two buses that are joined: what one side publishes and answers is there on the other, errors included."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from neuroscan_core.bus.bridge import SILENCE_S, Bridge
from neuroscan_core.bus.feed import SeriesFeed
from neuroscan_core.bus.memory import InMemoryBus
from neuroscan_core.bus.wire import Failure
from neuroscan_core.domain.errors import BusError, DiskFull, RequestRefused, RequestTimeout
from neuroscan_core.domain.events import EVENT_TYPES, GatewayHeartbeat, SeriesEvent
from neuroscan_core.domain.requests import (
    REQUEST_TYPES,
    Acknowledged,
    GetGatewayHealth,
    GetIdentity,
    GetResultObject,
    Health,
    Identity,
    ListSeries,
    Request,
    SeriesList,
    SubmitFailure,
)
from tests.bus.conftest import take
from tests.bus.series import FakeGateway, whole_series
from tests.bus.test_wire import FAILED


class Clock:
    """Seconds that a test sets."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class World:
    """A bus on each side of a bridge."""

    def __init__(self, opened: ExitStack) -> None:
        self.clock = Clock()
        self.near = opened.enter_context(InMemoryBus())
        self.far = opened.enter_context(InMemoryBus())
        self.bridge = opened.enter_context(Bridge(self.near, self.far, clock=self.clock))


@pytest.fixture
def world() -> Iterator[World]:
    with ExitStack() as opened:
        yield World(opened)


def test_events_of_all_roles_appear_on_the_other_side_in_order(world: World) -> None:
    events = whole_series("1.2", 40)
    with world.far.subscribe(*EVENT_TYPES) as subscription:
        for event in events:
            world.near.publish(event)
        received = take(subscription, len(events))
    assert received == events
    world.bridge.stop()
    assert world.bridge.num_events == len(events)


def test_requests_are_answered_by_the_other_side(world: World) -> None:
    with world.near.serve(GetGatewayHealth, lambda _: Health(True, ("The disk is old.",), "metrics")):
        health = world.far.request(GetGatewayHealth(), timeout_s=20)
    assert (health.is_ready, health.problems, health.metrics) == (True, ("The disk is old.",), "metrics")
    assert world.bridge.num_requests == 1


@pytest.mark.parametrize("request_", [GetIdentity("1.2"), GetResultObject("1.3")], ids=lambda one: type(one).__name__)
def test_who_the_patient_is_does_not_pass(world: World, request_: Request[Any]) -> None:
    asked: list[object] = []

    def answer(request: Request[Any]) -> Identity:
        asked.append(request)
        return Identity("DOE^JANE")

    with world.near.serve(type(request_), answer), pytest.raises(RequestTimeout):
        world.far.request(request_, timeout_s=0.1)
    assert asked == []


def test_every_other_request_passes(world: World) -> None:
    for request_type in REQUEST_TYPES:
        if request_type.carries_identity:
            with world.far.serve(request_type, lambda _: Health(True)):  # nobody does
                continue
        with pytest.raises(BusError, match="served already"), world.far.serve(request_type, lambda _: Health(True)):
            pass


def test_a_refusal_keeps_its_code_its_sentence_and_its_remedy(world: World) -> None:
    def refuse(_: SubmitFailure) -> Acknowledged:
        raise DiskFull("The disk is full.", remedy="Make room.")

    with world.near.serve(SubmitFailure, refuse), pytest.raises(RequestRefused) as refusal:
        world.far.request(SubmitFailure(FAILED), timeout_s=20)
    assert (refusal.value.code, refusal.value.message, refusal.value.remedy) == (
        "DiskFull",
        "The disk is full.",
        "Make room.",
    )


def test_what_nobody_answers_is_a_time_out_and_no_refusal(world: World) -> None:
    with pytest.raises(RequestTimeout, match="Nobody serves ListSeries"):
        world.far.request(ListSeries(), timeout_s=20)
    assert world.bridge.num_unanswered == 1


def test_time_outs_and_refusals_survive_several_servers() -> None:
    assert isinstance(Failure.of(RequestTimeout("Nobody answers.")).as_error(), RequestTimeout)
    twice = Failure.of(Failure.of(DiskFull("The disk is full.")).as_error()).as_error()
    assert isinstance(twice, RequestRefused)
    assert twice.code == "DiskFull"


def test_a_feed_behind_the_bridge_brings_what_was_published_before_it(world: World) -> None:
    events = whole_series("1.2", 60)
    gateway = FakeGateway(world.near)
    with gateway.serving():
        for event in events:
            gateway.tell(event)
        with SeriesFeed(world.far) as feed:
            gateway.beat()
            received: list[SeriesEvent] = []
            while len(received) < len(events):
                event = feed.receive(20)
                assert isinstance(event, SeriesEvent)
                received.append(event)
    assert [event.sequence for event in received] == list(range(len(events)))


def test_silence_of_the_gateway_is_told(world: World) -> None:
    assert world.bridge.problems() == [
        "Nothing is heard from the gateway. Start `neuroscan gateway`, or look at its log."
    ]
    with world.far.subscribe(GatewayHeartbeat) as subscription:
        world.near.publish(GatewayHeartbeat(()))
        take(subscription, 1)
    assert world.bridge.problems() == []
    world.clock.now_s += SILENCE_S + 1
    assert len(world.bridge.problems()) == 1


def test_what_has_come_is_forwarded_before_it_stops() -> None:
    with InMemoryBus() as near, InMemoryBus() as far, far.subscribe(*EVENT_TYPES) as subscription:
        bridge = Bridge(near, far)
        events = whole_series("1.2", 100)
        for event in events:
            near.publish(event)
        bridge.start()
        bridge.stop()
        assert take(subscription, len(events)) == events
        with near.serve(ListSeries, lambda _: SeriesList(())), pytest.raises(RequestTimeout):
            far.request(ListSeries(), timeout_s=0.1)
