"""Triage: which slices a classifier sees, and what they say of the series together."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from neuroscan_core.domain.errors import EngineUnavailable, RejectionCode, SeriesRejection
from neuroscan_core.domain.geometry import StackGeometry
from neuroscan_core.domain.segmentation import Segmentation, Triage
from neuroscan_core.domain.volume import Volume
from neuroscan_core.pipeline.classify import chosen_slices, classify_volume, with_opinion
from neuroscan_core.pipeline.orientation import CanonicalView
from tests.pipeline.cards import CLASSIFIER
from tests.pipeline.stacks import FEET_UP, SAGITTAL
from tests.pipeline.studies import geometry, study, truth


class Certain:
    """Says the same of all pictures but the first."""

    def __init__(self) -> None:
        self.card = CLASSIFIER
        self.name = "certain"
        self.seen: npt.NDArray[np.float32] = np.empty(0, np.float32)

    def run(self, image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        self.seen = image
        logits = np.tile(np.log(np.array([0.6, 0.2, 0.1, 0.1], np.float32)), (len(image), 1))
        logits[0] = (-100, -100, 100, -100)
        return logits

    def close(self) -> None:
        pass


def volume(stack: StackGeometry) -> Volume:
    whole = study(stack)
    return Volume(whole.geometry, whole.keys, np.ascontiguousarray(whole.channel("FLAIR")))


def found(stack: StackGeometry) -> Segmentation:
    return Segmentation(stack, study(stack).keys, truth(stack), ())


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (EngineUnavailable("CUDA failed on 10.0.0.7."), "it could not be executed."),
        (SeriesRejection(RejectionCode.UNSUPPORTED_PLANE, "Too coarse."), "Too coarse."),
    ],
)
def test_an_opinion_that_cannot_be_had_costs_a_warning_only(failure: Exception, reason: str) -> None:
    def judge() -> Triage:
        raise failure

    alone = found(geometry())
    result = with_opinion(alone, "judge", judge)
    assert result.triage is None and result.labels_kji is alone.labels_kji
    assert result.warnings == (f"There is no opinion of judge: {reason}",)


def test_slices_with_most_tumour_are_looked_at() -> None:
    stack = geometry()
    areas = np.count_nonzero(truth(stack), axis=(1, 2))
    view = CanonicalView.of(stack)
    chosen = chosen_slices(volume(stack).voxels_kji, truth(stack), view, num_largest=3, num_middle=0)
    assert sorted(areas[chosen]) == sorted(areas)[-3:]


def test_without_a_finding_slices_of_the_upper_middle_of_the_head_are_looked_at() -> None:
    stack = geometry((60, 40, 32), (1.0, 1.0, 1.0))
    for labels in (None, np.zeros(stack.shape, np.uint8)):
        chosen = chosen_slices(volume(stack).voxels_kji, labels, CanonicalView.of(stack), num_middle=4)
        assert len(chosen) == 4 and chosen == sorted(chosen)
        assert chosen[0] >= 26 and chosen[-1] <= 50


@pytest.mark.parametrize("with_segmentation", [True, False])
def test_the_series_gets_the_mean_of_its_slices_probabilities(with_segmentation: bool) -> None:
    stack, engine = geometry(), Certain()
    triage = classify_volume(volume(stack), engine, found(stack) if with_segmentation else None)
    num = len(engine.seen)
    assert engine.seen.shape == (num, 1, 24, 24) and -1 <= engine.seen.min() < engine.seen.max() <= 1
    assert triage.slice_probabilities[0] == (0, 0, 1, 0)
    assert triage.slice_probabilities[1] == pytest.approx((0.6, 0.2, 0.1, 0.1), abs=1e-5)
    wanted = np.mean(triage.slice_probabilities, axis=0)
    assert triage.probabilities == pytest.approx(tuple(wanted), abs=1e-5)
    assert sum(triage.probabilities) == pytest.approx(1, abs=1e-5)
    assert triage.most_likely.meaning == "Glioma"  # one slice does not outvote the others, however certain it is
    assert [code.meaning for code in triage.classes][2] == "No tumour"
    assert (triage.model.name, triage.model.engine) == ("tiny", "certain")


def test_keys_name_the_slices_that_were_looked_at_whichever_way_the_series_runs() -> None:
    stack = geometry(orientation=FEET_UP)
    series = volume(stack)
    triage = classify_volume(series, Certain(), found(stack))
    areas = dict(zip(series.keys, np.count_nonzero(truth(stack), axis=(1, 2)), strict=True))
    assert max(areas, key=lambda key: areas[key]) in triage.keys
    assert all(key in areas for key in triage.keys)


def test_a_sagittal_series_is_looked_at_axially() -> None:
    stack, engine = geometry((32, 46, 40), (1.0, 1.0, 1.0), SAGITTAL), Certain()
    triage = classify_volume(volume(stack), engine, found(stack))
    assert len(triage.slice_probabilities) == len(engine.seen) == len(triage.keys)


def test_the_head_fills_the_picture_whatever_the_field_of_view() -> None:
    shares = []
    for shape in ((24, 40, 40), (24, 90, 90)):
        engine = Certain()
        classify_volume(volume(geometry(shape)), engine)
        rows = (engine.seen[-1, 0] > -0.9).any(axis=1)
        shares.append(rows.mean())
    assert shares[0] == pytest.approx(shares[1], abs=0.1) and shares[0] > 0.7
