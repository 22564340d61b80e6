"""Programs of others as senders: DCMTK over TCP and TLS, pynetdicom for what is not storage."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_file_meta_info
from pynetdicom import AE, build_role, evt
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import MRImageStorage, StorageCommitmentPushModel, Verification

from dicom_gateway.ingest import statuses
from neuroscan_core.domain.errors import ConfigurationError
from tests.dcmtk import dcmtk
from tests.ingest.node import PATIENCE_S, Node, make_node
from tests.ingest.objects import mr_image
from tests.ingest.peer import Peer

StartNode = Callable[..., Node]
COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"


def run(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [dcmtk(program), *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )


def data_set_bytes(path: Path) -> bytes:
    contents = path.read_bytes()
    return contents[144 + int.from_bytes(contents[140:144], "little") :]


def test_answers_echo_of_dcmtk(node: Node) -> None:
    assert run("echoscu", *node.address).returncode == 0
    node.sink.await_closed(1)
    assert node.sink.closed[0][1] is True


PROPOSALS = {
    "siemens_trio_transfer_syntaxes": 9,
    "siemens_trio_mosaic_jpeg2000": 2,
    "siemens_trio_mosaic_jpeg_lossless": 2,
    "philips_elition_pcasl_enhanced": 1,
    "siemens_prisma_xa30_enhanced_color_fa": 1,
    "toshiba_galan_dwi_b0": 40,
}


@pytest.mark.parametrize("folder", PROPOSALS)
def test_keeps_what_dcmsend_sends_byte_for_byte_in_its_own_transfer_syntax(
    node: Node, shared_data: Path, folder: str
) -> None:
    source = shared_data / "dicom_mr" / folder
    sent = run("dcmsend", *node.address, "--scan-directories", "--no-uid-checks", "--decompress-never", source)
    assert sent.returncode == 0, sent.stderr
    assert len(node.sink.objects) == PROPOSALS[folder]
    originals = {str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID): path for path in source.iterdir()}
    for stored in node.sink.objects:
        original = originals[stored.record.sop_uid]
        meta = read_file_meta_info(original)
        if meta.TransferSyntaxUID not in NATIVE:  # dcmsend turns one native transfer syntax into another by itself
            assert stored.record.transfer_syntax_uid == meta.TransferSyntaxUID
        assert read_file_meta_info(stored.path).TransferSyntaxUID == stored.record.transfer_syntax_uid
        assert stored.path.read_bytes().endswith(bytes(stored.encoded or b"?"))
        assert_same_content(stored.path, original)


NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
CONVERTED = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99")  # storescu makes them itself


def assert_same_content(stored: Path, original: Path) -> None:
    """Same pixels byte for byte, and the same identifying elements; senders may write lengths otherwise."""
    ours, theirs = pydicom.dcmread(stored), pydicom.dcmread(original)
    if ours.file_meta.TransferSyntaxUID == theirs.file_meta.TransferSyntaxUID:
        assert ours.PixelData == theirs.PixelData
    assert (ours.pixel_array == theirs.pixel_array).all()
    assert ours.SeriesInstanceUID == theirs.SeriesInstanceUID
    assert len(ours) == len([item for item in theirs if item.tag.element != 0 and item.tag != 0xFFFCFFFC])


@pytest.mark.parametrize(
    ("option", "syntax"),
    [
        ("-xi", "1.2.840.10008.1.2"), ("-xe", "1.2.840.10008.1.2.1"), ("-xb", "1.2.840.10008.1.2.2"),
        ("-xs", "1.2.840.10008.1.2.4.70"), ("-xr", "1.2.840.10008.1.2.5"), ("-xd", "1.2.840.10008.1.2.1.99"),
        ("-xv", "1.2.840.10008.1.2.4.90"), ("-xt", "1.2.840.10008.1.2.4.80"),
    ],
)  # fmt: skip
def test_takes_every_transfer_syntax_that_storescu_offers(
    node: Node, shared_data: Path, option: str, syntax: str
) -> None:
    source = sorted((shared_data / "dicom_mr" / "siemens_trio_transfer_syntaxes").iterdir())
    wanted = "1.2.840.10008.1.2.1" if syntax in CONVERTED else syntax
    image = next(path for path in source if read_file_meta_info(path).TransferSyntaxUID == wanted)
    sent = run("storescu", option, *node.address, image)
    assert sent.returncode == 0, sent.stderr
    (stored,) = node.sink.objects
    assert stored.record.transfer_syntax_uid == syntax
    assert pydicom.dcmread(stored.path).pixel_array.shape == (384, 384)


def test_a_whole_series_arrives_complete_and_in_order(node: Node, shared_data: Path) -> None:
    source = shared_data / "dicom_mr" / "ge_signa_pioneer_t1_mprage"
    assert run("storescu", "-aet", "SCANNER", "+sd", *node.address, source).returncode == 0
    node.sink.await_closed(1)
    originals = {
        str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID): path for path in source.iterdir()
    }  # fmt: skip
    assert {stored.record.sop_uid for stored in node.sink.objects} == set(originals)
    series = {stored.record.series_uid for stored in node.sink.objects}
    assert len(series) == 1
    assert node.journal.instances(series.pop()) == [stored.record for stored in node.sink.objects]
    for stored in node.sink.objects[::13]:
        assert_same_content(stored.path, originals[stored.record.sop_uid])


def test_refuses_a_real_image_that_is_cut_short(node: Node, shared_data: Path) -> None:
    path = shared_data / "dicom_mr" / "enhanced_mr_transfer_syntaxes" / "emri_small_jpeg_2k_lossless_too_short.dcm"
    meta = read_file_meta_info(path)
    with Peer(node.address, contexts=[(meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID)]) as peer:
        answer = peer.store_bytes(
            data_set_bytes(path), meta.MediaStorageSOPInstanceUID, sop_class=meta.MediaStorageSOPClassUID
        )
    assert answer[0] == statuses.CANNOT_UNDERSTAND


# ------------------------------------------------------------------------------------------------------------------ TLS


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, a certificate of the node, one of the scanner, and a stranger that signed itself."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    for name in ("ca", "stranger"):
        openssl(
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-days", "2",
            "-keyout", f"{name}.key", "-out", f"{name}.pem",
        )  # fmt: skip
    for name in ("node", "scanner"):
        openssl(
            "req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", f"{name}.key",
            "-out", f"{name}.csr",
        )  # fmt: skip
        openssl(
            "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-out", f"{name}.pem",
        )  # fmt: skip
    return folder


def tls(certificates: Path, **options: Any) -> dict[str, Any]:
    paths = {"certificate": certificates / "node.pem", "key": certificates / "node.key", "ca": certificates / "ca.pem"}
    return {**paths, **options}


def send_over_tls(node: Node, certificates: Path, who: str, path: Path) -> int:
    keys = (certificates / f"{who}.key", certificates / f"{who}.pem")
    return run("storescu", "+tls", *keys, "+cf", certificates / "ca.pem", *node.address, path).returncode


@pytest.fixture
def image_path(shared_data: Path) -> Path:
    return next((shared_data / "dicom_mr" / "ge_signa_pioneer_t1_mprage").iterdir())


def test_takes_images_over_tls_from_peers_with_a_certificate_alone(
    start_node: StartNode, certificates: Path, image_path: Path
) -> None:
    node = start_node(tls=tls(certificates))
    assert send_over_tls(node, certificates, "stranger", image_path) != 0
    assert run("storescu", "+tla", "+cf", certificates / "ca.pem", *node.address, image_path).returncode != 0
    assert run("storescu", *node.address, image_path).returncode != 0, "plain TCP"
    assert node.sink.objects == []
    assert send_over_tls(node, certificates, "scanner", image_path) == 0
    assert pydicom.dcmread(node.sink.objects[0].path).PixelData == pydicom.dcmread(image_path).PixelData


def test_may_be_told_to_take_peers_without_a_certificate(
    start_node: StartNode, certificates: Path, image_path: Path
) -> None:
    node = start_node(tls=tls(certificates, ca=None, require_peer_certificate=False))
    assert run("storescu", "+tla", "-ic", *node.address, image_path).returncode == 0
    assert len(node.sink.objects) == 1


def test_a_silent_peer_does_not_keep_others_from_their_handshake(
    start_node: StartNode, certificates: Path, image_path: Path
) -> None:
    node = start_node(tls=tls(certificates))
    with Peer(node.address, associate=False), Peer(node.address, associate=False):
        assert send_over_tls(node, certificates, "scanner", image_path) == 0


def test_says_what_is_wrong_with_tls_files(tmp_path: Path, certificates: Path) -> None:
    with pytest.raises(ConfigurationError, match="needs ca"):
        make_node(tmp_path / "a", tls=tls(certificates, ca=None))
    with pytest.raises(ConfigurationError, match="cannot be used"):
        make_node(tmp_path / "b", tls=tls(certificates, key=certificates / "scanner.key"))


# ----------------------------------------------------------------------------------- services beside storage, by others


def action_information() -> Dataset:
    item, information = Dataset(), Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = MRImageStorage, "1.2.3"
    information.TransactionUID, information.ReferencedSOPSequence = "1.2.3.4", [item]
    return information


def test_actions_reach_their_handler_between_two_stores(start_node: StartNode) -> None:
    asked: list[str] = []

    def on_action(event: evt.Event) -> tuple[int, None]:
        asked.append(str(event.action_information.TransactionUID))
        return 0, None

    node = start_node(scp=extra([(evt.EVT_N_ACTION, on_action)]))
    ae = AE("SCANNER")
    for uid in (MRImageStorage, StorageCommitmentPushModel, Verification):
        ae.add_requested_context(uid)
    assoc = ae.associate(*node.address)
    assert assoc.is_established
    assert assoc.send_c_store(with_meta(mr_image())).Status == statuses.SUCCESS
    status, _ = assoc.send_n_action(action_information(), 1, StorageCommitmentPushModel, COMMITMENT_INSTANCE)
    assert status.Status == 0
    assert assoc.send_c_echo().Status == 0
    assert assoc.send_c_store(with_meta(mr_image())).Status == statuses.SUCCESS
    assoc.release()
    node.sink.await_closed(1)
    assert asked == ["1.2.3.4"]
    assert len(node.sink.objects) == 2
    assert node.sink.closed[0][1] is True


def extra(handlers: list[Any]) -> dict[str, Any]:
    context = build_context(StorageCommitmentPushModel)
    context.scu_role = context.scp_role = True
    return {"extra_contexts": [context], "extra_handlers": handlers}


def with_meta(ds: Dataset) -> Dataset:
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
    return ds


def test_takes_reports_of_an_archive_in_the_other_role(start_node: StartNode) -> None:
    reported: list[int] = []

    def on_report(event: evt.Event) -> tuple[int, None]:
        reported.append(int(event.event_type))
        return 0, None

    node = start_node(scp=extra([(evt.EVT_N_EVENT_REPORT, on_report)]))
    ae = AE("ARCHIVE")
    ae.add_requested_context(StorageCommitmentPushModel)
    role = build_role(StorageCommitmentPushModel, scp_role=True)
    assoc = ae.associate(*node.address, ext_neg=[role])
    assert assoc.is_established
    status, _ = assoc.send_n_event_report(action_information(), 1, StorageCommitmentPushModel, COMMITMENT_INSTANCE)
    assert status.Status == 0
    assoc.release()
    assert reported == [1]


def test_a_handler_may_report_on_the_association_of_the_request(start_node: StartNode) -> None:
    answers: list[int] = []
    answered = threading.Event()

    def report(assoc: Any) -> None:
        status, _ = assoc.send_n_event_report(action_information(), 1, StorageCommitmentPushModel, COMMITMENT_INSTANCE)
        answers.append(int(status.Status))
        answered.set()

    def on_action(event: evt.Event) -> tuple[int, None]:
        threading.Thread(target=report, args=(event.assoc,), name="report").start()
        return 0, None

    node = start_node(scp=extra([(evt.EVT_N_ACTION, on_action)]))
    ae = AE("SCANNER")
    ae.add_requested_context(StorageCommitmentPushModel)
    assoc = ae.associate(*node.address, evt_handlers=[(evt.EVT_N_EVENT_REPORT, lambda _: (0, None))])
    assert assoc.is_established
    status, _ = assoc.send_n_action(action_information(), 1, StorageCommitmentPushModel, COMMITMENT_INSTANCE)
    assert status.Status == 0
    assert answered.wait(PATIENCE_S)
    assoc.release()
    assert answers == [0]
