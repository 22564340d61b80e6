"""Results of studies: three segments, regions taken together, several source series, a classifier's opinion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.sr.codedict import codes as dictionary

from dicom_gateway.results import CompanionSeries, ResultWriter, SourceHeaders
from dicom_gateway.results import seg as plain
from dicom_gateway.results import writer as writer_module
from dicom_gateway.results.preparation import Preparations
from neuroscan_core.config import SegFormat
from neuroscan_core.domain import codes
from neuroscan_core.domain.events import SegmentationReady
from neuroscan_core.domain.segmentation import ModelIdentity, Segmentation, Triage
from neuroscan_core.pipeline.measure import finish_segmentation

from .checks import assert_valid
from .series import MODEL, OBLIQUE, Series, card, classic_series, enhanced_series
from .test_seg import assert_same_place, dcmqi_positions_mm
from .test_sr import numbers, texts

MakeWriter = Callable[..., ResultWriter]
PARTS = (
    (1, "necrotic core", codes.NECROSIS, (220, 50, 47)),
    (2, "oedema", codes.EDEMA, (0, 158, 115)),
    (3, "enhancing tumour", codes.ENHANCING_LESION, (240, 228, 66)),
)
GLIOMA_CARD = card(PARTS)
CLASSIFIER = ModelIdentity("test-classifier", "0.9", "ef" * 32, "onnxruntime-cpu")
WARNING = "The model was trained on images whose skull had been removed."
SERIES: dict[str, Callable[[], Series]] = {
    "axial": classic_series,
    "oblique": lambda: classic_series("oblique", orientation=OBLIQUE),
    "enhanced": enhanced_series,
}


@pytest.fixture(params=SERIES)
def reference(request: pytest.FixtureRequest) -> Series:
    return SERIES[request.param]()


def parts(series: Series) -> np.ndarray:
    """Nested boxes, not symmetric."""
    labels_kji = np.zeros(series.geometry.shape, np.uint8)
    labels_kji[2:8, 10:24, 12:30] = 2
    labels_kji[3:7, 12:20, 14:24] = 1
    labels_kji[4:6, 14:17, 16:23] = 3
    return labels_kji


def segmentation_of(series: Series, labels_kji: np.ndarray | None = None) -> Segmentation:
    labels_kji = parts(series) if labels_kji is None else labels_kji
    return finish_segmentation(labels_kji, series.geometry, series.manifest, GLIOMA_CARD)


def triage_of(series: Series) -> Triage:
    keys = series.manifest[3:6]
    rows = ((0.5, 0.25, 0.125, 0.125),) * 3
    classes = (codes.GLIOMA, codes.MENINGIOMA, codes.NO_TUMOUR, codes.PITUITARY_NEOPLASM)
    return Triage(CLASSIFIER, classes, rows[0], keys, rows)


def ready(series: Series, labels_kji: np.ndarray | None = None, *, triage: bool = True) -> SegmentationReady:
    found = segmentation_of(series, labels_kji)
    whole = replace(found, warnings=(WARNING,), triage=triage_of(series) if triage else None)
    return SegmentationReady(series.uid, 1, whole, MODEL)


def companions() -> list[CompanionSeries]:
    """Other series of the study, of other numbers of slices."""
    made = []
    for sequence, num_slices in (("T1", 3), ("T1ce", 5), ("T2", 2)):
        other = classic_series(sequence, shape=(num_slices, 16, 16))
        made.append(CompanionSeries.of(sequence, other.datasets))
    return made


def written(
    series: Series, make_writer: MakeWriter, folder: Path, encoding: SegFormat = SegFormat.BINARY, **options: bool
) -> dict[str, Path]:
    records = make_writer(series).write(
        series.completed(), ready(series, **options), GLIOMA_CARD, [encoding], companions=companions()
    )
    return {record.kind: folder / record.path for record in records}


def test_the_fast_path_writes_the_bytes_of_the_plain_path(
    reference: Series, make_writer: MakeWriter, tmp_path: Path
) -> None:
    headers = SourceHeaders(lambda _: reference.datasets)
    job = writer_module._Job(
        headers, Preparations(headers), reference.completed(), ready(reference), GLIOMA_CARD, companions()
    )
    content = plain.SegContent(
        job.identity, job.slices, job.segments, reference.geometry.spacing_mm,
        reference.completed().last_received_at_s, 9700, "NeuroScan study SEG v1 of series 4", companions=companions(),
    )  # fmt: skip
    wanted = writer_module.part10(plain.segmentation(content, SegFormat.BINARY))
    assert written(reference, make_writer, tmp_path)["SEG"].read_bytes() == wanted


@pytest.mark.parametrize("encoding", SegFormat)
def test_dciodvfy_finds_no_error(
    reference: Series, encoding: SegFormat, make_writer: MakeWriter, tmp_path: Path
) -> None:
    files = written(reference, make_writer, tmp_path, encoding)
    assert_valid(files["SEG"], is_labelmap=encoding is SegFormat.LABELMAP)
    assert_valid(files["SR"], is_labelmap=encoding is SegFormat.LABELMAP)


@pytest.mark.parametrize("encoding", SegFormat)
def test_highdicom_reads_back_every_part_at_its_place(
    reference: Series, encoding: SegFormat, make_writer: MakeWriter, tmp_path: Path
) -> None:
    path = written(reference, make_writer, tmp_path, encoding)["SEG"]
    volume = hd.seg.segread(path).get_volume(combine_segments=True, rescale_fractional=True)
    for value in (1, 2, 3):
        voxels = np.argwhere(volume.array == value)
        found_mm = voxels @ volume.affine[:3, :3].T + volume.affine[:3, 3]
        assert_same_place(found_mm, reference.positions_mm(parts(reference) == value))


def test_segments_have_the_codes_of_a_glioma_made_elsewhere(
    make_writer: MakeWriter, tmp_path: Path, shared_data: Path
) -> None:
    """Against a real SEG by dcmqi: types by meaning, as it wrote SNOMED's old identifiers."""
    ds = pydicom.dcmread(written(classic_series(), make_writer, tmp_path)["SEG"])
    theirs = pydicom.dcmread(shared_data / "dicom_seg_examples" / "tcga_gbm_glioma" / "DicomSeg.dcm")
    kinds = [segment.SegmentedPropertyTypeCodeSequence[0] for segment in ds.SegmentSequence]
    others = [segment.SegmentedPropertyTypeCodeSequence[0] for segment in theirs.SegmentSequence]
    assert [kind.CodeMeaning for kind in kinds] == [kind.CodeMeaning for kind in others]
    assert [(kind.CodingSchemeDesignator, kind.CodeValue) for kind in kinds] == [
        ("SCT", "6574001"), ("SCT", "79654002"), ("NCIt", "C113842"),
    ]  # fmt: skip
    regions = {
        segment.AnatomicRegionSequence[0].CodeMeaning for segment in (*ds.SegmentSequence, *theirs.SegmentSequence)
    }
    assert regions == {"Brain"}
    assert ds.SegmentsOverlap == "NO"


def test_all_source_series_are_referenced_and_frames_refer_to_the_first(
    reference: Series, make_writer: MakeWriter, tmp_path: Path
) -> None:
    ds = pydicom.dcmread(written(reference, make_writer, tmp_path)["SEG"])
    first, *others = ds.ReferencedSeriesSequence
    assert first.SeriesInstanceUID == reference.uid
    for item, companion in zip(others, companions(), strict=True):
        assert item.SeriesInstanceUID == companion.series_instance_uid
        named = {i.ReferencedSOPInstanceUID: i.ReferencedSOPClassUID for i in item.ReferencedInstanceSequence}
        assert named == companion.objects
    own = {key.sop_instance_uid for key in reference.manifest}
    for frame in ds.PerFrameFunctionalGroupsSequence:
        (source,) = frame.DerivationImageSequence[0].SourceImageSequence
        assert source.ReferencedSOPInstanceUID in own


def groups_of(path: Path) -> dict[str, list[hd.sr.MeasurementsAndQualitativeEvaluations]]:
    content = hd.sr.ComprehensiveSR.from_dataset(pydicom.dcmread(path)).content
    found: dict[str, list[hd.sr.MeasurementsAndQualitativeEvaluations]] = {}
    for group in (*content.get_volumetric_roi_measurement_groups(), *content.get_image_measurement_groups()):
        found.setdefault(str(group.tracking_identifier), []).append(group)
    return found


def meaning(sequence: pydicom.Sequence) -> str:
    return str(sequence[0].CodeMeaning)


def evaluations_of(path: Path) -> list[pydicom.Dataset]:
    """Items of the container of what has no place in an image; none where there is none."""
    items = pydicom.dcmread(path).ContentSequence
    return [
        inner
        for item in items
        if item.ValueType == "CONTAINER" and meaning(item.ConceptNameCodeSequence) == "Qualitative Evaluations"
        for inner in item.ContentSequence
    ]


def test_every_tracked_group_has_coordinates_somewhere_as_ohif_wants(
    reference: Series, make_writer: MakeWriter, tmp_path: Path
) -> None:
    labels_kji = parts(reference)
    labels_kji[labels_kji == 3] = 1
    records = make_writer(reference).write(reference.completed(), ready(reference, labels_kji), GLIOMA_CARD)
    for name, groups in groups_of(tmp_path / records[1].path).items():
        children = [child for group in groups for item in group[0].ContentSequence
                    for child in item.get("ContentSequence", ())]  # fmt: skip
        assert any(child.ValueType == "SCOORD" for child in children), name


def test_the_report_measures_each_part_and_the_regions_taken_together(
    reference: Series, make_writer: MakeWriter, tmp_path: Path
) -> None:
    groups = groups_of(written(reference, make_writer, tmp_path)["SR"])
    voxel_ml = reference.geometry.voxel_volume_ml
    counts = {value: int((parts(reference) == value).sum()) for value in (1, 2, 3)}
    wanted = {
        "NeuroScan necrotic core": counts[1],
        "NeuroScan oedema": counts[2],
        "NeuroScan enhancing tumour": counts[3],
        "NeuroScan WT, whole tumour": sum(counts.values()),
        "NeuroScan TC, tumour core": counts[1] + counts[3],
        "NeuroScan ET, enhancing tumour": counts[3],
    }
    assert wanted.keys() == groups.keys()
    for name, num_voxels in wanted.items():
        said = {key: value for group in groups[name] for key, value in numbers(group[0]).items()}
        assert said["Volume"] == pytest.approx(num_voxels * voxel_ml, abs=1e-3), name
        assert said["Number of connected parts"] == 1
        assert said["Long axis"] >= said["Short axis"] > 0
    (whole,) = groups["NeuroScan WT, whole tumour"]
    assert whole.finding_type == dictionary.SCT.Neoplasm
    (core,) = groups["NeuroScan TC, tumour core"]
    assert core.finding_type.value == codes.TUMOUR_CORE.value


def test_the_classifiers_probabilities_are_evidence_with_their_own_algorithm(
    make_writer: MakeWriter, tmp_path: Path
) -> None:
    series = classic_series()
    path = written(series, make_writer, tmp_path)["SR"]
    (triage,) = (item for item in evaluations_of(path) if item.ValueType == "CONTAINER")
    assert numbers(triage) == {
        "Probability of Glioma": 0.5,
        "Probability of Intracranial meningioma": 0.25,
        "Probability of No tumour": 0.125,
        "Probability of Neoplasm of pituitary gland": 0.125,
    }
    assert meaning(triage.ConceptNameCodeSequence) == "Classification of pictures, not a diagnosis"
    (said,) = (item for item in triage.ContentSequence if item.ValueType == "CODE")
    assert meaning(said.ConceptNameCodeSequence) == "Class with the greatest probability"
    assert meaning(said.ConceptCodeSequence) == "Glioma"
    seen = [item for item in triage.ContentSequence if item.ValueType == "IMAGE"]
    assert [item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in seen] == [
        key.sop_instance_uid for key in triage_of(series).keys
    ]
    ds = pydicom.dcmread(path)
    assert {CLASSIFIER.name, CLASSIFIER.version, f"sha256={CLASSIFIER.sha256}"} <= set(texts(ds))
    described = [item.get("ContributionDescription", "") for item in ds.ContributingEquipmentSequence]
    assert sum(MODEL.sha256 in text for text in described) == sum(CLASSIFIER.sha256 in text for text in described) == 1


def test_the_report_says_in_words_what_it_was_made_from_and_what_to_mind(
    make_writer: MakeWriter, tmp_path: Path
) -> None:
    series = classic_series()
    said = texts(pydicom.dcmread(written(series, make_writer, tmp_path)["SR"]))
    assert f"Warning: {WARNING}" in said
    assert "Made from this series together with other series of the study: T1, T1ce, T2." in said
    (triage,) = (text for text in said if text.startswith("Picture classifier"))
    assert "Glioma 0.50" in triage and "3 slices" in triage and "not a diagnosis" in triage
    (line,) = (text for text in said if text.startswith("whole tumour"))
    assert line.index("necrotic core") < line.index("oedema") < line.index("enhancing tumour")


def test_evidence_names_the_objects_of_all_series(make_writer: MakeWriter, tmp_path: Path) -> None:
    series = classic_series()
    ds = pydicom.dcmread(written(series, make_writer, tmp_path)["SR"])
    named = {
        str(item.ReferencedSOPInstanceUID)
        for keyword in ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence")
        for study in ds.get(keyword, ())
        for one in study.ReferencedSeriesSequence
        for item in one.ReferencedSOPSequence
    }
    assert {uid for companion in companions() for uid in companion.objects} <= named
    assert {key.sop_instance_uid for key in triage_of(series).keys} <= named


def test_nothing_found_is_said_of_every_region_and_beside_the_classifier(
    reference: Series, make_writer: MakeWriter, tmp_path: Path
) -> None:
    nothing = np.zeros(reference.geometry.shape, np.uint8)
    records = make_writer(reference).write(
        reference.completed(), ready(reference, nothing), GLIOMA_CARD, companions=companions()
    )
    assert [(record.kind, record.summary) for record in records] == [("SR", "no finding")]
    assert_valid(tmp_path / records[0].path)
    groups = groups_of(tmp_path / records[0].path)
    absent = {name for name, (group,) in groups.items() if numbers(group[0]).get("Volume") == 0}
    assert len(absent) == len(groups) == 6
    assert [item.ValueType for item in evaluations_of(tmp_path / records[0].path)] == ["CONTAINER"]


def test_a_part_that_is_missing_is_said_to_be_absent(make_writer: MakeWriter, tmp_path: Path) -> None:
    series = classic_series()
    labels_kji = parts(series)
    labels_kji[labels_kji == 3] = 1
    writer = make_writer(series)
    records = writer.write(series.completed(), ready(series, labels_kji), GLIOMA_CARD)
    seg, report = (pydicom.dcmread(tmp_path / record.path) for record in records)
    assert [segment.SegmentLabel for segment in seg.SegmentSequence] == ["necrotic core", "oedema"]
    assert_valid(tmp_path / records[1].path)
    groups = groups_of(tmp_path / records[1].path)
    assert not {"NeuroScan enhancing tumour", "NeuroScan ET, enhancing tumour"} & groups.keys()
    (said, _) = evaluations_of(tmp_path / records[1].path)
    assert (meaning(said.ConceptNameCodeSequence), meaning(said.ConceptCodeSequence)) == ("Enhancing Lesion", "Absent")
    assert report.Modality == "SR"


def test_a_result_of_other_series_or_of_another_classifier_is_another_object(make_writer: MakeWriter) -> None:
    series = classic_series()

    def uid(others: list[CompanionSeries], triage: bool) -> str:
        result = ready(series, triage=triage)
        return make_writer(series).write_seg(series.completed(), result, GLIOMA_CARD, companions=others)[0].sop_uid

    assert uid(companions(), True) == uid(companions(), True)
    assert len({uid(companions(), True), uid(companions(), False), uid(companions()[:2], True), uid([], False)}) == 4


def test_a_repeat_writes_the_same_bytes(make_writer: MakeWriter, tmp_path: Path) -> None:
    series, files = classic_series(), []
    for folder in ("first", "second"):
        writer = make_writer(series, folder=tmp_path / folder)
        records = writer.write(series.completed(), ready(series), GLIOMA_CARD, list(SegFormat), companions=companions())
        files.append([(tmp_path / folder / record.path).read_bytes() for record in records])
    assert files[0] == files[1] and len(files[0]) == 4


@pytest.mark.parametrize("encoding", [SegFormat.BINARY, SegFormat.LABELMAP])
def test_dcmqi_reads_back_every_part_at_its_place(
    reference: Series, encoding: SegFormat, make_writer: MakeWriter, tmp_path: Path
) -> None:
    path = written(reference, make_writer, tmp_path, encoding)["SEG"]
    found = dcmqi_positions_mm(path, tmp_path / "out", (1, 2, 3), is_one_file=encoding is SegFormat.LABELMAP)
    for value, found_mm in found.items():
        assert_same_place(found_mm, reference.positions_mm(parts(reference) == value), tolerance_mm=0.1)
