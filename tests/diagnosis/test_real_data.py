"""Real images: a BraTS case, a stack of an LGG patient, pictures for the classifier. Skipped without them."""

from __future__ import annotations

from contextlib import AbstractContextManager, closing
from pathlib import Path

import numpy as np
import pytest

from neuroscan_core.config import NodeConfig
from neuroscan_core.diagnosis import inputs
from neuroscan_core.diagnosis.agents import Critic, Measurer, ReaderAgent, Reporter, Segmenters, TriageAgent
from neuroscan_core.diagnosis.case import CaseFile, Options
from neuroscan_core.diagnosis.chain import run_chain
from neuroscan_core.diagnosis.nifti_input import read_nifti_files
from neuroscan_core.diagnosis.picture_input import read_pictures
from neuroscan_core.diagnosis.views import dice
from neuroscan_core.inference.bundle import find_bundles
from neuroscan_core.nifti import read_nifti
from neuroscan_core.ports import InferenceEngine

READERS = {inputs.NIFTI: read_nifti_files, inputs.PICTURE: read_pictures}


def diagnosed(source: Path, out: Path, *, models: tuple[str, ...] = (), tta: bool = False) -> CaseFile:
    bundles = find_bundles()

    def open_engine(name: str) -> AbstractContextManager[InferenceEngine]:
        return closing(bundles[name].open_engine(NodeConfig().segmenter))

    agents = [
        ReaderAgent(lambda path: inputs.gather(path, READERS)), TriageAgent("tumour-classifier", open_engine),
        Segmenters({name: one.card for name, one in bundles.items()}, open_engine), Measurer(), Critic(), Reporter(out),
    ]  # fmt: skip
    case, records = run_chain(agents, CaseFile(source, Options(models, "tumour-classifier", tta)))
    assert [record.state.value for record in records] == ["done"] * 6, [record.notes for record in records]
    return case


def test_a_brats_case_is_read_segmented_and_measured(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "brats_volumes_u8" / "Brats18_CBICA_AQN_1"
    case = diagnosed(folder, tmp_path, models=("mobilenetv2-unet-flair",), tta=True)
    truth = read_nifti(folder / f"{folder.name}_seg.nii.gz").volume.voxels_kji > 0
    (result,) = case.results
    assert case.reading is not None and case.reading.study is not None
    assert dice(result.segmentation.labels_kji > 0, truth) > 0.75
    assert case.verdict is not None and case.verdict.word in ("plausible", "doubtful")
    # The side of the masks of experts, by the middle of the atlas in whose space they lie.
    affine = case.reading.volume.geometry.affine_lps
    middle_x = (affine @ (119.5, 120.0, 77.0, 1.0))[0]
    x = (np.argwhere(truth)[:, ::-1] @ affine[:3, :3].T + affine[:3, 3])[:, 0]
    assert case.locations[result.card.name].left_share == pytest.approx(float(np.mean(x > middle_x)), abs=0.1)


def test_a_stack_of_pictures_of_a_glioma_is_segmented_without_millimetres(shared_data: Path, tmp_path: Path) -> None:
    import cv2

    folder = shared_data / "lgg_flair" / "TCGA_CS_5396_20010302"
    case = diagnosed(folder, tmp_path)
    masks = sorted(folder.glob("*_mask.png"), key=lambda path: int(path.stem.split("_")[-2]))
    truth = np.stack([cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in masks]) > 0
    assert dice(case.results[0].segmentation.labels_kji > 0, truth) > 0.7
    assert case.verdict is not None and case.verdict.word == "doubtful"
    assert " ml" not in (tmp_path / "report.json").read_text()


def test_single_pictures_are_classified(shared_data: Path, tmp_path: Path) -> None:
    """Not a measurement of the classifier (its card has that): pictures reach it as it wants them."""
    folders = sorted(path for path in (shared_data / "classification").rglob("*") if path.is_dir())
    leaves = [path for path in folders if any(path.glob("*.jpg")) or any(path.glob("*.png"))]
    assert len(leaves) >= 4
    words = {"glioma": "Glioma", "meningioma": "meningioma", "pituitary": "pituitary", "no": "No tumour"}
    num_right = num_all = 0
    for leaf in leaves:
        wanted = next(word for key, word in words.items() if key in leaf.name.lower())
        for picture in sorted(leaf.iterdir())[:3]:
            case = (
                diagnosed(picture, tmp_path / f"{leaf.name}-{picture.stem}") if num_all == 0 else _classified(picture)
            )
            assert case.triage is not None
            num_right += wanted in case.triage.most_likely.meaning
            num_all += 1
    assert num_right >= 0.75 * num_all  # 0.96 on the test set; a few pictures of any set


def _classified(picture: Path) -> CaseFile:
    bundles = find_bundles()
    agent = TriageAgent("tumour-classifier", lambda name: closing(bundles[name].open_engine(NodeConfig().segmenter)))
    case, _ = run_chain([ReaderAgent(lambda path: inputs.gather(path, READERS)), agent], CaseFile(picture))
    return case
