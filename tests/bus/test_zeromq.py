"""What only the bus between processes has: sockets, folders, addresses, keys, and strangers at the door."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import zmq

from neuroscan_core.bus import open_bus
from neuroscan_core.bus.curve import generate_keys
from neuroscan_core.bus.endpoints import MAX_SOCKET_PATH_BYTES, Channel, Endpoints
from neuroscan_core.bus.zeromq import ZeroMqBus
from neuroscan_core.config import BusConfig, NodeConfig
from neuroscan_core.domain.errors import BusError, ConfigurationError, RequestTimeout, WireFormatError
from neuroscan_core.domain.events import GATEWAY, SEGMENTER, VIEWER, GatewayHeartbeat, SliceReceived
from neuroscan_core.domain.requests import GetGatewayHealth, GetSegmenterHealth, Health, ListSeries, SeriesList
from tests.bus.conftest import connect, free_ports, network_config, take
from tests.bus.series import PATIENCE_S, mask_ready, slice_received

NOBODY_S = 0.5  # long enough for a request to come through if it were let in


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    """Closes what a test opens."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def stranger() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    """Sockets that know nothing of the protocol."""
    context = zmq.Context()
    yield context
    context.destroy(linger=0)


def ask(bus: ZeroMqBus, timeout_s: float = PATIENCE_S) -> Health:
    return bus.request(GetGatewayHealth(), timeout_s=timeout_s)


def serve_health(bus: ZeroMqBus, closing: ExitStack) -> None:
    closing.enter_context(bus.serve(GetGatewayHealth, lambda _: Health(True)))


def test_open_bus_uses_the_run_folder_of_the_node(tmp_path: Path) -> None:
    config = NodeConfig(state_dir=tmp_path / "state")
    bus = open_bus(config, GATEWAY)
    bus.publish(GatewayHeartbeat(()))
    assert (tmp_path / "state" / "run" / "gateway.events").is_socket()
    bus.close()
    bus.close()


def test_sockets_and_their_folder_are_closed_to_other_users(tmp_path: Path, closing: ExitStack) -> None:
    gateway = closing.enter_context(ZeroMqBus(GATEWAY, BusConfig(), tmp_path / "run"))
    gateway.publish(GatewayHeartbeat(()))
    serve_health(gateway, closing)
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o700
    for name in ("gateway.events", "gateway.requests"):
        assert stat.S_IMODE((tmp_path / "run" / name).stat().st_mode) == 0o600


def test_a_second_process_of_a_role_is_refused_and_the_first_goes_on(tmp_path: Path, closing: ExitStack) -> None:
    first, second, asker = (
        closing.enter_context(ZeroMqBus(role, BusConfig(), tmp_path)) for role in (GATEWAY, GATEWAY, VIEWER)
    )
    first.publish(GatewayHeartbeat(()))
    serve_health(first, closing)
    with pytest.raises(ConfigurationError, match="Another gateway is running"):
        second.publish(GatewayHeartbeat(()))
    with pytest.raises(ConfigurationError, match="Another gateway is running"):
        serve_health(second, closing)
    assert ask(asker).is_ready


def test_a_stale_socket_file_does_not_stop_a_start(tmp_path: Path, closing: ExitStack) -> None:
    for channel in Channel:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(tmp_path / f"gateway.{channel.value}"))
    gateway, viewer = (closing.enter_context(ZeroMqBus(role, BusConfig(), tmp_path)) for role in (GATEWAY, VIEWER))
    serve_health(gateway, closing)
    assert ask(viewer).is_ready
    with viewer.subscribe(GatewayHeartbeat) as subscription:
        connect(gateway, subscription)


def test_a_run_folder_with_a_long_path_uses_a_private_folder_instead(
    tmp_path: Path, closing: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = Path(closing.enter_context(tempfile.TemporaryDirectory()))
    monkeypatch.setattr("tempfile.tempdir", str(short))
    run_dir = tmp_path / ("long" * 40) / "run"
    gateway, viewer = (closing.enter_context(ZeroMqBus(role, BusConfig(), run_dir)) for role in (GATEWAY, VIEWER))
    serve_health(gateway, closing)
    assert ask(viewer).is_ready
    (made,) = short.glob("neuroscan-*")
    assert stat.S_IMODE(made.stat().st_mode) == 0o700


def test_a_private_folder_that_is_open_to_others_is_refused(
    tmp_path: Path, closing: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    endpoints = Endpoints(BusConfig(), tmp_path / ("long" * 40))
    path = endpoints.of(GATEWAY, Channel.EVENTS).path
    assert path is not None
    path.parent.mkdir()
    path.parent.chmod(0o777)
    with pytest.raises(ConfigurationError, match="another user"):
        endpoints.of(GATEWAY, Channel.EVENTS, binding=True)


def test_a_path_that_is_too_long_everywhere_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/" + "t" * 120)
    with pytest.raises(ConfigurationError, match=str(MAX_SOCKET_PATH_BYTES)):
        Endpoints(BusConfig(), tmp_path / ("long" * 40)).of(GATEWAY, Channel.EVENTS)


def test_a_run_folder_that_cannot_be_made_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        ZeroMqBus(GATEWAY, BusConfig(), tmp_path / "file" / "run") as gateway,
        pytest.raises(ConfigurationError, match="cannot be made"),
    ):
        gateway.publish(GatewayHeartbeat(()))


@pytest.mark.parametrize("address", ["tcp://10.0.0.5:5560", "tcp://0.0.0.0:5560", "tcp://edge.local:5560", "tcp://*:1"])
def test_tcp_beyond_loopback_needs_keys(tmp_path: Path, address: str) -> None:
    with pytest.raises(ConfigurationError, match="curve_directory"):
        ZeroMqBus(VIEWER, BusConfig(addresses={"gateway": address}), tmp_path)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:5560", "tcp://localhost:5560", "tcp://[::1]:5560"])
def test_tcp_on_loopback_needs_no_keys(tmp_path: Path, address: str) -> None:
    ZeroMqBus(VIEWER, BusConfig(addresses={"gateway": address}), tmp_path).close()


@pytest.mark.parametrize(
    "address",
    ["", "gateway", "tcp://", "tcp://host", "tcp://host:", "tcp://host:x", "tcp://:5", "udp://h:5", "tcp://h:65535"],
)
def test_addresses_that_are_none_are_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(ConfigurationError, match="not an address"):
        Endpoints(BusConfig(addresses={"gateway": address}), tmp_path)


def test_a_name_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    generate_keys(tmp_path)
    config = BusConfig(addresses={"gateway": "tcp://no-such-host.invalid:5560"}, curve_directory=tmp_path)
    with ZeroMqBus(VIEWER, config, tmp_path) as viewer, pytest.raises(ConfigurationError, match="not known"):
        ask(viewer)


def test_a_port_that_is_taken_is_a_configuration_error(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        config = BusConfig(addresses={"gateway": f"tcp://127.0.0.1:{taken.getsockname()[1]}"})
        with ZeroMqBus(GATEWAY, config, tmp_path) as gateway, pytest.raises(ConfigurationError, match="cannot listen"):
            gateway.publish(GatewayHeartbeat(()))


def test_listening_everywhere_says_not_where_to_connect(tmp_path: Path, closing: ExitStack) -> None:
    generate_keys(tmp_path / "keys")
    port = free_ports()
    there = BusConfig(addresses={"gateway": f"tcp://0.0.0.0:{port}"}, curve_directory=tmp_path / "keys")
    here = BusConfig(addresses={"gateway": f"tcp://127.0.0.1:{port}"}, curve_directory=tmp_path / "keys")
    gateway = closing.enter_context(ZeroMqBus(GATEWAY, there, tmp_path))
    serve_health(gateway, closing)
    assert ask(closing.enter_context(ZeroMqBus(VIEWER, here, tmp_path))).is_ready
    with pytest.raises(ConfigurationError, match="where to listen"):
        ask(closing.enter_context(ZeroMqBus(VIEWER, there, tmp_path)))


def test_a_client_whose_key_is_not_known_gets_nothing(tmp_path: Path, closing: ExitStack) -> None:
    config = network_config(tmp_path)
    gateway, viewer = (closing.enter_context(ZeroMqBus(role, config, tmp_path)) for role in (GATEWAY, VIEWER))
    served = []
    closing.enter_context(gateway.serve(GetGatewayHealth, lambda q: served.append(q) or Health(True)))
    generate_keys(tmp_path / "forged", (VIEWER,))
    real = (tmp_path / "keys" / "public" / "gateway.key").read_bytes()
    (tmp_path / "forged" / "public" / "gateway.key").write_bytes(real)
    forged = config.model_copy(update={"curve_directory": tmp_path / "forged"})
    intruder = closing.enter_context(ZeroMqBus(VIEWER, forged, tmp_path))
    with intruder.subscribe(GatewayHeartbeat) as overheard, viewer.subscribe(GatewayHeartbeat) as subscription:
        with pytest.raises(RequestTimeout):
            ask(intruder, NOBODY_S)
        connect(gateway, subscription)
        assert overheard.receive(0.0) is None
    assert served == []
    assert ask(viewer).is_ready


def test_a_client_without_keys_gets_nothing(tmp_path: Path, closing: ExitStack) -> None:
    config = network_config(tmp_path)
    gateway = closing.enter_context(ZeroMqBus(GATEWAY, config, tmp_path))
    serve_health(gateway, closing)
    plain = closing.enter_context(ZeroMqBus(VIEWER, config.model_copy(update={"curve_directory": None}), tmp_path))
    with pytest.raises(RequestTimeout):
        ask(plain, NOBODY_S)


def test_a_server_with_another_key_is_not_talked_to(tmp_path: Path, closing: ExitStack) -> None:
    config = network_config(tmp_path)
    generate_keys(tmp_path / "other")
    impostor = config.model_copy(update={"curve_directory": tmp_path / "other"})
    gateway = closing.enter_context(ZeroMqBus(GATEWAY, impostor, tmp_path))
    serve_health(gateway, closing)
    with pytest.raises(RequestTimeout):
        ask(closing.enter_context(ZeroMqBus(VIEWER, config, tmp_path)), NOBODY_S)


def test_keys_are_made_once_and_private_ones_are_private(tmp_path: Path) -> None:
    written = generate_keys(tmp_path)
    assert len(written) == 6
    assert generate_keys(tmp_path) == []
    assert stat.S_IMODE((tmp_path / "private").stat().st_mode) == 0o700
    for secret in (tmp_path / "private").iterdir():
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert all("secret-key" not in public.read_text() for public in (tmp_path / "public").iterdir())


def test_a_private_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    generate_keys(tmp_path)
    (tmp_path / "private" / "viewer.key_secret").chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        ZeroMqBus(VIEWER, BusConfig(curve_directory=tmp_path), tmp_path)


def test_missing_and_damaged_keys_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="neuroscan keys"):
        ZeroMqBus(VIEWER, BusConfig(curve_directory=tmp_path), tmp_path)
    generate_keys(tmp_path)
    (tmp_path / "public" / "gateway.key").write_text('public-key = "short"\n')
    with pytest.raises(ConfigurationError, match="damaged"):
        ZeroMqBus(VIEWER, BusConfig(curve_directory=tmp_path), tmp_path)


def test_roles_publish_and_serve_only_what_is_theirs(tmp_path: Path, closing: ExitStack) -> None:
    gateway, viewer = (closing.enter_context(ZeroMqBus(role, BusConfig(), tmp_path)) for role in (GATEWAY, VIEWER))
    with pytest.raises(BusError, match="published by the segmenter"):
        gateway.publish(mask_ready("1.2", 0))
    with pytest.raises(BusError, match="served by the gateway"), viewer.serve(ListSeries, lambda _: SeriesList(())):
        pass


def test_a_subscriber_outlives_a_restart_of_its_publisher(tmp_path: Path, closing: ExitStack) -> None:
    viewer = closing.enter_context(ZeroMqBus(VIEWER, BusConfig(), tmp_path))
    with viewer.subscribe(GatewayHeartbeat, SliceReceived) as subscription:
        for sequence in range(3):
            with ZeroMqBus(GATEWAY, BusConfig(), tmp_path) as gateway:
                connect(gateway, subscription)
                gateway.publish(slice_received("1.2", sequence))
                (event,) = take(subscription, 1)
                assert isinstance(event, SliceReceived)
                assert event.sequence == sequence


def test_a_client_outlives_a_restart_of_its_server(tmp_path: Path, closing: ExitStack) -> None:
    viewer = closing.enter_context(ZeroMqBus(VIEWER, BusConfig(), tmp_path))
    for _ in range(3):
        with ZeroMqBus(GATEWAY, BusConfig(), tmp_path) as gateway, ExitStack() as serving:
            serve_health(gateway, serving)
            assert ask(viewer).is_ready
        with pytest.raises(RequestTimeout):
            ask(viewer, 0.05)


def test_a_timed_out_request_is_not_carried_out_after_the_server_came(tmp_path: Path, closing: ExitStack) -> None:
    viewer = closing.enter_context(ZeroMqBus(VIEWER, BusConfig(), tmp_path))
    for _ in range(5):
        with pytest.raises(RequestTimeout):
            ask(viewer, 0.02)
    gateway = closing.enter_context(ZeroMqBus(GATEWAY, BusConfig(), tmp_path))
    served = []
    closing.enter_context(gateway.serve(GetGatewayHealth, lambda q: served.append(q) or Health(True)))
    assert ask(viewer).is_ready
    assert len(served) == 1


def test_garbage_from_a_publisher_is_passed_over(
    tmp_path: Path, closing: ExitStack, stranger: zmq.Context[zmq.Socket[bytes]]
) -> None:
    viewer = closing.enter_context(ZeroMqBus(VIEWER, BusConfig(), tmp_path))
    pub = stranger.socket(zmq.PUB)
    pub.bind(f"ipc://{tmp_path}/gateway.events")
    good = threading.Event()

    def publish() -> None:
        from neuroscan_core.bus.wire import encode

        while not good.wait(0.01):
            pub.send_multipart([b"SliceReceived/"])
            pub.send_multipart([b"SliceReceived/", b"\x95\x02", b"x"])
            pub.send_multipart([b"SliceReceived/", os.urandom(100), os.urandom(10)])
            pub.send_multipart(encode(slice_received("1.2", 3)))

    thread = threading.Thread(target=publish)
    thread.start()
    with viewer.subscribe(SliceReceived) as subscription:
        received = subscription.receive(PATIENCE_S)
        good.set()
        thread.join()
    pub.close(linger=0)
    assert isinstance(received, SliceReceived)


def test_garbage_to_a_server_is_passed_over(
    tmp_path: Path, closing: ExitStack, stranger: zmq.Context[zmq.Socket[bytes]]
) -> None:
    gateway, viewer = (closing.enter_context(ZeroMqBus(role, BusConfig(), tmp_path)) for role in (GATEWAY, VIEWER))
    serve_health(gateway, closing)
    dealer = stranger.socket(zmq.DEALER)
    dealer.connect(f"ipc://{tmp_path}/gateway.requests")
    dealer.send_multipart([b""])
    dealer.send_multipart([b"1", b"GetGatewayHealth/"])
    dealer.send_multipart([b"1", b"NoSuchThing/", b"x"])
    dealer.send_multipart([b"2", b"GetGatewayHealth/", b"x" * 1000, b"y"])
    assert dealer.poll(PATIENCE_S * 1000)
    correlation, topic, *_ = dealer.recv_multipart()
    dealer.close(linger=0)
    assert (correlation, topic) == (b"2", b"Failure/")
    assert ask(viewer).is_ready


def test_a_message_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    with ZeroMqBus(GATEWAY, BusConfig(), tmp_path) as gateway, pytest.raises(WireFormatError):
        gateway.publish(GatewayHeartbeat((object(),)))  # type: ignore[arg-type]


def test_whoever_serves_a_role_can_be_subscribed_to_before_its_first_event(tmp_path: Path, closing: ExitStack) -> None:
    bus = closing.enter_context(ZeroMqBus(SEGMENTER, BusConfig(), tmp_path))
    closing.enter_context(bus.serve(GetSegmenterHealth, lambda _: Health(True)))
    assert (tmp_path / "segmenter.events").is_socket()
