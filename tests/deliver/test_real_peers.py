"""Delivery and sending against programs that are not ours: DCMTK's storescp and Orthanc; TLS; kill -9."""

from __future__ import annotations

import gc
import io
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pynetdicom import AE

from dicom_gateway.archive import Archive
from dicom_gateway.deliver.store import read_stored_object
from dicom_gateway.journal import DeliveryState, SeriesState
from dicom_gateway.send import Pace, SendProgress, find_objects, send_folder
from neuroscan_core.config import TlsConfig
from neuroscan_core.domain.errors import ConfigurationError, DestinationUnreachable
from tests.dcmtk import dcmtk
from tests.deliver.conftest import Orthanc, Process
from tests.deliver.test_commitment import serve
from tests.deliver.world import LABEL_MAP, MR, SR, World, eventually, write_object

StartStoreScp = Callable[..., Process]


@pytest.mark.parametrize(("point", "num_stored"), [("deliver.before-send", 1), ("deliver.after-send", 2)])
def test_a_killed_node_leaves_exactly_one_object(world: World, archive: Archive, point: str, num_stored: int) -> None:
    world.configure(archive.port)
    uid = world.add()
    script = Path(__file__).with_name("crashing_node.py")
    command = [sys.executable, str(script), str(world.config.state_dir), str(archive.port), point]
    child = subprocess.run(
        command, cwd=Path(__file__).parents[2], env={"PYTHONPATH": "."}, capture_output=True, timeout=60
    )
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()
    assert world.row(uid).state is DeliveryState.QUEUED

    world.delivery().run_once()
    assert world.row(uid).state is DeliveryState.DELIVERED
    assert len(list(archive.folder.rglob("*.dcm"))) == 1
    assert archive.sop_instance_uids == {uid}
    assert archive.num_stored == num_stored, "the second copy replaced the first"


def test_dcmtk_takes_results(world: World, storescp: StartStoreScp) -> None:
    peer = storescp("+xa")
    world.configure(peer.port)
    uids = [world.add(), world.add("SR", SR), world.add(sop_class_uid=LABEL_MAP, series_uid="2.25.78")]
    world.delivery().run_once()
    stored = {str(dcmread(path).SOPInstanceUID): path for path in peer.folder.iterdir()}
    rows = {uid: world.row(uid) for uid in uids}
    # DCMTK 3.6.7 does not know label map segmentation.
    assert {uid for uid in uids if rows[uid].state is DeliveryState.DELIVERED} == set(stored)
    assert set(uids[:2]) <= set(stored)
    for uid, path in stored.items():
        assert dcmread(path) == dcmread(world.config.results_dir / rows[uid].result.path)


def test_dcmtk_that_takes_only_implicit_vr_gets_the_result(world: World, storescp: StartStoreScp) -> None:
    peer = storescp("+xi")
    world.configure(peer.port)
    uid = world.add(rle=True)
    world.delivery().run_once()
    (path,) = peer.folder.iterdir()
    stored = dcmread(path)
    assert (str(stored.SOPInstanceUID), str(stored.file_meta.TransferSyntaxUID)) == (uid, "1.2.840.10008.1.2")
    assert stored.PixelData == bytes(range(256))


def test_dcmtk_that_dies_in_the_middle_is_tried_again(world: World, storescp: StartStoreScp) -> None:
    peer = storescp("--abort-during")
    world.configure(peer.port)
    uid = world.add()
    delivery = world.delivery()
    delivery.run_once()
    assert world.row(uid).state is DeliveryState.QUEUED
    assert "broke" in world.row(uid).last_error
    well = storescp()
    world.configure(well.port)
    world.clock.now_s += 10
    world.delivery().run_once()
    assert world.row(uid).state is DeliveryState.DELIVERED
    assert len(list(well.folder.iterdir())) == 1


def test_orthanc_stores_results_and_commits_to_keep_them(world: World, orthanc: Orthanc) -> None:
    world.configure(orthanc.dicom_port, ae_title="ORTHANC", storage_commitment=True)
    seg, packed = world.add(), world.add(rle=True)
    delivery = world.delivery()
    with serve(world, delivery, orthanc.node_port):
        delivery.run_once()
        eventually(lambda: world.series().state is SeriesState.COMMITTED, what="Orthanc's commitment")
    kept = orthanc.files()
    assert {seg, packed} <= set(kept)
    for uid in (seg, packed):
        original = dcmread(world.config.results_dir / world.row(uid).result.path)
        stored = dcmread(io.BytesIO(orthanc.download(kept[uid])))
        assert stored == original
        assert stored.file_meta.TransferSyntaxUID == original.file_meta.TransferSyntaxUID


def test_orthanc_keeps_one_object_when_it_is_sent_twice(world: World, orthanc: Orthanc) -> None:
    world.configure(orthanc.dicom_port, ae_title="ORTHANC")
    before = len(orthanc.files())
    uid = world.add()
    delivery = world.delivery()
    delivery.run_once()
    world.journal.update_delivery(world.row(uid).id, state=DeliveryState.QUEUED)
    delivery.run_once()
    assert world.row(uid).state is DeliveryState.DELIVERED
    assert len(orthanc.files()) == before + 1


# --------------------------------------------------------------------------------------------------------------- TLS


def test_delivers_and_commits_over_tls(world: World, tmp_path: Path, tls_files: dict[str, TlsConfig]) -> None:
    with Archive(tmp_path / "secure", tls=tls_files["archive"]) as archive:
        world.configure(archive.port, tls=tls_files["node"].model_dump(), storage_commitment=True)
        uid = world.add()
        world.delivery().run_once()
        eventually(lambda: world.row(uid).state is DeliveryState.COMMITTED)


def test_dcmtk_takes_results_over_tls(world: World, storescp: StartStoreScp, tls_files: dict[str, TlsConfig]) -> None:
    server = tls_files["archive"]
    peer = storescp("+tls", str(server.key), str(server.certificate), "+cf", str(server.ca))
    world.configure(peer.port, tls=tls_files["node"].model_dump())
    world.add()
    world.delivery().run_once()
    assert len(list(peer.folder.iterdir())) == 1


@pytest.fixture
def _collects_sockets() -> Iterator[None]:
    """A TLS socket that failed is part of a cycle; it shall not turn up in another test."""
    yield
    gc.collect()


@pytest.mark.usefixtures("_collects_sockets")
@pytest.mark.parametrize(("ours", "theirs"), [("stranger", "archive"), ("node", "stranger")])
def test_a_certificate_of_another_authority_is_refused(
    world: World, tmp_path: Path, tls_files: dict[str, TlsConfig], ours: str, theirs: str
) -> None:
    with Archive(tmp_path / "secure", tls=tls_files[theirs]) as archive:
        world.configure(archive.port, tls=tls_files[ours].model_dump(), timeout_s=5)
        uid = world.add()
        world.delivery().run_once()
        assert world.row(uid).state is DeliveryState.QUEUED
        assert archive.num_stored == 0


@pytest.mark.usefixtures("_collects_sockets")
def test_an_archive_without_tls_gets_nothing_over_tls(
    world: World, archive: Archive, tls_files: dict[str, TlsConfig]
) -> None:
    world.configure(archive.port, tls=tls_files["node"].model_dump(), timeout_s=5)
    uid = world.add()
    world.delivery().run_once()
    assert world.row(uid).state is DeliveryState.QUEUED


# ----------------------------------------------------------------------------------------------------------- sending


def data_set_bytes(path: Path) -> bytes:
    """What follows the file meta information."""
    from pynetdicom.dsutils import split_dataset

    _, offset = split_dataset(path)
    return path.read_bytes()[offset:]


@pytest.mark.parametrize("num_associations", [1, 3])
def test_sends_every_real_file_to_dcmtk_unchanged(
    shared_data: Path, storescp: StartStoreScp, num_associations: int
) -> None:
    # +B writes the data set bit by bit as it came.
    peer = storescp("+xa", "+B", "--unique-filenames")
    seen: list[SendProgress] = []
    folder = shared_data / "dicom_mr"
    report = send_folder(folder, "127.0.0.1", peer.port, num_associations=num_associations, progress=seen.append)
    objects, skipped = find_objects(folder)
    assert report.skipped == tuple(skipped)
    assert [path.name for path in skipped] == ["README.md", "SHA256SUMS"]
    assert report.failures == ()
    assert report.num_sent == len(objects) == len(list(peer.folder.iterdir()))
    assert seen[-1].num_done == len(objects)
    sent = sorted((item.sop_instance_uid, data_set_bytes(item.path)) for item in objects)
    stored = [(read_stored_object(path).sop_instance_uid, data_set_bytes(path)) for path in peer.folder.iterdir()]
    assert sorted(stored) == sent


def test_sends_every_real_file_to_our_archive_unchanged(shared_data: Path, archive: Archive) -> None:
    received: list[str] = []
    folder = shared_data / "dicom_mr" / "ge_signa_pioneer_t1_mprage"
    objects, _ = find_objects(folder)
    with Archive(archive.folder / "real", on_store=lambda uid, _: received.append(uid)) as keeper:
        assert send_folder(folder, "127.0.0.1", keeper.port).failures == ()
        for item in objects:
            kept = keeper.path_of(item.sop_instance_uid)
            assert kept is not None
            assert read_stored_object(kept).context == item.context
            assert data_set_bytes(kept) == data_set_bytes(item.path)
    assert received == [item.sop_instance_uid for item in objects]


def test_an_archive_finds_its_files_again(archive: Archive, tmp_path: Path) -> None:
    uid = write_object(tmp_path / "one.dcm")
    send_folder(tmp_path / "one.dcm", "127.0.0.1", archive.port)
    with Archive(archive.folder) as again:
        assert again.sop_instance_uids == {uid}
        assert again.failure("1.2.840.10008.5.1.4.1.1.66.4", uid) is None


def test_a_refused_object_is_reported_and_the_rest_is_sent(archive: Archive, tmp_path: Path) -> None:
    for k in range(4):
        write_object(tmp_path / "in" / f"{k}.dcm")
    archive.faults.refuse_status, archive.faults.refuse_next = 0xA700, 1
    report = send_folder(tmp_path / "in", "127.0.0.1", archive.port)
    assert report.num_sent == 3
    ((path, why),) = report.failures
    assert path.name == "0.dcm"
    assert "out of resources" in why


def test_a_broken_association_is_opened_again(archive: Archive, tmp_path: Path) -> None:
    for k in range(4):
        write_object(tmp_path / "in" / f"{k}.dcm")
    archive.faults.abort_next = 1
    report = send_folder(tmp_path / "in", "127.0.0.1", archive.port)
    assert (report.num_sent, len(report.failures)) == (3, 1)
    assert archive.num_associations == 2


def test_the_pace_is_kept_from_the_first_object_on() -> None:
    pace = Pace(images_per_s=20.0, started_s=100.0)
    assert pace.wait_s(0, 100.0) == 0.0
    assert pace.wait_s(1, 100.0) == pytest.approx(0.05)
    assert pace.wait_s(10, 100.3) == pytest.approx(0.2)
    assert pace.wait_s(10, 101.0) == 0.0, "what is late is sent at once"
    assert Pace(None, 100.0).wait_s(1000, 100.0) == 0.0


def test_a_paced_sending_sends_everything(archive: Archive, tmp_path: Path) -> None:
    for k in range(5):
        write_object(tmp_path / "in" / f"{k}.dcm")
    report = send_folder(tmp_path / "in", "127.0.0.1", archive.port, images_per_s=200, num_associations=2)
    assert (report.num_sent, archive.num_stored) == (5, 5)


def test_a_sending_can_be_stopped(archive: Archive, tmp_path: Path) -> None:
    for k in range(5):
        write_object(tmp_path / "in" / f"{k}.dcm")
    stop = threading.Event()

    def after_two(progress: SendProgress) -> None:
        if progress.num_done == 2:
            stop.set()

    report = send_folder(tmp_path / "in", "127.0.0.1", archive.port, progress=after_two, stop=stop)
    assert report.num_sent == 2


def test_nothing_to_send_and_nobody_to_send_to_are_errors(tmp_path: Path, archive: Archive) -> None:
    with pytest.raises(ConfigurationError):
        send_folder(tmp_path / "absent", "127.0.0.1", archive.port)
    with pytest.raises(ConfigurationError):
        send_folder(archive.folder, "127.0.0.1", archive.port)
    write_object(tmp_path / "one.dcm")
    archive.stop()
    with pytest.raises(DestinationUnreachable):
        send_folder(tmp_path / "one.dcm", "127.0.0.1", archive.port)


def test_dcmtk_stores_into_our_archive(archive: Archive, tmp_path: Path) -> None:
    uid = write_object(tmp_path / "one.dcm", MR)
    command = [dcmtk("storescu"), "-aec", "ARCHIVE", "127.0.0.1", str(archive.port), str(tmp_path / "one.dcm")]
    subprocess.run(command, check=True, timeout=60)
    assert archive.sop_instance_uids == {uid}


def test_sends_over_tls(tmp_path: Path, tls_files: dict[str, TlsConfig]) -> None:
    write_object(tmp_path / "one.dcm", side=512)
    with Archive(tmp_path / "secure", tls=tls_files["archive"]) as archive:
        report = send_folder(tmp_path / "one.dcm", "127.0.0.1", archive.port, tls=tls_files["node"])
        assert (report.num_sent, archive.num_stored) == (1, 1)
        with pytest.raises(DestinationUnreachable):
            send_folder(tmp_path / "one.dcm", "127.0.0.1", archive.port, tls=tls_files["stranger"])


def test_a_sender_that_is_not_welcome_is_told_why(tmp_path: Path) -> None:
    write_object(tmp_path / "one.dcm")
    strict = AE(ae_title="STRICT")
    strict.require_calling_aet = ["SOMEONE"]
    strict.add_supported_context(MR)
    server = strict.start_server(("127.0.0.1", 0), block=False)
    assert server is not None
    port = server.server_address[1]
    try:
        with pytest.raises(DestinationUnreachable, match="Calling AE title not recognised"):
            send_folder(tmp_path / "one.dcm", "127.0.0.1", port)
        welcome = send_folder(tmp_path / "one.dcm", "127.0.0.1", port, calling_ae_title="SOMEONE")
        assert "does not accept SOP class" in welcome.failures[0][1]
    finally:
        server.shutdown()


def test_a_peer_that_speaks_no_dicom_is_unreachable(tmp_path: Path) -> None:
    write_object(tmp_path / "one.dcm")
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            connection, _ = listening.accept()
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(DestinationUnreachable):
            send_folder(tmp_path / "one.dcm", "127.0.0.1", listening.getsockname()[1])
        thread.join()
