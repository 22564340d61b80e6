"""How messages of several topics are put in order."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("neuroscan_msgs", reason="needs the messages of ros_ws")

from neuroscan_ros.subscription import HOLD_S, Ros2Subscription
from neuroscan_ros.topics import topic_of

from neuroscan_core.domain.events import (
    Event,
    GatewayHeartbeat,
    MaskReady,
    SegmentationFailed,
    SeriesOpened,
    SliceReceived,
)
from tests.bus.series import mask_ready, slice_received


class Rounds:
    """Stands in for the executor: `turn` is one of its rounds."""

    def __init__(self) -> None:
        self._calls: list[Callable[[], None]] = []

    def call_soon(self, call: Callable[[], None]) -> None:
        self._calls.append(call)

    def turn(self) -> None:
        calls, self._calls = self._calls, []
        for call in calls:
            call()

    @property
    def is_over(self) -> bool:
        return not self._calls


class IdleExecutor(Rounds):
    """Has nothing else to do: rounds follow one another at once."""

    def call_soon(self, call: Callable[[], None]) -> None:
        call()


def subscribe(*event_types: type[Event], capacity: int = 100, executor: Rounds | None = None) -> Ros2Subscription:
    call_soon = (executor or IdleExecutor()).call_soon
    return Ros2Subscription(event_types, capacity, on_close=lambda _: None, call_soon=call_soon)


def deliver(subscription: Ros2Subscription, order: int, event: Event) -> None:
    topic = topic_of(type(event))
    message = topic.to_msg(event)
    message.order = order
    subscription.accept(topic, message)


def names(subscription: Ros2Subscription) -> list[str]:
    """What is there, in order of receipt."""
    found = []
    while (event := subscription.receive(0.2)) is not None:
        found.append(f"{type(event).__name__} {getattr(event, 'sequence', '')}".strip())
    return found


def test_a_message_waits_for_the_earlier_ones_of_another_topic() -> None:
    subscription = subscribe(SeriesOpened, SliceReceived)
    for order in (3, 2):
        deliver(subscription, order, slice_received("1.2", order))
    assert subscription.receive(0.0) is None
    deliver(subscription, 1, SeriesOpened("1.2", 1, "m"))
    deliver(subscription, 4, SeriesOpened("1.3", 4, "m"))
    assert names(subscription) == ["SeriesOpened 1", "SliceReceived 2", "SliceReceived 3", "SeriesOpened 4"]


def test_a_message_waits_as_long_as_the_executor_brings_earlier_ones() -> None:
    executor = Rounds()
    subscription = subscribe(SeriesOpened, SliceReceived, executor=executor)
    deliver(subscription, 9, SeriesOpened("1.2", 9, "m"))
    for order in range(3, 9):
        executor.turn()
        assert subscription.receive(HOLD_S * 2) is None
        deliver(subscription, order, slice_received("1.2", order))
    executor.turn()
    executor.turn()
    executor.turn()
    assert executor.is_over
    assert names(subscription) == [*(f"SliceReceived {order}" for order in range(3, 9)), "SeriesOpened 9"]


def test_later_messages_do_not_prolong_the_wait() -> None:
    executor = Rounds()
    subscription = subscribe(SeriesOpened, SliceReceived, executor=executor)
    deliver(subscription, 1, SeriesOpened("1.2", 1, "m"))
    for order in range(2, 6):
        executor.turn()
        deliver(subscription, order * 10, slice_received("1.2", order))
    assert isinstance(subscription.receive(HOLD_S * 2), SeriesOpened)


def test_a_node_that_is_not_spun_any_more_still_hands_out_what_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neuroscan_ros.subscription.MAX_HOLD_S", 0.1)
    subscription = subscribe(SeriesOpened, SliceReceived, executor=Rounds())
    deliver(subscription, 5, slice_received("1.2", 5))
    assert subscription.receive(0.0) is None
    assert isinstance(subscription.receive(20.0), SliceReceived)


def test_what_follows_without_a_gap_does_not_wait() -> None:
    subscription = subscribe(SeriesOpened, SliceReceived)
    deliver(subscription, 7, SeriesOpened("1.2", 0, "m"))
    assert subscription.receive(1.0) is not None
    for order in range(8, 12):
        deliver(subscription, order, slice_received("1.2", order))
        assert subscription.receive(0.0) is not None


def test_messages_nobody_asked_for_leave_no_gap() -> None:
    subscription = subscribe(SeriesOpened, SliceReceived)
    deliver(subscription, 1, SeriesOpened("1.2", 0, "m"))
    assert subscription.receive(1.0) is not None
    deliver(subscription, 2, GatewayHeartbeat(()))
    deliver(subscription, 3, slice_received("1.2", 1))
    assert isinstance(subscription.receive(0.0), SliceReceived)


def test_a_message_that_never_comes_is_not_waited_for_long() -> None:
    subscription = subscribe(SeriesOpened, SliceReceived)
    deliver(subscription, 1, SeriesOpened("1.2", 0, "m"))
    deliver(subscription, 5, slice_received("1.2", 5))
    deliver(subscription, 9, SeriesOpened("1.3", 9, "m"))
    assert names(subscription) == ["SeriesOpened 0", "SliceReceived 5", "SeriesOpened 9"]


def test_publishers_do_not_wait_for_one_another() -> None:
    subscription = subscribe(SeriesOpened, SliceReceived, MaskReady)
    deliver(subscription, 50, slice_received("1.2", 50))
    deliver(subscription, 3, mask_ready("1.2", 3))
    assert isinstance(subscription.receive(0.0), MaskReady)
    assert isinstance(subscription.receive(1.0), SliceReceived)


def test_one_topic_alone_never_waits() -> None:
    subscription = subscribe(SliceReceived, MaskReady, SegmentationFailed)
    for order in (4, 9, 30):
        deliver(subscription, order, slice_received("1.2", order))
        assert isinstance(subscription.receive(0.0), SliceReceived)


def test_a_publisher_that_counts_afresh_after_a_restart_is_heard() -> None:
    subscription = subscribe(SeriesOpened, SliceReceived)
    for order in (100, 101, 5, 6):
        deliver(subscription, order, slice_received("1.2", order))
        assert subscription.receive(1.0) is not None


def test_the_oldest_give_way_when_too_many_wait() -> None:
    subscription = subscribe(SliceReceived, SeriesOpened, MaskReady, capacity=4)
    for order in range(1, 11):
        deliver(subscription, order, slice_received("1.2", order))
    deliver(subscription, 1, mask_ready("1.2", 1))
    assert sorted(names(subscription)) == [
        "MaskReady 1", "SliceReceived 10", "SliceReceived 8", "SliceReceived 9"
    ]  # fmt: skip


def test_after_close_nothing_is_handed_out() -> None:
    subscription = subscribe(SliceReceived)
    deliver(subscription, 1, slice_received("1.2", 1))
    subscription.close()
    deliver(subscription, 2, slice_received("1.2", 2))
    assert subscription.receive() is None
    assert subscription.is_closed
