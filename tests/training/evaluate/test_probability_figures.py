"""Calibration and curves from histograms, and a classifier's figures, against hand-counted cases and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the `training` extra is not installed", exc_type=ImportError)

from sklearn.metrics import roc_auc_score

from training.metrics import Classification, ProbabilityHistogram

P = np.array([0.1, 0.1, 0.4, 0.4, 0.8, 0.8], np.float32)
Y = np.array([0, 0, 0, 1, 1, 1], bool)


def test_figures_of_six_voxels():
    histogram = ProbabilityHistogram.of(P, Y)
    assert histogram.num_voxels == 6
    assert histogram.brier == pytest.approx((0.01 * 2 + 0.16 + 0.36 + 0.04 * 2) / 6, abs=1e-6)
    # Gaps of 0.1, 0.1 and 0.2, a third of the voxels each.
    assert histogram.reliability(10).ece == pytest.approx((0.1 + 0.1 + 0.2) / 3, abs=1e-6)


def test_dice_precision_and_recall_at_thresholds():
    histogram = ProbabilityHistogram.of(P, Y)
    thresholds = np.array([0.0, 0.25, 0.5, 0.9])
    # Found at each: 3 right of 6, 3 of 4, 2 of 2, none.
    np.testing.assert_allclose(histogram.dice(thresholds), [6 / 9, 6 / 7, 4 / 5, 0.0])
    precision, recall = histogram.precision_recall(thresholds)
    np.testing.assert_allclose(precision, [0.5, 0.75, 1.0, 1.0])
    np.testing.assert_allclose(recall, [1.0, 1.0, 2 / 3, 0.0])


def test_a_probability_of_exactly_the_threshold_is_not_above_it():
    histogram = ProbabilityHistogram.of(np.array([0.5], np.float32), np.array([True]))
    assert histogram.dice(np.array([0.5])) == [0.0]
    assert histogram.dice(np.array([0.499])) == [1.0]


def test_area_under_the_curve_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    truth = rng.random(4000) < 0.2
    # Values on the bins' centres, so that the histogram loses nothing.
    probability = (np.round(np.clip(rng.normal(0.3 + 0.3 * truth, 0.2), 0, 0.99) * 1200) + 0.5).astype(
        np.float32
    ) / 1200
    expected = roc_auc_score(truth, probability)
    assert ProbabilityHistogram.of(probability, truth).auc == pytest.approx(expected, abs=1e-9)


def test_histograms_of_patients_add_up():
    both = ProbabilityHistogram.of(P, Y) + ProbabilityHistogram.of(P[:2], ~Y[:2])
    joined = ProbabilityHistogram.of(np.append(P, P[:2]), np.append(Y, ~Y[:2]))
    np.testing.assert_array_equal(both.positives_B, joined.positives_B)
    assert both.brier == pytest.approx(joined.brier)


def test_what_cannot_be_told_is_nan_or_nothing():
    assert np.isnan(ProbabilityHistogram.of(P, np.ones(6, bool)).auc)
    empty = ProbabilityHistogram.empty()
    assert (empty.brier, empty.reliability().ece) == (0.0, 0.0)
    assert empty.dice(np.array([0.5])) == [1.0]


@pytest.fixture
def found():
    """Six pictures of three classes: four right, one glioma taken for none, one none taken for a glioma."""
    rows = [[0.8, 0.1, 0.1], [0.3, 0.1, 0.6], [0.1, 0.8, 0.1], [0.1, 0.9, 0.0], [0.2, 0.2, 0.6], [0.7, 0.1, 0.2]]
    return Classification(np.array(rows, np.float32), np.array([0, 0, 1, 1, 2, 2]), ("glioma", "meningioma", "none"))


def test_confusion_has_the_truth_in_rows(found):
    assert found.confusion_KK.tolist() == [[1, 0, 1], [0, 2, 0], [1, 0, 1]]
    assert found.is_right_N.mean() == pytest.approx(4 / 6)


def test_figures_of_each_class(found):
    classes = found.per_class()
    assert classes["meningioma"] == {"pictures": 2, "precision": 1.0, "recall": 1.0, "f1": 1.0, "roc_auc": 1.0}
    assert classes["glioma"]["precision"] == classes["glioma"]["recall"] == pytest.approx(0.5)
    # Of eight pairs of a glioma and another, 0.8 is above all four, 0.3 above three.
    assert classes["glioma"]["roc_auc"] == pytest.approx(7 / 8)


def test_calibration_of_the_most_probable_class(found):
    curve = found.reliability(10)
    # Confidence 0.6 twice, half right; 0.7 wrong; 0.8 twice and 0.9, all right.
    assert curve.ece == pytest.approx((2 * 0.1 + 0.7 + 2 * 0.2 + 0.1) / 6, abs=1e-6)
    assert curve.counts_B.sum() == 6


def test_a_class_that_does_not_occur_has_no_area(found):
    only = Classification(found.probabilities_NK[:2], found.truth_N[:2], found.class_names)
    assert np.isnan(only.per_class()["meningioma"]["roc_auc"])
    assert only.confusion_KK.shape == (3, 3)


def test_refuses_probabilities_of_another_shape():
    with pytest.raises(ValueError, match="probabilities"):
        Classification(np.ones((2, 3), np.float32), np.zeros(3, np.int64), ("a", "b", "c"))
