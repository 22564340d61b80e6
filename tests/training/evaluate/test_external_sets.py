"""What may be called external, and what is refused."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="the `training` extra is not installed", exc_type=ImportError)

from tests.training.tiny import NAMES, segmentation_cache
from training.data.cache import CachedCase
from training.data.splits import Split
from training.evaluate import NotExternal, NothingToEvaluate, external_set, seen_by_split
from training.evaluate.external import SeenCases

LGG = ("TCGA_CS_1_1", "TCGA_DU_2_1")
CLEAN = ("Brats18_CBICA_A_1", "Brats18_CBICA_B_1")


@pytest.fixture(scope="module")
def cases():
    return segmentation_cache("flair").cases


def seen(cases, train, val=()):
    return seen_by_split(
        Split("s", {"train": tuple(train), "val": tuple(val), "test": tuple(n for n, *_ in NAMES)}), cases
    )


def test_another_source_is_external_but_for_cases_that_may_show_the_same_persons(cases):
    found = external_set("brats", cases, seen(cases, LGG))
    assert tuple(case.name for case in found.cases) == CLEAN
    assert found.left_out == ("Brats18_TCIA10_C_1",)


@pytest.mark.parametrize(("train", "val"), [(CLEAN[:1], ()), (LGG, CLEAN[:1])])
def test_a_set_with_a_case_of_training_or_validation_is_refused(cases, train, val):
    with pytest.raises(NotExternal, match="Brats18_CBICA_A_1"):
        external_set("brats", cases, seen(cases, train, val))


def test_another_examination_of_a_patient_of_the_training_is_refused(cases):
    """The case is new, the person is not."""
    again = CachedCase("Brats18_CBICA_A_2", "brats", 0, 8, "Brats18_CBICA_A")
    trained = SeenCases.of(CLEAN[:1], cases)
    with pytest.raises(NotExternal, match="patients"):
        external_set("brats", [again], trained)


def test_the_lgg_set_is_not_external_to_a_network_that_saw_brats_cases_of_the_same_origin(cases):
    with pytest.raises(NotExternal, match="TCGA-LGG"):
        external_set("lgg", cases, seen(cases, ("Brats18_TCIA10_C_1",)))
    assert len(external_set("lgg", cases, seen(cases, CLEAN)).cases) == 2


def test_cases_seen_that_are_not_at_hand_still_count():
    """The split names cases of another folder; a case of the same name is not external."""
    trained = SeenCases.of(["gone"], [])
    with pytest.raises(NotExternal):
        external_set("msd", [CachedCase("gone", "msd", 0, 8, "gone")], trained)


def test_a_data_set_that_is_not_there_is_named(cases):
    with pytest.raises(NothingToEvaluate, match=r"brats, lgg"):
        external_set("msd", cases, seen(cases, LGG))
