"""Storage commitment in both directions."""

from __future__ import annotations

import queue
import random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from prometheus_client import CollectorRegistry
from pydicom.dataset import Dataset
from pynetdicom import AE, build_context, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from dicom_gateway.archive import Archive, CommitmentMode, Faults
from dicom_gateway.deliver import Delivery, revive
from dicom_gateway.deliver.commitment import CommitmentReport, commitment_request, parse_report
from dicom_gateway.deliver.scu import REQUEST_COMMITMENT
from dicom_gateway.ingest import Spool, StorageScp
from dicom_gateway.journal import DeliveryState, SeriesState
from neuroscan_core.domain.errors import UnreadableObject
from tests.deliver.world import MR, PATIENCE_S, SEG, World, eventually
from tests.ingest.node import RecordingSink

# `ask` releases as soon as the report is there; on a busy machine pynetdicom's requestor then still wants to answer it.
pytestmark = pytest.mark.filterwarnings(
    r"ignore:Exception in thread Thread-\d+ \(run_reactor\):pytest.PytestUnhandledThreadExceptionWarning"
)


@contextmanager
def serve(world: World, delivery: Delivery, port: int = 0) -> Iterator[int]:
    """The node's SCP around a delivery; yields its port."""
    gateway = world.config.gateway.model_copy(update={"host": "127.0.0.1", "port": port})
    scp = StorageScp(
        gateway, Spool(world.config.spool_dir), world.journal, RecordingSink(), registry=CollectorRegistry(),
        extra_contexts=delivery.association_contexts(), extra_handlers=delivery.handlers(),
    )  # fmt: skip
    scp.start()
    try:
        yield scp.address[1]
    finally:
        scp.stop(2.0)


def test_a_report_on_the_same_association_commits_the_result(world: World, archive: Archive) -> None:
    world.configure(archive.port, storage_commitment=True)
    uid = world.add()
    world.delivery().run_once()
    first, second = world.next_published(), world.next_published()
    assert (first.is_committed, second.is_committed) == (False, True)
    assert second.sop_instance_uid == uid
    eventually(lambda: world.series().state is SeriesState.COMMITTED)
    assert world.row(uid).state is DeliveryState.COMMITTED
    assert world.row(uid).committed_at_s == world.clock()
    assert archive.num_associations == 1


def test_results_stored_together_are_one_transaction(world: World, archive: Archive, faults: Faults) -> None:
    faults.commitment = CommitmentMode.NEVER
    world.configure(archive.port, storage_commitment=True)
    first, second = world.add(), world.add(series_uid="2.25.78")
    world.delivery().run_once()
    assert world.row(first).transaction_uid == world.row(second).transaction_uid != ""


def test_a_report_on_another_association_commits_the_result(world: World, archive: Archive, faults: Faults) -> None:
    faults.commitment = CommitmentMode.NEW_ASSOCIATION
    world.configure(archive.port, storage_commitment=True)
    uid = world.add()
    delivery = world.delivery()
    with serve(world, delivery) as port:
        archive.peers["NEUROSCAN"] = ("127.0.0.1", port)
        delivery.run_once()
        eventually(lambda: world.row(uid).state is DeliveryState.COMMITTED)


def test_an_archive_that_does_not_report_is_asked_again(world: World, archive: Archive, faults: Faults) -> None:
    faults.commitment = CommitmentMode.NEVER
    world.configure(archive.port, storage_commitment=True, commitment_timeout_s=100)
    uid = world.add()
    delivery = world.delivery()
    delivery.run_once()
    first = world.row(uid).transaction_uid
    world.clock.now_s += 50
    delivery.run_once()
    assert world.row(uid).transaction_uid == first, "not yet"
    world.clock.now_s += 60
    faults.commitment = CommitmentMode.SAME_ASSOCIATION
    delivery.run_once()
    assert world.row(uid).transaction_uid != first
    eventually(lambda: world.row(uid).state is DeliveryState.COMMITTED)
    assert archive.num_stored == 1, "it was stored once"


def test_a_late_report_on_the_first_transaction_still_counts(world: World, archive: Archive, faults: Faults) -> None:
    faults.commitment = CommitmentMode.NEVER
    world.configure(archive.port, storage_commitment=True, commitment_timeout_s=100)
    uid = world.add()
    delivery = world.delivery()
    delivery.run_once()
    first = world.row(uid).transaction_uid
    world.clock.now_s += 200
    delivery.run_once()
    assert delivery.take_report(CommitmentReport(first, ((SEG, uid),)).to_dataset()) == 0x0000
    assert world.row(uid).state is DeliveryState.COMMITTED
    assert delivery.take_report(CommitmentReport(first, ((SEG, uid),)).to_dataset()) == 0x0000, "and may be repeated"


def test_an_archive_that_never_reports_ends_as_a_dead_letter(world: World, archive: Archive, faults: Faults) -> None:
    faults.commitment = CommitmentMode.NEVER
    world.configure(archive.port, storage_commitment=True, commitment_timeout_s=100, max_attempts=3)
    uid = world.add()
    delivery = world.delivery()
    for _ in range(5):
        delivery.run_once()
        world.clock.now_s += 200
    assert world.row(uid).state is DeliveryState.DEAD_LETTER
    assert "never committed" in world.row(uid).last_error
    faults.commitment = CommitmentMode.SAME_ASSOCIATION
    assert revive(world.journal, uid, world.clock()) == 1
    delivery.run_once()
    eventually(lambda: world.series().state is SeriesState.COMMITTED)


def test_an_object_that_the_archive_lost_is_stored_again(world: World, archive: Archive, faults: Faults) -> None:
    faults.failure_reason = 0x0112
    world.configure(archive.port, storage_commitment=True)
    uid = world.add()
    delivery = world.delivery()
    delivery.run_once()
    eventually(lambda: world.row(uid).state is DeliveryState.QUEUED)
    assert "does not have the object" in world.row(uid).last_error
    faults.failure_reason = 0
    world.clock.now_s += 10
    delivery.run_once()
    eventually(lambda: world.row(uid).state is DeliveryState.COMMITTED)
    assert archive.num_stored == 2


def test_a_permanent_failure_reason_is_a_dead_letter(world: World, archive: Archive, faults: Faults) -> None:
    faults.failure_reason = 0x0119
    world.configure(archive.port, storage_commitment=True)
    uid = world.add()
    world.delivery().run_once()
    eventually(lambda: world.series().state is SeriesState.DEAD_LETTER)
    assert "0x0119" in world.row(uid).last_error


def test_an_archive_without_storage_commitment_is_said_to_lack_it(world: World) -> None:
    ae = AE(ae_title="PLAIN")
    ae.add_supported_context(SEG)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, lambda _: 0x0000)])
    try:
        world.configure(server.server_address[1], storage_commitment=True)
        uid = world.add()
        delivery = world.delivery()
        delivery.run_once()
        assert "does not offer storage commitment" in world.row(uid).last_error
        assert world.row(uid).state is DeliveryState.DELIVERED
        assert world.row(uid).next_attempt_at_s > world.clock()
    finally:
        server.shutdown()


def test_a_report_about_nothing_known_is_answered_with_a_failure(world: World) -> None:
    delivery = world.delivery()
    assert delivery.take_report(CommitmentReport("2.25.9", ((SEG, "2.25.8"),)).to_dataset()) == 0x0110
    assert delivery.take_report(Dataset()) == 0x0115


def test_asked_for_before_a_crash_and_reported_after_it(world: World, archive: Archive, faults: Faults) -> None:
    faults.commitment = CommitmentMode.NEVER
    world.configure(archive.port, storage_commitment=True)
    uid = world.add()
    world.delivery().run_once()
    transaction = world.row(uid).transaction_uid
    after = Delivery(
        world.config, world.journal, world.published.put, clock=world.clock, registry=CollectorRegistry(),
        random=random.Random(1),
    )  # fmt: skip
    assert after.take_report(CommitmentReport(transaction, ((SEG, uid),)).to_dataset()) == 0x0000
    assert world.row(uid).state is DeliveryState.COMMITTED


@pytest.mark.parametrize(
    "report",
    [
        CommitmentReport("2.25.1", ((SEG, "2.25.2"), (MR, "2.25.3"))),
        CommitmentReport("2.25.1", ((SEG, "2.25.2"),), (((MR, "2.25.3"), 0x0112),)),
        CommitmentReport("2.25.1", (), (((MR, "2.25.3"), 0x0213),)),
    ],
)
def test_reports_survive_being_written_and_read(report: CommitmentReport) -> None:
    assert parse_report(report.to_dataset()) == report
    assert report.event_type == (2 if report.failed else 1)


def test_a_report_without_transaction_is_unreadable() -> None:
    with pytest.raises(UnreadableObject):
        parse_report(Dataset())


# ------------------------------------------------------------------------------- a scanner asks this node to commit


@pytest.fixture
def asked(world: World) -> Iterator[tuple[World, int]]:
    """The node's SCP with one received series."""
    world.add_series("2.25.77")
    delivery = world.delivery()
    delivery.start()
    with serve(world, delivery) as port:
        yield world, port


def ask(port: int, references: list[tuple[str, str]], *, release: bool = False) -> tuple[int, Dataset] | None:
    """What a scanner does: N-ACTION, then wait for N-EVENT-REPORT on the same association."""
    reports: queue.Queue[tuple[int, Dataset]] = queue.Queue()

    def on_report(event: evt.Event) -> tuple[int, None]:
        reports.put((event.event_type, event.event_information))
        return 0x0000, None

    ae = AE(ae_title="SCANNER")
    assoc = ae.associate(
        "127.0.0.1", port, contexts=[build_context(StorageCommitmentPushModel)],
        evt_handlers=[(evt.EVT_N_EVENT_REPORT, on_report)],
    )  # fmt: skip
    assert assoc.is_established
    status, _ = assoc.send_n_action(
        commitment_request("2.25.5", references), REQUEST_COMMITMENT, StorageCommitmentPushModel,
        StorageCommitmentPushModelInstance,
    )  # fmt: skip
    assert status.Status == 0x0000
    try:
        return None if release else reports.get(timeout=PATIENCE_S)
    finally:
        assoc.release()


def test_the_node_commits_to_what_it_has_journaled(asked: tuple[World, int]) -> None:
    world, port = asked
    references = [(MR, record.sop_uid) for record in world.journal.instances("2.25.77")]
    answer = ask(port, references)
    assert answer is not None
    event_type, information = answer
    assert event_type == 1
    assert parse_report(information) == CommitmentReport("2.25.5", tuple(references))


def test_the_node_does_not_commit_to_what_it_does_not_have(asked: tuple[World, int]) -> None:
    world, port = asked
    kept = world.journal.instances("2.25.77")[0].sop_uid
    answer = ask(port, [(MR, kept), (MR, "2.25.404"), (SEG, kept)])
    assert answer is not None
    event_type, information = answer
    assert event_type == 2
    report = parse_report(information)
    assert report.committed == ((MR, kept),)
    assert report.failed == (((MR, "2.25.404"), 0x0112), ((SEG, kept), 0x0119))


def test_the_node_does_not_commit_to_what_it_has_purged(asked: tuple[World, int]) -> None:
    world, port = asked
    world.journal.record("2.25.77", state=SeriesState.PURGED)
    answer = ask(port, [(MR, world.journal.instances("2.25.77")[0].sop_uid)])
    assert answer is not None
    assert answer[0] == 2


def test_a_scanner_that_has_released_is_called_where_its_address_is_known(world: World) -> None:
    reports: queue.Queue[Dataset] = queue.Queue()

    def on_report(event: evt.Event) -> tuple[int, None]:
        reports.put(event.event_information)
        return 0x0000, None

    scanner = AE(ae_title="SCANNER")
    scanner.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
    listening = scanner.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, on_report)])
    assert listening is not None
    world.configure(listening.server_address[1], ae_title="SCANNER", send=[])
    world.add_series("2.25.77")
    delivery = world.delivery()
    try:
        with serve(world, delivery) as port:
            ask(port, [(MR, world.journal.instances("2.25.77")[0].sop_uid)], release=True)
            delivery.start()
            assert parse_report(reports.get(timeout=PATIENCE_S)).failed == ()
    finally:
        listening.shutdown()
