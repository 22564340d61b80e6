"""The bus under ROS 2: events are messages on topics, requests are services.

As over ZeroMQ, events may be missed, and the feeds of `neuroscan_core.bus.feed` bring what was missed by requests.
Names and quality of service are in `qos`, what travels where in `topics`.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import rclpy
from rclpy.context import Context
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.subscription import Subscription

from neuroscan_core.domain.errors import BusError
from neuroscan_core.domain.events import Event
from neuroscan_core.domain.requests import Reply, Request
from neuroscan_core.lifetime import Closes
from neuroscan_core.log import get_logger
from neuroscan_ros import qos
from neuroscan_ros.asking import RequestClient
from neuroscan_ros.serving import CLOSE_TIMEOUT_S, RequestServer
from neuroscan_ros.spinning import QuickCallbackGroup, spinning
from neuroscan_ros.subscription import Ros2Subscription
from neuroscan_ros.topics import TOPICS, Topic, topic_of
from neuroscan_ros.translation import ros_errors

log = get_logger(__name__)

Q = TypeVar("Q", bound="Request[Reply]")
R = TypeVar("R", bound=Reply)

_node_numbers = itertools.count(1)


class Ros2Bus(Closes):
    """A `ports.MessageBus` on a node; whoever made the node has it spun by `spinning.spinning`.

    Parameters
    ----------
    node : rclpy.node.Node
    roles : collection of str
        What belongs to these roles is published and served here.
    queue_events : int
        Messages of each topic that are kept for subscribers that have not got them yet.
    """

    def __init__(self, node: Node, roles: Collection[str], *, queue_events: int = 128) -> None:
        self._node, self._roles = node, frozenset(roles)
        self._group = QuickCallbackGroup()
        self._client = RequestClient(node, self._group)
        self._lock = threading.RLock()
        self._publish_lock = threading.Lock()
        # They begin where no earlier process of the role has been, so that numbers grow over restarts, too.
        self._orders = {role: itertools.count(time.time_ns()) for role in self._roles}
        self._subscriptions: dict[Ros2Subscription, list[Subscription]] = {}
        self._servers: dict[type[Request[Any]], RequestServer] = {}
        self._is_closed = False
        self._publishers: dict[Topic, Publisher] = {
            topic: node.create_publisher(topic.message_type, topic.name, topic.publisher_qos(queue_events))
            for topic in TOPICS
            if self._roles.intersection(topic.publishers)
        }

    def publish(self, event: Event) -> None:
        """Hand an event to every subscriber.

        Raises
        ------
        BusError
            The bus is closed, another role publishes this type, or ROS refused.
        WireFormatError
            The event cannot be written.
        """
        if event.published_by not in self._roles:
            mine = " and ".join(sorted(self._roles)) or "viewer"
            raise BusError(f"{type(event).__name__} is published by the {event.published_by}, not the {mine}.")
        topic = topic_of(type(event))
        message = topic.to_msg(event)
        with self._publish_lock:
            self._check_open()
            with ros_errors("publish"):
                message.header.stamp = self._node.get_clock().now().to_msg()
                message.order = next(self._orders[event.published_by])
                self._publishers[topic].publish(message)

    def subscribe(self, *event_types: type[Event], capacity: int = 256) -> Ros2Subscription:
        """Receive events of these types from now on."""
        subscription = Ros2Subscription(event_types, capacity, on_close=self._drop, call_soon=self._call_soon)
        with self._lock:
            self._check_open()
            with ros_errors("subscribe"):
                self._subscriptions[subscription] = [
                    self._node.create_subscription(
                        topic.message_type,
                        topic.name,
                        _acceptor(subscription, topic),
                        qos.stream(max(1, capacity)),
                        callback_group=self._group,
                    )
                    for topic in subscription.topics
                ]
        return subscription

    def _call_soon(self, call: Callable[[], None]) -> None:
        executor = self._node.executor
        if executor is None:
            call()
        else:
            executor.create_task(call)

    def _drop(self, subscription: Ros2Subscription) -> None:
        with self._lock:
            for made in self._subscriptions.pop(subscription, ()):
                self._node.destroy_subscription(made)

    @contextmanager
    def serve(self, request_type: type[Q], handler: Callable[[Q], Reply]) -> Iterator[None]:
        """Answer requests of a type until the context ends; never those whose reply says who the patient is.

        Raises
        ------
        BusError
            The bus is closed, the type is served already, or by another role, or ROS refused.
        """
        name = request_type.__name__
        if request_type.served_by not in self._roles:
            raise BusError(f"{name} is served by the {request_type.served_by}.")
        if request_type.carries_identity:
            self._check_open()
            log.debug("not served over ROS: the reply says who the patient is", request=name)
            yield
            return
        with self._lock:
            self._check_open()
            if request_type in self._servers:
                raise BusError(f"{name} is served already.")
            with ros_errors("serve"):
                server = self._servers[request_type] = RequestServer(self._node, request_type, handler)
        try:
            yield
        finally:
            server.close()
            with self._lock:
                if self._servers.get(request_type) is server:
                    del self._servers[request_type]

    def request(self, request: Request[R], *, timeout_s: float) -> R:
        """Ask the process that serves this type; see `asking.RequestClient.ask`."""
        return cast(R, self._client.ask(request, timeout_s))

    def close(self) -> None:
        """Release everything; subscriptions end, and whoever waits for a reply times out."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
        for subscription in tuple(self._subscriptions):
            subscription.close()
        self._client.close()
        deadline_s = time.monotonic() + CLOSE_TIMEOUT_S
        for server in tuple(self._servers.values()):
            server.close(max(0.0, deadline_s - time.monotonic()))
        with self._publish_lock:
            for publisher in self._publishers.values():
                self._node.destroy_publisher(publisher)

    def _check_open(self) -> None:
        if self._is_closed:
            raise BusError("The bus is closed.")


def _acceptor(subscription: Ros2Subscription, topic: Topic) -> Callable[[Any], None]:
    def accept(message: Any) -> None:
        subscription.accept(topic, message)

    return accept


@contextmanager
def open_ros2_bus(
    *roles: str, domain_id: int | None = None, namespace: str = "", queue_events: int = 128
) -> Iterator[Ros2Bus]:
    """Open a bus on a node of its own, spun in the background: for tools and tests.

    Parameters
    ----------
    *roles : str
        See `Ros2Bus`; the role ``viewer`` publishes and serves nothing.
    domain_id : int, optional
        By default that of the environment.
    namespace : str
        Of the node; by default none.
    queue_events : int
        See `Ros2Bus`.
    """
    context = Context()
    rclpy.init(args=[], context=context, domain_id=domain_id)
    try:
        name = f"{'_'.join(roles) or 'bus'}_{os.getpid()}_{next(_node_numbers)}"
        node = Node(
            name,
            context=context,
            namespace=namespace,
            use_global_arguments=False,
            enable_rosout=False,
            start_parameter_services=False,
        )
        try:
            with spinning(node), Ros2Bus(node, roles, queue_events=queue_events) as bus:
                yield bus
        finally:
            node.destroy_node()
    finally:
        context.try_shutdown()
