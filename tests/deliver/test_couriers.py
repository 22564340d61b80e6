"""What becomes of a result when the archive is well, down, slow, unwilling or dying."""

from __future__ import annotations

import threading

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, AllStoragePresentationContexts, evt

from dicom_gateway.archive import Archive, Faults
from dicom_gateway.deliver import revive
from dicom_gateway.deliver.backoff import BreakerState
from dicom_gateway.journal import DeliveryState, SeriesState
from tests.deliver.world import LABEL_MAP, SR, World, eventually


def test_stores_a_result_as_it_is_and_says_so(world: World, archive: Archive) -> None:
    world.configure(archive.port)
    uid = world.add()
    world.clock.now_s += 0.25
    world.delivery().run_once()

    stored = archive.path_of(uid)
    assert stored is not None
    sent = world.config.results_dir / world.row(uid).result.path
    assert dcmread(stored) == dcmread(sent)
    event = world.next_published()
    assert (event.sop_instance_uid, event.destination, event.modality) == (uid, "pacs", "SEG")
    assert event.delay_s == pytest.approx(0.25)
    assert not event.is_committed
    assert world.row(uid).state is DeliveryState.DELIVERED
    assert world.series().state is SeriesState.DELIVERED
    assert world.series().finished_at_s == world.clock.now_s


def test_delivers_in_the_background_when_notified(world: World, archive: Archive) -> None:
    world.configure(archive.port)
    with world.delivery() as delivery:
        uid = world.add()
        delivery.notify()
        assert world.next_published().sop_instance_uid == uid


def test_finds_what_another_process_queued_without_being_notified(world: World, archive: Archive) -> None:
    world.configure(archive.port)
    with world.delivery():
        uid = world.add()
        assert world.next_published().sop_instance_uid == uid


def test_stop_finishes_what_is_due(world: World, archive: Archive) -> None:
    world.configure(archive.port)
    uids = {world.add(series_uid=f"2.25.{k}") for k in range(5)}
    delivery = world.delivery()
    delivery.start()
    delivery.stop(drain_s=20.0)
    assert archive.sop_instance_uids == uids


def test_all_results_of_a_round_share_one_association(world: World, archive: Archive) -> None:
    world.configure(archive.port)
    for k in range(4):
        world.add(series_uid=f"2.25.{k}")
    world.delivery().run_once()
    assert (archive.num_stored, archive.num_associations) == (4, 1)


def test_an_association_opened_in_advance_carries_the_result(world: World, archive: Archive) -> None:
    world.configure(archive.port)
    delivery = world.delivery()
    delivery.warm_up()
    delivery.run_once()
    assert archive.num_associations == 1
    world.add(sop_class_uid=LABEL_MAP, rle=True)
    delivery.run_once()
    assert (archive.num_stored, archive.num_associations) == (1, 1)


def test_an_idle_association_is_released(world: World, archive: Archive) -> None:
    world.configure(archive.port)
    delivery = world.delivery()
    delivery.warm_up()
    delivery.run_once()
    world.clock.now_s += 60
    delivery.run_once()
    world.add()
    delivery.run_once()
    assert archive.num_associations == 2


def test_an_association_that_the_archive_closed_costs_no_attempt(world: World, archive: Archive) -> None:
    world.configure(archive.port)
    delivery = world.delivery()
    world.add()
    delivery.run_once()
    archive.stop()
    archive.start()
    uid = world.add(series_uid="2.25.78")
    delivery.run_once()
    assert world.row(uid).state is DeliveryState.DELIVERED
    assert world.row(uid).attempts == 1


def test_delivers_after_the_archive_came_up(world: World, archive: Archive) -> None:
    archive.stop()
    world.configure(archive.port)
    uid = world.add()
    delivery = world.delivery()
    delivery.run_once()
    row = world.row(uid)
    assert row.state is DeliveryState.QUEUED
    assert row.next_attempt_at_s > world.clock()
    assert "Nothing answers" in row.last_error
    assert world.series().state is SeriesState.DELIVERING

    archive.start()
    delivery.run_once()
    assert archive.num_stored == 0, "the backoff is not over"
    world.clock.now_s += 5
    delivery.run_once()
    assert archive.sop_instance_uids == {uid}
    assert world.series().state is SeriesState.DELIVERED


def test_an_archive_that_is_down_opens_the_breaker_and_makes_no_dead_letters(world: World, archive: Archive) -> None:
    archive.stop()
    world.configure(archive.port, max_attempts=5)
    uid = world.add()
    delivery = world.delivery()
    for _ in range(12):
        delivery.run_once()
        world.clock.now_s += 100
    assert world.row(uid).state is DeliveryState.QUEUED
    assert world.row(uid).attempts < 5
    (health,) = delivery.states()
    assert health.breaker is BreakerState.OPEN
    assert health.queue_length == 1
    assert any("pacs cannot be reached" in sentence for sentence in delivery.problems())

    archive.start()
    world.clock.now_s += 100
    delivery.run_once()
    assert world.row(uid).state is DeliveryState.DELIVERED
    assert delivery.states()[0].breaker is BreakerState.CLOSED
    assert delivery.problems() == ()


@pytest.mark.parametrize("status", [0xA700, 0x0110, 0x0213])
def test_a_transient_refusal_is_tried_again(world: World, archive: Archive, faults: Faults, status: int) -> None:
    world.configure(archive.port)
    faults.refuse_status, faults.refuse_next = status, 2
    uid = world.add()
    delivery = world.delivery()
    for _ in range(3):
        delivery.run_once()
        world.clock.now_s += 10
    assert archive.sop_instance_uids == {uid}
    assert world.row(uid).attempts == 3


@pytest.mark.parametrize("status", [0xA900, 0xC000, 0xC123, 0x0122, 0x0124])
def test_a_permanent_refusal_is_a_dead_letter_with_the_reason(
    world: World, archive: Archive, faults: Faults, status: int
) -> None:
    world.configure(archive.port)
    faults.refuse_status = status
    uid = world.add()
    delivery = world.delivery()
    delivery.run_once()
    row = world.row(uid)
    assert (row.state, row.attempts) == (DeliveryState.DEAD_LETTER, 1)
    assert f"0x{status:04X}" in row.last_error
    assert world.series().state is SeriesState.DEAD_LETTER
    assert any("neuroscan retry pacs" in sentence for sentence in delivery.problems())


@pytest.mark.parametrize("status", [0xB000, 0xB006, 0xB007, 0x0111])
def test_warnings_and_duplicates_count_as_stored(world: World, archive: Archive, faults: Faults, status: int) -> None:
    world.configure(archive.port)
    faults.refuse_status = status
    uid = world.add()
    world.delivery().run_once()
    assert world.row(uid).state is DeliveryState.DELIVERED
    assert f"0x{status:04X}" in world.row(uid).last_error


def test_refusals_beyond_the_limit_are_a_dead_letter_that_can_be_revived(
    world: World, archive: Archive, faults: Faults
) -> None:
    world.configure(archive.port, max_attempts=3)
    faults.refuse_status = 0xA700
    uid = world.add()
    delivery = world.delivery()
    for _ in range(5):
        delivery.run_once()
        world.clock.now_s += 1000
    assert (world.row(uid).state, world.row(uid).attempts) == (DeliveryState.DEAD_LETTER, 3)

    faults.refuse_status = 0
    delivery.run_once()
    assert archive.num_stored == 0, "a dead letter is not sent by itself"
    assert revive(world.journal, "2.25.77", world.clock()) == 1
    assert world.series().state is SeriesState.DELIVERING
    delivery.run_once()
    assert archive.sop_instance_uids == {uid}
    assert world.series().state is SeriesState.DELIVERED


def test_one_refused_result_does_not_hold_up_the_others(world: World, archive: Archive, faults: Faults) -> None:
    world.configure(archive.port)
    faults.refuse_status, faults.refuse_next = 0xC000, 1
    first, second = world.add(), world.add(series_uid="2.25.78")
    world.delivery().run_once()
    assert world.row(first).state is DeliveryState.DEAD_LETTER
    assert world.row(second).state is DeliveryState.DELIVERED


def test_an_abort_in_the_middle_of_an_object_is_tried_again(world: World, archive: Archive, faults: Faults) -> None:
    world.configure(archive.port)
    faults.abort_next = 1
    first, second = world.add(), world.add(series_uid="2.25.78")
    delivery = world.delivery()
    delivery.run_once()
    assert world.row(first).state is DeliveryState.QUEUED
    assert "broke" in world.row(first).last_error
    assert world.row(second).state is DeliveryState.DELIVERED
    world.clock.now_s += 10
    delivery.run_once()
    assert archive.sop_instance_uids == {first, second}


def test_a_slow_archive_is_waited_for(world: World, archive: Archive, faults: Faults) -> None:
    world.configure(archive.port)
    faults.delay = threading.Event()
    with world.delivery() as delivery:
        uid = world.add()
        delivery.notify()
        eventually(lambda: archive.num_associations == 1)
        assert world.row(uid).state is DeliveryState.QUEUED
        faults.delay.set()
        assert world.next_published().sop_instance_uid == uid


def test_an_archive_that_never_answers_is_given_up_for_now(world: World, archive: Archive, faults: Faults) -> None:
    world.configure(archive.port, timeout_s=0.2)
    faults.delay = threading.Event()
    uid = world.add()
    world.delivery().run_once()
    assert world.row(uid).state is DeliveryState.QUEUED
    assert world.row(uid).attempts == 1
    faults.delay.set()


def test_a_missing_file_is_a_dead_letter(world: World, archive: Archive) -> None:
    world.configure(archive.port)
    uid = world.add()
    (world.config.results_dir / world.row(uid).result.path).unlink()
    world.delivery().run_once()
    assert world.row(uid).state is DeliveryState.DEAD_LETTER


def test_a_destination_that_left_the_configuration_makes_visible_dead_letters(world: World, archive: Archive) -> None:
    world.configure(archive.port)
    uid = world.add()
    world.destinations([])
    with world.delivery():
        pass
    assert world.row(uid).state is DeliveryState.DEAD_LETTER
    assert "configuration" in world.row(uid).last_error


def test_an_archive_that_takes_only_implicit_vr_gets_the_same_pixels(world: World) -> None:
    received = []

    def on_store(event: evt.Event) -> int:
        received.append((event.context.transfer_syntax, event.dataset))
        return 0x0000

    ae = AE(ae_title="OLD")
    for context in AllStoragePresentationContexts:
        ae.add_supported_context(context.abstract_syntax, "1.2.840.10008.1.2")
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, on_store)])
    try:
        world.configure(server.server_address[1])
        plain, packed = world.add(), world.add(sop_class_uid=LABEL_MAP, rle=True)
        world.delivery().run_once()
    finally:
        server.shutdown()
    assert {str(syntax) for syntax, _ in received} == {"1.2.840.10008.1.2"}
    assert [str(ds.SOPInstanceUID) for _, ds in received] == [plain, packed]
    assert all(ds.PixelData == bytes(range(256)) for _, ds in received)


def test_an_archive_without_the_sop_class_is_a_dead_letter_that_says_so(world: World) -> None:
    ae = AE(ae_title="SEGONLY")
    ae.add_supported_context("1.2.840.10008.5.1.4.1.1.66.4")
    server = ae.start_server(("127.0.0.1", 0), block=False)
    try:
        world.configure(server.server_address[1])
        uid = world.add("SR", SR)
        world.delivery().run_once()
    finally:
        server.shutdown()
    assert world.row(uid).state is DeliveryState.DEAD_LETTER
    assert SR in world.row(uid).last_error


def test_a_rejected_association_says_why(world: World) -> None:
    ae = AE(ae_title="STRICT")
    ae.require_calling_aet = ["SOMEONE"]
    ae.add_supported_context("1.2.840.10008.5.1.4.1.1.66.4")
    server = ae.start_server(("127.0.0.1", 0), block=False)
    try:
        world.configure(server.server_address[1])
        uid = world.add()
        world.delivery().run_once()
    finally:
        server.shutdown()
    assert "Calling AE title not recognised" in world.row(uid).last_error


def test_the_state_of_a_series_waits_for_its_segmentation(world: World, archive: Archive) -> None:
    world.configure(archive.port)
    world.add(state=SeriesState.SEGMENTING)
    delivery = world.delivery()
    delivery.run_once()
    assert archive.num_stored == 1
    assert world.series().state is SeriesState.SEGMENTING
    world.journal.advance("2.25.77", [SeriesState.SEGMENTING], SeriesState.SEGMENTED)
    delivery.run_once()
    assert world.series().state is SeriesState.DELIVERED


def test_a_reopened_series_is_left_alone(world: World, archive: Archive) -> None:
    world.configure(archive.port)
    world.add()
    world.journal.record("2.25.77", state=SeriesState.RECEIVING)
    world.delivery().run_once()
    assert archive.num_stored == 1
    assert world.series().state is SeriesState.RECEIVING


def test_a_series_is_delivered_when_all_its_destinations_have_it(
    world: World, archive: Archive, tmp_path_factory: pytest.TempPathFactory
) -> None:
    faults = Faults(refuse_status=0xA700, refuse_next=1)
    with Archive(tmp_path_factory.mktemp("second"), faults=faults) as second:
        world.destinations(
            [
                {"name": name, "host": "127.0.0.1", "port": port}
                for name, port in (("a", archive.port), ("b", second.port))
            ]
        )
        world.add()
        delivery = world.delivery()
        delivery.run_once()
        assert world.series().state is SeriesState.DELIVERING
        world.clock.now_s += 10
        delivery.run_once()
        assert world.series().state is SeriesState.DELIVERED


def test_the_comment_of_the_archive_reaches_the_operator_alone(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_: evt.Event) -> Dataset:
        answer = Dataset()
        answer.Status, answer.ErrorComment = 0xC000, "DOE^JANE is not known"
        return answer

    ae = AE(ae_title="TALKATIVE")
    ae.add_supported_context("1.2.840.10008.5.1.4.1.1.66.4")
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, refuse)])
    try:
        world.configure(server.server_address[1])
        uid = world.add()
        delivery = world.delivery()
        delivery.run_once()
    finally:
        server.shutdown()
    assert "DOE^JANE" in world.row(uid).last_error
    said = capsys.readouterr()
    assert "DOE" not in said.out + said.err + str(delivery.problems()) + str(world.journal.audit_trail())


def test_stop_does_not_wait_for_an_archive_that_never_answers(world: World, archive: Archive, faults: Faults) -> None:
    """With the response outstanding for 10 minutes, stop still ends the courier and leaves the result queued."""
    world.configure(archive.port, timeout_s=600)
    faults.delay = threading.Event()
    delivery = world.delivery()
    delivery.start()
    uid = world.add()
    delivery.notify()
    eventually(lambda: archive.num_associations == 1)
    delivery.stop(drain_s=0.2)
    assert not [thread for thread in threading.enumerate() if thread.name == "deliver-pacs"]
    assert (world.row(uid).state, world.row(uid).attempts) == (DeliveryState.QUEUED, 0)
    faults.delay.set()
