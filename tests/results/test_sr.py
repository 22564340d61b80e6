"""The measurement report: what it says, also when nothing was found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.sr.codedict import codes

from dicom_gateway.results import ResultWriter
from neuroscan_core.config import SegFormat

from .checks import assert_valid
from .series import MODEL, Series, card, classic_series, enhanced_series

MakeWriter = Callable[..., ResultWriter]


def report_of(writer: ResultWriter, series: Series, folder: Path, labels_kji: np.ndarray | None = None) -> Path:
    result = series.result(labels_kji)
    writer.write_seg(series.completed(), result, card())
    (record,) = writer.write_rest(series.completed(), result, card())
    return folder / record.path


def texts(ds: pydicom.Dataset) -> list[str]:
    """All texts of a content tree."""
    here = [ds.TextValue] if "TextValue" in ds else []
    return here + [text for item in ds.get("ContentSequence", ()) for text in texts(item)]


def numbers(group: pydicom.Dataset) -> dict[str, float]:
    """Measurements of a group by meaning."""
    return {
        item.ConceptNameCodeSequence[0].CodeMeaning: float(item.MeasuredValueSequence[0].NumericValue)
        for item in group.ContentSequence
        if item.ValueType == "NUM"
    }


def test_dciodvfy_finds_no_error(series: Series, make_writer: MakeWriter, tmp_path: Path) -> None:
    assert_valid(report_of(make_writer(series), series, tmp_path))


def test_dciodvfy_finds_no_error_where_nothing_was_found(
    one_of_each: Series, make_writer: MakeWriter, tmp_path: Path
) -> None:
    nothing = np.zeros(one_of_each.geometry.shape, np.uint8)
    assert_valid(report_of(make_writer(one_of_each), one_of_each, tmp_path, nothing))


def test_regions_are_reported_with_size_and_segment(make_writer: MakeWriter, tmp_path: Path) -> None:
    series = classic_series()
    ds = pydicom.dcmread(report_of(make_writer(series), series, tmp_path))
    report = hd.sr.ComprehensiveSR.from_dataset(ds).content
    groups = report.get_volumetric_roi_measurement_groups()
    assert [group.finding_type.meaning for group in groups] == ["Neoplasm", "Edema"]
    expected_ml = np.count_nonzero(series.labels() == 1) * series.geometry.voxel_volume_ml
    assert numbers(groups[0][0]) == {"Volume": round(expected_ml, 3), "Number of connected parts": 2}
    seg = pydicom.dcmread(next(tmp_path.glob("*/*SEG*.dcm")))
    for number, group in enumerate(groups, 1):
        item = next(i for i in group[0].ContentSequence if i.ValueType == "IMAGE")
        assert item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == seg.SOPInstanceUID
        assert item.ReferencedSOPSequence[0].ReferencedSegmentNumber == number
        assert group.tracking_uid == seg.SegmentSequence[number - 1].TrackingUID


@pytest.mark.parametrize("make", [classic_series, enhanced_series])
def test_diameters_lie_in_the_slice_in_which_they_were_measured(
    make: Callable[[], Series], make_writer: MakeWriter, tmp_path: Path
) -> None:
    series = make()
    ds = pydicom.dcmread(report_of(make_writer(series), series, tmp_path))
    group = hd.sr.ComprehensiveSR.from_dataset(ds).content.get_image_measurement_groups()[0]
    assert numbers(group[0]) == {"Long axis": 21.5, "Short axis": 7.25}
    line = next(i for i in group[0].ContentSequence if i.ValueType == "NUM").ContentSequence[0]
    assert list(line.GraphicData) == [10.5, 12.5, 20.5, 14.5]  # voxel centres, from the corner of the first pixel
    reference = line.ContentSequence[0].ReferencedSOPSequence[0]
    measured_in = series.result().segmentation.measurements[0].diameter.key
    assert reference.ReferencedSOPInstanceUID == measured_in.sop_instance_uid
    if make is enhanced_series:
        assert reference.ReferencedFrameNumber == measured_in.frame_number


def test_no_finding_is_a_report_with_volume_zero(make_writer: MakeWriter, tmp_path: Path) -> None:
    series = classic_series()
    nothing = np.zeros(series.geometry.shape, np.uint8)
    writer = make_writer(series)
    records = writer.write(series.completed(), series.result(nothing), card())
    assert [(record.kind, record.summary) for record in records] == [("SR", "no finding")]
    ds = pydicom.dcmread(tmp_path / records[0].path)
    groups = hd.sr.ComprehensiveSR.from_dataset(ds).content.get_image_measurement_groups()
    assert [numbers(group[0])["Volume"] for group in groups] == [0, 0]
    for group in groups:
        said = {evaluation.name: evaluation.value for evaluation in group.get_qualitative_evaluations()}
        assert said[codes.DCM.PresenceOfProperty] == codes.SCT.Absent


def test_evidence_names_every_object_with_its_own_class(make_writer: MakeWriter, tmp_path: Path) -> None:
    series = enhanced_series()
    ds = pydicom.dcmread(report_of(make_writer(series), series, tmp_path))
    (study,) = ds.CurrentRequestedProcedureEvidenceSequence
    named = {
        str(item.ReferencedSOPInstanceUID): str(item.ReferencedSOPClassUID)
        for one in study.ReferencedSeriesSequence
        for item in one.ReferencedSOPSequence
    }
    seg = pydicom.dcmread(next(tmp_path.glob("*/*SEG*.dcm")))
    assert named == {str(o.SOPInstanceUID): str(o.SOPClassUID) for o in (series.datasets[0], seg)}


def test_report_names_model_and_intended_use(make_writer: MakeWriter, tmp_path: Path) -> None:
    series = classic_series()
    said = texts(pydicom.dcmread(report_of(make_writer(series), series, tmp_path)))
    assert {MODEL.name, MODEL.version, f"sha256={MODEL.sha256}"} <= set(said)
    assert "Research use only, not a medical device" in said


def test_report_is_made_where_no_segmentation_object_is_wanted(make_writer: MakeWriter, tmp_path: Path) -> None:
    series = classic_series()
    writer = make_writer(series, seg=False)
    records = writer.write(series.completed(), series.result(), card())
    assert [record.kind for record in records] == ["SR"]
    ds = pydicom.dcmread(tmp_path / records[0].path)
    groups = hd.sr.ComprehensiveSR.from_dataset(ds).content.get_image_measurement_groups()
    assert numbers(groups[0][0])["Number of connected parts"] == 2
    assert_valid(tmp_path / records[0].path)


def test_report_refers_to_the_encoding_that_was_written(make_writer: MakeWriter, tmp_path: Path) -> None:
    series = classic_series()
    records = make_writer(series).write(series.completed(), series.result(), card(), [SegFormat.LABELMAP])
    ds = pydicom.dcmread(tmp_path / records[1].path)
    group = hd.sr.ComprehensiveSR.from_dataset(ds).content.get_volumetric_roi_measurement_groups()[0]
    item = next(i for i in group[0].ContentSequence if i.ValueType == "IMAGE")
    assert item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == records[0].sop_uid
