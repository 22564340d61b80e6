"""Peers that may not, and peers that do not keep to the protocol: the node lives on and others notice nothing."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator

import pytest

from dicom_gateway.ingest import contexts, statuses
from dicom_gateway.ingest.access import (
    CALLED_AE_NOT_RECOGNISED,
    CALLING_AE_NOT_RECOGNISED,
    LOCAL_LIMIT_EXCEEDED,
    AccessList,
)
from neuroscan_core.config import AllowConfig
from neuroscan_core.domain.errors import ConfigurationError
from tests.ingest.node import Node, make_node
from tests.ingest.objects import EXPLICIT, MR, encode, mr_image
from tests.ingest.peer import Aborted, Peer, Rejected, association_request, p_data, store_command

StartNode = Callable[..., Node]


@pytest.fixture
def bystander(node: Node) -> Iterator[Peer]:
    """Another association, which must not notice anything."""
    with Peer(node.address, calling="BYSTANDER") as peer:
        assert peer.store(mr_image())[0] == statuses.SUCCESS
        yield peer
        assert peer.store(mr_image())[0] == statuses.SUCCESS
        peer.release()


def assert_ends(peer: Peer) -> None:
    """The node aborts or closes within its patience; a time-out of the test's socket would be another error."""
    with pytest.raises((Aborted, ConnectionError)):
        while True:
            peer.read_pdu()


# ------------------------------------------------------------------------------------------------------------ who may


def test_rejects_unknown_application_entities_for_good(start_node: StartNode) -> None:
    node = start_node(allow={"calling_ae": ["MR1"], "called_ae": ["NEUROSCAN", "EDGE"]})
    for request, rejection in (
        ({"calling": "MR2"}, CALLING_AE_NOT_RECOGNISED),
        ({"calling": "MR1", "called": "OTHER"}, CALLED_AE_NOT_RECOGNISED),
    ):
        with pytest.raises(Rejected) as caught:
            Peer(node.address, **request)
        assert caught.value.args == rejection
    with Peer(node.address, calling="MR1", called="EDGE") as peer:
        assert peer.store(mr_image())[0] == statuses.SUCCESS
    assert len(node.sink.opened) == 1


def test_closes_connections_from_other_networks_unheard(start_node: StartNode) -> None:
    node = start_node(allow={"peers": ["10.0.0.0/8", "192.168.1.7"]})
    with Peer(node.address, associate=False) as peer:
        assert_ends(peer)
    assert node.sink.opened == []


def test_reads_networks_of_both_families_and_mapped_addresses() -> None:
    access = AccessList(AllowConfig(peers=("10.1.0.0/16", "fe80::/10", "192.168.1.7")))
    assert all(map(access.admits_address, ("10.1.2.3", "::ffff:10.1.2.3", "fe80::1%eth0", "192.168.1.7")))
    assert not any(map(access.admits_address, ("10.2.0.1", "::1", "192.168.1.8", "::ffff:10.2.0.1")))
    assert AccessList(AllowConfig()).admits_address("8.8.8.8")
    with pytest.raises(ConfigurationError, match="neither an address nor a network"):
        AccessList(AllowConfig(peers=("scanner",)))


def test_rejects_one_association_too_many_for_now(start_node: StartNode) -> None:
    node = start_node(limits={"max_associations": 2})
    with Peer(node.address) as first, Peer(node.address) as second:
        with pytest.raises(Rejected) as caught:
            Peer(node.address)
        assert caught.value.args == LOCAL_LIMIT_EXCEEDED
        first.release()
        node.sink.await_closed(1)
        assert second.store(mr_image())[0] == statuses.SUCCESS
        first.socket.close()
        node.sink.await_closed(1)
        for _ in range(100):  # the node forgets the first association a moment after it was released
            try:
                with Peer(node.address) as third:
                    assert third.store(mr_image())[0] == statuses.SUCCESS
                break
            except Rejected:
                continue
        else:
            pytest.fail("the place of the released association stays taken")


def test_takes_configured_sop_classes_by_uid_and_keyword(start_node: StartNode) -> None:
    ct, pet = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.128"
    node = start_node(extra_sop_classes=["CTImageStorage", pet])
    proposed = [(ct, EXPLICIT), (pet, EXPLICIT), ("1.2.840.10008.5.1.4.1.1.1", EXPLICIT)]
    with Peer(node.address, contexts=proposed) as peer:
        assert sorted(peer.accepted) == [1, 3]
        assert peer.store(mr_image(SOPClassUID=ct), sop_class=ct)[0] == statuses.SUCCESS
    with pytest.raises(ConfigurationError, match="CTImage"):
        contexts.storage_contexts(["CTImage"])


def test_tells_senders_its_largest_pdu(start_node: StartNode) -> None:
    node = start_node(limits={"max_pdu_bytes": 50_000})
    with Peer(node.address) as peer:
        assert peer.max_pdu == 50_000
        ds = mr_image(256, 256, bytes(1 << 17))
        assert peer.store(ds, fragment_bytes=49_994)[0] == statuses.SUCCESS
        peer.send(p_data(store_command(MR, "1.2.3"), command=True))
        peer.send(p_data(bytes(49_995)))
        assert_ends(peer)


# ------------------------------------------------------------------------------------------------------------- garbage


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: node\r\n\r\n",
        b"\0" * 1000,
        os.urandom(3000),
        struct.pack(">BxL", 1, 0xFFFFFFFF),
        struct.pack(">BxL", 1, 100) + b"\xff" * 100,
        association_request()[:100] + b"\xff" * 400,
        struct.pack(">BxL", 4, 8) + b"\0\0\0\4\1\3ab",
        struct.pack(">BxL", 5, 4) + bytes(4),
    ],
    ids=["http", "zeros", "random", "4GiB", "ones", "damaged", "data-first", "release-first"],
)
def test_garbage_instead_of_an_association_ends_that_connection_alone(
    node: Node, bystander: Peer, garbage: bytes
) -> None:
    with Peer(node.address, associate=False) as peer:
        peer.send(garbage)
        peer.socket.shutdown(1)
        assert_ends(peer)


@pytest.mark.parametrize(
    "garbage",
    [
        struct.pack(">BxL", 9, 4) + bytes(4),
        struct.pack(">BxL", 4, 0xFFFFFFF0),
        struct.pack(">BxL", 4, 0),
        struct.pack(">BxLLBB", 4, 6, 100, 1, 3),
        struct.pack(">BxLLBB", 4, 6, 1, 1, 3),
        struct.pack(">BxL", 4, 3) + b"abc",
        p_data(b"\xff" * 30, command=True),
        p_data(b"data without a command"),
        p_data(b"x" * 70_000, command=True, last=False),
        p_data(store_command(MR, "1.2.3"), command=True, context_id=99),
        p_data(store_command(MR, "1.2.3"), command=True) + p_data(store_command(MR, "1.2.3"), command=True),
        p_data(store_command(MR, "1.2.3"), command=True) + p_data(b"x", context_id=3),
        association_request(),
    ],
)
def test_garbage_within_an_association_aborts_that_one_alone(node: Node, bystander: Peer, garbage: bytes) -> None:
    with Peer(node.address) as peer:
        peer.send(garbage)
        assert_ends(peer)
    node.sink.await_closed(1)
    assert node.sink.closed[0][1] is False


@pytest.mark.parametrize("cut", [1, 5, 6, 11, 12, 50, 5000])
def test_a_connection_lost_in_the_middle_of_an_object_leaves_nothing(node: Node, bystander: Peer, cut: int) -> None:
    ds = mr_image(64, 64, bytes(8192))
    request = p_data(store_command(MR, ds.SOPInstanceUID), command=True)
    with Peer(node.address) as peer:
        peer.send(request + p_data(encode(ds))[:cut])
    node.sink.await_closed(1)
    assert len(node.files()) == 1, "the bystander's"
    assert node.journal.instance(ds.SOPInstanceUID) is None


def test_an_abort_in_the_middle_of_an_object_leaves_nothing(node: Node, bystander: Peer) -> None:
    ds = mr_image()
    with Peer(node.address) as peer:
        peer.send(p_data(store_command(MR, ds.SOPInstanceUID), command=True) + p_data(encode(ds)[:200], last=False))
        peer.send(struct.pack(">BxL4x", 7, 4))
        node.sink.await_closed(1)
    assert len(node.files()) == 1, "the bystander's"
    assert node.sink.closed[0][1] is False


def test_a_peer_that_leaves_before_its_response_loses_nothing(node: Node, bystander: Peer) -> None:
    ds = mr_image()
    with Peer(node.address) as peer:
        peer.send(p_data(store_command(MR, ds.SOPInstanceUID), command=True) + p_data(encode(ds)))
    node.sink.await_closed(1)
    assert node.journal.instance(ds.SOPInstanceUID) is not None


# ---------------------------------------------------------------------------------------------------------- slow peers


def test_gives_up_on_half_an_association_request(start_node: StartNode) -> None:
    node = start_node(limits={"acse_timeout_s": 0.2})
    for beginning in (b"", association_request()[:3], association_request()[:50]):
        with Peer(node.address, associate=False) as peer:
            peer.send(beginning)
            assert_ends(peer)


def test_gives_up_on_half_a_message_wherever_it_stops(start_node: StartNode) -> None:
    node = start_node(limits={"dimse_timeout_s": 0.2})
    whole = p_data(store_command(MR, "1.2.3"), command=True) + p_data(bytes(100))
    first = len(p_data(store_command(MR, "1.2.3"), command=True))
    for size in (3, 20, first, first + 3, first + 50):
        with Peer(node.address) as peer:
            peer.send(whole[:size])
            assert_ends(peer)


def test_gives_up_on_an_idle_association(start_node: StartNode) -> None:
    node = start_node(limits={"network_timeout_s": 0.2})
    with Peer(node.address) as peer:
        assert peer.store(mr_image())[0] == statuses.SUCCESS
        assert_ends(peer)
    node.sink.await_closed(1)


# ------------------------------------------------------------------------------------------------------------- stopping


def test_stopping_waits_for_associations_that_end(start_node: StartNode) -> None:
    import threading

    node = start_node()
    peer = Peer(node.address)
    stopping = threading.Thread(target=node.scp.stop, args=(20.0,), name="stopping")
    stopping.start()
    assert peer.store(mr_image())[0] == statuses.SUCCESS
    peer.release()
    peer.socket.close()
    stopping.join(20.0)
    assert not stopping.is_alive()
    assert node.sink.closed[0][1] is True


def test_stopping_aborts_associations_that_stay_and_those_stuck_in_a_message(start_node: StartNode) -> None:
    import threading

    node = start_node()
    with Peer(node.address) as idle, Peer(node.address) as stuck, Peer(node.address, associate=False) as silent:
        stuck.send(p_data(store_command(MR, "1.2.3"), command=True) + p_data(bytes(100))[:40])
        idle.store(mr_image())
        node.scp.stop(0.0)
        for peer in (idle, stuck, silent):
            assert_ends(peer)
    assert [name for name in (t.name for t in threading.enumerate()) if name.startswith("ingest")] == []
    assert "does not listen" in node.scp.problems()[0]


def test_an_address_in_use_is_a_configuration_error(node: Node, tmp_path: object) -> None:
    second = make_node(node.folder, spool=node.spool, journal=node.journal, port=node.address[1])
    with pytest.raises(ConfigurationError, match="Cannot listen"):
        second.scp.start()
    second.scp.stop(0.0)
