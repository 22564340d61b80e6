"""Four sequences to parts of a tumour, slice by slice, in any orientation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from neuroscan_core.domain.errors import SeriesRejection
from neuroscan_core.domain.model_card import ModelCard
from neuroscan_core.domain.study import StudyVolume
from neuroscan_core.pipeline.multimodal import labels_from_softmax, segment_multimodal
from neuroscan_core.pipeline.suitability import SKULL_WARNING
from tests.pipeline.cards import MULTIMODAL, multimodal_mapping
from tests.pipeline.stacks import AXIAL, CORONAL, FEET_UP, SAGITTAL
from tests.pipeline.studies import ContrastEngine, accept_any_study, dice, geometry, study, truth
from tests.pipeline.test_orientation import OBLIQUE

CARD = ModelCard.from_mapping(multimodal_mapping(input=multimodal_mapping()["input"] | {"size": [48, 48]}))


@pytest.mark.parametrize(
    ("orientation", "shape", "spacing_mm"),
    [
        (AXIAL, (24, 40, 32), (2.0, 1.0, 1.0)),
        (FEET_UP, (24, 40, 32), (2.0, 1.0, 1.0)),
        (OBLIQUE, (24, 44, 44), (2.0, 1.0, 1.0)),
        (SAGITTAL, (32, 46, 40), (1.0, 1.0, 1.0)),
        (CORONAL, (40, 46, 32), (1.0, 1.0, 1.0)),
        (AXIAL, (24, 60, 60), (2.0, 0.7, 0.8)),
    ],
)
def test_the_parts_of_a_tumour_are_found_where_they_are(
    orientation: tuple[float, float, float, float, float, float],
    shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
) -> None:
    stack = geometry(shape, spacing_mm, orientation)
    found = segment_multimodal(study(stack), ContrastEngine(CARD), check=accept_any_study)
    wanted = truth(stack)
    is_resampled = spacing_mm[1:] != (1.0, 1.0)
    for value in (1, 2, 3):
        # Resampling there and back moves the surface of balls of few voxels.
        assert dice(found.labels_kji == value, wanted == value) > (0.75 if is_resampled else 0.97), value
    assert found.geometry == stack and found.labels_kji.dtype == np.uint8


def test_composites_are_measured_and_nested() -> None:
    found = segment_multimodal(study(), ContrastEngine(CARD), check=accept_any_study)
    whole, core, enhancing = found.composites
    assert (whole.region, core.region, enhancing.region) == ("WT", "TC", "ET")
    by_label = {region.label: region.volume_ml for region in found.measurements}
    assert whole.volume_ml == pytest.approx(sum(by_label.values()))
    assert core.volume_ml == pytest.approx(by_label[1] + by_label[3])
    assert enhancing.volume_ml == pytest.approx(by_label[3])
    assert whole.diameter is not None and whole.diameter.long_mm == pytest.approx(18, abs=1.5)
    assert whole.num_components == 1


def test_channels_are_given_in_the_order_of_the_card_whatever_that_of_the_study() -> None:
    whole = study()
    order = (2, 3, 0, 1)
    mixed = StudyVolume(
        whole.geometry, whole.keys, tuple(whole.channels[c] for c in order), whole.voxels_CKJI[list(order)]
    )
    straight, turned = (
        segment_multimodal(s, ContrastEngine(CARD), check=accept_any_study).labels_kji for s in (whole, mixed)
    )
    assert np.array_equal(straight, turned) and straight.any()


def test_the_size_of_a_batch_changes_nothing_and_progress_is_told() -> None:
    results, told = [], []
    for batch in (1, 5, 100):
        found = segment_multimodal(
            study(), ContrastEngine(CARD), lambda done, of: told.append((done, of)), check=accept_any_study, batch=batch
        )
        results.append(found.labels_kji)
    assert np.array_equal(results[0], results[1]) and np.array_equal(results[0], results[2])
    assert told[:24] == [(n + 1, 24) for n in range(24)]
    assert told[24:] == [(5, 24), (10, 24), (15, 24), (20, 24), (24, 24), (24, 24)]


def test_air_is_not_shown_to_the_network() -> None:
    whole = study(noise=0.0)
    whole.voxels_CKJI[:, :6] = 0.0
    engine = ContrastEngine(CARD)
    segment_multimodal(whole, engine, check=accept_any_study)
    assert sum(engine.batches) <= 18


def test_a_progress_that_raises_stops_the_work() -> None:
    def stop(done: int, _: int) -> None:
        if done >= 8:
            raise KeyboardInterrupt

    engine = ContrastEngine(CARD)
    with pytest.raises(KeyboardInterrupt):
        segment_multimodal(study(), engine, stop, check=accept_any_study)
    assert len(engine.batches) == 1


def test_the_reader_is_told_that_the_network_never_saw_a_skull() -> None:
    any_skull = ModelCard.from_mapping(multimodal_mapping(input=CARD.raw["input"] | {"skull": "any"}))
    told = segment_multimodal(study(), ContrastEngine(CARD), check=accept_any_study).warnings
    silent = segment_multimodal(study(), ContrastEngine(any_skull), check=accept_any_study).warnings
    assert (told, silent) == ((SKULL_WARNING,), ())


def test_a_missing_sequence_is_refused() -> None:
    whole = study()
    three = StudyVolume(whole.geometry, whole.keys, whole.channels[:3], whole.voxels_CKJI[:3])
    with pytest.raises(SeriesRejection, match="lacks FLAIR"):
        segment_multimodal(three, ContrastEngine(CARD), check=accept_any_study)


def test_what_is_no_head_is_refused() -> None:
    with pytest.raises(SeriesRejection, match="does not look like a head"):
        segment_multimodal(study(), ContrastEngine(CARD))


def test_thick_slices_of_another_plane_are_refused() -> None:
    coarse = study(geometry((10, 46, 40), (5.0, 1.0, 1.0), SAGITTAL))
    with pytest.raises(SeriesRejection, match=r"5\.0 mm wide"):
        segment_multimodal(coarse, ContrastEngine(CARD), check=accept_any_study)


def test_the_threshold_is_of_all_labels_together() -> None:
    # Background 0.4, then 0.25, 0.2 and 0.15: likelier tumour than not, though background is the likeliest of all.
    logits = np.log(np.array([0.4, 0.25, 0.2, 0.15], np.float32))[:, None, None]
    assert labels_from_softmax(logits, MULTIMODAL) == 1
    assert labels_from_softmax(logits, replace(MULTIMODAL, threshold=0.65)) == 0
    assert labels_from_softmax(logits[[0, 3, 2, 1]] + 50, MULTIMODAL) == 3  # logits have no origin


def test_a_few_voxels_apart_are_removed_and_a_few_inside_are_not() -> None:
    whole = study(noise=0.0)
    labels = truth(whole.geometry)
    inside = tuple(np.argwhere(labels == 2)[0])
    whole.voxels_CKJI[(3, 12, 3, 16)] = 220.0
    whole.voxels_CKJI[(1, *inside)] = 220.0  # a single voxel of enhancement within the oedema
    card = replace(CARD, min_component_ml=0.01)  # five voxels
    found = segment_multimodal(whole, ContrastEngine(card), check=accept_any_study).labels_kji
    assert found[12, 3, 16] == 0 and found[inside] == 3
