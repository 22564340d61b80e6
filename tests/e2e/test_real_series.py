"""Series of real scanners through a running node: each is segmented, or refused for the right reason; none vanishes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pydicom
import pytest

from dicom_gateway.send import send_folder
from tests.e2e.conftest import PhantomSeries, storescu
from tests.e2e.node import RunningArchive, RunningNode
from tests.orthanc import running_orthanc

# Folder -> where its series must end: "delivered", or the code of the refusal.
EXPECTED = {
    "ge_signa_pioneer_t1_mprage": "not-brain-like",  # a line pattern, not a head
    "philips_elition_pcasl_classic": "delivered",
    "philips_elition_pcasl_enhanced": "delivered",
    "siemens_prisma_xa30_enhanced_t1w": "delivered",
    "toshiba_galan_dwi_b0": "delivered",
    "philips_achieva_enhanced_b0": "duplicate-positions",
    "siemens_prisma_xa30_enhanced_color_fa": "not-greyscale",
    "siemens_trio_mosaic_jpeg2000": "mosaic",
    "siemens_trio_mosaic_jpeg_lossless": "mosaic",
    "siemens_trio_mosaic_uncompressed": "mosaic",
    "siemens_trio_transfer_syntaxes": "mosaic",
}
MOSAIC_CODES = {"missing-geometry", "wrong-sop-class", "duplicate-positions", "derived-image"}


def with_a_series_of_its_own(folder: Path, target: Path) -> Path:
    """Copy a one-object series under new UIDs: the enhanced export has the UIDs of the classic one."""
    target.mkdir()
    (source,) = [path for path in folder.iterdir() if path.is_file()]
    ds = pydicom.dcmread(source)
    ds.SeriesInstanceUID, ds.SOPInstanceUID = f"{ds.SeriesInstanceUID}.1", f"{ds.SOPInstanceUID}.1"
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.save_as(target / "enhanced.dcm", enforce_file_format=True)
    return target


def series_uid_of(folder: Path) -> str:
    first = next(path for path in sorted(folder.iterdir()) if path.is_file())
    return str(pydicom.dcmread(first, stop_before_pixels=True).SeriesInstanceUID)


@pytest.mark.filterwarnings("ignore::UserWarning")  # real headers violate value rules; pydicom says so
def test_every_real_series_is_segmented_or_refused_with_the_right_code(
    node: RunningNode, archive: RunningArchive, shared_data: Path, tmp_path: Path
) -> None:
    node.start()
    folders = {name: shared_data / "dicom_mr" / name for name in EXPECTED}
    enhanced = "philips_elition_pcasl_enhanced"
    folders[enhanced] = with_a_series_of_its_own(folders[enhanced], tmp_path / enhanced)
    uids = {name: series_uid_of(folder) for name, folder in folders.items()}
    for folder in folders.values():
        report = send_folder(folder, "127.0.0.1", node.port, ae_title="NEUROSCAN")
        assert not report.failures, (folder.name, report)
    for name, end in EXPECTED.items():
        record = node.wait_for_state(uids[name], "delivered", "rejected", "failed", "ignored", "dead-letter")
        if end == "mosaic":
            assert record.state.value == "rejected" and record.reason in MOSAIC_CODES, (name, record)
        else:
            assert (record.reason or record.state.value) == end, (name, record)
        assert record.state.value == "delivered" or len(record.message) > 20, (name, record)
    reports = [path for path in archive.objects() if pydicom.dcmread(path, stop_before_pixels=True).Modality == "SR"]
    referenced = {
        str(pydicom.dcmread(path).CurrentRequestedProcedureEvidenceSequence[0].StudyInstanceUID) for path in reports
    }
    assert len(reports) == sum(end == "delivered" for end in EXPECTED.values())
    assert len(referenced) >= 3


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """A real Orthanc; its DICOM and HTTP ports."""
    folder = tmp_path / "orthanc"
    folder.mkdir()
    with running_orthanc(folder, {}) as ports:
        yield ports


def test_orthanc_as_the_archive_holds_the_segmentation_of_a_series_pushed_by_dcmtk(
    tmp_path: Path, orthanc: tuple[int, int], phantom_series: object
) -> None:
    dicom_port, http_port = orthanc
    series: PhantomSeries = phantom_series("orthanc")  # type: ignore[operator]
    destination = {"name": "orthanc", "host": "127.0.0.1", "port": dicom_port, "ae_title": "ORTHANC"}
    node = RunningNode(tmp_path, [destination])
    try:
        node.start()
        storescu(node.port, series.paths)
        node.wait_for_state(series.series_uid, "delivered")
    finally:
        node.close()

    def get(path: str) -> object:
        with urlopen(f"http://127.0.0.1:{http_port}{path}", timeout=20) as response:
            return json.load(response)

    kinds = [get(f"/series/{key}")["MainDicomTags"]["Modality"] for key in get("/series")]  # type: ignore[attr-defined, index]
    assert sorted(kinds) == ["SEG", "SR"]
