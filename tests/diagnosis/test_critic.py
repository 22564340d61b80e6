"""The critic: each thing that speaks against a result, put into one that is otherwise good."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from neuroscan_core.diagnosis.agent import AgentRecord, AgentState
from neuroscan_core.diagnosis.agents import Critic
from neuroscan_core.diagnosis.case import CaseFile, InputKind, ModelResult, Verdict
from neuroscan_core.diagnosis.chain import run_chain
from neuroscan_core.domain import codes
from neuroscan_core.domain.segmentation import ModelIdentity, Triage
from neuroscan_core.domain.volume import Volume
from neuroscan_core.phantom import HeadPhantom
from neuroscan_core.pipeline.measure import finish_segmentation
from tests.diagnosis.conftest import reading_of
from tests.diagnosis.test_report import CARD, result_of


@pytest.fixture
def good(flair: Volume, small_phantom: HeadPhantom) -> CaseFile:
    return CaseFile(Path("x"), reading=reading_of(flair), results=(result_of(flair, small_phantom),))


def verdict_of(case: CaseFile) -> Verdict:
    done, (record,) = run_chain([Critic()], case)
    assert done.verdict is not None, record.notes
    return done.verdict


def marking(case: CaseFile, mask: np.ndarray) -> CaseFile:
    volume = case.reading.volume
    found = finish_segmentation(mask.astype(np.uint8), volume.geometry, volume.keys, CARD)
    return replace(case, results=(replace(case.results[0], segmentation=found),))


def test_a_good_result_is_plausible(good: CaseFile) -> None:
    verdict = verdict_of(good)
    assert verdict.word == "plausible" and not verdict.sentences and len(verdict.checks) >= 8


def outside(case: CaseFile) -> CaseFile:
    mask = np.zeros(case.reading.volume.voxels_kji.shape, bool)
    mask[5:10, :20, :20] = True
    return marking(case, mask)


def half_outside(case: CaseFile) -> CaseFile:
    mask = case.results[0].segmentation.labels_kji > 0
    mask[5:6, 2:20, 2:14] = True
    return marking(case, mask)


def at_the_top(case: CaseFile) -> CaseFile:
    mask = case.results[0].segmentation.labels_kji > 0
    k = int(mask.sum(axis=(1, 2)).argmax())
    volume = case.reading.volume
    cut = Volume(replace(volume.geometry, num_slices=k + 1), volume.keys[: k + 1], volume.voxels_kji[: k + 1])
    return marking(replace(case, reading=reading_of(cut)), mask[: k + 1])


def most_of_the_head(case: CaseFile) -> CaseFile:
    from neuroscan_core.diagnosis.head import head_mask

    return marking(case, head_mask(case.reading.volume))


def many_parts(case: CaseFile) -> CaseFile:
    mask = np.zeros(case.reading.volume.voxels_kji.shape, bool)
    for n in range(7):
        mask[12, 80 + 12 * n : 86 + 12 * n, 100:106] = True
    return marking(case, mask)


def something_dark(case: CaseFile) -> CaseFile:
    volume, mask = case.reading.volume, case.results[0].segmentation.labels_kji > 0
    dark = np.where(mask, volume.voxels_kji * 0.25, volume.voxels_kji).astype(np.float32)
    return replace(case, reading=reading_of(Volume(volume.geometry, volume.keys, dark)))


def with_views(dice: float) -> Callable[[CaseFile], CaseFile]:
    def change(case: CaseFile) -> CaseFile:
        first = case.results[0]
        views = (first.views[0], replace(first.views[1], dice=dice))
        return replace(case, results=(replace(first, views=views),))

    return change


def changed_result(**changes: object) -> Callable[[CaseFile], CaseFile]:
    return lambda case: replace(case, results=(replace(case.results[0], **changes),))  # type: ignore[arg-type]


def changed_quality(**changes: object) -> Callable[[CaseFile], CaseFile]:
    return lambda case: replace(
        case, reading=replace(case.reading, quality=replace(case.reading.quality, **changes))  # type: ignore[arg-type]
    )  # fmt: skip


def shown_as(sequence: str, kind: InputKind = InputKind.DICOM) -> Callable[[CaseFile], CaseFile]:
    return lambda case: replace(case, reading=reading_of(case.reading.volume, sequence, kind))


@pytest.mark.parametrize(
    ("change", "word", "sentence"),
    [
        (outside, "not usable", "outside the head"),
        (half_outside, "doubtful", "outside the head"),
        (at_the_top, "doubtful", "reaches the last slice"),
        (most_of_the_head, "not usable", "% of the head"),
        (many_parts, "doubtful", "has 7 parts"),
        (something_dark, "doubtful", "times as bright"),
        (with_views(0.7), "doubtful", "agree with their mean"),
        (with_views(0.3), "not usable", "agree with their mean"),
        (changed_result(entropy=0.6), "doubtful", "undecided"),
        (changed_result(notes=("It was shown something else.",)), "doubtful", "shown something else"),
        (lambda case: replace(case, between={("a", "b"): 0.5}), "doubtful", "a and b agree"),
        (lambda case: replace(case, between={("a", "b"): 0.1}), "not usable", "a and b agree"),
        (changed_quality(noise=500.0), "doubtful", "times the noise"),
        (changed_quality(clipped=0.05), "doubtful", "cut off"),
        (changed_quality(ghost=0.08), "doubtful", "ghosts"),
        (changed_quality(levels=8), "doubtful", "grey levels"),
        (changed_quality(voxel_mm=(10.0, 0.5, 0.5)), "doubtful", "longer than wide"),
        (changed_quality(head_mm=(60.0, 200.0, 160.0)), "doubtful", "cover 60 mm"),
        (changed_quality(touches=("left",)), "doubtful", "edge of the images"),
        (lambda case: replace(case, reading=replace(case.reading, objection="It is a knee.")), "not usable", "knee"),
        (shown_as("T1"), "doubtful", "is T1"),
        (shown_as("other"), "doubtful", "not FLAIR"),
        (shown_as(""), "doubtful", "Nothing says which sequence"),
        (shown_as("", InputKind.PICTURES), "doubtful", "pictures without millimetres"),
        (lambda case: replace(case, results=()), "not usable", "no segmentation"),
        (lambda case: replace(case, reading=None), "not usable", "No image"),
    ],
)  # fmt: skip
def test_what_speaks_against_a_result_is_said(
    good: CaseFile, change: Callable[[CaseFile], CaseFile], word: str, sentence: str
) -> None:
    verdict = verdict_of(change(good))
    assert verdict.word == word, verdict.sentences
    assert any(sentence in one for one in verdict.sentences), verdict.sentences


def opinion(code: codes.Code, probability: float) -> Triage:
    other = codes.GLIOMA if code is codes.NO_TUMOUR else codes.NO_TUMOUR
    return Triage(ModelIdentity("c", "1", "0"), (code, other), (probability, 1 - probability), (), ())


@pytest.mark.parametrize(
    ("code", "probability", "word"),
    [(codes.NO_TUMOUR, 0.97, "doubtful"), (codes.NO_TUMOUR, 0.6, "plausible"), (codes.GLIOMA, 0.97, "plausible")],
)
def test_a_sure_classifier_that_contradicts_casts_doubt(
    good: CaseFile, code: codes.Code, probability: float, word: str
) -> None:
    assert verdict_of(replace(good, triage=opinion(code, probability))).word == word


def test_nothing_found_is_no_proof(good: CaseFile) -> None:
    empty = marking(good, np.zeros(good.reading.volume.voxels_kji.shape, bool))
    verdict = verdict_of(empty)
    assert verdict.word == "plausible"
    assert any("does not show that there is none" in one.sentence for one in verdict.checks)
    assert verdict_of(replace(empty, triage=opinion(codes.GLIOMA, 0.95))).word == "doubtful"


def test_a_step_that_failed_casts_doubt_on_what_is_left(good: CaseFile) -> None:
    class Broken:
        name, title = "measurer", "How large?"

        def run(self, case: CaseFile, progress: object) -> object:
            raise ValueError

    done, _ = run_chain([Broken(), Critic()], good)  # type: ignore[list-item]
    assert done.verdict is not None and done.verdict.word == "doubtful"
    assert any("How large?" in sentence for sentence in done.verdict.sentences)


def test_sentences_that_forbid_come_first(good: CaseFile) -> None:
    bad = changed_quality(clipped=0.05)(outside(good))
    sentences = verdict_of(bad).sentences
    assert "outside the head" in sentences[0] and any("cut off" in one for one in sentences[1:])
    assert AgentRecord("a", "b").state is AgentState.WAITING
    assert isinstance(good.results[0], ModelResult)
