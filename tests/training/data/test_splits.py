"""The split by patient: committed, repeatable, without leaks."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.data.cases import BRATS, LGG, Case, find_cases
from training.data.splits import (
    BRATS_SIZES,
    LGG_SIZES,
    LeakError,
    Split,
    check_leaks,
    load_split,
    make_split,
)


def lgg_case(name: str) -> Case:
    return Case(LGG, name, Path(name))


def test_committed_split_has_the_stated_sizes():
    split = load_split()
    for part, names in split.parts.items():
        num_lgg = sum(name.startswith("TCGA_") for name in names)
        assert num_lgg == LGG_SIZES[part]
        assert len(names) - num_lgg == BRATS_SIZES[part]


def test_committed_split_has_no_leak_and_covers_all_cases(data_root):
    split, cases = load_split(), find_cases(data_root, "flair")
    check_leaks(split, cases)
    placed = [name for names in split.parts.values() for name in names] + list(split.quarantine)
    assert sorted(placed) == sorted(case.name for case in cases)


def test_committed_split_follows_from_the_seed(data_root):
    assert make_split(find_cases(data_root, "flair")) == load_split()


def test_lower_grade_brats_cases_are_in_quarantine():
    split = load_split()
    used = [name for names in split.parts.values() for name in names]
    assert len(split.quarantine) == 4
    assert not any("TCIA10" in name or "TCIA13" in name for name in used)


def test_every_large_centre_is_tested(data_root):
    split = load_split()
    tested = {case.centre for case in split.select(find_cases(data_root, "flair"), "test")}
    assert {"CS", "DU", "FG", "HT", "CBICA"} <= tested


def test_two_examinations_of_a_patient_on_two_sides_are_a_leak():
    first, second = lgg_case("TCGA_XX_1111_19990101"), lgg_case("TCGA_XX_1111_20000101")
    split = Split("bad", {"train": (first.name,), "val": (), "test": (second.name,)})
    with pytest.raises(LeakError, match="TCGA_XX_1111"):
        check_leaks(split, [first, second])


def test_a_quarantined_case_in_use_is_a_leak():
    case = Case(BRATS, "Brats18_TCIA10_1_1", Path("x"))
    split = Split("bad", {"train": (case.name,), "val": (), "test": ()}, {case.name: "reason"})
    with pytest.raises(LeakError, match="quarantine"):
        check_leaks(split, [case])


def test_patient_is_the_name_without_date_or_time_point():
    assert lgg_case("TCGA_CS_4941_19960909").patient == "TCGA_CS_4941"
    assert Case(BRATS, "Brats18_CBICA_ALU_1", Path("x")).patient == "Brats18_CBICA_ALU"
    assert Case(BRATS, "BraTS19_TMC_06290_2", Path("x")).patient == "BraTS19_TMC_06290"
    assert Case(BRATS, "BraTS20_Training_006", Path("x")).patient == "BraTS20_Training_006"
    assert Case(BRATS, "BraTS2021_00006", Path("x")).patient == "BraTS2021_00006"
