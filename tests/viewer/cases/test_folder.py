"""A case in a folder: what a worker writes is what a browser gets, however far the worker is."""

from __future__ import annotations

import gzip
from pathlib import Path

import cv2
import nibabel
import numpy as np
import pytest

from neuroscan_core.domain.errors import CaseNotFound
from neuroscan_core.domain.segmentation import ModelIdentity, Segmentation
from neuroscan_core.domain.volume import Volume
from neuroscan_core.nifti import read_nifti
from neuroscan_core.pipeline.measure import finish_segmentation
from neuroscan_core.viewer.cases.folder import CaseFolder, slice_keys
from neuroscan_core.viewer.cases.folder_case import FolderCase
from tests.pipeline.stacks import CARD
from tests.viewer.volumes import ORIENTATIONS, lesion, stack

ID = "d0123456789abcdef"
MODEL = ModelIdentity("tiny", "1.0", "0" * 64, "cpu")
SHAPE = (30, 60, 70)


def volume(orientation: str = "axial") -> Volume:
    geometry = stack(ORIENTATIONS[orientation], SHAPE, (3.0, 2.0, 1.5))
    voxels_kji = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE) % 4000
    return Volume(geometry, slice_keys(SHAPE[0]), voxels_kji)


def found(of: Volume) -> Segmentation:
    return finish_segmentation(lesion(of.geometry), of.geometry, of.keys, CARD)


@pytest.fixture
def folder(tmp_path: Path) -> CaseFolder:
    folder = CaseFolder(tmp_path / "case")
    folder.write_case(title="A head", state="done", modality="MR", warnings=("blurred",), verdict="doubtful")
    folder.write_volume(volume())
    probabilities_kji = (200 * (found(volume()).labels_kji > 0)).astype(np.uint8)
    folder.write_segmentation("tiny", found(volume()), MODEL, CARD, probabilities_kji)
    return folder


def test_empty_folder_is_a_case_that_waits(tmp_path: Path) -> None:
    case = FolderCase(ID, CaseFolder(tmp_path / "nothing"))
    meta = case.meta()
    assert (meta["state"], meta["num_slices"], meta["segmentations"], meta["downloads"]) == ("waiting", 0, [], [])
    assert case.slices(0, 10).num_slices == 0
    for ask in (case.head_surface, case.volume, lambda: case.masks("tiny", -1), lambda: case.download("PNG")):
        with pytest.raises(CaseNotFound):
            ask()


def test_browser_gets_what_was_written(folder: CaseFolder) -> None:
    case = FolderCase(ID, folder)
    meta = case.meta()
    assert (meta["title"], meta["num_slices"], meta["rows"], meta["columns"]) == ("A head", *SHAPE)
    assert (meta["verdict"], meta["warnings"]) == ("doubtful", ["blurred"])
    assert meta["kind"] == "diagnosis" and meta["identity"] is None
    np.testing.assert_allclose(meta["positions_mm"][7], volume().geometry.slice_geometry(7).position_mm, atol=1e-9)
    (entry,) = meta["segmentations"]
    (measured,) = found(volume()).measurements
    assert entry["state"] == "final" and entry["labels"][0]["volume_ml"] == pytest.approx(measured.volume_ml, abs=1e-3)
    assert measured.diameter is not None
    assert entry["labels"][0]["slice"] == found(volume()).keys.index(measured.diameter.key)
    block = case.slices(3, 2)
    np.testing.assert_array_equal(np.frombuffer(block.content, "<u2").reshape(2, *SHAPE[1:]), volume().voxels_kji[3:5])
    update = case.masks("tiny", -1)
    np.testing.assert_array_equal(update.labels_nji, found(volume()).labels_kji)
    assert case.masks("tiny", update.revision).slices == ()
    assert case.probabilities("tiny").max() == 200
    np.testing.assert_array_equal(case.volume().voxels_kji, volume().voxels_kji)
    (part,) = case.surface("tiny")
    assert part.volume_ml == pytest.approx(measured.volume_ml, rel=0.1)


def test_revision_grows_with_everything_that_is_written(folder: CaseFolder) -> None:
    case = FolderCase(ID, folder)
    revisions = [case.revision]
    folder.write_agents([{"name": "reader", "state": "done"}])
    revisions.append(case.revision)
    assert case.meta()["agents"] == [{"name": "reader", "state": "done"}]
    sid = case.announce("other", "2")
    revisions.append(case.revision)
    assert case.meta()["segmentations"][1]["state"] == "running"
    assert case.masks(sid, -1).slices == ()
    case.fail_added(sid, "no memory")
    revisions.append(case.revision)
    assert case.meta()["segmentations"][1]["reason"] == "no memory"
    assert revisions == sorted(set(revisions))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_nifti_lies_where_the_images_lie(tmp_path: Path, orientation: str) -> None:
    folder = CaseFolder(tmp_path / "case")
    folder.write_volume(volume(orientation))
    folder.write_segmentation("tiny", found(volume(orientation)), MODEL, CARD)
    case = FolderCase(ID, folder)
    for kind, voxels_kji in (("volume", volume().voxels_kji), ("NIfTI", found(volume(orientation)).labels_kji)):
        path = tmp_path / case.download(kind).name
        path.write_bytes(case.download(kind).content)
        back = read_nifti(path).volume
        np.testing.assert_allclose(back.geometry.affine_lps, volume(orientation).geometry.affine_lps, atol=1e-4)
        np.testing.assert_array_equal(back.voxels_kji, voxels_kji)
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(case.download("NIfTI").content))
    assert image.get_data_dtype() == np.uint8 and image.header.get_xyzt_units()[0] == "mm"


def test_png_shows_a_slice_in_its_aspect_with_the_labels_in_their_colour(folder: CaseFolder) -> None:
    case = FolderCase(ID, folder)
    picture = cv2.imdecode(np.frombuffer(case.download("PNG").content, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape[:2] == (round(SHAPE[1] * 2.0 / 1.5), SHAPE[2])
    plain = cv2.imdecode(np.frombuffer(case.download("PNG", slice_number=0).content, np.uint8), cv2.IMREAD_COLOR)
    is_grey = lambda image: bool((image.max(axis=2) == image.min(axis=2)).all())  # noqa: E731
    assert is_grey(plain) and not is_grey(picture)
    with pytest.raises(CaseNotFound):
        case.download("PNG", slice_number=SHAPE[0])


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "nothing.dcm"])
def test_no_file_outside_of_the_folder_is_given(folder: CaseFolder, name: str) -> None:
    folder.write_case(title="", state="done", downloads=({"kind": "SEG", "name": "SEG", "file": name},))
    with pytest.raises(CaseNotFound):
        FolderCase(ID, folder).download("SEG")


@pytest.mark.parametrize("sid", ["../volume", "..", "a/b", "", "x" * 65, "nothing"])
def test_bad_names_of_segmentations_are_not_found(folder: CaseFolder, sid: str) -> None:
    case = FolderCase(ID, folder)
    for ask in (lambda: case.masks(sid, -1), lambda: case.probabilities(sid), lambda: case.surface(sid)):
        with pytest.raises(CaseNotFound):
            ask()


def test_files_that_the_worker_names_are_given_before_those_that_are_made(folder: CaseFolder) -> None:
    (folder.path / "seg.dcm").write_bytes(b"DICM")
    downloads = ({"kind": "SEG", "name": "Segmentation", "file": "seg.dcm", "segmentation": "tiny"},)
    folder.write_case(title="", state="done", downloads=downloads)
    case = FolderCase(ID, folder)
    assert case.download("SEG", "tiny").content == b"DICM"
    assert {one["kind"] for one in case.meta()["downloads"]} == {"SEG", "NIfTI", "volume", "PNG"}


def test_file_of_one_segmentation_goes_with_it_and_a_file_of_the_case_with_any(folder: CaseFolder) -> None:
    downloads = []
    for name, segmentation in (("one", "tiny"), ("two", "other"), ("three", "")):
        (folder.path / f"{name}.dcm").write_bytes(name.encode())
        kind = "SR" if not segmentation else "SEG"
        downloads.append({"kind": kind, "name": name, "file": f"{name}.dcm", "segmentation": segmentation})
    folder.write_case(title="", state="done", downloads=downloads)
    case = FolderCase(ID, folder)
    assert case.download("SEG", "tiny").content == b"one" and case.download("SEG", "other").content == b"two"
    assert case.download("SEG").content == b"one"
    assert case.download("SR", "tiny").content == case.download("SR").content == b"three"
    with pytest.raises(CaseNotFound):
        case.download("SEG", "c1")


def test_further_segmentation_is_kept_under_a_name_of_its_own(folder: CaseFolder) -> None:
    case = FolderCase(ID, folder)
    names = [case.announce("tiny", "1.0"), case.announce("tiny", "1.0")]
    assert len({*names, "tiny"}) == 3
    case.add_segmentation(found(volume()), MODEL, CARD, None, names[0])
    states = {entry["id"]: entry["state"] for entry in case.meta()["segmentations"]}
    assert states == {"tiny": "final", names[0]: "final", names[1]: "running"}


def test_study_sources_come_back_with_the_reference_first(tmp_path: Path) -> None:
    folder = CaseFolder(tmp_path / "case")
    for name in ("FLAIR", "T1", "T1ce"):
        folder.write_source(name, volume(), is_reference=name == "T1ce")
    back = folder.read_sources()
    assert next(iter(back)) == "T1ce" and set(back) == {"FLAIR", "T1", "T1ce"}
    np.testing.assert_array_equal(back["T1"].voxels_kji, volume().voxels_kji)
