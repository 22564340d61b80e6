"""Lesion-wise scores against cases counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("monai", reason="the `training` extra is not installed", exc_type=ImportError)

from training.metrics import lesion_scores
from training.metrics.lesions import PENALTY_MM

SPACING = (1.0, 1.0, 1.0)


def cube(*corners, side=4):
    """A volume of 40^3 with cubes of 64 voxels at these corners."""
    mask = np.zeros((40, 40, 40), dtype=bool)
    for s, h, w in corners:
        mask[s : s + side, h : h + side, w : w + side] = True
    return mask


def test_a_found_a_missed_and_an_invented_lesion():
    """Dice 1, 0 and 0 over three entries; distance 0 and twice the penalty; one of two found, one invented."""
    truth, prediction = cube((2, 2, 2), (2, 2, 30)), cube((2, 2, 2), (30, 30, 30))
    scores = lesion_scores(prediction, truth, SPACING)
    assert (len(scores.lesions), scores.num_found, scores.num_missed, scores.num_false_positive) == (2, 1, 1, 1)
    assert scores.dice == pytest.approx(1 / 3)
    assert scores.hd95_mm == pytest.approx(2 * PENALTY_MM / 3)
    assert scores.f1 == pytest.approx(2 / (2 + 1 + 1))


def test_near_parts_of_the_reference_are_one_lesion():
    """A gap of five voxels closes when both sides grow by three; one of seven does not."""
    assert len(lesion_scores(cube((2, 2, 2)), cube((2, 2, 2), (2, 2, 11)), SPACING).lesions) == 1
    assert len(lesion_scores(cube((2, 2, 2)), cube((2, 2, 2), (2, 2, 13)), SPACING).lesions) == 2


def test_a_part_beside_a_lesion_belongs_to_it_up_to_the_dilation():
    """Two voxels away it touches the grown lesion: found, Dice 0, not invented. Four away it does not."""
    near = lesion_scores(cube((2, 2, 8)), cube((2, 2, 2)), SPACING)
    assert (near.num_found, near.num_false_positive, near.dice) == (1, 0, 0.0)
    assert near.hd95_mm == pytest.approx(6.0)
    far = lesion_scores(cube((2, 2, 10)), cube((2, 2, 2)), SPACING)
    assert (far.num_found, far.num_missed, far.num_false_positive) == (0, 1, 1)


def test_several_parts_of_one_lesion_are_scored_together():
    """Two slabs of 16 of the 64 voxels: Dice 2 * 32 / (32 + 64)."""
    truth, prediction = cube((2, 2, 2)), cube((2, 2, 2))
    prediction[3:5] = False
    scores = lesion_scores(prediction, truth, SPACING)
    assert scores.num_false_positive == 0
    assert scores.dice == pytest.approx(2 * 32 / 96)


def test_tiny_lesions_of_the_reference_are_not_counted_but_what_touches_them_is_not_invented():
    tiny = cube((10, 10, 10), side=3)  # 27 cubic mm
    scores = lesion_scores(tiny, tiny, SPACING)
    assert (len(scores.lesions), scores.num_false_positive, scores.dice) == (0, 0, 1.0)
    assert len(lesion_scores(tiny, tiny, (2.0, 1.0, 1.0)).lesions) == 1  # 54 cubic mm


def test_the_volume_is_that_of_the_reference_in_ml():
    assert lesion_scores(cube((2, 2, 2)), cube((2, 2, 2)), (5.0, 1.0, 1.0)).lesions[0].volume_ml == pytest.approx(0.32)


def test_nothing_there_and_nothing_found_is_right():
    empty = cube()
    scores = lesion_scores(empty, empty, SPACING)
    assert (scores.dice, scores.hd95_mm, scores.f1, scores.lesions) == (1.0, 0.0, 1.0, ())


def test_no_dilation_leaves_the_parts_as_they_are():
    scores = lesion_scores(cube((2, 2, 2)), cube((2, 2, 2), (2, 2, 7)), SPACING, num_dilations=0)
    assert (len(scores.lesions), scores.num_missed) == (2, 1)


def test_a_lesion_at_the_border_grows_without_wrapping_round():
    scores = lesion_scores(cube((0, 0, 36)), cube((0, 0, 0)), SPACING)
    assert (scores.num_found, scores.num_false_positive) == (0, 1)
