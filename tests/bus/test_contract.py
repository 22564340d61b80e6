"""What every adapter of the message bus promises; one body for all of them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from neuroscan_core.domain.errors import BusError, JournalError, RequestRefused, RequestTimeout
from neuroscan_core.domain.events import (
    GATEWAY,
    SEGMENTER,
    VIEWER,
    GatewayHeartbeat,
    MaskReady,
    SeriesOpened,
    SliceReceived,
)
from neuroscan_core.domain.requests import (
    Acknowledged,
    GetGatewayHealth,
    Health,
    ListSeries,
    ReplayedEvents,
    ReplaySeries,
    SeriesList,
)
from tests.bus.conftest import OpenBus, connect, take
from tests.bus.series import PATIENCE_S, mask_ready, slice_received, whole_series


def test_events_arrive_in_the_order_of_publication(open_bus: OpenBus) -> None:
    gateway, segmenter = open_bus(GATEWAY), open_bus(SEGMENTER)
    with segmenter.subscribe(GatewayHeartbeat, SliceReceived) as subscription:
        connect(gateway, subscription)
        for sequence in range(200):
            gateway.publish(slice_received("1.2", sequence))
        sequences = [event.sequence for event in take(subscription, 200) if isinstance(event, SliceReceived)]
    assert sequences == list(range(200))


def test_pixels_and_fields_arrive_unchanged(open_bus: OpenBus) -> None:
    gateway, segmenter = open_bus(GATEWAY), open_bus(SEGMENTER)
    pixels_ji = np.random.default_rng(0).normal(size=(256, 192)).astype(np.float32)
    sent = slice_received("1.2", 3, (256, 192))
    sent.pixels_ji[:] = pixels_ji
    with segmenter.subscribe(GatewayHeartbeat, SliceReceived) as subscription:
        connect(gateway, subscription)
        gateway.publish(sent)
        (received,) = take(subscription, 1)
    assert isinstance(received, SliceReceived)
    assert np.array_equal(received.pixels_ji, pixels_ji)
    assert (received.key, received.geometry, received.received_at_s) == (sent.key, sent.geometry, sent.received_at_s)


def test_every_subscriber_gets_every_event_of_its_types_only(open_bus: OpenBus) -> None:
    gateway = open_bus(GATEWAY)
    first = open_bus(SEGMENTER).subscribe(GatewayHeartbeat, SliceReceived, SeriesOpened)
    second = open_bus(VIEWER).subscribe(GatewayHeartbeat, SliceReceived)
    with first, second:
        connect(gateway, first, second)
        gateway.publish(SeriesOpened("1.2", 0, "model"))
        gateway.publish(slice_received("1.2", 1))
        assert [type(event) for event in take(first, 2)] == [SeriesOpened, SliceReceived]
        assert [type(event) for event in take(second, 1)] == [SliceReceived]


def test_one_subscription_joins_events_of_several_publishers(open_bus: OpenBus) -> None:
    gateway, segmenter = open_bus(GATEWAY), open_bus(SEGMENTER)
    with open_bus(VIEWER).subscribe(GatewayHeartbeat, MaskReady) as subscription:
        connect(gateway, subscription)
        mask = None
        for sequence in range(int(PATIENCE_S / 0.02)):
            segmenter.publish(mask_ready("1.2", sequence))
            mask = subscription.receive(0.02)
            if mask is not None:
                break
    assert isinstance(mask, MaskReady)
    assert mask.labels_ji.dtype == np.uint8


def test_receive_without_an_event_returns_none(open_bus: OpenBus) -> None:
    with open_bus(SEGMENTER).subscribe(SliceReceived) as subscription:
        assert subscription.receive(0.01) is None
        assert subscription.receive(0.0) is None
        assert not subscription.is_closed


def test_a_slow_subscriber_stops_nobody_and_keeps_the_order(open_bus: OpenBus) -> None:
    gateway, segmenter = open_bus(GATEWAY), open_bus(SEGMENTER)
    with segmenter.subscribe(GatewayHeartbeat, SliceReceived, capacity=4) as slow:
        connect(gateway, slow)
        for sequence in range(3000):
            gateway.publish(slice_received("1.2", sequence, (32, 32)))
        sequences = []
        while (event := slow.receive(0.2)) is not None:
            assert isinstance(event, SliceReceived)
            sequences.append(event.sequence)
    assert 4 <= len(sequences) < 3000
    assert sequences == sorted(set(sequences))


def test_close_of_a_subscription_ends_a_waiting_receive(open_bus: OpenBus) -> None:
    subscription = open_bus(SEGMENTER).subscribe(SliceReceived)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(subscription.receive)
        subscription.close()
        assert waiting.result(PATIENCE_S) is None
    assert subscription.is_closed
    subscription.close()


def test_close_of_the_bus_ends_receivers_and_askers(open_bus: OpenBus) -> None:
    gateway, segmenter = open_bus(GATEWAY), open_bus(SEGMENTER)
    asked, release = threading.Event(), threading.Event()

    def hang(_: ListSeries) -> SeriesList:
        asked.set()
        release.wait(PATIENCE_S)
        return SeriesList(())

    subscription = segmenter.subscribe(SliceReceived)
    with ThreadPoolExecutor(2) as pool, gateway.serve(ListSeries, hang):
        receiving = pool.submit(subscription.receive)
        asking = pool.submit(segmenter.request, ListSeries(), timeout_s=PATIENCE_S)
        assert asked.wait(PATIENCE_S)
        threading.Timer(0.1, release.set).start()
        segmenter.close()
        assert receiving.result(PATIENCE_S) is None
        with pytest.raises(RequestTimeout):
            asking.result(PATIENCE_S)
    with pytest.raises(BusError):
        segmenter.subscribe(SliceReceived)


def test_nothing_works_after_close(open_bus: OpenBus) -> None:
    gateway = open_bus(GATEWAY)
    gateway.publish(GatewayHeartbeat(()))
    gateway.close()
    with pytest.raises(BusError):
        gateway.publish(GatewayHeartbeat(()))
    with pytest.raises(BusError):
        gateway.request(ListSeries(), timeout_s=0.01)
    with pytest.raises(BusError), gateway.serve(ListSeries, lambda _: SeriesList(())):
        pass


def test_a_request_is_answered(open_bus: OpenBus) -> None:
    gateway, segmenter = open_bus(GATEWAY), open_bus(SEGMENTER)
    events = whole_series("1.2", 3)
    with gateway.serve(ReplaySeries, lambda request: ReplayedEvents.of(events[request.from_sequence :])):
        reply = segmenter.request(ReplaySeries("1.2", 1), timeout_s=PATIENCE_S)
    assert [event.sequence for event in reply.in_order] == [1, 2, 3, 4]
    assert np.array_equal(reply.slices[1].pixels_ji, np.full((4, 4), 2, np.float32))


def test_a_request_reaches_a_server_that_starts_in_time(open_bus: OpenBus) -> None:
    gateway, segmenter = open_bus(GATEWAY), open_bus(SEGMENTER)
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(segmenter.request, GetGatewayHealth(), timeout_s=PATIENCE_S)
        with gateway.serve(GetGatewayHealth, lambda _: Health(True)):
            assert asking.result(PATIENCE_S).is_ready


def test_a_request_that_nobody_serves_times_out(open_bus: OpenBus) -> None:
    with pytest.raises(RequestTimeout, match="ListSeries"):
        open_bus(SEGMENTER).request(ListSeries(), timeout_s=0.05)


def test_a_late_reply_is_not_taken_for_that_of_the_next_request(open_bus: OpenBus) -> None:
    gateway, segmenter = open_bus(GATEWAY), open_bus(SEGMENTER)
    release = threading.Event()

    def answer(request: ReplaySeries) -> ReplayedEvents:
        if request.from_sequence == 0:
            release.wait(PATIENCE_S)
        return ReplayedEvents.of([slice_received("1.2", request.from_sequence)])

    with gateway.serve(ReplaySeries, answer):
        with pytest.raises(RequestTimeout):
            segmenter.request(ReplaySeries("1.2", 0), timeout_s=0.3)
        release.set()
        reply = segmenter.request(ReplaySeries("1.2", 7), timeout_s=PATIENCE_S)
    assert reply.in_order[0].sequence == 7


def test_an_error_of_the_handler_reaches_the_asker_with_its_remedy(open_bus: OpenBus) -> None:
    gateway, segmenter = open_bus(GATEWAY), open_bus(SEGMENTER)

    def refuse(_: ListSeries) -> SeriesList:
        raise JournalError("The journal cannot be read.", remedy="Check the disk.")

    with gateway.serve(ListSeries, refuse), pytest.raises(RequestRefused) as caught:
        segmenter.request(ListSeries(), timeout_s=PATIENCE_S)
    assert (caught.value.code, caught.value.message) == ("JournalError", "The journal cannot be read.")
    assert caught.value.remedy == "Check the disk."


def test_a_fault_of_the_handler_is_refused_without_its_text_and_serving_goes_on(open_bus: OpenBus) -> None:
    gateway, segmenter = open_bus(GATEWAY), open_bus(SEGMENTER)
    outcomes = iter([ZeroDivisionError("DOE^JANE"), None])

    def fail_once(_: ListSeries) -> SeriesList:
        error = next(outcomes)
        if error is not None:
            raise error
        return SeriesList(())

    with gateway.serve(ListSeries, fail_once):
        with pytest.raises(RequestRefused) as caught:
            segmenter.request(ListSeries(), timeout_s=PATIENCE_S)
        assert "DOE" not in str(caught.value)
        assert segmenter.request(ListSeries(), timeout_s=PATIENCE_S).series == ()


def test_requests_of_one_type_are_served_one_at_a_time(open_bus: OpenBus) -> None:
    gateway, segmenter = open_bus(GATEWAY), open_bus(SEGMENTER)
    busy = threading.Lock()

    def handle(_: ListSeries) -> SeriesList:
        assert busy.acquire(blocking=False)
        try:
            return SeriesList(())
        finally:
            busy.release()

    with gateway.serve(ListSeries, handle), ThreadPoolExecutor(6) as pool:
        asking = [pool.submit(segmenter.request, ListSeries(), timeout_s=PATIENCE_S) for _ in range(60)]
        assert all(future.result().series == () for future in asking)


def test_types_are_served_at_the_same_time(open_bus: OpenBus) -> None:
    gateway, segmenter = open_bus(GATEWAY), open_bus(SEGMENTER)
    is_listing, may_list = threading.Event(), threading.Event()

    def list_slowly(_: ListSeries) -> SeriesList:
        is_listing.set()
        assert may_list.wait(PATIENCE_S)
        return SeriesList(())

    with (
        gateway.serve(ListSeries, list_slowly),
        gateway.serve(GetGatewayHealth, lambda _: Health(True)),
        ThreadPoolExecutor(1) as pool,
    ):
        listing = pool.submit(segmenter.request, ListSeries(), timeout_s=PATIENCE_S)
        assert is_listing.wait(PATIENCE_S)
        assert segmenter.request(GetGatewayHealth(), timeout_s=PATIENCE_S).is_ready
        may_list.set()
        assert listing.result().series == ()


def test_a_type_cannot_be_served_twice_but_again_after_its_context_ended(open_bus: OpenBus) -> None:
    gateway = open_bus(GATEWAY)
    for _ in range(2):
        with gateway.serve(ListSeries, lambda _: SeriesList(())):
            with pytest.raises(BusError), gateway.serve(ListSeries, lambda _: SeriesList(())):
                pass
            assert gateway.request(ListSeries(), timeout_s=PATIENCE_S).series == ()


def test_many_threads_publish_and_ask_at_once(open_bus: OpenBus) -> None:
    gateway, segmenter = open_bus(GATEWAY), open_bus(SEGMENTER)
    num_threads, num_each = 4, 50

    def publish(thread: int) -> None:
        for sequence in range(num_each):
            gateway.publish(slice_received(f"1.{thread}", sequence))

    def ask(_: int) -> None:
        for _ in range(num_each):
            assert segmenter.request(GetGatewayHealth(), timeout_s=PATIENCE_S).is_ready

    with (
        segmenter.subscribe(GatewayHeartbeat, SliceReceived, capacity=1000) as subscription,
        gateway.serve(GetGatewayHealth, lambda _: Health(True)),
        ThreadPoolExecutor(2 * num_threads) as pool,
    ):
        connect(gateway, subscription)
        done = [pool.submit(work, thread) for thread in range(num_threads) for work in (publish, ask)]
        received = take(subscription, num_threads * num_each)
        for future in done:
            future.result()
    for thread in range(num_threads):
        of_thread = [
            e.sequence for e in received if isinstance(e, SliceReceived) and e.series_instance_uid == f"1.{thread}"
        ]
        assert of_thread == list(range(num_each))


def test_a_handler_may_ask_in_turn(open_bus: OpenBus) -> None:
    gateway, segmenter = open_bus(GATEWAY), open_bus(SEGMENTER)

    def health(_: GetGatewayHealth) -> Health:
        return Health(gateway.request(ListSeries(), timeout_s=PATIENCE_S).series == ())

    with gateway.serve(ListSeries, lambda _: SeriesList(())), gateway.serve(GetGatewayHealth, health):
        assert segmenter.request(GetGatewayHealth(), timeout_s=PATIENCE_S).is_ready


def test_a_reply_of_the_wrong_type_is_refused(open_bus: OpenBus) -> None:
    gateway, segmenter = open_bus(GATEWAY), open_bus(SEGMENTER)
    with gateway.serve(ListSeries, lambda _: Acknowledged()), pytest.raises(RequestRefused, match="TypeError"):
        segmenter.request(ListSeries(), timeout_s=PATIENCE_S)


def test_no_thread_outlives_the_bus(open_bus: OpenBus) -> None:
    before = set(threading.enumerate())
    gateway, segmenter = open_bus(GATEWAY), open_bus(SEGMENTER)
    with gateway.serve(ListSeries, lambda _: SeriesList(())), segmenter.subscribe(SliceReceived):
        gateway.publish(GatewayHeartbeat(()))
        assert segmenter.request(ListSeries(), timeout_s=PATIENCE_S).series == ()
    for bus in (gateway, segmenter):
        bus.close()
    left = [thread.name for thread in set(threading.enumerate()) - before if thread.name.startswith(("bus-", "serve-"))]
    assert left == []
