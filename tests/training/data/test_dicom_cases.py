"""Series with a SEG, the node's own and others', become cases; corrected ones replace what was there."""

from __future__ import annotations

from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from prometheus_client import CollectorRegistry
from pydicom.sr.coding import Code

from dicom_gateway.phantom_series import write_phantom_series
from dicom_gateway.results import ResultWriter, SourceHeaders
from neuroscan_core.config import GatewayConfig, ResultsConfig, SegFormat
from neuroscan_core.domain import codes
from neuroscan_core.domain.events import SegmentationReady, SeriesCompleted
from neuroscan_core.domain.model_card import ModelCard
from neuroscan_core.domain.segmentation import ModelIdentity, RegionMeasurement, Segmentation
from neuroscan_core.domain.volume import FrameKey
from neuroscan_core.phantom import Tissue, Weighting, head_phantom
from training.data.cache import open_cache
from training.data.cases import find_cases
from training.data.errors import MissingModalityError, ShapeMismatchError, UnknownLabelError, UnsupportedPlaneError
from training.data.readers import num_slices, read_case

SEQUENCES = ("T1", "T1ce", "T2", "FLAIR")
MODEL = ModelIdentity("test-net", "1.0.0", "ab" * 32, "onnxruntime-cpu")
PARTS = (
    (1, "necrotic core", codes.NECROSIS),
    (2, "oedema", codes.EDEMA),
    (3, "enhancing tumour", codes.ENHANCING_LESION),
)
WHOLE = ((1, "whole tumour", codes.NEOPLASM),)


@pytest.fixture(scope="module")
def phantom():
    return head_phantom(num_slices=14, size=80, spacing_mm=2.9)


@pytest.fixture(scope="module")
def truth(phantom) -> np.ndarray:
    """Labels of NeuroScan, (k, j, i)."""
    labels = np.zeros(phantom.tissue_kji.shape, np.uint8)
    for tissue, label in ((Tissue.NECROSIS, 1), (Tissue.OEDEMA, 2), (Tissue.ENHANCING, 3)):
        labels[phantom.tissue_kji == tissue] = label
    assert set(np.unique(labels)) == {0, 1, 2, 3}
    return labels


@pytest.fixture
def study(phantom, tmp_path: Path):
    """A study of the wanted sequences in `dicom_cases/one`; returns folder and files of each."""

    def write(*weightings: Weighting) -> tuple[Path, dict[Weighting, list[Path]]]:
        folder = tmp_path / "dicom_cases" / "one"
        files = {}
        for weighting in weightings or tuple(Weighting):
            (folder / weighting.value).mkdir(parents=True)
            files[weighting] = write_phantom_series(folder / weighting.value, phantom, weighting)
        return folder, files

    return write


def card(labels) -> ModelCard:
    def triple(code: codes.Code) -> list[str]:
        return [code.value, code.scheme, code.meaning]

    return ModelCard.from_mapping(
        {
            "name": MODEL.name, "version": MODEL.version, "kind": "slice25d", "task": "test", "modality": "MR",
            "input": {
                "name": "image", "channels": ["z-1", "z", "z+1"], "sequence": "FLAIR", "size": [64, 64],
                "spacing_mm": 1.0, "spacing_tolerance": 0.1, "planes": ["axial"], "normalisation": "none",
            },
            "output": {"name": "logits", "activation": "sigmoid", "threshold": 0.5},
            "labels": [
                {
                    "value": value, "name": name, "colour_rgb": [10 * value, 100, 200],
                    "category": triple(codes.MORPHOLOGICALLY_ABNORMAL_STRUCTURE), "type": triple(code),
                    "region": triple(codes.BRAIN),
                }
                for value, name, code in labels
            ],
            "licence": "test", "onnx": {"file": "model.onnx", "sha256": MODEL.sha256},
        }
    )  # fmt: skip


def write_node_seg(
    folder: Path, phantom, paths: list[Path], labels_kji: np.ndarray, parts=PARTS, encoding=SegFormat.BINARY
) -> Path:
    """Let the node's own writer make the SEG of a series, into the folder of the case."""
    datasets = [pydicom.dcmread(path, stop_before_pixels=True) for path in paths]
    manifest = tuple(FrameKey(str(ds.SOPInstanceUID), 1) for ds in datasets)
    uid = str(datasets[0].SeriesInstanceUID)
    completed = SeriesCompleted(uid, 1, manifest, phantom.geometry, 1, "release", 1_700_000_000.0)
    measured = tuple(RegionMeasurement(value, 1.0, 1, None) for value, _, _ in parts)
    result = SegmentationReady(uid, 1, Segmentation(phantom.geometry, manifest, labels_kji, measured), MODEL)
    headers = SourceHeaders(lambda wanted: datasets if wanted == uid else [])
    registry = CollectorRegistry()
    writer = ResultWriter(ResultsConfig(), GatewayConfig(), folder / "seg", headers, registry=registry)
    (record,) = writer.write_seg(completed, result, card(parts), [encoding])
    return folder / "seg" / record.path


def in_frame(volume_kji: np.ndarray, grid) -> np.ndarray:
    return np.stack([grid.to_model(plane) for plane in volume_kji])


@pytest.mark.parametrize("encoding", list(SegFormat))
def test_the_nodes_own_seg_comes_back_as_the_labels_it_was_made_of(study, phantom, truth, encoding):
    folder, files = study()
    write_node_seg(folder, phantom, files[Weighting.FLAIR], truth, encoding=encoding)
    (case,) = find_cases(folder.parents[1])
    assert case.dataset == "dicom" and case.channels == SEQUENCES and num_slices(case) == 14
    volume = read_case(case, SEQUENCES)
    assert volume.images_SCHW.shape == (14, 4, 256, 256)
    # 2.9 mm pixels become 1 mm ones: volumes stay, and each label stands where it stood.
    for label in (1, 2, 3):
        before = np.argwhere(truth == label)
        after = np.argwhere(volume.labels_SHW == label)
        assert len(after) == pytest.approx(len(before) * 2.9**2, rel=0.15)
        centre = (before.mean(axis=0)[1:] - 39.5) * 2.9
        np.testing.assert_allclose(after.mean(axis=0)[1:] - 127.5, centre, atol=1.0)
        assert after.mean(axis=0)[0] == pytest.approx(before.mean(axis=0)[0], abs=0.3)


def test_each_sequence_gets_its_channel(study, phantom, truth):
    folder, files = study()
    write_node_seg(folder, phantom, files[Weighting.FLAIR], truth)
    (case,) = find_cases(folder.parents[1])
    volume = read_case(case, SEQUENCES)
    for channel, weighting in enumerate((Weighting.T1, Weighting.T1CE, Weighting.T2, Weighting.FLAIR)):
        stored = phantom.image(weighting)
        ratio = volume.images_SCHW[:, channel].astype(float).mean() / stored.mean()
        assert ratio == pytest.approx((80 * 2.9 / 256) ** 2, rel=0.03)


def test_a_seg_of_the_whole_tumour_serves_flair_alone(study, phantom, truth):
    folder, files = study()
    write_node_seg(folder, phantom, files[Weighting.FLAIR], (truth > 0).astype(np.uint8), WHOLE)
    (case,) = find_cases(folder.parents[1])
    assert case.channels == ("FLAIR",)
    assert set(np.unique(read_case(case).labels_SHW)) == {0, 1}


def test_the_seg_that_was_made_last_counts(study, phantom, truth):
    folder, files = study(Weighting.FLAIR)
    first = write_node_seg(folder, phantom, files[Weighting.FLAIR], truth)
    corrected = pydicom.dcmread(first)
    corrected.ContentTime = "235959"
    corrected.SOPInstanceUID = hd.UID()
    corrected.PixelData = b"\0" * len(corrected.PixelData)
    corrected.save_as(folder / "corrected.dcm")
    (case,) = find_cases(folder.parents[1])
    assert read_case(case).labels_SHW.max() == 0


@pytest.mark.parametrize("kind", [hd.seg.SegmentationTypeValues.BINARY, hd.seg.SegmentationTypeValues.FRACTIONAL])
def test_a_seg_of_other_software_with_older_codes_and_a_composite(study, truth, kind):
    folder, files = study(Weighting.FLAIR)
    sources = [pydicom.dcmread(path) for path in files[Weighting.FLAIR]]
    masks = np.stack([truth == 1, truth == 2, truth == 3, truth > 0, np.isin(truth, (1, 3))], axis=-1).astype(np.uint8)
    types = [
        Code("M-54000", "SRT", "Necrosis"), Code("M-36300", "SRT", "Edema"),
        Code("C113842", "NCIt", "Enhancing Lesion"), Code("108369006", "SCT", "Neoplasm"), Code("X1", "99X", "Core"),
    ]  # fmt: skip
    seg = hd.seg.Segmentation(
        sources, masks, kind,
        [
            hd.seg.SegmentDescription(
                number, code.meaning, Code("49755003", "SCT", "Morphologically Abnormal Structure"), code,
                hd.seg.SegmentAlgorithmTypeValues.MANUAL,
            )
            for number, code in enumerate(types, start=1)
        ],
        hd.UID(), 100, hd.UID(), 1, "Other", "Editor", "1.0", "1",
    )  # fmt: skip
    seg.save_as(folder / "other.dcm")
    (case,) = find_cases(folder.parents[1])
    counts = np.bincount(read_case(case).labels_SHW.ravel(), minlength=4)[1:]
    expected = np.bincount(truth.ravel(), minlength=4)[1:] * 2.9**2
    np.testing.assert_allclose(counts, expected, rtol=0.15)


def test_frames_without_a_source_are_placed_by_their_position(study, phantom, truth):
    folder, files = study(Weighting.FLAIR)
    path = write_node_seg(folder, phantom, files[Weighting.FLAIR], truth)
    (case,) = find_cases(folder.parents[1])
    expected = read_case(case).labels_SHW
    seg = pydicom.dcmread(path)
    for frame in seg.PerFrameFunctionalGroupsSequence:
        del frame["DerivationImageSequence"]
    seg.save_as(path)
    np.testing.assert_array_equal(read_case(case).labels_SHW, expected)


def test_a_seg_of_another_series_is_refused(study, phantom, truth):
    folder, files = study(Weighting.FLAIR)
    path = write_node_seg(folder, phantom, files[Weighting.FLAIR], truth)
    seg = pydicom.dcmread(path)
    for frame in seg.PerFrameFunctionalGroupsSequence:
        frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID = hd.UID()
        frame.PlanePositionSequence[0].ImagePositionPatient = [0, 0, 5000]
    seg.save_as(path)
    (case,) = find_cases(folder.parents[1])
    with pytest.raises(ShapeMismatchError, match="belongs to no slice"):
        read_case(case)


def test_a_segment_that_is_no_tumour_is_refused(study, phantom, truth):
    folder, files = study(Weighting.FLAIR)
    path = write_node_seg(folder, phantom, files[Weighting.FLAIR], truth)
    seg = pydicom.dcmread(path)
    item = seg.SegmentSequence[0]
    item.SegmentLabel = "liver"
    item.SegmentedPropertyTypeCodeSequence[0].CodeValue = "10200004"
    item.SegmentedPropertyTypeCodeSequence[0].CodeMeaning = "Liver"
    seg.save_as(path)
    with pytest.raises(UnknownLabelError, match="liver"):
        find_cases(folder.parents[1])


def test_sequences_on_different_grids_are_refused(study, phantom, truth):
    folder, files = study()
    write_node_seg(folder, phantom, files[Weighting.FLAIR], truth)
    files[Weighting.T2][0].unlink()
    (case,) = find_cases(folder.parents[1])
    assert case.channels == ("T1", "T1ce", "FLAIR")
    with pytest.raises(ShapeMismatchError, match="do not lie on one grid"):
        read_case(case, SEQUENCES)


def test_flair_is_cached_beside_a_sequence_with_another_number_of_slices(study, phantom, truth, tmp_path):
    folder, files = study()
    write_node_seg(folder, phantom, files[Weighting.FLAIR], truth)
    for path in files[Weighting.T1][::2]:
        path.unlink()
    cases = find_cases(folder.parents[1])
    cache = open_cache("flair", cases, tmp_path / "cache")
    assert cache.cases[0].num_slices == 14 and cache.cases[0].patient == cases[0].patient
    assert cache.label_counts_SL[:, 1:].sum() > 0


def test_a_missing_slice_is_noticed(study, phantom, truth):
    folder, files = study(Weighting.FLAIR)
    write_node_seg(folder, phantom, files[Weighting.FLAIR], truth)
    files[Weighting.FLAIR][3].unlink()
    (case,) = find_cases(folder.parents[1])
    with pytest.raises(UnsupportedPlaneError, match="gaps"):
        read_case(case)


def test_a_missing_sequence_is_named(study, phantom, truth):
    folder, files = study(Weighting.FLAIR)
    write_node_seg(folder, phantom, files[Weighting.FLAIR], truth)
    (case,) = find_cases(folder.parents[1])
    with pytest.raises(MissingModalityError, match="no series of T1"):
        read_case(case, SEQUENCES)


def test_no_name_or_number_of_a_person_is_kept(study, phantom, truth):
    folder, files = study(Weighting.FLAIR)
    patient_id = str(pydicom.dcmread(files[Weighting.FLAIR][0]).PatientID)
    write_node_seg(folder, phantom, files[Weighting.FLAIR], truth)
    (case,) = find_cases(folder.parents[1])
    assert case.patient.startswith("dicom-") and patient_id not in case.patient


def test_segments_of_a_real_tumour_seg_are_understood(shared_data):
    from training.data.readers.dicom_labels import SegObject

    path = shared_data / "dicom_seg_examples" / "tcga_gbm_glioma" / "DicomSeg.dcm"
    seg = SegObject(path, pydicom.dcmread(path, stop_before_pixels=True))
    assert seg.meanings == {1: 1, 2: 2, 3: 3} and seg.tells_parts
