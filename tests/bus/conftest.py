"""The adapters of the bus, each as a way to open the bus of a role."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from neuroscan_core.bus.curve import generate_keys
from neuroscan_core.bus.memory import InMemoryBus
from neuroscan_core.bus.zeromq import ZeroMqBus
from neuroscan_core.config import BusConfig
from neuroscan_core.domain.events import GATEWAY, Event, GatewayHeartbeat, SeriesProgress
from neuroscan_core.ports import MessageBus, Subscription
from tests.bus.series import PATIENCE_S

ROS_DOMAINS = range(80, 102)  # up to 101 their ports lie below those that systems hand out

ROOM_FOR_ALL = 256  # tests of order publish at once, without a feed that would bring what overflowed

OpenBus = Callable[[str], MessageBus]


def free_ports() -> int:
    """A port that was free a moment ago, and so was the one after it."""
    for _ in range(100):
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            try:
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port
    raise AssertionError("no two free ports in a row")


def network_config(tmp_path: Path) -> BusConfig:
    """Gateway and segmenter on TCP with keys."""
    generate_keys(tmp_path / "keys")
    addresses = {role: f"tcp://127.0.0.1:{free_ports()}" for role in ("gateway", "segmenter")}
    return BusConfig(addresses=addresses, curve_directory=tmp_path / "keys", queue_events=ROOM_FOR_ALL)


def claim_domain() -> tuple[int, socket.socket]:
    """A ROS domain that no other test process uses as long as the socket is open."""
    for domain in ROS_DOMAINS:
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(f"\0neuroscan-test-domain-{domain}")
        except OSError:
            claim.close()
            continue
        return domain, claim
    raise AssertionError("all ROS domains are taken")


@pytest.fixture(scope="session")
def domain_id() -> Iterator[int]:
    """The ROS domain of this test process; skips without ROS."""
    pytest.importorskip("rclpy", reason="needs ROS 2")
    pytest.importorskip("neuroscan_msgs", reason="needs the messages of ros_ws")
    pytest.importorskip("neuroscan_ros", reason="needs the package of ros_ws")
    domain, claim = claim_domain()
    with claim:
        yield domain


@pytest.fixture(params=["memory", "ipc", "tcp+curve", "ros2"])
def open_bus(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenBus]:
    """Open a bus for a role; all of one test belong together, and are closed after it."""
    with ExitStack() as opened:
        if request.param == "ros2":
            domain: int = request.getfixturevalue("domain_id")
            from neuroscan_ros.bus import open_ros2_bus

            yield lambda role: opened.enter_context(open_ros2_bus(role, domain_id=domain, queue_events=ROOM_FOR_ALL))
            return
        if request.param == "memory":
            bus = opened.enter_context(InMemoryBus())
            yield lambda role: bus
            return
        config = BusConfig(queue_events=ROOM_FOR_ALL) if request.param == "ipc" else network_config(tmp_path)
        yield lambda role: opened.enter_context(ZeroMqBus(role, config, tmp_path / "run"))


def connect(publisher: MessageBus, *subscriptions: Subscription) -> None:
    """Wait until heartbeats of the gateway reach subscriptions that ask for them."""
    for subscription in subscriptions:
        for attempt in itertools.count():
            assert attempt < PATIENCE_S / 0.02, "the subscription does not connect"
            publisher.publish(GatewayHeartbeat(()))
            if subscription.receive(0.02) is not None:
                break
    marker = SeriesProgress("marker", "receiving", 0, 0, 0, True)
    publisher.publish(GatewayHeartbeat((marker,)))
    for subscription in subscriptions:
        while True:
            (event,) = take(subscription, 1)
            if isinstance(event, GatewayHeartbeat) and marker in event.open_series:
                break


def take(subscription: Subscription, count: int) -> list[Event]:
    """The next events."""
    events = []
    for _ in range(count):
        event = subscription.receive(PATIENCE_S)
        assert event is not None, f"only {len(events)} of {count} events came"
        events.append(event)
    return events


__all__ = ["GATEWAY", "OpenBus", "connect", "free_ports", "network_config", "take"]
