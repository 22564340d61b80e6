"""C-STORE from the first byte to the response: what is kept, what is refused, and in which order things happen."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import signal
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pydicom
import pytest

from dicom_gateway.ingest import Spool, StoredObject, intake, statuses
from dicom_gateway.ingest.incoming import IncomingFile
from dicom_gateway.journal import Admission, InstanceRecord, Journal
from neuroscan_core.domain.errors import JournalError
from tests.ingest.node import PATIENCE_S, Node
from tests.ingest.objects import DEFLATED, EXPLICIT, MR, element, encode, mr_image, nested_sequences, with_elements
from tests.ingest.peer import Aborted, Peer, p_data, store_command

StartNode = Callable[..., Node]


def test_an_object_is_kept_byte_for_byte_and_handed_on(node: Node) -> None:
    ds = mr_image()
    with Peer(node.address) as peer:
        assert peer.store(ds) == (statuses.SUCCESS, "")
    (stored,) = node.sink.objects
    contents = stored.path.read_bytes()
    assert contents[128:132] == b"DICM"
    assert contents.endswith(encode(ds))
    assert stored.encoded == encode(ds)
    read = pydicom.dcmread(stored.path)
    assert read.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
    assert read.file_meta.TransferSyntaxUID == EXPLICIT
    assert read.file_meta.SourceApplicationEntityTitle == "SCANNER"
    assert len(contents) == 144 + read.file_meta.FileMetaInformationGroupLength + len(encode(ds))
    record = node.journal.instance(ds.SOPInstanceUID)
    assert record == stored.record
    assert node.spool.path_of(record) == stored.path
    assert node.spool.is_intact(record)
    assert record.series_uid == ds.SeriesInstanceUID


def test_the_sink_hears_of_the_beginning_and_the_end_of_associations(node: Node) -> None:
    with Peer(node.address, calling="MR1") as peer:
        peer.store(mr_image())
        peer.release()
    node.sink.await_closed(1)
    with Peer(node.address, calling="MR2") as peer:
        peer.store(mr_image())
    node.sink.await_closed(2)
    assert [calling for _, calling in node.sink.opened] == ["MR1", "MR2"]
    assert [released for _, released in node.sink.closed] == [True, False]
    assert [name for name, _ in node.sink.opened] == [name for name, _ in node.sink.closed]
    assert node.sink.objects[0].record.association == node.sink.opened[0][0]


@pytest.mark.parametrize("fragment_bytes", [1, 7, 300, 100_000])
def test_a_data_set_may_come_in_fragments_of_any_size(node: Node, fragment_bytes: int) -> None:
    ds = mr_image()
    with Peer(node.address) as peer:
        assert peer.store(ds, fragment_bytes=fragment_bytes)[0] == statuses.SUCCESS
    assert node.sink.objects[0].encoded == encode(ds)


def test_several_values_may_share_a_pdu_and_requests_a_segment(node: Node) -> None:
    images = [mr_image() for _ in range(5)]
    pdus = b""
    for number, ds in enumerate(images):
        command = p_data(store_command(MR, ds.SOPInstanceUID, number), command=True)
        data = p_data(encode(ds))
        length = len(command) + len(data) - 12
        pdus += command[:2] + length.to_bytes(4, "big") + command[6:] + data[6:]
    with Peer(node.address) as peer:
        peer.send(pdus)
        assert [peer.response()[0] for _ in images] == [statuses.SUCCESS] * 5
    assert [stored.record.sop_uid for stored in node.sink.objects] == [ds.SOPInstanceUID for ds in images]


def test_success_comes_after_file_folder_and_row_are_durable(
    start_node: StartNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = start_node()
    seen: list[str] = []
    add_instance, fsync = Journal.add_instance, os.fsync

    def journaled(journal: Journal, record: InstanceRecord) -> Admission:
        admission = add_instance(journal, record)
        seen.append("row")
        return admission

    def synced(descriptor: int) -> None:
        fsync(descriptor)
        seen.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))

    def handed_on(stored: StoredObject) -> None:
        seen.append("sink")

    monkeypatch.setattr(Journal, "add_instance", journaled)
    monkeypatch.setattr("os.fsync", synced)
    node.sink.on_stored = handed_on
    ds = mr_image()
    with Peer(node.address) as peer:
        peer.store(ds)
        seen.append("response")
    folder = str(node.spool.folder / "series" / ds.SeriesInstanceUID)
    assert "row" in seen
    assert folder in seen
    assert any(name.startswith(folder + "/") or "#" in name for name in seen), seen
    assert str(node.spool.folder / "series") in seen, "the new folder of the series has to last too"
    assert seen[-2:] == ["sink", "response"]


def test_the_same_object_again_is_acknowledged_and_kept_once(node: Node) -> None:
    ds = mr_image()
    with Peer(node.address) as peer:
        assert [peer.store(ds)[0] for _ in range(3)] == [statuses.SUCCESS] * 3
    assert len(node.sink.objects) == 1
    assert len(node.files()) == 1
    assert len(node.journal.instances(ds.SeriesInstanceUID)) == 1


def test_the_same_object_again_mends_a_damaged_file(node: Node) -> None:
    ds = mr_image()
    with Peer(node.address) as peer:
        peer.store(ds)
        stored = node.sink.objects[0]
        stored.path.write_bytes(stored.path.read_bytes()[:-5])
        assert peer.store(ds)[0] == statuses.SUCCESS
        assert node.spool.is_intact(stored.record)
        stored.path.unlink()
        assert peer.store(ds)[0] == statuses.SUCCESS
    assert node.spool.is_intact(stored.record)
    assert node.files() == [stored.path]


def test_the_same_uid_with_other_pixels_is_set_aside_and_refused(node: Node) -> None:
    ds = mr_image()
    first = encode(ds)
    with Peer(node.address) as peer:
        peer.store(ds)
        ds.PixelData = bytes(512)
        status, comment = peer.store(ds)
        assert (status, "other contents" in comment) == (statuses.INVALID_SOP_INSTANCE, True)
        assert peer.store(ds)[0] == statuses.INVALID_SOP_INSTANCE
    assert [stored.encoded for stored in node.sink.objects] == [first]
    assert node.files() == [node.sink.objects[0].path]
    (aside,) = (node.spool.folder / "conflicts").iterdir()
    assert pydicom.dcmread(aside).PixelData == bytes(512)
    assert [entry[1:3] for entry in node.journal.audit_trail()] == [("ingest.conflict", ds.SOPInstanceUID)] * 2


def test_the_same_uid_on_many_associations_at_once_is_kept_once(node: Node) -> None:
    ds, other = mr_image(), mr_image()
    other.SOPInstanceUID, other.PixelData = ds.SOPInstanceUID, bytes(512)
    other.SeriesInstanceUID = ds.SeriesInstanceUID
    barrier = threading.Barrier(8)

    def send(number: int) -> int:
        with Peer(node.address) as peer:
            barrier.wait()
            return peer.store(ds if number % 2 else other)[0]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, range(8)))
    assert sorted(answers) == [statuses.SUCCESS] * 4 + [statuses.INVALID_SOP_INSTANCE] * 4
    assert len(node.sink.objects) == 1
    (record,) = node.journal.instances(ds.SeriesInstanceUID)
    assert node.files() == [node.spool.path_of(record)]
    assert node.spool.is_intact(record)


def test_a_large_object_goes_to_disk_as_it_comes(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "SPILL_BYTES", 20_000)
    ds = mr_image(512, 512, os.urandom(512 * 1024))
    with Peer(node.address) as peer:
        assert peer.store(ds)[0] == statuses.SUCCESS
    (stored,) = node.sink.objects
    assert stored.encoded is None
    assert stored.path.read_bytes().endswith(encode(ds))
    assert node.spool.is_intact(stored.record)


# ------------------------------------------------------------------------------------------------------------- refusals


def test_refuses_a_data_set_that_is_not_what_the_request_says(node: Node) -> None:
    ds = mr_image()
    with Peer(node.address) as peer:
        assert peer.store_bytes(encode(ds), "1.2.3")[0] == statuses.DATA_SET_MISMATCH
        ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
        assert peer.store(ds)[0] == statuses.DATA_SET_MISMATCH
        assert peer.store(ds, sop_class=str(ds.SOPClassUID))[0] == statuses.SOP_CLASS_NOT_SUPPORTED
        assert peer.store(mr_image())[0] == statuses.SUCCESS
    assert node.answered(statuses.DATA_SET_MISMATCH) == 2


@pytest.mark.parametrize("uid", ["../../../tmp/x", "1..2", "", "1.2/3", "a", "1." * 40 + "1"])
def test_refuses_instance_uids_that_are_none(node: Node, uid: str) -> None:
    data = encode(mr_image())
    with Peer(node.address) as peer:
        assert peer.store_bytes(data, uid)[0] == statuses.INVALID_SOP_INSTANCE
    assert node.files() == []


@pytest.mark.parametrize("uid", [b"../../../../tmp/evil", b"..", b"1.2/..", b""])
def test_refuses_series_uids_that_are_paths(node: Node, uid: bytes) -> None:
    ds = mr_image()
    del ds.SeriesInstanceUID
    value = uid + b"\0" * (len(uid) % 2)
    with Peer(node.address) as peer:
        data = with_elements(ds, element(0x0020000E, b"UI", value), 0x0020000E)
        assert peer.store_bytes(data, ds.SOPInstanceUID)[0] == statuses.CANNOT_UNDERSTAND
    assert node.files() == []
    assert list((node.spool.folder / "series").iterdir()) == []


def test_refuses_what_cannot_be_parsed_and_goes_on(node: Node) -> None:
    ds = mr_image()
    whole, uid = encode(ds), str(ds.SOPInstanceUID)
    without_pixels = mr_image()
    del without_pixels.PixelData
    with Peer(node.address) as peer:
        assert peer.store_bytes(whole[:-3], uid)[0] == statuses.CANNOT_UNDERSTAND
        assert peer.store_bytes(whole[:200], uid)[0] == statuses.CANNOT_UNDERSTAND
        assert peer.store_bytes(b"", uid)[0] == statuses.CANNOT_UNDERSTAND
        assert peer.store_bytes(os.urandom(5000), uid)[0] == statuses.CANNOT_UNDERSTAND
        deep = with_elements(ds, nested_sequences(20_000), 0x00081141)
        assert peer.store_bytes(deep, uid)[0] == statuses.CANNOT_UNDERSTAND
        assert peer.store(without_pixels)[0] == statuses.CANNOT_UNDERSTAND
        assert node.files() == []
        assert peer.store(ds)[0] == statuses.SUCCESS


def test_refuses_a_deflated_bomb(start_node: StartNode) -> None:
    node = start_node(limits={"max_object_bytes": 1 << 20})
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    ds = mr_image(4096, 4096, bytes(2 << 24))
    bomb = deflater.compress(encode(ds)) + deflater.flush()
    with Peer(node.address, contexts=[(MR, DEFLATED)]) as peer:
        assert peer.store_bytes(bomb, ds.SOPInstanceUID)[0] == statuses.CANNOT_UNDERSTAND


def test_refuses_objects_beyond_the_limit_without_keeping_them(start_node: StartNode) -> None:
    node = start_node(limits={"max_object_bytes": 1 << 20})
    with Peer(node.address) as peer:
        large = mr_image(1024, 768, bytes(3 << 19))
        assert peer.store(large, fragment_bytes=200_000)[0] == statuses.OUT_OF_RESOURCES
        assert peer.store(mr_image())[0] == statuses.SUCCESS
    assert len(node.files()) == 1


def test_aborts_a_data_set_that_does_not_end(start_node: StartNode) -> None:
    node = start_node(limits={"max_object_bytes": 1 << 20})
    with Peer(node.address) as peer, pytest.raises((Aborted, ConnectionError)):
        peer.send(p_data(store_command(MR, "1.2.3"), command=True))
        for _ in range(100):
            peer.send(p_data(bytes(100_000), last=False))
        peer.response()


# ------------------------------------------------------------------------------------------------------- a failing disk


def test_answers_out_of_resources_while_the_disk_is_nearly_full(start_node: StartNode, tmp_path: Path) -> None:
    free, now = [999], [0.0]
    spool = Spool(tmp_path / "spool", disk_free=lambda _: free[0], monotonic=lambda: now[0])
    node = start_node(spool=spool, min_free_bytes=1000)
    ds = mr_image()
    with Peer(node.address) as peer:
        status, comment = peer.store(ds)
        assert (status, comment) == (statuses.OUT_OF_RESOURCES, "The disk is nearly full.")
        assert "nearly full" in node.scp.problems()[0]
        free[0], now[0] = 1000, 2.0
        assert peer.store(ds)[0] == statuses.SUCCESS
    assert node.scp.problems() == []


def test_asks_for_the_free_space_once_a_second_at_most(tmp_path: Path) -> None:
    asked, now = [], [0.0]
    spool = Spool(tmp_path, disk_free=lambda _: len(asked.append(1) or asked), monotonic=lambda: now[0])  # type: ignore[func-returns-value]
    assert [spool.free_bytes() for _ in range(3)] == [1, 1, 1]
    now[0] = 1.5
    assert spool.free_bytes() == 2


@pytest.mark.parametrize("step", ["write", "sync", "link"])
def test_a_full_disk_at_any_step_leaves_nothing_behind(node: Node, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    ds = mr_image()
    with Peer(node.address) as peer:
        with monkeypatch.context() as patch:
            patch.setattr(IncomingFile, step, full)
            assert peer.store(ds)[0] == statuses.OUT_OF_RESOURCES
            assert node.files() == []
            assert node.journal.instance(ds.SOPInstanceUID) is None
            assert node.journal.all_series() == []
        assert peer.store(ds)[0] == statuses.SUCCESS
    assert node.spool.is_intact(node.sink.objects[0].record)
    assert len(node.sink.objects) == 1


def test_a_journal_that_cannot_be_written_refuses_and_keeps_nothing(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Admission:
        raise JournalError("The journal cannot be written.")

    ds = mr_image()
    with Peer(node.address) as peer:
        with monkeypatch.context() as patch:
            patch.setattr(Journal, "add_instance", broken)
            assert peer.store(ds)[0] == statuses.OUT_OF_RESOURCES
        assert node.files() == []
        assert peer.store(ds)[0] == statuses.SUCCESS


def test_without_unnamed_files_the_spool_uses_temporary_names(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    def no_unnamed(path: object, flags: int, *mode: int) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        return opened(path, flags, *mode)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr("os.open", no_unnamed)
    ds = mr_image()
    with Peer(node.address) as peer:
        assert peer.store(ds)[0] == statuses.SUCCESS
        assert peer.store_bytes(encode(ds)[:-1], ds.SOPInstanceUID)[0] == statuses.CANNOT_UNDERSTAND
    assert node.files() == [node.sink.objects[0].path]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a file system needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_runs_full_refuses_and_takes_again_when_there_is_room(
    start_node: StartNode, small_disk: Path
) -> None:
    node = start_node(spool=Spool(small_disk / "spool"))
    with Peer(node.address) as peer:
        answers = [peer.store(mr_image(256, 256, os.urandom(1 << 17)))[0] for _ in range(12)]
        taken = answers.count(statuses.SUCCESS)
        assert 0 < taken < 12
        assert set(answers[taken:]) == {statuses.OUT_OF_RESOURCES}
        assert len(node.files()) == taken == len(node.sink.objects)
        node.sink.objects[0].path.unlink()
        assert peer.store(mr_image(256, 256, bytes(1 << 17)))[0] == statuses.SUCCESS


def test_a_file_size_limit_counts_as_a_full_disk(node: Node) -> None:
    previous = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    large = mr_image(1024, 4096, bytes(8 << 20))
    try:
        with Peer(node.address) as peer:
            resource.setrlimit(resource.RLIMIT_FSIZE, (6 << 20, previous[1]))
            assert peer.store(large, fragment_bytes=200_000)[0] == statuses.OUT_OF_RESOURCES
            resource.setrlimit(resource.RLIMIT_FSIZE, previous)
            assert peer.store(large, fragment_bytes=200_000)[0] == statuses.SUCCESS
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, previous)
        signal.signal(signal.SIGXFSZ, handler)


# ------------------------------------------------------------------------------------------------------------- recovery


def test_recovery_removes_what_was_never_acknowledged(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    with Journal(tmp_path / "journal.sqlite") as journal:

        def place(series: str, sop: str) -> InstanceRecord:
            with spool.create() as file:
                spool.write(file, [b"meta", b"data"])
                path = spool.place(file, series, sop)
            digest = hashlib.sha256(b"data").hexdigest()
            return InstanceRecord(sop, series, "1.9", MR, EXPLICIT, path, 4, digest, "a", 0.0)

        known, unknown, cut, gone = (place(f"1.{k}", f"2.{k}") for k in range(4))
        for record in (known, cut, gone):
            journal.add_instance(record)
        spool.path_of(cut).write_bytes(b"metada")
        spool.path_of(gone).unlink()
        (spool.folder / "incoming" / "left.part").write_bytes(b"x")
        assert spool.recover(journal) == 5
        assert [path.name for path in (spool.folder / "series").rglob("*.dcm")] == ["2.0.dcm"]
        assert [record.sop_uid for record in journal.unassembled()] == [known.sop_uid]
        assert [series.series_uid for series in journal.all_series()] == ["1.0"]
        assert not spool.path_of(unknown).parent.exists()
        assert spool.recover(journal) == 0


CRASHING_NODE = Path(__file__).with_name("crashing_node.py")


@pytest.mark.parametrize("point", ["before-write", "after-write", "after-journal", "after-response"])
def test_after_kill_9_every_acknowledged_object_is_there_exactly_once(point: str, tmp_path: Path) -> None:
    images = [mr_image(SeriesInstanceUID="1.2.3") for _ in range(6)]
    acknowledged = []
    for crash_at in (f"ingest.{point}", ""):
        process = subprocess.Popen(
            [sys.executable, str(CRASHING_NODE), str(tmp_path), crash_at, "4"], stdout=subprocess.PIPE, text=True,
            cwd=Path(__file__).parents[2],
        )  # fmt: skip
        try:
            assert process.stdout is not None
            port, recovered = (int(word) for word in process.stdout.readline().split())
            if not crash_at:
                assert recovered == (1 if point == "after-write" else 0)
            with Peer(("127.0.0.1", port)) as peer:
                for ds in images[len(acknowledged) :]:
                    try:
                        assert peer.store(ds)[0] == statuses.SUCCESS
                    except Aborted:
                        break
                    acknowledged.append(ds)
            if crash_at:
                assert process.wait(PATIENCE_S) == -signal.SIGKILL
                assert len(acknowledged) in (3, 4)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
    assert len(acknowledged) == len(images)
    with Journal(tmp_path / "journal.sqlite") as journal:
        records = journal.instances("1.2.3")
        assert [record.sop_uid for record in records] == [ds.SOPInstanceUID for ds in images]
        spool = Spool(tmp_path / "spool")
        assert all(spool.is_intact(record) for record in records)
        assert len(list((tmp_path / "spool" / "series").rglob("*.dcm"))) == len(images)


def test_a_series_whose_folder_was_purged_is_taken_again(node: Node) -> None:
    ds, later = mr_image(SeriesInstanceUID="1.2.3"), mr_image(SeriesInstanceUID="1.2.3")
    with Peer(node.address) as peer:
        assert peer.store(ds)[0] == statuses.SUCCESS
        node.journal.forget_instances("1.2.3")
        node.sink.objects[0].path.unlink()
        node.sink.objects[0].path.parent.rmdir()
        assert peer.store(later)[0] == statuses.SUCCESS
        assert peer.store(ds)[0] == statuses.SUCCESS
    assert {path.stem for path in node.files()} == {ds.SOPInstanceUID, later.SOPInstanceUID}
