"""What lies in a file or folder: kinds, studies, stacks of pictures, and bad files of all sorts."""

from __future__ import annotations

import gzip
import shutil
from functools import partial
from pathlib import Path

import cv2
import nibabel
import numpy as np
import pytest

from dicom_gateway.diagnosis import read_dicom
from neuroscan_core.config import NodeConfig
from neuroscan_core.diagnosis import inputs, nifti_input, picture_input
from neuroscan_core.diagnosis.agents.reader import ReaderAgent
from neuroscan_core.diagnosis.case import CaseFile, Gathered, InputKind, Reading
from neuroscan_core.diagnosis.chain import run_chain
from neuroscan_core.domain.errors import ConfigurationError, SeriesRejection
from neuroscan_core.domain.study import SEQUENCES

READERS = {
    inputs.DICOM: partial(read_dicom, config=NodeConfig()),
    inputs.NIFTI: nifti_input.read_nifti_files,
    inputs.PICTURE: picture_input.read_pictures,
}


def gather(path: Path) -> Gathered:
    return inputs.gather(path, READERS)


def reading(path: Path) -> Reading:
    case, (record,) = run_chain([ReaderAgent(gather)], CaseFile(path))
    assert case.reading is not None, record.notes
    return case.reading


def facts(path: Path) -> dict[str, str]:
    _, (record,) = run_chain([ReaderAgent(gather)], CaseFile(path))
    assert record.state.value == "done", record.notes
    return dict(record.output)


def refusal(path: Path) -> str:
    case, (record,) = run_chain([ReaderAgent(gather)], CaseFile(path))
    assert case.reading is None
    return " ".join(record.notes)


# --------------------------------------------------------------------------------------------------------------- DICOM


def test_a_dicom_series_is_known_by_its_attributes(dicom_folder: Path) -> None:
    found = facts(dicom_folder)
    assert (found["modality"], found["sequence"], found["plane"]) == ("MR", "FLAIR", "axial")
    assert found["size"] == "24 slices of 256 x 256 pixels" and found["voxel"] == "1.00 x 1.00 x 6.46 mm"
    assert found["machine"] == "GE MEDICAL SYSTEMS NeuroScan phantom" and "TI 2250" in found["timing"]
    assert found["orientation"].startswith("columns towards the patient's left, rows towards the back")


def test_a_study_of_four_sequences_is_recognised(study_folder: Path) -> None:
    found = gather(study_folder)
    assert set(found.study) == set(SEQUENCES) and found.reference == "FLAIR"  # T1ce has slices of 6 mm here
    seen = reading(study_folder)
    assert seen.study is not None and seen.study.geometry == seen.volume.geometry
    assert "T1, T1ce, T2, FLAIR on one grid" in facts(study_folder)["study"]


def test_three_sequences_are_no_study_and_flair_is_looked_at(study_folder: Path, tmp_path: Path) -> None:
    for name in ("FLAIR", "T1", "T2"):
        shutil.copytree(study_folder / name, tmp_path / name)
    found = gather(tmp_path)
    assert not found.study and any("no usable T1ce" in note for note in found.notes)
    assert reading(tmp_path).source.sequence == "FLAIR"


def test_nothing_of_the_patient_is_in_what_the_reader_says(dicom_folder: Path) -> None:
    said = str(facts(dicom_folder))
    assert "PHANTOM^HEAD" not in said and "PHANTOM-7" not in said and "20200101" not in said and "2.25." not in said


def test_missing_slices_are_said(dicom_folder: Path, tmp_path: Path) -> None:
    for path in sorted(dicom_folder.iterdir()):
        if path.name not in ("IM0010.dcm", "IM0011.dcm"):
            shutil.copy(path, tmp_path)
    assert "apart; equal distances are needed" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("folder", "sequence", "machine", "can_be_used"),
    [
        ("ge_signa_pioneer_t1_mprage", "T1", "GE MEDICAL SYSTEMS SIGNA Pioneer", True),
        ("siemens_prisma_xa30_enhanced_t1w", "T1", "Siemens Healthineers MAGNETOM Prisma Fit", True),
        ("siemens_trio_mosaic_uncompressed", "other", "SIEMENS TrioTim", False),
        ("philips_elition_pcasl_classic", "other", "Philips Ingenia Elition X", True),
        ("philips_achieva_enhanced_b0", "other", "", False),
        ("toshiba_galan_dwi_b0", "other", "TOSHIBA Galan 3T", True),
    ],
)
def test_real_series_of_four_makers_are_named_for_what_they_are(
    shared_data: Path, folder: str, sequence: str, machine: str, can_be_used: bool
) -> None:
    case, (record,) = run_chain([ReaderAgent(gather)], CaseFile(shared_data / "dicom_mr" / folder))
    found = dict(record.output)
    assert (found["modality"], found["sequence"]) == ("MR", sequence), found
    assert machine in found.get("machine", "")
    assert (case.reading is not None) == can_be_used
    assert can_be_used or (found["can be used"] == "no" and record.notes[0].endswith("."))


# --------------------------------------------------------------------------------------------------------------- NIfTI


def test_a_nifti_case_is_a_study_by_the_names_of_its_files(nifti_case: Path) -> None:
    found = gather(nifti_case)
    assert set(found.study) == set(SEQUENCES) and "Left out, masks by their names: 1." in found.notes
    assert "name of the file" in reading(nifti_case).source.reasons[0]


def test_names_of_files_are_not_repeated(nifti_case: Path) -> None:
    _, (record,) = run_chain([ReaderAgent(gather)], CaseFile(nifti_case))
    assert "Doe" not in str(record.as_json())


def test_a_nifti_file_whose_name_says_nothing_has_no_known_sequence(nifti_case: Path, tmp_path: Path) -> None:
    shutil.copy(nifti_case / "Doe_John_flair.nii.gz", tmp_path / "image.nii.gz")
    assert facts(tmp_path / "image.nii.gz")["sequence"] == "not known"


def test_nifti_of_four_dimensions_is_refused_without_its_name(tmp_path: Path) -> None:
    path = tmp_path / "Doe_flair.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.zeros((8, 8, 8, 3), np.float32), np.eye(4)), path)
    assert "cannot be read as one volume" in refusal(path) and "Doe" not in refusal(path)


def test_a_header_that_speaks_of_too_many_voxels_is_refused_before_they_are_read(tmp_path: Path) -> None:
    header = nibabel.Nifti1Header()
    header.set_data_shape((2000, 2000, 2000))
    header.set_data_dtype(np.float32)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    path = tmp_path / "big_flair.nii.gz"
    path.write_bytes(gzip.compress(header.binaryblock + b"\0" * 100))
    assert "8000 million voxels" in refusal(path)


# ------------------------------------------------------------------------------------------------------------ pictures


def test_a_picture_has_no_millimetres_and_no_sequence(picture: Path) -> None:
    seen = reading(picture)
    assert seen.source.kind is InputKind.PICTURE and not seen.has_millimetres and seen.volume.geometry.num_slices == 1
    found = facts(picture)
    assert found["sequence"] == "not known" and "voxel" not in found and "none" in found["millimetres"]


def test_a_numbered_stack_is_read_in_order_without_its_masks(tmp_path: Path) -> None:
    for number in (1, 2, 10):
        image = np.full((64, 64), 20 * number, np.uint8)
        cv2.imwrite(str(tmp_path / f"head_{number}.png"), image)
        cv2.imwrite(str(tmp_path / f"head_{number}_mask.png"), image)
    volume = gather(tmp_path).sources[0].require_volume()
    assert volume.voxels_kji[:, 0, 0].tolist() == [20, 40, 200]


@pytest.mark.parametrize(
    ("names", "sizes", "sentence"),
    [
        (["a.png", "b.png"], [64, 64], "do not make one numbered stack"),
        (["a1.png", "b2.png"], [64, 64], "do not make one numbered stack"),
        (["a1.png", "a2.png"], [64, 96], "differ in size"),
        (["a1.png"], [16], "too small"),
    ],
)
def test_pictures_that_make_no_stack_are_refused(
    tmp_path: Path, names: list[str], sizes: list[int], sentence: str
) -> None:
    for name, size in zip(names, sizes, strict=True):
        cv2.imwrite(str(tmp_path / name), np.zeros((size, size), np.uint8))
    assert sentence in refusal(tmp_path)


def test_a_coloured_picture_becomes_grey_and_says_so(tmp_path: Path) -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[20:40, 20:40] = (0, 0, 255)
    cv2.imwrite(str(tmp_path / "x.png"), image)
    assert any("colours" in note for note in gather(tmp_path).notes)


def test_jpeg_is_read_as_it_is_held(tmp_path: Path) -> None:
    from PIL import Image

    pixels = np.zeros((60, 40), np.uint8)
    pixels[:30] = 200
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned
    Image.fromarray(pixels).save(tmp_path / "x.jpg", exif=exif)
    volume = gather(tmp_path).sources[0].require_volume()
    assert volume.voxels_kji.shape == (1, 40, 60) and volume.voxels_kji[0, 0, -1] > 150 > volume.voxels_kji[0, 0, 0]


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 30000, 30000, 8, 0, 0, 0, 0)
    path = tmp_path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    assert "too large" in refusal(path) or "cannot be decoded" in refusal(path)


# ----------------------------------------------------------------------------------------------------------- bad files


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.dcm", b""),
        ("text.txt", b"hello"),
        ("cut.dcm", b"\0" * 128 + b"DICM"),
        ("noise.bin", bytes(range(256)) * 40),
        ("cut.png", b"\x89PNG\r\n\x1a\n" + b"\0" * 20),
        ("cut.jpg", b"\xff\xd8\xff\xe0" + b"\0" * 20),
        ("cut.nii.gz", gzip.compress(b"\0" * 344 + b"n+1\0")[:30]),
        ("wrong.nii.gz", b"\x1f\x8b\x08 this is not gzip"),
        ("header.nii", b"\0" * 344 + b"n+1\0"),
    ],
)
def test_bad_files_are_refused_with_a_sentence(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    sentence = refusal(tmp_path)
    assert sentence.endswith(".") and name.split(".")[0] not in sentence.split(), sentence


def test_one_bad_file_among_good_ones_costs_nothing(dicom_folder: Path, tmp_path: Path) -> None:
    for path in dicom_folder.iterdir():
        shutil.copy(path, tmp_path)
    (tmp_path / "bad.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 50)
    (tmp_path / "notes.txt").write_text("hello")
    found = gather(tmp_path)
    assert len(found.sources) == 1 and found.sources[0].volume is not None
    assert found.notes == ("Left out, no images: 1.", "Left out, not readable as DICOM: 1.")


def test_links_out_of_the_folder_are_not_followed(dicom_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link.dcm").symlink_to(dicom_folder / "IM0001.dcm")
    with pytest.raises(SeriesRejection, match="no image"):
        gather(tmp_path)


def test_what_is_not_there_is_said() -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        gather(Path("/nowhere/at/all"))
