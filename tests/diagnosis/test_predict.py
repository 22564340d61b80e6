"""What networks say, with views and probabilities: the same labels as the node's, and honest agreement."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from dicom_gateway.reading import read_series
from neuroscan_core.config import SegmenterConfig, SeriesConfig
from neuroscan_core.diagnosis.predict import segment_with
from neuroscan_core.diagnosis.views import MIRRORED, Tally, dice, in_views, log_odds, sigmoid, softmax, views_for
from neuroscan_core.domain.geometry import Plane
from neuroscan_core.domain.study import SEQUENCES, StudyVolume
from neuroscan_core.domain.volume import Volume
from neuroscan_core.inference.bundle import find_bundles
from neuroscan_core.offline import segment_volume
from neuroscan_core.phantom import HeadPhantom, Weighting
from neuroscan_core.pipeline.study import segment_study
from neuroscan_core.ports import InferenceEngine
from tests.diagnosis.conftest import TINY_MODELS

SILENT = lambda done, of: None  # noqa: E731


@pytest.fixture(scope="module")
def study(small_phantom: HeadPhantom, flair: Volume) -> StudyVolume:
    voxels = np.stack([small_phantom.image(Weighting(name)).astype(np.float32) for name in SEQUENCES])
    return StudyVolume(flair.geometry, flair.keys, SEQUENCES, voxels)


@pytest.fixture(params=["mobilenetv2-unet-flair", "unet-tiny", "segresnet-tiny"], scope="module")
def engine(request: pytest.FixtureRequest) -> InferenceEngine:
    opened = find_bundles(TINY_MODELS)[request.param].open_engine(SegmenterConfig(precision="fp32"))
    request.addfinalizer(opened.close)
    return opened


def test_without_mirrored_views_labels_are_those_of_the_node(
    engine: InferenceEngine, flair: Volume, study: StudyVolume
) -> None:
    of_node = segment_volume(flair, engine) if engine.card.kind.value == "slice25d" else segment_study(study, engine)
    found = segment_with(engine, flair, study, views_for(False), SILENT)
    assert found.segmentation.labels_kji.any()
    assert np.array_equal(found.segmentation.labels_kji, of_node.labels_kji)
    assert found.segmentation.measurements == of_node.measurements
    assert [view.name for view in found.views] == ["identity"]


def test_probabilities_are_high_where_labels_are(engine: InferenceEngine, flair: Volume, study: StudyVolume) -> None:
    found = segment_with(engine, flair, study, views_for(True), SILENT)
    marked = found.segmentation.labels_kji > 0
    assert found.probability_kji.dtype == np.uint8 and found.probability_kji.shape == marked.shape
    assert found.probability_kji[marked].min() >= 255 * engine.card.threshold - 1
    assert len(found.views) == 3 and 0.5 < found.min_dice <= 1.0 and 0.0 <= found.entropy <= 1.0


def test_progress_goes_up_to_the_end(engine: InferenceEngine, flair: Volume, study: StudyVolume) -> None:
    told: list[tuple[int, int]] = []
    segment_with(engine, flair, study, views_for(False), lambda done, of: told.append((done, of)))
    assert told and told == sorted(told) and told[-1][0] == told[-1][1]


def test_a_sagittal_series_has_probabilities_on_its_own_grid(study_folder: Path) -> None:
    paths = sorted((study_folder / "T1").iterdir())
    (series,) = read_series(paths, SeriesConfig())
    volume = series.require_volume()
    assert volume.geometry.first.plane is Plane.SAGITTAL
    with closing(find_bundles()["mobilenetv2-unet-flair"].open_engine(SegmenterConfig())) as engine:
        found = segment_with(engine, volume, None, views_for(False), SILENT)
        of_node = segment_volume(volume, engine)
    assert np.array_equal(found.segmentation.labels_kji, of_node.labels_kji)
    marked = found.segmentation.labels_kji > 0
    assert marked.any() and found.probability_kji[marked].min() >= 127
    assert found.probability_kji.shape == volume.voxels_kji.shape


def test_views_are_turned_back() -> None:
    image = np.arange(24, dtype=np.float32).reshape(1, 1, 4, 6)
    found = in_views(lambda batch: batch.copy(), tuple(MIRRORED))(image)
    assert found.shape == (1, 3, 1, 4, 6)
    assert all(np.array_equal(found[:, v], image) for v in range(3))


def test_a_network_that_looks_at_one_side_only_disagrees_with_its_mirrored_self() -> None:
    run = in_views(
        lambda batch: np.where(np.arange(6) < 3, 5.0, -5.0).astype(np.float32) * np.ones_like(batch), tuple(MIRRORED)
    )
    logits = run(np.zeros((1, 1, 4, 6), np.float32))[0, :, 0]
    marked = logits > 0
    tally = Tally(tuple(MIRRORED))
    tally.add(marked, marked[0], sigmoid(logits).mean(axis=0))
    views, entropy = tally.result(0.001)
    assert [view.dice for view in views] == [1.0, 0.0, 1.0] and entropy > 0.5


def test_views_that_mark_nothing_agree() -> None:
    nothing = np.zeros((3, 4, 4), bool)
    tally = Tally(tuple(MIRRORED))
    tally.add(nothing, nothing[0], np.zeros((4, 4), np.float32))
    views, entropy = tally.result(1.0)
    assert all(view.dice == 1.0 for view in views) and entropy == 0.0


def test_probabilities_and_logits_are_inverse() -> None:
    logits = np.array([-12.0, -1.0, 0.0, 3.0, 200.0], np.float32)
    assert log_odds(sigmoid(logits))[:4] == pytest.approx(logits[:4], rel=1e-2)
    assert np.isfinite(log_odds(sigmoid(logits))).all()
    assert softmax(np.array([[1000.0, 0.0], [0.0, 0.0]], np.float32), axis=1).sum(axis=1) == pytest.approx([1.0, 1.0])


def test_dice_of_masks() -> None:
    a, b = np.array([True, True, False, False]), np.array([True, False, True, False])
    assert dice(a, b) == 0.5 and dice(a & False, b & False) == 1.0
