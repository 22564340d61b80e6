"""How a node is spun: what blocks does not hold up what is quick, and nothing turns in circles."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

rclpy = pytest.importorskip("rclpy", reason="needs ROS 2")

from neuroscan_ros.spinning import QuickCallbackGroup, spinning
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.context import Context
from rclpy.node import Node
from std_msgs.msg import UInt32
from std_srvs.srv import Trigger

from tests.bus.conftest import domain_id

__all__ = ["domain_id"]

PATIENCE_S = 20.0


@pytest.fixture
def node(domain_id: int) -> Iterator[Node]:
    """A node that nobody spins yet."""
    context = Context()
    rclpy.init(args=[], context=context, domain_id=domain_id)
    made = Node("tested", context=context, enable_rosout=False, start_parameter_services=False)
    yield made
    made.destroy_node()
    context.try_shutdown()


def test_quick_callbacks_keep_the_order_and_share_the_thread_that_spins(node: Node) -> None:
    heard: list[int] = []
    threads: set[str] = set()
    all_there = threading.Event()

    def hear(message: UInt32) -> None:
        threads.add(threading.current_thread().name)
        heard.append(message.data)
        if message.data == 299:
            all_there.set()

    node.create_subscription(UInt32, "numbers", hear, 300, callback_group=QuickCallbackGroup())
    publisher = node.create_publisher(UInt32, "numbers", 300)
    with spinning(node):
        for number in range(300):
            publisher.publish(UInt32(data=number))
        assert all_there.wait(PATIENCE_S)
    assert heard == list(range(300))
    assert threads == {"ros-executor"}


def test_callbacks_that_block_run_side_by_side(node: Node) -> None:
    together = threading.Barrier(6)

    def meet(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        together.wait(PATIENCE_S)
        response.success = True
        return response

    clients = []
    for number in range(6):
        node.create_service(Trigger, f"meet_{number}", meet, callback_group=MutuallyExclusiveCallbackGroup())
        clients.append(node.create_client(Trigger, f"meet_{number}", callback_group=ReentrantCallbackGroup()))
    with spinning(node), ThreadPoolExecutor(6) as pool:
        asking = [pool.submit(client.call, Trigger.Request()) for client in clients]
        assert all(future.result(PATIENCE_S).success for future in asking)


def test_an_exception_of_a_callback_does_not_end_the_others(node: Node) -> None:
    outcomes = iter([ZeroDivisionError("once"), None])
    survived = threading.Event()

    def fail_once() -> None:
        error = next(outcomes, None)
        if error is not None:
            raise error
        survived.set()

    node.create_timer(0.01, fail_once)
    with spinning(node):
        assert survived.wait(PATIENCE_S)


def test_what_comes_and_goes_while_the_node_is_spun_is_noticed(node: Node) -> None:
    publisher = node.create_publisher(UInt32, "numbers", 10)
    with spinning(node):
        for _ in range(30):
            heard = threading.Event()
            subscription = node.create_subscription(
                UInt32, "numbers", lambda _, heard=heard: heard.set(), 10, callback_group=QuickCallbackGroup()
            )
            for _ in range(int(PATIENCE_S / 0.01)):
                publisher.publish(UInt32())
                if heard.wait(0.01):
                    break
            assert heard.is_set()
            node.destroy_subscription(subscription)


def test_an_idle_node_and_one_with_a_blocked_callback_use_no_processor_time(node: Node) -> None:
    is_blocked, release = threading.Event(), threading.Event()

    def block(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        is_blocked.set()
        release.wait(PATIENCE_S)
        return response

    def used_s() -> float:
        began_s = time.process_time()
        threading.Event().wait(1.0)
        return time.process_time() - began_s

    node.create_service(Trigger, "block", block, callback_group=MutuallyExclusiveCallbackGroup())
    client = node.create_client(Trigger, "block", callback_group=QuickCallbackGroup())
    with spinning(node), ThreadPoolExecutor(1) as pool:
        idle_s = used_s()
        asking = pool.submit(client.call, Trigger.Request())
        assert is_blocked.wait(PATIENCE_S)
        blocked_s = used_s()
        release.set()
        asking.result(PATIENCE_S)
    # Of one second; a loop without a wait takes all of it. DDS itself wakes up some times a second.
    assert idle_s < 0.2
    assert blocked_s < 0.2


def test_no_thread_outlives_the_spinning_nor_does_a_callback_in_progress(node: Node) -> None:
    before = set(threading.enumerate())
    begun, has_ended = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        threading.Event().wait(0.2)
        has_ended.set()

    timer = node.create_timer(0.01, work)
    with spinning(node):
        assert begun.wait(PATIENCE_S)
        timer.cancel()
    assert has_ended.is_set()
    left = [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("ros-")]
    for thread in left:  # an idle thread of the pool may need a moment to notice
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def test_spinning_ends_when_the_context_does(node: Node) -> None:
    with spinning(node):
        node.context.shutdown()
