"""Studies on disk: found, brought together and segmented without a node; refused with the reason where not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest

from dicom_gateway.offline import segment_path
from dicom_gateway.offline_nifti import segment_sequences
from dicom_gateway.phantom_series import study_geometry, weighted_datasets, write_datasets, write_phantom_study
from neuroscan_core.config import NodeConfig, parse_config
from neuroscan_core.domain.errors import ConfigurationError, RejectionCode, SeriesRejection
from neuroscan_core.phantom import HeadPhantom, Weighting, head_phantom
from tests.inference.tiny_model import TINY

nibabel = pytest.importorskip("nibabel")

MODELS = Path(__file__).parent / "models"
CONFIG = parse_config({"segmenter": {"models_dir": str(MODELS), "threads": 1}})


@pytest.fixture(scope="module")
def head() -> HeadPhantom:
    return head_phantom(num_slices=24)


@pytest.fixture(scope="module")
def study(head: HeadPhantom, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_phantom_study(folder, head)
    return folder


@pytest.fixture
def linked(study: Path, tmp_path: Path) -> Path:
    """The same study in a folder of its own, to take away from and to add to."""
    return Path(shutil.copytree(study, tmp_path / "linked", copy_function=os.link))


def results(folder: Path) -> dict[str, pydicom.Dataset]:
    return {str(ds.Modality): ds for ds in map(pydicom.dcmread, sorted(folder.rglob("*.dcm")))}


@pytest.mark.parametrize("model", ["unet-tiny", "segresnet-tiny"])
def test_a_study_folder_becomes_seg_and_report(study: Path, tmp_path: Path, model: str) -> None:
    lines = list(segment_path(study, tmp_path / "out", CONFIG, model=model, triage="classifier-tiny"))
    assert [line.split(": ")[1][:5] for line in lines[:4]] == ["FLAIR", "T1. S", "T1ce.", "T2. L"]
    found = results(tmp_path / "out")
    assert found.keys() == {"SEG", "SR"}
    series = [str(item.SeriesInstanceUID) for item in found["SEG"].ReferencedSeriesSequence]
    on_disk = {
        weighting: str(
            pydicom.dcmread(next((study / weighting.value).iterdir()), stop_before_pixels=True).SeriesInstanceUID
        )
        for weighting in Weighting
    }
    assert series[0] == on_disk[Weighting.FLAIR], "the grid first: viewers look at that one"
    assert set(series) == set(on_disk.values())
    assert "not a diagnosis" in str(found["SR"])


def test_twice_the_same_is_the_same_object(study: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        list(segment_path(study, tmp_path / name, CONFIG, model="unet-tiny", clock=lambda: 1e9))
    one, two = (sorted((tmp_path / name).rglob("*.dcm")) for name in ("one", "two"))
    assert [path.name for path in one] == [path.name for path in two]
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


def test_a_missing_sequence_is_named(linked: Path, tmp_path: Path) -> None:
    shutil.rmtree(linked / "T2")
    with pytest.raises(SeriesRejection, match="no usable T2") as caught:
        list(segment_path(linked, tmp_path / "out", CONFIG, model="unet-tiny"))
    assert caught.value.code is RejectionCode.MISSING_SEQUENCE


def add_series(folder: Path, head: HeadPhantom, weighting: Weighting, **changes: object) -> None:
    geometry = study_geometry(head.geometry, weighting)
    voxels = np.zeros(geometry.shape, np.uint16)
    folder.mkdir()
    write_datasets(folder, weighted_datasets(voxels, geometry, weighting, study=(7, 24, "0"), repetition=1, **changes))


def test_another_frame_of_reference_is_refused(linked: Path, head: HeadPhantom, tmp_path: Path) -> None:
    shutil.rmtree(linked / "T2")
    add_series(linked / "T2 again", head, Weighting.T2, FrameOfReferenceUID="1.2.3")
    with pytest.raises(SeriesRejection, match="another frame of reference") as caught:
        list(segment_path(linked, tmp_path / "out", CONFIG, model="unet-tiny"))
    assert caught.value.code is RejectionCode.DIFFERENT_FRAMES
    allowing = {"studies": [{"name": "s", "model": "unet-tiny", "allow_different_frames": True}]}
    config = parse_config(CONFIG.model_dump(mode="json") | allowing)
    assert any("taken to lie" in line for line in segment_path(linked, tmp_path / "out", config, model="unet-tiny"))


def test_a_rejected_series_is_told_with_its_reason(linked: Path, head: HeadPhantom, tmp_path: Path) -> None:
    shutil.rmtree(linked / "T2")
    add_series(linked / "T2 lossy", head, Weighting.T2, LossyImageCompression="01")
    with pytest.raises(SeriesRejection, match=r"no usable T2\. T2 \(series 15 .*compressed with loss"):
        list(segment_path(linked, tmp_path / "out", CONFIG, model="unet-tiny"))


def nifti_case(folder: Path, head: HeadPhantom) -> dict[str, Path]:
    folder.mkdir()
    to_ras = np.diag([-1.0, -1.0, 1.0, 1.0])
    paths = {}
    for weighting, ending in zip(Weighting, ("flair", "t1", "t1ce", "t2"), strict=True):
        path = paths[weighting.value] = folder / f"Case_001_{ending}.nii.gz"
        image = nibabel.Nifti1Image(head.image(weighting).T.astype(np.int16), to_ras @ head.geometry.affine_lps)
        nibabel.save(image, path)
    return paths


def test_a_brats_case_becomes_a_label_map_that_fits_the_tumour(head: HeadPhantom, tmp_path: Path) -> None:
    nifti_case(tmp_path / "case", head)
    out = tmp_path / "labels.nii.gz"
    (line,) = segment_path(tmp_path / "case", out, CONFIG, model="unet-tiny")
    assert "enhancing tumour" in line
    labels = np.asarray(nibabel.load(out).dataobj).T
    assert set(np.unique(labels)) <= {0, 1, 2, 3}
    enhancing, truth = labels == 3, head.tissue_kji == 10
    dice = 2 * (enhancing & truth).sum() / (enhancing.sum() + truth.sum())
    assert dice > 0.6  # a formula at 2 mm, not a network


def test_files_named_one_by_one_give_the_same(head: HeadPhantom, tmp_path: Path) -> None:
    files = nifti_case(tmp_path / "case", head)
    list(segment_path(tmp_path / "case", tmp_path / "a.nii.gz", CONFIG, model="segresnet-tiny"))
    list(segment_sequences(files, tmp_path / "b.nii.gz", CONFIG, model="segresnet-tiny"))
    assert np.array_equal(nibabel.load(tmp_path / "a.nii.gz").dataobj, nibabel.load(tmp_path / "b.nii.gz").dataobj)


def refused(lines: Iterator[str]) -> str:
    with pytest.raises((ConfigurationError, SeriesRejection)) as caught:
        list(lines)
    return str(caught.value)


def test_refusals_say_what_is_wrong(head: HeadPhantom, study: Path, tmp_path: Path) -> None:
    files = nifti_case(tmp_path / "case", head)
    out = tmp_path / "out.nii.gz"
    three = {name: path for name, path in files.items() if name != "T2"}
    assert "T2 is not there" in refused(segment_sequences(three, out, CONFIG, model="unet-tiny"))
    assert "does not segment several" in refused(segment_sequences(files, out, CONFIG, model="mobilenetv2-unet-flair"))
    assert "does not exist" in refused(
        segment_sequences(files | {"T2": tmp_path / "no"}, out, CONFIG, model="unet-tiny")
    )
    assert "report" in refused(segment_sequences(files, out, CONFIG, model="unet-tiny", triage="classifier-tiny"))
    assert "no classifier" in refused(segment_path(study, tmp_path, CONFIG, model="unet-tiny", triage="segresnet-tiny"))
    assert "no model" in refused(segment_path(study, tmp_path, CONFIG, model="nobody"))
    assert "single" in refused(segment_path(files["T2"], out, CONFIG, model="unet-tiny"))
    twice = tmp_path / "case" / "Case_001_t2w.nii.gz"
    twice.write_bytes(files["T2"].read_bytes())
    assert "T2 twice" in refused(segment_path(tmp_path / "case", out, CONFIG, model="unet-tiny"))


def test_without_a_name_nifti_goes_to_the_model_of_the_configuration(head: HeadPhantom, tmp_path: Path) -> None:
    files = nifti_case(tmp_path / "case", head)
    out = tmp_path / "out.nii.gz"
    text = refused(segment_sequences(files, out, CONFIG))
    assert "models suit: " in text and "unet-tiny" in text and "--model" in text
    (*_, line) = segment_sequences(files, out, configured(MODELS, studies=[{"name": "one", "model": "unet-tiny"}]))
    assert "by unet-tiny" in line
    rules = [{"name": "CT", "model": None}, {"name": "MR", "model": "mobilenetv2-unet-flair"}]
    (line,) = segment_path(files["FLAIR"], out, configured(TINY.parent, rules=rules))
    assert "by mobilenetv2-unet-flair" in line
    assert "2 models suit" in refused(segment_path(files["FLAIR"], out, configured(TINY.parent, rules=[])))


def configured(models_dir: Path, **sections: object) -> NodeConfig:
    return parse_config({"segmenter": {"models_dir": str(models_dir), "threads": 1}, **sections})


def test_triage_of_a_single_series_goes_into_its_report(study: Path, tmp_path: Path) -> None:
    config: NodeConfig = CONFIG
    model = "mobilenetv2-unet-flair"
    list(segment_path(study / "FLAIR", tmp_path / "out", config, model=model, triage="classifier-tiny"))
    assert "not a diagnosis" in str(results(tmp_path / "out")["SR"])
