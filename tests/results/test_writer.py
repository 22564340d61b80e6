"""The writer: repeatable, durable, the same whatever was prepared, and true to the clinic's texts."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from prometheus_client import CollectorRegistry

from dicom_gateway.results import ResultWriter, SourceHeaders
from dicom_gateway.results import storing as storing_module
from dicom_gateway.results.headers import trimmed
from neuroscan_core.config import GatewayConfig, ResultsConfig, SegFormat
from neuroscan_core.domain.errors import DiskFull, UnreadableObject
from neuroscan_core.domain.events import SegmentationReady

from .checks import assert_valid
from .series import MODEL, Series, card, classic_series

MakeWriter = Callable[..., ResultWriter]
ALL = (SegFormat.BINARY, SegFormat.LABELMAP, SegFormat.FRACTIONAL)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def pixels(_: object) -> np.ndarray:
    return np.tile(np.arange(64, dtype=np.float32), (48, 1))


def test_a_repeat_in_another_process_writes_the_same_bytes(make_writer: MakeWriter, tmp_path: Path) -> None:
    series = classic_series()
    for folder in ("first", "second"):
        writer = make_writer(series, folder=tmp_path / folder, secondary_capture=True)
        writer.write(series.completed(), series.result(), card(), ALL, pixels)
    first, second = contents(tmp_path / "first"), contents(tmp_path / "second")
    assert first == second
    assert len(first) == 3 + 1 + len(np.flatnonzero(series.labels().any(axis=(1, 2))))


def test_a_repeat_in_one_process_writes_the_same_bytes_and_nothing_more(
    make_writer: MakeWriter, tmp_path: Path
) -> None:
    series = classic_series()
    writer = make_writer(series)
    writer.write(series.completed(), series.result(), card(), ALL)
    before = contents(tmp_path)
    records = writer.write(series.completed(), series.result(), card(), ALL)
    assert contents(tmp_path) == before
    assert {record.path for record in records} == set(before)


def test_work_done_ahead_changes_no_byte(series: Series, tmp_path: Path) -> None:
    headers = SourceHeaders(lambda _: series.datasets)
    folders = (tmp_path / "ahead", tmp_path / "at once")
    for folder in folders:
        registry = CollectorRegistry()
        writer = ResultWriter(ResultsConfig(), GatewayConfig(), folder, headers, registry=registry)
        if folder is folders[0]:
            for ds in reversed(series.datasets):
                headers.add(series.uid, ds)
                writer.prepare(series.uid)
            for _ in series.manifest:  # until everything is prepared, in small pieces
                writer.prepare(series.uid)
        else:
            headers.forget(series.uid)
        writer.write(series.completed(), series.result(), card())
    assert contents(folders[0]) == contents(folders[1])


def test_preparing_does_not_fail_on_headers_that_place_no_slice(tmp_path: Path) -> None:
    series = classic_series()
    for ds in series.datasets[:3]:
        del ds.ImagePositionPatient
    headers = SourceHeaders(lambda _: series.datasets)
    writer = ResultWriter(ResultsConfig(), GatewayConfig(), tmp_path, headers, registry=CollectorRegistry())
    for ds in series.datasets:
        headers.add(series.uid, ds)
    writer.prepare(series.uid)
    with pytest.raises(UnreadableObject, match="place"):
        writer.write_seg(series.completed(), series.result(), card())


def test_source_headers_are_not_changed_by_writing(make_writer: MakeWriter) -> None:
    series = classic_series()
    before = [trimmed(ds).to_json() for ds in series.datasets]
    make_writer(series, secondary_capture=True).write(series.completed(), series.result(), card(), ALL, pixels)
    assert [trimmed(ds).to_json() for ds in series.datasets] == before


def test_a_new_version_is_a_new_series_with_its_number_in_the_description(
    make_writer: MakeWriter, tmp_path: Path
) -> None:
    series = classic_series()
    writer = make_writer(series)
    objects = []
    for version in (1, 2):
        records = writer.write(series.completed(version), series.result(version=version), card())
        objects.append([pydicom.dcmread(tmp_path / record.path) for record in records])
    for old, new in zip(*objects, strict=True):
        assert old.SeriesInstanceUID != new.SeriesInstanceUID and old.SOPInstanceUID != new.SOPInstanceUID
        assert old.SeriesNumber == new.SeriesNumber
        assert "v1" in old.SeriesDescription and "v2" in new.SeriesDescription
    assert objects[0][0].SegmentSequence[0].TrackingUID == objects[1][0].SegmentSequence[0].TrackingUID


def test_other_model_other_identifiers_but_not_for_another_engine(make_writer: MakeWriter) -> None:
    series = classic_series()

    def uid(**changes: str) -> str:
        result = series.result()
        changed = SegmentationReady(series.uid, 1, result.segmentation, replace(MODEL, **changes))
        return make_writer(series).write_seg(series.completed(), changed, card())[0].sop_uid

    assert uid() == uid(engine="tensorrt")
    assert len({uid(), uid(name="x"), uid(version="9"), uid(sha256="cd" * 32)}) == 4


def test_dates_are_those_of_the_last_image_and_study_dates_are_kept(make_writer: MakeWriter, tmp_path: Path) -> None:
    series = classic_series()
    for record in make_writer(series).write(series.completed(), series.result(), card()):
        ds = pydicom.dcmread(tmp_path / record.path)
        assert (ds.StudyDate, ds.StudyTime) == ("20240102", "101112")
        assert ds.ContentDate in ("20231114", "20231115")  # one moment, seen from any time zone


@pytest.mark.parametrize(
    ("charset", "name", "note"),
    [
        ("ISO_IR 192", "Müller^Zoë", "Łódź"),
        ("ISO_IR 100", "Müller^Zoë", "Łódź"),
        ("ISO_IR 144", "Жижин^Юлий", "Клиника"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう", "病院"),
        ("GB18030", "Wang^XiaoDong=王^小东", "医院"),
        (None, "Plain^Name", "Klinik"),
    ],
)  # fmt: skip
def test_patient_texts_survive_in_their_character_set(
    charset: object, name: str, note: str, make_writer: MakeWriter, tmp_path: Path
) -> None:
    series = classic_series(SpecificCharacterSet=charset, PatientName=name)
    series.datasets[:] = [reread(ds) for ds in series.datasets]
    writer = make_writer(series, institution_note=note, secondary_capture=True)
    for record in writer.write(series.completed(), series.result(), card(), ALL, pixels):
        ds = pydicom.dcmread(tmp_path / record.path)
        assert str(ds.PatientName) == name
        assert ds.get("SpecificCharacterSet") == charset
        assert ds.SeriesDescription.startswith("NeuroScan")


def reread(ds: pydicom.Dataset) -> pydicom.Dataset:
    """The data set as it comes from a file."""
    buffer = pydicom.filebase.DicomBytesIO()
    pydicom.dcmwrite(buffer, ds, enforce_file_format=True)
    buffer.seek(0)
    return pydicom.dcmread(buffer)


def test_odd_and_missing_patient_values_are_kept_as_they_are(make_writer: MakeWriter, tmp_path: Path) -> None:
    series = classic_series(
        PatientID="", PatientSex="", PatientName="dicom", StudyID=None, ReferringPhysicianName=None, StudyTime="1011"
    )
    for ds in series.datasets:
        ds.PatientAge = "000Y"
    for record in make_writer(series).write(series.completed(), series.result(), card()):
        ds = pydicom.dcmread(tmp_path / record.path)
        assert (ds.PatientID, str(ds.PatientName), ds.PatientSex, ds.StudyTime) == ("", "dicom", "", "1011")
        assert ds.StudyID == "" and ds.PatientAge == "000Y"
        assert_valid(tmp_path / record.path)


@pytest.mark.filterwarnings("ignore")  # pydicom says what is wrong with these values; here they have to pass
@pytest.mark.parametrize(
    "header",
    [
        {"SpecificCharacterSet": "ISO-IR 100"},
        {"PatientSex": "U"},
        {"StudyDate": "2024-01-02"},
        {"PatientBirthDate": "unknown"},
        {"Manufacturer": ""},
        {"Manufacturer": "x" * 80, "InstitutionName": "y" * 80, "StationName": "z" * 30},
        {"SliceThickness": ""},
        {"PatientID": None, "PatientName": None, "StudyDate": None, "AccessionNumber": None, "SeriesNumber": None},
        {"PositionReferenceIndicator": None},
        {"AcquisitionDateTime": "yesterday"},
        {"LossyImageCompression": "01", "LossyImageCompressionRatio": "10.0"},
        {"SOPClassUID": "1.2.3.4"},
    ],
    ids=lambda header: next(iter(header)),
)
def test_a_value_that_the_standard_forbids_does_not_lose_the_result(
    header: dict[str, object], make_writer: MakeWriter
) -> None:
    series = classic_series(**header)
    records = make_writer(series).write(series.completed(), series.result(), card(), ALL)
    assert [record.kind for record in records] == ["SEG", "SEG", "SEG", "SR"]


def test_no_space_is_said_and_leaves_nothing_behind(
    make_writer: MakeWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    series = classic_series()
    writer = make_writer(series)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(storing_module.os, "fsync", full)
        with pytest.raises(DiskFull):
            writer.write_seg(series.completed(), series.result(), card())
    assert contents(tmp_path) == {}
    assert len(writer.write_seg(series.completed(), series.result(), card())) == 1


def test_headers_that_were_forgotten_are_read_again() -> None:
    one, two = classic_series("one"), classic_series("two")
    by_uid = {one.uid: one.datasets, two.uid: two.datasets}
    reads: list[str] = []

    def read(uid: str) -> list[pydicom.Dataset]:
        reads.append(uid)
        return by_uid[uid]

    headers = SourceHeaders(read, capacity=1)
    for series in (one, two):
        for ds in series.datasets:
            headers.add(series.uid, ds)
    assert list(headers.for_manifest(two.uid, two.manifest)) == [key.sop_instance_uid for key in two.manifest]
    assert reads == []
    assert list(headers.for_manifest(one.uid, one.manifest)) == [key.sop_instance_uid for key in one.manifest]
    assert reads == [one.uid]


def test_an_object_that_the_spool_lost_is_said() -> None:
    series = classic_series()
    headers = SourceHeaders(lambda _: series.datasets[1:])
    with pytest.raises(UnreadableObject, match="lacks 1 of 12"):
        headers.for_manifest(series.uid, series.manifest)


def test_headers_are_kept_without_pixels_and_private_attributes() -> None:
    ds = classic_series().datasets[0]
    ds.private_block(0x0029, "ACME", create=True).add_new(1, "OB", b"x" * 100)
    kept = trimmed(ds)
    assert "PixelData" not in kept and not any(tag.is_private for tag in kept.keys())  # noqa: SIM118
    assert kept.PatientName == "Test^Phantom"
