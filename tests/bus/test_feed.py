"""Nothing is lost, nothing comes twice, the order holds: over every adapter, whatever happens on the way."""

from __future__ import annotations

import itertools
import threading
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial

import pytest

from neuroscan_core.bus.feed import MaskFeed, SeriesFeed
from neuroscan_core.bus.memory import InMemoryBus
from neuroscan_core.domain.errors import JournalError, RejectionCode
from neuroscan_core.domain.events import (
    GATEWAY,
    SEGMENTER,
    VIEWER,
    Event,
    GatewayHeartbeat,
    MaskReady,
    ResultDelivered,
    SeriesEvent,
    SeriesRejected,
)
from neuroscan_core.domain.requests import ReplayedEvents, ReplayedMasks, ReplayMasks, ReplaySeries
from neuroscan_core.ports import MessageBus
from tests.bus.conftest import OpenBus
from tests.bus.series import PATIENCE_S, FakeGateway, mask_ready, slice_received, whole_series


class Clock:
    """Time that tests move."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def take(feed: SeriesFeed | MaskFeed, count: int, beat: Callable[[], None] = lambda: None) -> list[SeriesEvent]:
    """The next numbered events, with a heartbeat of the gateway whenever it is quiet."""
    events: list[SeriesEvent] = []
    quiet = 0
    while len(events) < count:
        event = feed.receive(0.05)
        if event is None:
            beat()
            quiet += 1
            assert quiet < PATIENCE_S / 0.05, f"only {len(events)} of {count} events came"
        else:
            assert isinstance(event, SeriesEvent)
            events.append(event)
            quiet = 0
    return events


def sequences(events: list[SeriesEvent]) -> dict[str, list[int]]:
    """Sequence numbers per series, in order of receipt."""
    found = defaultdict(list)
    for event in events:
        found[event.series_instance_uid].append(event.sequence)
    return dict(found)


def test_live_events_need_no_replay_once_connected(open_bus: OpenBus) -> None:
    gateway = FakeGateway(open_bus(GATEWAY))
    with gateway.serving(), SeriesFeed(open_bus(SEGMENTER)) as feed:
        gateway.tell(*whole_series("1.1", 1))
        take(feed, 3, gateway.beat)
        num_replays = len(gateway.replays)
        gateway.tell(*whole_series("1.2", 50))
        assert sequences(take(feed, 52)) == {"1.2": list(range(52))}
        assert [r for r in gateway.replays[num_replays:] if r.series_instance_uid == "1.2"] == []


def test_a_late_start_gets_everything_from_the_beginning(open_bus: OpenBus) -> None:
    gateway = FakeGateway(open_bus(GATEWAY))
    gateway.keep(*whole_series("1.2", 100)[:-1])
    with gateway.serving(), SeriesFeed(open_bus(SEGMENTER)) as feed:
        assert sequences(take(feed, 101, gateway.beat)) == {"1.2": list(range(101))}
        assert feed.receive(0.05) is None


def test_a_late_start_in_mid_series_is_seen_by_the_first_live_event(open_bus: OpenBus) -> None:
    gateway = FakeGateway(open_bus(GATEWAY))
    events = whole_series("1.2", 60)
    with gateway.serving(), SeriesFeed(open_bus(SEGMENTER)) as feed:
        gateway.tell(*whole_series("1.1", 0))
        take(feed, 2, gateway.beat)
        gateway.keep(*events[:40])
        gateway.tell(*events[40:])
        assert sequences(take(feed, 62)) == {"1.2": list(range(62))}


def test_gaps_are_filled_in_order(open_bus: OpenBus) -> None:
    gateway = FakeGateway(open_bus(GATEWAY))
    events = whole_series("1.2", 200)
    with gateway.serving(), SeriesFeed(open_bus(SEGMENTER)) as feed:
        for k, event in enumerate(events):
            (gateway.keep if k % 3 == 1 or 50 < k < 120 else gateway.tell)(event)
        assert sequences(take(feed, 202, gateway.beat)) == {"1.2": list(range(202))}


def test_a_lost_last_event_is_brought_by_the_heartbeat(open_bus: OpenBus) -> None:
    gateway = FakeGateway(open_bus(GATEWAY))
    events = whole_series("1.2", 5)
    with gateway.serving(), SeriesFeed(open_bus(SEGMENTER)) as feed:
        gateway.tell(*events[:-1])
        take(feed, 6, gateway.beat)
        gateway.keep(events[-1])
        assert sequences(take(feed, 1, gateway.beat)) == {"1.2": [6]}


def test_a_lost_event_that_closed_its_series_is_found_out(open_bus: OpenBus) -> None:
    gateway = FakeGateway(open_bus(GATEWAY))
    with gateway.serving(), SeriesFeed(open_bus(SEGMENTER)) as feed:
        gateway.tell(*whole_series("1.2", 5)[:-1])
        take(feed, 6, gateway.beat)
        gateway.keep(SeriesRejected("1.2", 6, RejectionCode.GANTRY_TILT, "Tilted."))
        gateway.closed.add("1.2")
        (event,) = take(feed, 1, gateway.beat)
        assert isinstance(event, SeriesRejected)
        num_replays = len(gateway.replays)
        for _ in range(5):
            gateway.beat()
            assert feed.receive(0.05) is None
        assert len(gateway.replays) <= num_replays + 1, "a settled series is not asked for again and again"
        gateway.closed.clear()
        gateway.tell(slice_received("1.2", 7))
        assert sequences(take(feed, 1, gateway.beat)) == {"1.2": [7]}


def test_thousands_of_events_through_a_tiny_queue_and_a_slow_consumer(open_bus: OpenBus) -> None:
    gateway = FakeGateway(open_bus(GATEWAY))
    series = {f"1.{n}": whole_series(f"1.{n}", 700) for n in range(4)}
    with gateway.serving(), SeriesFeed(open_bus(SEGMENTER), capacity=4) as feed:

        def publish() -> None:
            for together in zip(*series.values(), strict=True):
                gateway.tell(*together)

        publisher = threading.Thread(target=publish)
        publisher.start()
        first = take(feed, 10, gateway.beat)
        publisher.join()  # by now the queue has overflown many times
        received = first + take(feed, 4 * 702 - 10, gateway.beat)
        assert sequences(received) == {uid: list(range(702)) for uid in series}
        assert feed.statistics.num_delivered == 4 * 702
        assert feed.statistics.num_replayed > 1000
        assert all(request.limit <= 16 for request in gateway.replays)
        assert feed.receive(0.05) is None


def test_series_take_turns_and_a_higher_priority_goes_first(open_bus: OpenBus) -> None:
    gateway = FakeGateway(open_bus(GATEWAY))
    for uid, priority in (("1.1", 0), ("1.2", 0), ("1.3", 5)):
        gateway.keep(*whole_series(uid, 98, priority=priority))
    with gateway.serving(), SeriesFeed(open_bus(SEGMENTER), replay_limit=10) as feed:
        received = take(feed, 300, gateway.beat)
    assert {event.series_instance_uid for event in received[:100]} == {"1.3"}
    assert {event.series_instance_uid for event in received[100:140]} == {"1.1", "1.2"}
    assert sequences(received) == {uid: list(range(100)) for uid in ("1.1", "1.2", "1.3")}


def test_without_open_only_finished_series_come_too(open_bus: OpenBus) -> None:
    gateway = FakeGateway(open_bus(GATEWAY))
    gateway.keep(*whole_series("1.2", 3))
    gateway.closed.add("1.2")
    with gateway.serving():
        with SeriesFeed(open_bus(VIEWER), only_open=False) as feed:
            assert sequences(take(feed, 5)) == {"1.2": list(range(5))}
        with SeriesFeed(open_bus(VIEWER)) as feed:
            gateway.beat()
            assert feed.receive(0.1) is None


def test_a_gateway_that_is_away_is_asked_until_it_is_back(open_bus: OpenBus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neuroscan_core.bus.feed.REQUEST_TIMEOUT_S", 0.05)
    gateway = FakeGateway(open_bus(GATEWAY))
    gateway.keep(*whole_series("1.2", 30))
    with SeriesFeed(open_bus(SEGMENTER), only_open=False) as feed:
        while feed.statistics.num_failed_replays < 2:
            assert feed.receive(0.05) is None
        with gateway.serving():
            assert sequences(take(feed, 32)) == {"1.2": list(range(32))}


def test_restart_hands_out_everything_again(open_bus: OpenBus) -> None:
    gateway = FakeGateway(open_bus(GATEWAY))
    with gateway.serving(), SeriesFeed(open_bus(SEGMENTER)) as feed:
        gateway.tell(*whole_series("1.2", 40))
        take(feed, 20, gateway.beat)
        feed.restart("1.2")
        assert sequences(take(feed, 42, gateway.beat)) == {"1.2": list(range(42))}
        assert feed.receive(0.05) is None


def test_a_forgotten_series_stays_forgotten_until_it_has_something_new(open_bus: OpenBus) -> None:
    gateway = FakeGateway(open_bus(GATEWAY))
    events = whole_series("1.2", 10)
    with gateway.serving(), SeriesFeed(open_bus(SEGMENTER)) as feed:
        gateway.tell(*events)
        take(feed, 12, gateway.beat)
        feed.forget("1.2")
        gateway.beat()
        assert feed.receive(0.1) is None
        gateway.tell(slice_received("1.2", 12))
        assert sequences(take(feed, 13, gateway.beat)) == {"1.2": list(range(13))}


def test_extra_types_are_handed_on_as_they_come(open_bus: OpenBus) -> None:
    gateway = FakeGateway(open_bus(GATEWAY))
    delivered = ResultDelivered("1.2", "1.2.9", "SEG", "pacs", True, 0.8)
    with SeriesFeed(open_bus(VIEWER), extra_types=(ResultDelivered, GatewayHeartbeat)) as feed:
        received: Event | None = None
        for _ in range(int(PATIENCE_S / 0.05)):
            gateway.beat()
            received = feed.receive(0.05)
            if received is not None:
                break
        assert isinstance(received, GatewayHeartbeat)
        gateway.bus.publish(delivered)
        while isinstance(received, GatewayHeartbeat):
            received = feed.receive(PATIENCE_S)
        assert isinstance(received, ResultDelivered)


def test_close_ends_a_waiting_receive(open_bus: OpenBus) -> None:
    feed = SeriesFeed(open_bus(SEGMENTER))
    closer = threading.Timer(0.05, feed.close)
    closer.start()
    assert feed.receive(None) is None
    assert feed.is_closed
    closer.join()


def hang(is_asked: threading.Event, release: threading.Event, _: ReplaySeries) -> ReplayedEvents:
    is_asked.set()
    release.wait(PATIENCE_S)
    return ReplayedEvents()


def test_close_in_the_middle_of_a_replay_ends_receive() -> None:
    for _ in range(20):
        with InMemoryBus() as bus:
            is_asked, release = threading.Event(), threading.Event()

            with bus.serve(ReplaySeries, partial(hang, is_asked, release)), ThreadPoolExecutor(1) as pool:
                feed = SeriesFeed(bus)
                receiving = pool.submit(feed.receive, None)
                bus.publish(slice_received("1.2", 3))
                assert is_asked.wait(PATIENCE_S)
                release.set()
                feed.close()
                assert receiving.result(PATIENCE_S) is None


def test_a_check_that_is_refused_for_a_moment_is_made_again() -> None:
    clock, bus = Clock(), InMemoryBus()
    gateway = FakeGateway(bus)
    refusals = iter([True, True, True])

    def replay(request: ReplaySeries) -> ReplayedEvents:
        if next(refusals, False):
            raise JournalError("The journal cannot be read.")
        return gateway.replay(request)

    with bus, bus.serve(ReplaySeries, replay), SeriesFeed(bus, clock=clock) as feed:
        gateway.tell(*whole_series("1.2", 2)[:-1])
        take(feed, 3)
        gateway.keep(SeriesRejected("1.2", 3, RejectionCode.GANTRY_TILT, "Tilted."))
        gateway.closed.add("1.2")
        gateway.beat()
        event = None
        while event is None and clock.now_s < 100:
            clock.now_s += 0.05
            event = feed.receive(0.005)
        assert isinstance(event, SeriesRejected)


def test_close_of_the_bus_ends_a_waiting_receive(open_bus: OpenBus) -> None:
    bus = open_bus(SEGMENTER)
    with SeriesFeed(bus) as feed:
        closer = threading.Timer(0.05, bus.close)
        closer.start()
        assert feed.receive(None) is None
        closer.join()


def serve_masks(bus: MessageBus, masks: list[MaskReady]) -> AbstractContextManager[None]:
    return bus.serve(ReplayMasks, lambda q: ReplayedMasks(tuple(masks[q.from_sequence : q.from_sequence + q.limit])))


def test_masks_are_complete_although_some_are_missed(open_bus: OpenBus) -> None:
    gateway, segmenter = FakeGateway(open_bus(GATEWAY)), open_bus(SEGMENTER)
    gateway.keep(*whole_series("1.2", 5))
    masks = [mask_ready("1.2", sequence) for sequence in range(150)]
    with serve_masks(segmenter, masks), MaskFeed(open_bus(VIEWER)) as feed:
        for mask in masks[:100:7]:
            segmenter.publish(mask)
        assert sequences(take(feed, 150, gateway.beat)) == {"1.2": list(range(150))}
        gateway.closed.add("1.2")
        masks.append(mask_ready("1.2", 150))
        assert sequences(take(feed, 1, gateway.beat)) == {"1.2": [150]}
        for _ in range(5):
            gateway.beat()
            assert feed.receive(0.05) is None
        segmenter.publish(masks[3])
        assert feed.receive(0.05) is None
        feed.restart("1.2")
        assert sequences(take(feed, 151)) == {"1.2": list(range(151))}


def test_masks_of_a_series_that_no_heartbeat_named_while_it_was_open(open_bus: OpenBus) -> None:
    gateway, segmenter = FakeGateway(open_bus(GATEWAY)), open_bus(SEGMENTER)
    opened, masks = whole_series("1.2", 5)[0], [mask_ready("1.2", sequence) for sequence in range(5)]

    def open_and_beat() -> None:
        gateway.bus.publish(opened)  # again and again, as the feed may still be connecting
        gateway.beat()

    with serve_masks(segmenter, masks), MaskFeed(open_bus(VIEWER)) as feed:
        assert sequences(take(feed, 5, open_and_beat)) == {"1.2": list(range(5))}


def test_a_refused_replay_is_repeated_with_growing_pauses() -> None:
    clock, bus = Clock(), InMemoryBus()
    events, asked_at_s = whole_series("1.2", 3), []

    def replay(request: ReplaySeries) -> ReplayedEvents:
        asked_at_s.append(clock.now_s)
        if len(asked_at_s) < 5:
            raise JournalError("The journal cannot be read.")
        return ReplayedEvents.of(events[request.from_sequence :])

    with bus, bus.serve(ReplaySeries, replay), SeriesFeed(bus, clock=clock) as feed:
        bus.publish(events[-1])
        received: list[SeriesEvent] = []
        for _ in range(10000):
            event = feed.receive(0.005)
            if event is None:
                clock.now_s += 0.05
            elif isinstance(event, SeriesEvent):
                received.append(event)
            if len(received) == 5:
                break
    assert sequences(received) == {"1.2": list(range(5))}
    pauses_s = [later - earlier for earlier, later in itertools.pairwise(asked_at_s)]
    for pause_s, at_least_s in zip(pauses_s, (0.1, 0.2, 0.4, 0.8), strict=True):
        assert pause_s >= at_least_s - 1e-9


def test_a_server_that_brings_nothing_is_not_asked_in_a_tight_loop() -> None:
    clock, bus = Clock(), InMemoryBus()
    requests = []

    def replay(request: ReplaySeries) -> ReplayedEvents:
        requests.append(request)
        return ReplayedEvents.of([slice_received("1.2", 90), slice_received("9.9", 0)])

    with bus, bus.serve(ReplaySeries, replay), SeriesFeed(bus, clock=clock) as feed:
        bus.publish(slice_received("1.2", 7))
        for _ in range(50):
            assert feed.receive(0.005) is None
    assert len(requests) == 1


def test_memory_is_bounded_while_a_series_cannot_be_replayed() -> None:
    clock, bus = Clock(), InMemoryBus()
    with bus, SeriesFeed(bus, clock=clock, replay_limit=8) as feed:
        for sequence in range(1, 2000):
            bus.publish(slice_received("1.2", sequence))
            assert feed.receive(0.0) is None
        assert len(feed._series["1.2"]._held) == 8
