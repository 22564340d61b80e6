"""What a display in space shows, and of which series."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from neuroscan_core.domain.errors import RejectionCode
from neuroscan_core.domain.events import (
    MaskReady,
    SegmentationFailed,
    SegmentationReady,
    SeriesCompleted,
    SeriesOpened,
    SeriesRejected,
    SliceReceived,
    StudyReady,
    StudySource,
)
from neuroscan_core.domain.geometry import SliceGeometry, StackGeometry
from neuroscan_core.domain.segmentation import ModelIdentity, Segmentation
from neuroscan_core.domain.volume import FrameKey
from neuroscan_core.viewer.scene import Cleared, Scene, SlicePicture

MODEL = ModelIdentity("m", "1", "0" * 64)
FIRST = SliceGeometry((-10.0, -20.0, 30.0), (1, 0, 0, 0, 1, 0), (0.5, 0.5), (24, 32), "1.9")
STACK = StackGeometry(FIRST, 2.0, 6)


def key(k: int, series: str = "1.2") -> FrameKey:
    return FrameKey(f"{series}.{k}")


def keys(series: str = "1.2") -> tuple[FrameKey, ...]:
    return tuple(key(k, series) for k in range(STACK.num_slices))


def opened(series: str = "1.2", at_s: float = 100.0, model: str = "m") -> SeriesOpened:
    return SeriesOpened(series, 0, model, slice_spacing_mm=STACK.spacing_mm, opened_at_s=at_s)


def received(k: int, series: str = "1.2", frame: str = "1.9") -> SliceReceived:
    pixels_ji = np.full(FIRST.shape, 10.0 * (k + 1), np.float32)
    geometry = replace(STACK.slice_geometry(k), frame_of_reference_uid=frame)
    return SliceReceived(series, k + 1, key(k, series), geometry, pixels_ji, received_at_s=1000.0 + k)


def labels(value: int = 1, rows: slice = slice(4, 9), columns: slice = slice(10, 20)) -> np.ndarray:
    labels_ji = np.zeros(FIRST.shape, np.uint8)
    labels_ji[rows, columns] = value
    return labels_ji


def masked(k: int, labels_ji: np.ndarray, series: str = "1.2", revision: int = 0) -> MaskReady:
    return MaskReady(series, k, key(k, series), labels_ji, 5.0, MODEL, revision)


def result(labels_kji: np.ndarray, series: str = "1.2", version: int = 1) -> SegmentationReady:
    return SegmentationReady(series, version, Segmentation(STACK, keys(series), labels_kji, ()), MODEL)


def final_labels() -> np.ndarray:
    labels_kji = np.zeros(STACK.shape, np.uint8)
    labels_kji[2, 4:9, 10:20] = 1
    labels_kji[3, 3:9, 10:22] = 1
    return labels_kji


def test_every_mask_is_handed_out_with_its_slice_whichever_comes_first() -> None:
    scene = Scene()
    assert scene.apply(opened()) == [Cleared()]
    assert scene.apply(received(0)) == []
    (late,) = scene.apply(masked(0, labels()))
    assert scene.apply(masked(1, labels(2))) == []
    assert scene.num_waiting == 1
    (early,) = scene.apply(received(1))
    for picture, k, value in ((late, 0, 1), (early, 1, 2)):
        assert isinstance(picture, SlicePicture)
        assert (picture.key, picture.received_at_s) == (key(k), 1000.0 + k)
        assert np.array_equal(picture.labels_ji, labels(value))
    assert (scene.statistics.num_masks, scene.statistics.num_pictures, scene.num_waiting) == (2, 2, 0)


def test_label_map_so_far_lies_where_the_slices_lie() -> None:
    scene = Scene()
    scene.apply(opened())
    for k in (4, 1, 3):  # slice 2 is still missing, and the first one, too
        scene.apply(received(k))
        scene.apply(masked(k, labels(k)))
    volume = scene.label_volume()
    assert volume is not None and not volume.is_final
    assert volume.labels_kji.shape == (4, 5, 10)
    assert [int(plane.max()) for plane in volume.labels_kji] == [1, 0, 3, 4]
    corner_mm = volume.affine_lps @ (0, 0, 0, 1)
    assert corner_mm[:3] == pytest.approx((-10 + 0.5 * 10, -20 + 0.5 * 4, 30 + 2.0 * 1))


def test_label_map_lies_at_the_same_place_before_and_after_completion() -> None:
    scene = Scene()
    scene.apply(opened())
    for k in range(6):
        scene.apply(received(k))
        scene.apply(masked(k, final_labels()[k]))
    before = scene.label_volume()
    scene.apply(SeriesCompleted("1.2", 7, keys(), STACK))
    after = scene.label_volume()
    scene.apply_result(result(final_labels()), 2000.0)
    final = scene.label_volume()
    assert before is not None and after is not None and final is not None and final.is_final
    for volume in (after, final):
        assert np.array_equal(volume.labels_kji, before.labels_kji)
        assert volume.affine_lps == pytest.approx(before.affine_lps)


def test_spacing_is_taken_from_the_slices_where_the_header_says_nothing() -> None:
    scene = Scene()
    scene.apply(replace(opened(), slice_spacing_mm=None))
    for k in (0, 1, 3):
        scene.apply(received(k))
        scene.apply(masked(k, labels()))
    volume = scene.label_volume()
    assert volume is not None
    assert volume.geometry.spacing_mm == pytest.approx(2.0)
    assert volume.labels_kji.any(axis=(1, 2)).tolist() == [True, True, False, True]


def test_replaced_mask_replaces_and_an_old_one_does_not_come_back() -> None:
    scene = Scene()
    scene.apply(opened())
    scene.apply(received(0))
    scene.apply(masked(0, labels(1)))
    (picture,) = scene.apply(masked(0, labels(2), revision=1))
    assert isinstance(picture, SlicePicture) and picture.labels_ji.max() == 2
    assert scene.apply(masked(0, labels(1), revision=0)) == []
    volume = scene.label_volume()
    assert volume is not None and volume.labels_kji.max() == 2
    assert scene.statistics.num_replaced == 1


def test_result_takes_the_place_of_the_masks_so_far() -> None:
    scene = Scene()
    scene.apply(opened())
    scene.apply(received(0))
    scene.apply(masked(0, labels(1)))
    before = scene.revision
    scene.apply_result(result(np.zeros(STACK.shape, np.uint8)), 2000.0)
    volume = scene.label_volume()
    assert scene.revision > before
    assert volume is not None and volume.is_final and volume.labels_kji.size == 0


def test_older_version_of_a_result_does_not_replace_a_newer_one() -> None:
    scene = Scene()
    scene.apply(opened())
    scene.apply_result(result(final_labels(), version=2), 2000.0)
    scene.apply_result(result(np.zeros(STACK.shape, np.uint8), version=1), 2001.0)
    volume = scene.label_volume()
    assert volume is not None and volume.labels_kji.any()


def test_finished_series_settles_on_the_slice_with_the_largest_area_once() -> None:
    scene = Scene()
    scene.apply(opened())
    for k in range(6):
        scene.apply(received(k))
        scene.apply(masked(k, final_labels()[k]))
    assert scene.settled_picture() is None
    scene.apply_result(result(final_labels()), 2000.0)
    picture = scene.settled_picture()
    assert picture is not None and picture.key == key(3)
    assert scene.settled_picture() is None
    scene.apply(masked(5, final_labels()[5], revision=1))
    again = scene.settled_picture()
    assert again is not None and again.key == key(3)


def test_empty_result_keeps_the_last_picture() -> None:
    scene = Scene()
    scene.apply(opened())
    scene.apply(received(0))
    scene.apply_result(result(np.zeros(STACK.shape, np.uint8)), 2000.0)
    assert scene.settled_picture() is None


def test_new_series_takes_the_screen_and_an_older_one_does_not_come_back() -> None:
    scene = Scene()
    scene.apply(opened("1.2", 100.0))
    scene.apply(received(0))
    scene.apply(masked(0, labels()))
    assert scene.apply(opened("1.3", 101.0)) == [Cleared()]
    assert scene.label_volume() is None
    assert scene.apply(masked(1, labels())) == []
    assert scene.apply_result(result(final_labels()), 2000.0) == []
    assert scene.apply(opened("1.2", 100.0)) == []
    assert scene.shown_uid == "1.3" and scene.label_volume() is None
    assert scene.statistics.num_elsewhere == 1


def test_opening_of_the_series_shown_told_again_clears_nothing() -> None:
    scene = Scene()
    scene.apply(opened())
    scene.apply(received(0))
    scene.apply(masked(0, labels()))
    assert scene.apply(opened()) == []
    assert scene.label_volume() is not None


def test_masks_that_come_before_the_series_is_opened_are_known_to_be_missing() -> None:
    scene = Scene()
    scene.apply(opened("1.1", 99.0))
    assert scene.apply(masked(0, labels())) == [] and not scene.has_missed_masks()
    scene.apply(opened("1.2", 100.0))
    assert scene.has_missed_masks()
    scene.apply(received(0))
    assert len(scene.apply(masked(0, labels()))) == 1


def test_chosen_series_stays_on_the_screen() -> None:
    scene = Scene("1.2")
    assert scene.apply(opened("1.1", 99.0)) == []
    assert scene.apply(opened("1.2", 100.0)) == [Cleared()]
    assert scene.apply(opened("1.3", 101.0)) == []
    assert scene.apply(received(0, "1.3", frame="another")) == []
    assert scene.apply_result(result(final_labels(), "1.3"), 2000.0) == []
    assert scene.shown_uid == "1.2"


def test_series_that_is_only_kept_does_not_clear_the_screen() -> None:
    scene = Scene()
    scene.apply(opened("1.2", 100.0))
    scene.apply(received(0))
    assert scene.apply(opened("1.3", 101.0, model="")) == []
    assert scene.apply(received(0, "1.3")) == []
    assert scene.shown_uid == "1.2"


def test_images_in_another_frame_of_reference_clear_the_screen() -> None:
    scene = Scene()
    scene.apply(opened("1.2", 100.0))
    scene.apply(received(0))
    scene.apply_result(result(final_labels()), 2000.0)
    scene.apply(opened("1.3", 101.0, model=""))
    assert scene.apply(received(0, "1.3", frame="of the next patient")) == [Cleared()]
    assert scene.label_volume() is None and scene.shown_uid == ""


def test_late_image_of_an_older_series_clears_nothing() -> None:
    scene = Scene()
    scene.apply(opened("1.1", 99.0))
    scene.apply(opened("1.2", 100.0))
    scene.apply(received(0))
    assert scene.apply(received(0, "1.1", frame="another")) == []
    assert scene.shown_uid == "1.2"


@pytest.mark.parametrize(
    "end",
    [
        SeriesRejected("1.2", 9, RejectionCode.MISSING_SLICES, "Slices are missing."),
        SegmentationFailed("1.2", 1, "internal-error", "It failed."),
    ],
)
def test_masks_of_a_series_without_a_result_leave_the_screen(end: SeriesRejected | SegmentationFailed) -> None:
    scene = Scene()
    scene.apply(opened())
    scene.apply(received(0))
    scene.apply(masked(0, labels()))
    assert scene.apply(end) == [Cleared()]
    assert scene.label_volume() is None


def test_newest_of_the_results_that_are_there_at_the_start_is_shown() -> None:
    scene = Scene()
    assert scene.apply_result(result(final_labels(), "1.2"), 500.0) == [Cleared()]
    assert scene.apply_result(result(final_labels(), "1.3"), 600.0) == [Cleared()]
    assert scene.apply(opened("1.2", 100.0)) == []
    assert scene.apply(opened("1.3", 590.0)) == []
    assert scene.shown_uid == "1.3" and scene.label_volume() is not None
    assert scene.apply(opened("1.4", 610.0)) == [Cleared()]


def test_slices_that_come_after_the_result_bring_its_picture() -> None:
    scene = Scene()
    scene.apply_result(result(final_labels()), 500.0)
    assert not scene.has_slices_of(keys())
    assert scene.settled_picture() is None
    before = scene.revision
    for k in range(6):
        scene.apply(received(k))
    picture = scene.settled_picture()
    assert scene.has_slices_of(keys()) and scene.revision > before
    assert picture is not None and picture.key == key(3)


def study(at: str = "2.5") -> StudyReady:
    flair = StudySource("FLAIR", "1.2", 1, keys(), STACK)
    return StudyReady(at, 0, "brats", (flair, replace(flair, sequence_name="T1", series_instance_uid="1.3")), "FLAIR")


def test_result_of_a_study_takes_the_place_of_that_of_its_series() -> None:
    scene = Scene()
    scene.apply(opened("1.2", 100.0))
    for k in range(6):
        scene.apply(received(k))
    scene.apply_result(result(final_labels(), "1.2"), 500.0)
    scene.apply(opened("1.3", 101.0, model=""))
    assert scene.apply(study()) == []
    of_study = SegmentationReady("2.5", 1, Segmentation(STACK, keys(), 3 * final_labels(), ()), MODEL)
    assert scene.apply_result(of_study, 700.0) == [Cleared()]
    picture = scene.settled_picture()
    assert picture is not None and picture.series_instance_uid == "2.5" and picture.labels_ji.max() == 3


def test_result_of_an_older_study_does_not_clear_the_series_that_came_since() -> None:
    scene = Scene()
    scene.apply(opened("1.2", 100.0))
    scene.apply(opened("1.3", 101.0, model=""))
    scene.apply(study())
    scene.apply(opened("1.4", 200.0))
    of_study = SegmentationReady("2.5", 1, Segmentation(STACK, keys(), final_labels(), ()), MODEL)
    assert scene.apply_result(of_study, 700.0) == []
    assert scene.shown_uid == "1.4"


def test_memory_for_pictures_is_bounded_and_the_loss_is_counted() -> None:
    num_bytes = FIRST.shape[0] * FIRST.shape[1]
    scene = Scene(max_held_bytes=2 * num_bytes)
    scene.apply(opened())
    for k in range(3):
        scene.apply(received(k))
    assert scene.apply(masked(0, labels())) == []
    assert len(scene.apply(masked(2, labels()))) == 1
    assert scene.statistics.num_without_slice == 1
    volume = scene.label_volume()
    assert volume is not None and volume.labels_kji.shape[0] == 3
