"""Masks with revisions: whoever asks for what changed since gets exactly that."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from neuroscan_core.domain.segmentation import ModelIdentity
from neuroscan_core.domain.volume import FrameKey
from neuroscan_core.pipeline.measure import finish_segmentation
from neuroscan_core.viewer.cases.masks import FINAL, MaskSet, PackedMap
from tests.pipeline.stacks import CARD
from tests.viewer.volumes import ORIENTATIONS, stack

SHAPE = (5, 6)
NUMBER_OF = {FrameKey(str(k)): k for k in range(4)}
MODEL = ModelIdentity("tiny", "1.0", "0" * 64, "cpu")


def mask_set() -> MaskSet:
    return MaskSet("v1", itertools.count(100).__next__)


def mask(*pixels: tuple[int, int], value: int = 1) -> np.ndarray:
    labels_ji = np.zeros(SHAPE, np.uint8)
    for j, i in pixels:
        labels_ji[j, i] = value
    return labels_ji


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 5), st.integers(0, 2)), max_size=30))
def test_a_reader_that_takes_changes_has_the_whole_at_any_time(puts: list[tuple[int, int, int, int]]) -> None:
    masks, here, revision = mask_set(), np.zeros((4, *SHAPE), np.uint8), -1
    truth = here.copy()
    for n, (k, j, i, value) in enumerate(puts):
        truth[k] = mask((j, i), value=value)
        masks.put(FrameKey(str(k)), truth[k])
        if n % 3 == 0:
            update = masks.changed(revision, NUMBER_OF, SHAPE)
            here[list(update.slices)] = update.labels_nji
            revision = update.revision
            np.testing.assert_array_equal(here, truth)
    np.testing.assert_array_equal(masks.labels_kji([FrameKey(str(k)) for k in range(4)], SHAPE), truth)


def test_the_same_mask_again_is_no_change() -> None:
    masks = mask_set()
    assert masks.put(FrameKey("0"), mask((1, 2)))
    assert masks.put(FrameKey("1"), mask()), "an empty mask is one, too"
    before = masks.revision
    assert not masks.put(FrameKey("0"), mask((1, 2)))
    assert not masks.put(FrameKey("1"), mask())
    assert masks.revision == before
    assert masks.put(FrameKey("0"), mask((1, 3))), "the same shape elsewhere"
    assert masks.num_masks == 2


def test_mask_whose_slice_is_known_later_is_told_then() -> None:
    masks = mask_set()
    masks.put(FrameKey("9"), mask((1, 2)))
    update = masks.changed(-1, NUMBER_OF, SHAPE)
    assert update.slices == ()
    assert masks.touch(FrameKey("9"))
    later = masks.changed(update.revision, {**NUMBER_OF, FrameKey("9"): 4}, SHAPE)
    assert later.slices == (4,)
    assert not masks.touch(FrameKey("8"))


def test_final_label_map_changes_only_what_differs() -> None:
    geometry = stack(ORIENTATIONS["axial"], (4, *SHAPE))
    keys = tuple(NUMBER_OF)
    labels_kji = np.zeros(geometry.shape, np.uint8)
    labels_kji[1:3, 1:4, 1:5] = 1
    masks = mask_set()
    masks.model = MODEL
    for key, labels_ji in zip(keys, labels_kji, strict=True):
        masks.put(key, labels_ji)
    masks.put(keys[0], mask((0, 0)))  # postprocessing will take it away
    before = masks.revision
    masks.finish(finish_segmentation(labels_kji, geometry, keys, CARD), ModelIdentity("tiny", "1.0", "0" * 64))
    update = masks.changed(before, NUMBER_OF, SHAPE)
    assert update.slices == (0,) and not update.labels_nji.any()
    assert masks.state == FINAL and masks.model == MODEL, "the engine is known from what was streamed"
    np.testing.assert_array_equal(masks.labels_kji(keys, SHAPE), labels_kji)
    assert masks.voxel_counts()[1] == np.count_nonzero(labels_kji)
    assert masks.num_bytes < 4000


def test_next_version_begins_with_the_masks_of_the_last() -> None:
    first = mask_set()
    first.put(FrameKey("0"), mask((1, 1)))
    second = first.copied("v2")
    second.put(FrameKey("0"), mask((2, 2)))
    assert first.labels_kji([FrameKey("0")], SHAPE)[0, 1, 1] == 1
    assert second.labels_kji([FrameKey("0")], SHAPE)[0, 2, 2] == 1
    assert second.revision > first.revision


def test_packed_map_comes_back() -> None:
    values_kji = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    packed = PackedMap.of((FrameKey("0"), FrameKey("1")), values_kji)
    np.testing.assert_array_equal(packed.values_kji(), values_kji)
