"""Overlap and distances pooled per patient, intervals, postprocessing and its choice, pictures of errors."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="the `training` extra is not installed", exc_type=ImportError)
pytest.importorskip("monai", reason="the `training` extra is not installed", exc_type=ImportError)

from neuroscan_core.domain.model_card import ModelKind
from training.evaluate import ChoiceRefused, choose_postprocessing, evaluate_bundle
from training.evaluate.worst_cases import comparison_row, save_case_picture
from training.metrics import bootstrap_ci95, hd95_mm, overlap
from training.postprocessing import Postprocessing, raw_labels

SLICE = ModelKind.SLICE25D


@pytest.fixture
def truth():
    mask = np.zeros((6, 32, 32), dtype=bool)
    mask[2:4, 8:16, 8:16] = True
    return mask


def test_counts_are_pooled_over_slices(truth):
    prediction = truth.copy()
    prediction[2] = False  # misses one of two equal slices
    prediction[0, :8, :8] = True  # and invents as much on a slice without tumour
    counts = overlap(prediction, truth)
    assert (counts.true_positive, counts.false_positive, counts.false_negative) == (64, 64, 64)
    assert counts.dice == pytest.approx(0.5)
    assert counts.iou == pytest.approx(1 / 3)
    assert counts.precision == counts.recall == pytest.approx(0.5)


def test_empty_slices_do_not_count_as_agreement(truth):
    assert overlap(np.zeros_like(truth), truth).dice == 0.0


def test_two_empty_masks_agree():
    empty = np.zeros((2, 4, 4), dtype=bool)
    assert overlap(empty, empty).dice == 1.0


def test_refuses_masks_of_unequal_shape(truth):
    with pytest.raises(ValueError, match="prediction"):
        overlap(truth[:3], truth)


def test_hausdorff_distance_respects_the_spacing(truth):
    shifted = np.roll(truth, 2, axis=0)
    assert hd95_mm(truth, truth, (5.0, 1.0, 1.0)) == 0.0
    assert hd95_mm(shifted, truth, (5.0, 1.0, 1.0)) == pytest.approx(10.0)
    assert np.isnan(hd95_mm(np.zeros_like(truth), truth, (1.0, 1.0, 1.0)))


def test_interval_holds_the_mean_and_is_repeatable():
    values = [0.9, 0.8, 0.85, 0.4, 0.95]
    low, high = bootstrap_ci95(values)
    assert low < np.mean(values) < high
    assert (low, high) == bootstrap_ci95(values)
    assert bootstrap_ci95([0.5]) == (0.5, 0.5)


def test_postprocessing_removes_what_is_smaller_than_the_limit(truth):
    """One voxel of 0.001 ml goes, 128 voxels stay."""
    probability = truth.astype(np.float32)[None]
    probability[0, 5, 30, 30] = 1.0
    np.testing.assert_array_equal(Postprocessing(0.5, 0.1).apply(probability, SLICE, 0.001), truth)
    assert Postprocessing(0.5, 0.0).apply(probability, SLICE, 0.001).sum() == truth.sum() + 1


def test_small_parts_are_judged_with_all_labels_together_as_in_the_node():
    """An oedema of two voxels beside a large core stays; one of two voxels apart from it goes."""
    probabilities = np.zeros((4, 3, 16, 16), np.float32)
    probabilities[0] = 1.0
    probabilities[:, 1, 4:12, 4:12] = np.array([0, 1, 0, 0], np.float32)[:, None, None]
    for row in (3, 14):
        probabilities[:, 1, row, 4:6] = np.array([0, 0, 1, 0], np.float32)[:, None]
    labels = Postprocessing(0.5, 0.01).apply(probabilities, ModelKind.MULTIMODAL2D, 0.001)
    assert np.bincount(labels.ravel()).tolist() == [768 - 66, 64, 2]


def test_exclusive_classes_need_more_than_the_threshold_together():
    """Background 0.45 against 0.3 + 0.15 + 0.1: together they are above 0.5, and the likeliest of them wins."""
    probabilities = np.array([0.45, 0.3, 0.15, 0.1], np.float32).reshape(4, 1, 1, 1)
    assert raw_labels(probabilities, ModelKind.MULTIMODAL2D, 0.5).item() == 1
    assert raw_labels(probabilities, ModelKind.MULTIMODAL2D, 0.6).item() == 0


def test_regions_are_nested_into_labels():
    """WT alone is oedema, with TC necrosis, with ET enhancing; ET without the others still shows."""
    found = np.array([[1, 1, 1, 0, 0], [0, 1, 1, 0, 0], [0, 0, 1, 1, 0]], np.float32).reshape(3, 1, 1, 5)
    assert raw_labels(found, ModelKind.VOLUME3D, 0.5).ravel().tolist() == [2, 1, 3, 3, 0]


def test_a_classifier_has_no_label_map():
    with pytest.raises(ValueError, match="classifier"):
        raw_labels(np.zeros((4, 1, 1, 1), np.float32), ModelKind.CLASSIFIER, 0.5)


def test_choice_is_the_best_on_the_given_cases(small_cache):
    probabilities = {}
    for case in small_cache.cases:
        truth = small_cache.labels_SHW[case.start : case.stop] > 0
        probability = np.where(truth, 0.62, 0.52).astype(np.float32)
        probability[0, :2, :2] = 0.9  # a speck that only its size gives away
        probabilities[case.name] = probability[None]
    chosen = choose_postprocessing(small_cache, small_cache.cases, lambda case: probabilities[case.name], SLICE)
    assert 0.52 < chosen.threshold < 0.62
    assert chosen.min_component_ml > 0.0


def test_choice_is_refused_outside_validation(small_cache, tmp_path):
    with pytest.raises(ChoiceRefused, match="validation"):
        evaluate_bundle(tmp_path, small_cache, small_cache.cases, part="test", choose=True)


def test_default_keeps_everything_above_the_threshold():
    probability = np.array([[[[0.4, 0.5, 0.6]]]], dtype=np.float32)
    assert Postprocessing().apply(probability, SLICE, 0.001).tolist() == [[[0, 0, 1]]]


def test_overlap_picture_has_the_stated_colours(truth, tmp_path):
    prediction = np.roll(truth, 4, axis=2)
    row = comparison_row(np.zeros((32, 32)), truth[2], prediction[2])
    assert row.shape == (32, 128, 3)
    overlay = row[:, 96:]
    green, red, blue = overlay[10, 13], overlay[10, 17], overlay[10, 9]
    assert green.argmax() == 1
    assert red.argmax() == 2
    assert blue.argmax() == 0
    save_case_picture(np.zeros(truth.shape), truth, prediction, tmp_path / "x.png", "phantom")
    assert (tmp_path / "x.png").stat().st_size > 0
