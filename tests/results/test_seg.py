"""The SEG: equal on the fast and the plain way, readable by others, at the same place in the patient."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import pytest
from scipy.spatial import cKDTree

from dicom_gateway.results import LABELMAP_SOP_CLASS_UID, ResultWriter, SourceHeaders, encoding_of
from dicom_gateway.results import seg as plain
from dicom_gateway.results import writer as writer_module
from dicom_gateway.results.preparation import Preparations
from dicom_gateway.results.seg_bytes import binary_seg, slice_parts
from neuroscan_core.config import SegFormat
from neuroscan_core.domain import codes
from neuroscan_core.domain.errors import ConfigurationError, InvalidBundle, UnreadableObject

from .checks import assert_valid
from .series import MODEL, Series, card, classic_series, enhanced_series, mosaic_series

MakeWriter = Callable[..., ResultWriter]
ENCODINGS = list(SegFormat)
OTHER_ENCODINGS = (SegFormat.LABELMAP, SegFormat.FRACTIONAL)


def job_of(series: Series, labels_kji: np.ndarray | None = None) -> writer_module._Job:
    """What the writer makes objects of."""
    headers = SourceHeaders(lambda _: series.datasets)
    return writer_module._Job(headers, Preparations(headers), series.completed(), series.result(labels_kji), card())


def plain_file(series: Series, labels_kji: np.ndarray, *, omit_empty_frames: bool = True) -> bytes:
    """The same object as highdicom and pydicom write it."""
    job = job_of(series, labels_kji)
    content = plain.SegContent(
        job.identity, job.slices, job.segments, series.geometry.spacing_mm, series.completed().last_received_at_s,
        9700, f"NeuroScan SEG v1 of series {series.datasets[0].SeriesNumber}", omit_empty_frames=omit_empty_frames,
    )  # fmt: skip
    return writer_module.part10(plain.segmentation(content, SegFormat.BINARY))


@pytest.mark.parametrize("two", [False, True], ids=["one segment", "two segments"])
def test_fast_path_writes_the_bytes_of_the_plain_path(
    series: Series, two: bool, make_writer: MakeWriter, tmp_path: Path
) -> None:
    labels_kji = series.labels(two=two)
    record = make_writer(series).write_seg(series.completed(), series.result(labels_kji), card())[0]
    assert (tmp_path / record.path).read_bytes() == plain_file(series, labels_kji)


def test_fast_path_writes_the_bytes_of_the_plain_path_with_empty_frames(
    make_writer: MakeWriter, tmp_path: Path
) -> None:
    series = classic_series(shape=(6, 51, 37))  # frames that do not end on a byte
    writer = make_writer(series, omit_empty_frames=False)
    record = writer.write_seg(series.completed(), series.result(), card())[0]
    assert (tmp_path / record.path).read_bytes() == plain_file(series, series.labels(), omit_empty_frames=False)
    assert pydicom.dcmread(tmp_path / record.path).NumberOfFrames == 12


def test_our_object_says_what_highdicom_says_of_the_original_images() -> None:
    """Against highdicom on untouched headers: nothing is lost by the way the headers are handed to it."""
    for series in (classic_series(), enhanced_series()):
        ours = pydicom.dcmread(pydicom.filebase.DicomBytesIO(plain_file(series, series.labels(two=False))))
        by_uid = {str(ds.SOPInstanceUID): ds for ds in series.datasets}
        sources = [by_uid[uid] for uid in dict.fromkeys(key.sop_instance_uid for key in series.manifest)]
        built = hd.seg.Segmentation(
            sources, series.labels(two=False), "BINARY",
            [hd.seg.SegmentDescription.from_dataset(ours.SegmentSequence[0])],
            ours.SeriesInstanceUID, 9700, ours.SOPInstanceUID, 1, "NeuroScan", "NeuroScan edge node",
            ours.SoftwareVersions, "NEUROSCAN", content_description=ours.ContentDescription,
            content_label=ours.ContentLabel, series_description=ours.SeriesDescription,
        )  # fmt: skip
        theirs = pydicom.dcmread(pydicom.filebase.DicomBytesIO(writer_module.part10(built)))
        differs = {"DimensionOrganizationSequence", "DimensionIndexSequence", "ContributingEquipmentSequence"}
        differs |= {f"{what}{part}" for what in ("InstanceCreation", "Content", "Series") for part in ("Date", "Time")}
        for element in theirs:
            if element.keyword not in {*differs, "SharedFunctionalGroupsSequence"}:
                assert ours[element.tag] == element, element.keyword
        assert {e.keyword for e in ours} - {e.keyword for e in theirs} <= differs
        own, shared = ours.SharedFunctionalGroupsSequence[0], theirs.SharedFunctionalGroupsSequence[0]
        assert own.PlaneOrientationSequence == shared.PlaneOrientationSequence
        assert own.PixelMeasuresSequence[0].PixelSpacing == shared.PixelMeasuresSequence[0].PixelSpacing


def test_dciodvfy_finds_no_error(series: Series, make_writer: MakeWriter, tmp_path: Path) -> None:
    assert_valid(written(series, make_writer, tmp_path))


@pytest.mark.parametrize("encoding", OTHER_ENCODINGS)
def test_dciodvfy_finds_no_error_in_other_encodings(
    one_of_each: Series, encoding: SegFormat, make_writer: MakeWriter, tmp_path: Path
) -> None:
    path = written(one_of_each, make_writer, tmp_path, encoding)
    assert_valid(path, is_labelmap=encoding is SegFormat.LABELMAP)


def test_highdicom_reads_back_the_same_voxels(series: Series, make_writer: MakeWriter, tmp_path: Path) -> None:
    assert_highdicom_reads(series, written(series, make_writer, tmp_path))


@pytest.mark.parametrize("encoding", OTHER_ENCODINGS)
def test_highdicom_reads_back_the_same_voxels_from_other_encodings(
    one_of_each: Series, encoding: SegFormat, make_writer: MakeWriter, tmp_path: Path
) -> None:
    assert_highdicom_reads(one_of_each, written(one_of_each, make_writer, tmp_path, encoding))


def test_dcmqi_reads_back_the_same_voxels_at_the_same_positions(
    series: Series, make_writer: MakeWriter, tmp_path: Path
) -> None:
    assert_dcmqi_reads(series, written(series, make_writer, tmp_path), tmp_path / "out")


def test_dcmqi_reads_back_the_same_voxels_from_a_label_map(
    one_of_each: Series, make_writer: MakeWriter, tmp_path: Path
) -> None:
    path = written(one_of_each, make_writer, tmp_path, SegFormat.LABELMAP)
    assert_dcmqi_reads(one_of_each, path, tmp_path / "out", is_one_file=True)


def written(series: Series, make_writer: MakeWriter, folder: Path, encoding: SegFormat = SegFormat.BINARY) -> Path:
    """File of the SEG of a series."""
    record = make_writer(series).write_seg(series.completed(), series.result(), card(), [encoding])[0]
    return folder / record.path


def assert_highdicom_reads(series: Series, path: Path) -> None:
    volume = hd.seg.segread(path).get_volume(combine_segments=True, rescale_fractional=True)
    voxels = np.stack(np.nonzero(volume.array), axis=1)
    found_mm = voxels @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    for value in (1, 2):
        here_mm = found_mm[volume.array[tuple(voxels.T)] == value]
        assert_same_place(here_mm, series.positions_mm(series.labels() == value))


def assert_dcmqi_reads(series: Series, path: Path, out: Path, *, is_one_file: bool = False) -> None:
    """The two regions of a series are where they belong."""
    found = dcmqi_positions_mm(path, out, (1, 2), is_one_file=is_one_file)
    for value, found_mm in found.items():
        assert_same_place(found_mm, series.positions_mm(series.labels() == value), tolerance_mm=0.1)
    described = json.loads(next(out.glob("*.json")).read_text())["segmentAttributes"]
    assert {"tumour", "oedema"} <= {segment["SegmentLabel"] for group in described for segment in group}


def dcmqi_positions_mm(
    path: Path, out: Path, values: Sequence[int], *, is_one_file: bool = False
) -> dict[int, np.ndarray]:
    """Patient positions (LPS) of the voxels of each segment, as dcmqi reads them.

    It makes a file of 0 and 1 per segment; of a label map, one file with the segment numbers.
    """
    here = str(Path(sys.executable).parent)
    program = shutil.which("segimage2itkimage", path=here) or shutil.which("segimage2itkimage")
    if program is None:
        pytest.skip("dcmqi is not installed")
    out.mkdir()
    command = [program, "--inputDICOM", str(path), "--outputDirectory", str(out), "-t", "nifti"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(out.glob("*.nii.gz"))) == (1 if is_one_file else len(values))
    found = {}
    for value in values:
        image = nib.load(next(out.glob("*1.nii.gz" if is_one_file else f"*{value}.nii.gz")))
        inside = np.asarray(image.dataobj) == value if is_one_file else np.asarray(image.dataobj) > 0
        found_ras = np.stack(np.nonzero(inside), axis=1) @ image.affine[:3, :3].T + image.affine[:3, 3]
        found[value] = found_ras * (-1, -1, 1)
    return found


def assert_same_place(found_mm: np.ndarray, expected_mm: np.ndarray, tolerance_mm: float = 0.02) -> None:
    """The same number of voxels, each next to one of the others; headers carry positions with 1e-3 mm or better."""
    assert len(found_mm) == len(expected_mm)
    distances, nearest = cKDTree(expected_mm).query(found_mm)
    assert distances.max() < tolerance_mm
    assert len(set(nearest.tolist())) == len(expected_mm)


def test_every_frame_refers_to_its_source_and_keeps_positions(
    series: Series, make_writer: MakeWriter, tmp_path: Path
) -> None:
    record = make_writer(series).write_seg(series.completed(), series.result(), card())[0]
    ds = pydicom.dcmread(tmp_path / record.path)
    first = series.datasets[0]
    assert ds.FrameOfReferenceUID == first.FrameOfReferenceUID
    assert ds.ReferencedSeriesSequence[0].SeriesInstanceUID == series.uid
    referenced = {i.ReferencedSOPInstanceUID for i in ds.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
    assert referenced == {key.sop_instance_uid for key in series.manifest}
    is_multiframe = "PerFrameFunctionalGroupsSequence" in first
    for frame in ds.PerFrameFunctionalGroupsSequence:
        source = frame.DerivationImageSequence[0].SourceImageSequence[0]
        assert source.SpatialLocationsPreserved == "YES"
        assert source.ReferencedSOPClassUID == first.SOPClassUID
        assert ("ReferencedFrameNumber" in source) == is_multiframe
        image = next(d for d in series.datasets if d.SOPInstanceUID == source.ReferencedSOPInstanceUID)
        if is_multiframe:
            group = image.PerFrameFunctionalGroupsSequence[source.ReferencedFrameNumber - 1]
            position = group.PlanePositionSequence[0].ImagePositionPatient
        else:
            position = image.ImagePositionPatient
        assert frame.PlanePositionSequence[0].ImagePositionPatient == position


def test_orientation_and_spacing_are_copied_to_the_character(make_writer: MakeWriter, tmp_path: Path) -> None:
    series = classic_series(
        "text", orientation=(1, 0, 0, 0, 1, 0), ImageOrientationPatient=["1.0", "0", "-0.0", "0", "1.00000", "0e0"]
    )
    record = make_writer(series).write_seg(series.completed(), series.result(), card())[0]
    content = (tmp_path / record.path).read_bytes()
    assert b"1.0\\0\\-0.0\\0\\1.00000\\0e0" in content


def test_spacing_between_slices_is_the_measured_one_where_the_header_is_wrong(
    make_writer: MakeWriter, tmp_path: Path
) -> None:
    series = classic_series(spacing_mm=(3.0, 1.0, 1.0), SpacingBetweenSlices="0.3")
    record = make_writer(series).write_seg(series.completed(), series.result(), card())[0]
    measures = pydicom.dcmread(tmp_path / record.path).SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert float(measures.SpacingBetweenSlices) == pytest.approx(3.0)


def test_segments_carry_codes_colours_and_algorithm_of_the_card(make_writer: MakeWriter, tmp_path: Path) -> None:
    series = classic_series()
    record = make_writer(series).write_seg(series.completed(), series.result(), card())[0]
    ds = pydicom.dcmread(tmp_path / record.path)
    tumour, oedema = ds.SegmentSequence
    assert [int(s.SegmentNumber) for s in ds.SegmentSequence] == [1, 2]
    assert tumour.SegmentedPropertyTypeCodeSequence[0].CodeValue == codes.NEOPLASM.value
    assert oedema.SegmentedPropertyTypeCodeSequence[0].CodeValue == codes.EDEMA.value
    assert tumour.AnatomicRegionSequence[0].CodeValue == codes.BRAIN.value
    assert tumour.RecommendedDisplayCIELabValue != oedema.RecommendedDisplayCIELabValue
    algorithm = tumour.SegmentationAlgorithmIdentificationSequence[0]
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == (MODEL.name, MODEL.version)
    assert MODEL.sha256 in algorithm.AlgorithmParameters
    assert algorithm.AlgorithmFamilyCodeSequence[0].CodeValue == "123110"
    assert any(MODEL.sha256 in e.get("ContributionDescription", "") for e in ds.ContributingEquipmentSequence)


def test_segments_of_one_colour_get_different_ones(make_writer: MakeWriter, tmp_path: Path) -> None:
    series, red = classic_series(), (255, 0, 0)
    same = card([(1, "a", codes.NEOPLASM, red), (2, "b", codes.EDEMA, red)])
    record = make_writer(series).write_seg(series.completed(), series.result(), same)[0]
    first, second = pydicom.dcmread(tmp_path / record.path).SegmentSequence
    assert first.RecommendedDisplayCIELabValue != second.RecommendedDisplayCIELabValue


def test_a_region_without_a_voxel_is_left_out_and_the_rest_renumbered(make_writer: MakeWriter, tmp_path: Path) -> None:
    series = classic_series()
    labels_kji = series.labels()
    labels_kji[labels_kji == 1] = 0
    record = make_writer(series).write_seg(series.completed(), series.result(labels_kji), card())[0]
    (segment,) = pydicom.dcmread(tmp_path / record.path).SegmentSequence
    assert (segment.SegmentNumber, segment.SegmentLabel) == (1, "oedema")


def test_no_frame_and_no_object_is_blank(make_writer: MakeWriter, tmp_path: Path) -> None:
    series = classic_series()
    writer = make_writer(series)
    record = writer.write_seg(series.completed(), series.result(), card())[0]
    assert pydicom.dcmread(tmp_path / record.path).pixel_array.any(axis=(1, 2)).all()
    nothing = series.result(np.zeros(series.geometry.shape, np.uint8))
    assert writer.write_seg(series.completed(), nothing, card()) == []


def test_a_label_map_has_its_background_and_is_run_length_encoded(make_writer: MakeWriter, tmp_path: Path) -> None:
    series = classic_series()
    record = make_writer(series).write_seg(series.completed(), series.result(), card(), [SegFormat.LABELMAP])[0]
    ds = pydicom.dcmread(tmp_path / record.path)
    assert record.sop_class_uid == ds.SOPClassUID == LABELMAP_SOP_CLASS_UID
    assert ds.file_meta.TransferSyntaxUID == pydicom.uid.RLELossless
    assert ds.SegmentSequence[0].SegmentNumber == 0
    assert ds.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeValue == "125040"
    assert ds.PixelPaddingValue == 0


def test_every_encoding_is_a_series_of_its_own(make_writer: MakeWriter, tmp_path: Path) -> None:
    series = classic_series()
    records = make_writer(series).write_seg(series.completed(), series.result(), card(), ENCODINGS)
    objects = [pydicom.dcmread(tmp_path / record.path) for record in records]
    assert [encoding_of(record) for record in records] == ENCODINGS
    assert len({ds.SeriesInstanceUID for ds in objects}) == len({ds.SOPInstanceUID for ds in objects}) == 3
    assert [ds.SeriesNumber for ds in objects] == [9700, 9701, 9702]


def test_a_value_that_the_card_does_not_list_is_refused(make_writer: MakeWriter) -> None:
    series = classic_series()
    labels_kji = series.labels()
    labels_kji[4, 4, 4] = 9
    with pytest.raises(InvalidBundle):
        make_writer(series).write_seg(series.completed(), series.result(labels_kji), card())


def test_images_without_a_frame_of_reference_are_refused(make_writer: MakeWriter) -> None:
    series = classic_series()
    for ds in series.datasets:
        ds.FrameOfReferenceUID = ""
    with pytest.raises(UnreadableObject, match="FrameOfReferenceUID"):
        make_writer(series).write_seg(series.completed(), series.result(), card())


def test_masks_of_other_slices_are_refused(make_writer: MakeWriter) -> None:
    series = classic_series()
    for ds in series.datasets:
        ds.ImagePositionPatient = [x + 30 for x in ds.ImagePositionPatient]
    with pytest.raises(UnreadableObject, match="mm apart"):
        make_writer(series).write_seg(series.completed(), series.result(), card())


def test_overlapping_regions_are_kept_in_binary_and_refused_as_a_label_map() -> None:
    series = classic_series()
    job = job_of(series)
    tumour, oedema = job.segments
    everything_pji = np.ones_like(oedema.mask_pji)
    content = plain.SegContent(
        job.identity, job.slices, [tumour, replace(oedema, mask_pji=everything_pji)], 1.0, 1.7e9, 1, "overlap"
    )
    parts = {k: slice_parts(source) for k, source in enumerate(job.slices)}
    fast = binary_seg(content, plain.shell(job.slices[0]), parts)
    assert fast == writer_module.part10(plain.segmentation(content, SegFormat.BINARY))
    assert pydicom.dcmread(pydicom.filebase.DicomBytesIO(fast)).SegmentsOverlap == "YES"
    with pytest.raises(ConfigurationError, match="overlap"):
        plain.segmentation(content, SegFormat.LABELMAP)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_tiles_of_a_mosaic_refer_to_their_object_without_claiming_its_grid(
    encoding: SegFormat, make_writer: MakeWriter, tmp_path: Path
) -> None:
    series = mosaic_series()
    record = make_writer(series).write_seg(series.completed(), series.result(), card(), [encoding])[0]
    ds = pydicom.dcmread(tmp_path / record.path)
    (reference,) = ds.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert reference.ReferencedSOPInstanceUID == series.manifest[0].sop_instance_uid
    for frame in ds.PerFrameFunctionalGroupsSequence:
        source = frame.DerivationImageSequence[0].SourceImageSequence[0]
        assert source.SpatialLocationsPreserved == "NO" and "ReferencedFrameNumber" not in source
    volume = hd.seg.segread(tmp_path / record.path).get_volume(combine_segments=True, rescale_fractional=True)
    voxels = np.stack(np.nonzero(volume.array == 1), axis=1)
    found_mm = voxels @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    kji = np.stack(np.nonzero(series.labels() == 1), axis=1)
    affine = series.geometry.affine_lps
    assert_same_place(found_mm, kji[:, ::-1] @ affine[:3, :3].T + affine[:3, 3])
    assert_valid(tmp_path / record.path, is_labelmap=encoding is SegFormat.LABELMAP)
