"""Every layout reads into the same form; what is wrong with a case is said by its own error."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("nibabel")

from training.data.cases import Case, find_cases
from training.data.errors import (
    MissingModalityError,
    NoCasesError,
    ShapeMismatchError,
    UnknownLabelError,
    UnreadableCaseError,
    UnsupportedPlaneError,
)
from training.data.readers import case_files, num_slices, read_case
from training.data.readers.canonical import to_uint16

from . import layouts

SEQUENCES = ("T1", "T1ce", "T2", "FLAIR")


def only(root: Path, view: str | None = None) -> Case:
    (case,) = find_cases(root, view)
    return case


def in_frame(volume_ijk: np.ndarray) -> np.ndarray:
    """What a volume in LPS order is in the network's frame, [S, H, W]."""
    out = np.zeros((volume_ijk.shape[2], 256, 256), dtype=volume_ijk.dtype)
    rows, columns = volume_ijk.shape[1], volume_ijk.shape[0]
    top, left = (256 - rows) // 2, (256 - columns) // 2
    out[:, top : top + rows, left : left + columns] = volume_ijk.transpose(2, 1, 0)
    return out


@pytest.mark.parametrize(
    ("name", "endings", "suffix", "enhancing"),
    [
        ("Brats18_X_A_1", layouts.CLASSIC, ".nii.gz", 4),
        ("BraTS2021_00006", layouts.CLASSIC, ".nii", 4),
        ("BraTS-GLI-00005-000", layouts.RECENT, ".nii.gz", 3),
    ],
)
def test_brats_of_every_year_reads_alike(brats, tmp_path, name, endings, suffix, enhancing):
    brats(name, endings=endings, suffix=suffix, enhancing=enhancing)
    case = only(tmp_path, "multimodal")
    volume = read_case(case, SEQUENCES)
    images, labels = layouts.voxels()
    for channel, sequence in enumerate(SEQUENCES):
        np.testing.assert_array_equal(volume.images_SCHW[:, channel], in_frame(images[sequence]))
    np.testing.assert_array_equal(volume.labels_SHW, in_frame(labels))
    assert volume.images_SCHW.dtype == np.uint16 and volume.spacing_mm == (1.0, 1.0, 1.0)
    assert num_slices(case) == 6 and len(case_files(case)) == 5


def test_time_points_of_a_patient_are_one_patient(brats, tmp_path):
    brats("BraTS-GLI-00005-000", endings=layouts.RECENT)
    brats("BraTS-GLI-00005-001", endings=layouts.RECENT)
    assert {case.patient for case in find_cases(tmp_path)} == {"BraTS-GLI-00005"}


def test_decathlon_reads_as_brats_does(brats, tmp_path):
    brats()
    images, labels = layouts.voxels()
    layouts.write_msd(tmp_path, images, labels)
    by_dataset = {case.dataset: case for case in find_cases(tmp_path)}
    ours, theirs = (read_case(by_dataset[name], SEQUENCES) for name in ("brats", "msd"))
    np.testing.assert_array_equal(theirs.images_SCHW, ours.images_SCHW)
    np.testing.assert_array_equal(theirs.labels_SHW, ours.labels_SHW)
    assert num_slices(by_dataset["msd"]) == 6


def test_a_real_case_as_decathlon_reads_as_before(shared_data, tmp_path):
    import nibabel

    folder = shared_data / "brats_volumes" / "BraTS2021_00006"
    files = {name: nibabel.load(folder / f"{folder.name}_{end}.nii.gz") for name, end in
             [("T1", "t1"), ("T1ce", "t1ce"), ("T2", "t2"), ("FLAIR", "flair"), ("seg", "seg")]}  # fmt: skip
    part = {name: np.asanyarray(image.dataobj)[..., 60:70] for name, image in files.items()}
    labels = np.array([0, 1, 2, 0, 3], np.uint8)[part["seg"].astype(int)]
    layouts.write_msd(tmp_path, part, labels, files["seg"].affine)
    read = read_case(only(tmp_path), SEQUENCES)
    expected = read_case(Case("brats", folder.name, folder), SEQUENCES)
    np.testing.assert_array_equal(read.images_SCHW, expected.images_SCHW[60:70])
    np.testing.assert_array_equal(read.labels_SHW, expected.labels_SHW[60:70])
    assert set(np.unique(read.labels_SHW)) == {0, 1, 2, 3}


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_slices_with_masks_are_read_in_the_order_of_their_numbers(tmp_path, suffix):
    folder = tmp_path / "kaggle_3m" / "TCGA_CS_4941_19960909"
    folder.mkdir(parents=True)
    for number in (1, 2, 10):
        image = np.full((256, 256), number, np.uint8)
        if suffix == ".tif":  # the publisher's: before contrast, FLAIR, after contrast
            image = np.stack([image + 100, image, image + 50], axis=-1)
        cv2.imwrite(str(folder / f"{folder.name}_{number}{suffix}"), image)
        mask = np.zeros((256, 256), np.uint8)
        mask[number, 7] = 255
        cv2.imwrite(str(folder / f"{folder.name}_{number}_mask{suffix}"), mask)
    case = only(tmp_path)
    volume = read_case(case)
    assert volume.images_SCHW[:, 0, 0, 0].tolist() == [1, 2, 10]
    assert [tuple(p) for p in np.argwhere(volume.labels_SHW)] == [(0, 1, 7), (1, 2, 7), (2, 10, 7)]
    assert case.dataset == "lgg" and case.patient == "TCGA_CS_4941" and num_slices(case) == 3


def test_class_folders_become_grey_squares(tmp_path):
    for name in ("glioma", "meningioma", "notumor", "pituitary"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        colour = np.zeros((100, 200, 3), np.uint8)
        colour[:, 100:] = 200
        cv2.imwrite(str(tmp_path / "pictures" / name / "a.png"), colour)
    cases = find_cases(tmp_path, "pictures")
    volumes = [read_case(case, ("grey",)) for case in cases]
    assert [volume.class_index for volume in volumes] == [0, 1, 2, 3]
    picture = volumes[0].images_SCHW[0, 0]
    assert picture.shape == (224, 224) and picture.dtype == np.uint8
    assert picture[:50].max() == 0 and picture[112, 50] == 0 and picture[112, 170] == 200


def test_a_missing_class_is_no_class_folder(tmp_path):
    (tmp_path / "pictures" / "glioma").mkdir(parents=True)
    with pytest.raises(NoCasesError, match="no cases"):
        find_cases(tmp_path)


def test_a_missing_sequence_is_named_with_the_expected_file(brats, tmp_path):
    brats(leave_out="T1ce")
    assert only(tmp_path).channels == ("T1", "T2", "FLAIR")
    with pytest.raises(NoCasesError, match="multimodal"):
        find_cases(tmp_path, "multimodal")
    with pytest.raises(MissingModalityError, match=r"Brats18_X_A_1_t1ce\.nii\.gz"):
        read_case(only(tmp_path), SEQUENCES)


def test_a_sequence_of_another_shape_is_refused(brats, tmp_path):
    folder = brats()
    layouts.save_nifti(folder / f"{folder.name}_t2.nii.gz", np.zeros((24, 20, 7), np.int16))
    with pytest.raises(ShapeMismatchError, match=r"T2 is \(24, 20, 7\)"):
        read_case(only(tmp_path), SEQUENCES)


def test_a_sequence_that_lies_elsewhere_is_refused(brats, tmp_path):
    folder, moved = brats(), layouts.LPS_AFFINE.copy()
    moved[0, 3] = 3.0
    layouts.save_nifti(folder / f"{folder.name}_flair.nii.gz", np.zeros(layouts.SHAPE, np.int16), moved)
    with pytest.raises(ShapeMismatchError, match="lies elsewhere"):
        read_case(only(tmp_path))


@pytest.mark.parametrize("value", [5, 7])
def test_labels_that_mean_nothing_are_refused(brats, tmp_path, value):
    brats(enhancing=value)
    with pytest.raises(UnknownLabelError, match=f"label .*{value}"):
        read_case(only(tmp_path))


def test_labels_that_are_no_whole_numbers_are_refused(brats, tmp_path):
    folder = brats()
    layouts.save_nifti(folder / f"{folder.name}_seg.nii.gz", np.full(layouts.SHAPE, 0.5, np.float32))
    with pytest.raises(UnknownLabelError, match=r"0\.5"):
        read_case(only(tmp_path))


def test_an_oblique_volume_is_refused(brats, tmp_path):
    angle = np.deg2rad(20)
    tilt = np.eye(4)
    tilt[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    brats(affine=layouts.LPS_AFFINE @ tilt)
    with pytest.raises(UnsupportedPlaneError, match="oblique"):
        read_case(only(tmp_path))


def test_a_sagittal_volume_is_refused(brats, tmp_path):
    brats(affine=np.diag([-1.0, -1.0, 1.0, 1.0])[[2, 0, 1, 3]])
    with pytest.raises(UnsupportedPlaneError, match="not axial"):
        read_case(only(tmp_path))


def test_a_truncated_file_is_unreadable(brats, tmp_path):
    folder = brats()
    path = folder / f"{folder.name}_flair.nii.gz"
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(UnreadableCaseError, match="Fetch the file again"):
        read_case(only(tmp_path))


def test_a_slice_without_mask_is_refused(tmp_path):
    folder = tmp_path / "lgg" / "TCGA_CS_1_2"
    folder.mkdir(parents=True)
    for name in ("1", "1_mask", "2"):
        cv2.imwrite(str(folder / f"TCGA_CS_1_2_{name}.png"), np.zeros((8, 8), np.uint8))
    with pytest.raises(MissingModalityError, match="TCGA_CS_1_2_2_mask"):
        read_case(only(tmp_path))


def test_two_cases_of_one_name_are_refused(brats, tmp_path):
    brats("Brats18_X_A_1")
    layouts.write_brats(tmp_path / "copy")
    (tmp_path / "copy" / "brats").rename(tmp_path / "brats_again")
    with pytest.raises(NoCasesError, match="two cases are named Brats18_X_A_1"):
        find_cases(tmp_path)


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "CT"}}, MissingModalityError, "CT"),
        ({"labels": {"0": "background", "1": "edema", "2": "liver"}}, UnknownLabelError, "liver"),
        ({"labels": {"0": "background", "1": "edema"}}, UnknownLabelError, "label"),
    ],
)  # fmt: skip
def test_a_decathlon_description_that_says_something_else_is_refused(tmp_path, changes, error, text):
    layouts.write_msd(tmp_path, *layouts.voxels(), said=changes)
    with pytest.raises(error, match=text):
        read_case(only(tmp_path))


def test_a_decathlon_image_with_three_sequences_is_refused(tmp_path):
    images, labels = layouts.voxels()
    folder = layouts.write_msd(tmp_path, images, labels)
    layouts.save_nifti(folder / "imagesTr" / "BRATS_001.nii.gz", np.zeros((*layouts.SHAPE, 3), np.int16))
    with pytest.raises(ShapeMismatchError, match="4 sequences"):
        read_case(only(tmp_path))


def test_floats_of_a_small_range_keep_their_steps():
    stored = to_uint16(np.array([-1.0, 0.0, 0.25, 0.5, np.nan]))
    assert stored.tolist() == [0, 0, 2048, 4096, 0]
    assert to_uint16(np.array([3, 40000], np.int32)).tolist() == [3, 40000]
    assert to_uint16(np.array([0, 131070], np.int32)).tolist() == [0, 65535]


def test_resampled_labels_stay_labels(brats, tmp_path):
    """Enhancing tumour next to background: no other label may come to stand between them."""
    folder = brats(affine=np.diag([-0.6, -0.6, 1.0, 1.0]), shape=(48, 40, 6))
    labels = np.zeros((48, 40, 6), np.uint8)
    labels[11:30, 9:26, 1:5] = 4
    layouts.save_nifti(folder / f"{folder.name}_seg.nii.gz", labels, np.diag([-0.6, -0.6, 1.0, 1.0]))
    volume = read_case(only(tmp_path))
    assert volume.spacing_mm == (1.0, 1.0, 1.0)
    assert set(np.unique(volume.labels_SHW)) == {0, 3}
    millimetres = (labels > 0).sum() * 0.36
    assert (volume.labels_SHW > 0).sum() == pytest.approx(millimetres, rel=0.1)
