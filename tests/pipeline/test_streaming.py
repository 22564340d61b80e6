"""The promise of streaming: in whatever order slices come, the result is that of the complete volume, bit for bit."""

from __future__ import annotations

import random
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroscan_core.domain.errors import RejectionCode, SeriesRejection
from neuroscan_core.domain.segmentation import Segmentation
from neuroscan_core.domain.volume import FrameKey, Slice, Volume
from neuroscan_core.offline import segment_volume
from neuroscan_core.pipeline.streaming import SliceMask, StreamingSegmenter, segment_windows
from tests.pipeline.stacks import (
    AXIAL,
    CARD,
    CORONAL,
    FEET_UP,
    SAGITTAL,
    CheapEngine,
    accept_anything,
    random_volume,
    slices_of,
    stack_geometry,
)


def segmenter(hint_mm: float | None = None) -> StreamingSegmenter:
    return StreamingSegmenter(CARD, slice_spacing_mm=hint_mm, check=accept_anything)


def run_due(streaming: StreamingSegmenter, engine: CheapEngine, limit: int | None = None) -> list[SliceMask]:
    masks = []
    for window in streaming.ready(limit):
        (labels,) = segment_windows(engine, [window])
        masks += streaming.accept(window, labels)
    return masks


def stream(
    volume: Volume, arrivals: Iterable[Slice], *, hint_mm: float | None = None, run_every: int = 1
) -> tuple[Segmentation, list[SliceMask], CheapEngine]:
    streaming, engine, masks = segmenter(hint_mm), CheapEngine(), []
    for n, arrived in enumerate(arrivals):
        streaming.add(arrived)
        if n % run_every == 0:
            masks += run_due(streaming, engine)
    streaming.complete(volume.keys, volume.geometry)
    masks += run_due(streaming, engine)
    assert streaming.is_done
    return streaming.result(), masks, engine


@settings(max_examples=150, deadline=None)
@given(
    num_slices=st.integers(1, 24),
    seed=st.integers(0, 2**16),
    hint_mm=st.sampled_from([None, 3.0, 1.5, 6.0, 2.0, 0.1, 100.0, -1.0]),
    orientation=st.sampled_from([AXIAL, FEET_UP]),
    run_every=st.integers(1, 9),
)
def test_the_streamed_result_is_that_of_the_volume_for_any_order_of_arrival(
    num_slices: int,
    seed: int,
    hint_mm: float | None,
    orientation: tuple[float, float, float, float, float, float],
    run_every: int,
) -> None:
    volume = random_volume(stack_geometry(num_slices, orientation=orientation), seed)
    arrivals = slices_of(volume)
    random.Random(seed).shuffle(arrivals)
    streamed, masks, _ = stream(volume, arrivals, hint_mm=hint_mm, run_every=run_every)
    batch = segment_volume(volume, CheapEngine(), check=accept_anything)
    assert np.array_equal(streamed.labels_kji, batch.labels_kji)
    assert streamed.measurements == batch.measurements
    assert streamed.keys == batch.keys
    assert {mask.key for mask in masks} == set(volume.keys)


@settings(max_examples=30, deadline=None)
@given(num_slices=st.integers(2, 20), num_late=st.integers(1, 4), seed=st.integers(0, 2**16))
def test_late_slices_lead_to_the_result_of_the_whole_volume(num_slices: int, num_late: int, seed: int) -> None:
    volume = random_volume(stack_geometry(num_slices + num_late), seed)
    arrivals = slices_of(volume)
    streaming, engine = segmenter(), CheapEngine()
    for arrived in arrivals[:num_slices]:
        streaming.add(arrived)
    streaming.complete(volume.keys[:num_slices], stack_geometry(num_slices))
    run_due(streaming, engine)
    first = streaming.result()
    for arrived in arrivals[num_slices:]:
        streaming.add(arrived)
        assert not streaming.is_done
    streaming.complete(volume.keys, volume.geometry)
    run_due(streaming, engine)
    batch = segment_volume(volume, CheapEngine(), check=accept_anything)
    assert np.array_equal(streaming.result().labels_kji, batch.labels_kji)
    assert first.geometry.num_slices == num_slices


@pytest.mark.parametrize("orientation", [SAGITTAL, CORONAL])
@pytest.mark.parametrize("gap_mm", [1.0, 0.4])
def test_other_planes_are_streamed_as_the_volume_too(
    orientation: tuple[float, float, float, float, float, float], gap_mm: float
) -> None:
    geometry = stack_geometry(30, shape=(28, 26), spacing_mm=(1.0, 1.1), gap_mm=gap_mm, orientation=orientation)
    volume = random_volume(geometry)
    arrivals = slices_of(volume)
    random.Random(1).shuffle(arrivals)
    streamed, masks, _ = stream(volume, arrivals)
    batch = segment_volume(volume, CheapEngine(), check=accept_anything)
    assert np.array_equal(streamed.labels_kji, batch.labels_kji)
    assert not streamed.is_empty
    assert [mask.key for mask in masks] == list(volume.keys)


def test_a_slice_is_due_as_soon_as_both_neighbours_are_there() -> None:
    slices = slices_of(random_volume(stack_geometry(5)))
    streaming = segmenter(hint_mm=3.0)
    due = []
    for n in (0, 2, 1, 4, 3):
        streaming.add(slices[n])
        due.append([window.centre.key.sop_instance_uid for window in streaming.ready()])
    assert due == [[], [], ["1.2.1"], [], ["1.2.2", "1.2.3"]]


@pytest.mark.parametrize("is_reversed", [False, True])
def test_in_order_only_the_last_window_remains_at_completion(is_reversed: bool) -> None:
    volume = random_volume(stack_geometry(40))
    streaming, engine = segmenter(), CheapEngine()
    slices = slices_of(volume)[:: -1 if is_reversed else 1]
    for arrived in slices:
        streaming.add(arrived)
        run_due(streaming, engine)
    streaming.complete(volume.keys, volume.geometry)
    assert [window.centre.key for window in streaming.ready()] == [slices[-1].key]


def test_a_slice_beyond_the_end_that_came_first_has_the_old_end_computed_again() -> None:
    volume = random_volume(stack_geometry(40))
    slices = slices_of(volume)
    late, _, engine = stream(volume, [*slices[1:], slices[0]])
    assert engine.num_windows == 41
    np.testing.assert_array_equal(late.labels_kji, stream(volume, slices)[0].labels_kji)


def test_with_a_true_spacing_in_the_header_an_interleaved_series_is_computed_once() -> None:
    volume = random_volume(stack_geometry(24))
    slices = slices_of(volume)
    _, _, engine = stream(volume, slices[::2] + slices[1::2], hint_mm=3.0)
    assert engine.num_windows == 24


def test_a_wrong_spacing_in_the_header_does_not_stop_streaming() -> None:
    for hint_mm in (1.0, 2.0, 3.3, 50.0):
        volume = random_volume(stack_geometry(80))
        streaming, engine = segmenter(hint_mm), CheapEngine()
        for arrived in slices_of(volume):
            streaming.add(arrived)
            run_due(streaming, engine)
        assert engine.num_windows == 79, hint_mm  # all but the last


def test_a_window_with_other_neighbours_is_computed_again() -> None:
    volume = random_volume(stack_geometry(5))
    slices = slices_of(volume)
    streaming, engine = segmenter(), CheapEngine()
    for n in (0, 2, 4):
        streaming.add(slices[n])
    (early,) = run_due(streaming, engine)
    assert (early.key, early.revision) == (volume.keys[2], 0)
    for n in (1, 3):
        streaming.add(slices[n])
    revised = [mask for mask in run_due(streaming, engine) if mask.key == volume.keys[2]]
    assert [mask.revision for mask in revised] == [1]


def test_the_labels_of_an_outdated_window_are_not_taken() -> None:
    slices = slices_of(random_volume(stack_geometry(5)))
    streaming, engine = segmenter(), CheapEngine()
    for n in (0, 2, 4):
        streaming.add(slices[n])
    (outdated,) = streaming.ready()
    for n in (1, 3):
        streaming.add(slices[n])
    (labels,) = segment_windows(engine, [outdated])
    assert streaming.accept(outdated, labels) == []


def test_a_slice_stands_in_for_what_lies_beyond_a_gap() -> None:
    volume = random_volume(stack_geometry(6))
    slices = [slice_ for n, slice_ in enumerate(slices_of(volume)) if n != 3]
    streaming = segmenter()
    for arrived in slices:
        streaming.add(arrived)
    streaming.ready()
    streaming.complete([slice_.key for slice_ in slices], stack_geometry(5))
    neighbours = {window.centre.key: window.neighbours for window in streaming.ready()}
    assert neighbours[volume.keys[2]] == (volume.keys[1], volume.keys[2])
    assert neighbours[volume.keys[4]] == (volume.keys[4], volume.keys[5])


def test_a_slice_that_the_manifest_leaves_out_leaves_no_trace() -> None:
    nine, ten = stack_geometry(9), random_volume(stack_geometry(10))
    volume = Volume(nine, ten.keys[:9], ten.voxels_kji[:9])
    streamed, _, _ = stream(volume, slices_of(ten))
    batch = segment_volume(volume, CheapEngine(), check=accept_anything)
    assert np.array_equal(streamed.labels_kji, batch.labels_kji)


def test_the_same_slice_twice_counts_once() -> None:
    volume = random_volume(stack_geometry(5))
    streamed, masks, _ = stream(volume, slices_of(volume) * 2)
    assert len(masks) == 5
    assert streamed.geometry.num_slices == 5


def test_the_network_sees_below_before_above_whichever_way_slices_are_numbered() -> None:
    up = random_volume(stack_geometry(6))
    down_geometry = stack_geometry(6, orientation=FEET_UP)
    # The same patient, rows and slices numbered the other way round.
    down = Volume(down_geometry, up.keys, up.voxels_kji[::-1, ::-1])
    from_up = segment_volume(up, CheapEngine(), check=accept_anything)
    from_down = segment_volume(down, CheapEngine(), check=accept_anything)
    assert np.array_equal(from_down.labels_kji, from_up.labels_kji[::-1, ::-1])


def test_air_is_not_shown_to_the_network() -> None:
    volume = random_volume(stack_geometry(6))
    volume.voxels_kji[4:] = 0.0
    engine = CheapEngine()
    segmentation = segment_volume(volume, engine, check=accept_anything)
    assert engine.num_windows == 4
    assert not segmentation.labels_kji[4:].any()


def test_values_that_are_no_numbers_do_not_spread() -> None:
    volume = random_volume(stack_geometry(5))
    volume.voxels_kji[2, 3, 3] = np.nan
    volume.voxels_kji[2, 4, 4], volume.voxels_kji[2, 5, 5] = np.inf, -np.inf
    segmentation = segment_volume(volume, CheapEngine(), check=accept_anything)
    assert segmentation.labels_kji[2].sum() > 50


def test_thick_sagittal_slices_are_refused() -> None:
    volume = random_volume(stack_geometry(20, gap_mm=5.0, orientation=SAGITTAL))
    with pytest.raises(SeriesRejection, match="coarser") as refusal:
        segment_volume(volume, CheapEngine(), check=accept_anything)
    assert refusal.value.code is RejectionCode.UNSUPPORTED_PLANE


def test_a_mixture_of_planes_is_refused() -> None:
    axial, sagittal = random_volume(stack_geometry(3)), random_volume(stack_geometry(3, orientation=SAGITTAL))
    other = Slice(FrameKey("9"), sagittal.geometry.first, sagittal.voxels_kji[0])
    streaming = segmenter()
    for arrived in (*slices_of(axial), other):
        streaming.add(arrived)
    with pytest.raises(SeriesRejection) as refusal:
        streaming.complete([*axial.keys, other.key], stack_geometry(4))
    assert refusal.value.code is RejectionCode.MIXED_ORIENTATION


def test_a_stack_that_is_no_head_is_refused_at_completion() -> None:
    volume = random_volume(stack_geometry(8))
    streaming = StreamingSegmenter(CARD)
    for arrived in slices_of(volume):
        streaming.add(arrived)
    with pytest.raises(SeriesRejection) as refusal:
        streaming.complete(volume.keys, volume.geometry)
    assert refusal.value.code is RejectionCode.NOT_BRAIN_LIKE
