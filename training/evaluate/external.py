"""Which cases may be called external: those of another source, none of whose patients was seen in training.

TCGA-LGG stands in two sources: the LGG set, and BraTS cases of two centres. Nobody can say which persons are in both,
so with either side in training, the other side's cases from there may have been seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from training.data.cache import CachedCase
from training.data.cases import BRATS, LGG
from training.data.splits import QUARANTINED_CENTRES, Split
from training.evaluate.errors import NotExternal, NothingToEvaluate

SEEN_PARTS = ("train", "val")


@dataclass(frozen=True)
class SeenCases:
    """Cases that a network was trained on or chosen by.

    Parameters
    ----------
    names : frozenset of str
    patients : frozenset of str
    from_tcga_lgg : bool
        Whether one of them comes from TCGA-LGG.
    """

    names: frozenset[str]
    patients: frozenset[str]
    from_tcga_lgg: bool

    @classmethod
    def of(cls, names: Iterable[str], known: Sequence[CachedCase]) -> SeenCases:
        """Look up the patients of cases; a case that is not at hand stands for itself."""
        names = frozenset(names)
        cases = [case for case in known if case.name in names]
        missing = names - {case.name for case in cases}
        patients = {case.patient for case in cases} | missing
        return cls(names, frozenset(patients), any(may_be_from_tcga_lgg(case) for case in cases))


@dataclass(frozen=True)
class ExternalSet:
    """Cases that may be called external.

    Parameters
    ----------
    left_out : tuple of str
        Cases of the data set that may show persons who were seen.
    """

    dataset: str
    cases: tuple[CachedCase, ...]
    left_out: tuple[str, ...]


def may_be_from_tcga_lgg(case: CachedCase) -> bool:
    """Whether a case comes from TCGA-LGG: the LGG set does, BraTS does in two centres."""
    if case.dataset == LGG:
        return True
    centre = case.name.split("_")[1] if "_" in case.name else ""
    return case.dataset == BRATS and centre in QUARANTINED_CENTRES


def seen_by_split(split: Split, known: Sequence[CachedCase]) -> SeenCases:
    """Return what a network saw that was trained with a split."""
    return SeenCases.of([name for part in SEEN_PARTS for name in split.parts[part]], known)


def external_set(dataset: str, available: Sequence[CachedCase], seen: SeenCases) -> ExternalSet:
    """Return all cases of a data set that a network has certainly never seen.

    Raises
    ------
    NotExternal
        If a case or a patient of the data set was seen, or every one may have been.
    NothingToEvaluate
        If there is no case of the data set.
    """
    cases = [case for case in available if case.dataset == dataset]
    if not cases:
        names = sorted({case.dataset for case in available})
        raise NothingToEvaluate(f"There are no cases of {dataset}.", remedy=f"There are cases of {', '.join(names)}.")
    known = [case.name for case in cases if case.name in seen.names or case.patient in seen.patients]
    if known:
        raise NotExternal(
            f"{dataset} is not external: {len(known)} of its {len(cases)} cases, or their patients, were in training "
            f"or validation ({', '.join(known[:3])}{' ...' if len(known) > 3 else ''}).",
            remedy="Test a network that was trained without this data set, or use --part test.",
        )
    uncertain = [case for case in cases if seen.from_tcga_lgg and may_be_from_tcga_lgg(case)]
    certain = tuple(case for case in cases if case not in uncertain)
    if not certain:
        raise NotExternal(
            f"{dataset} is not external: it and cases of the training come from TCGA-LGG, so each of its patients may "
            "have been seen.",
            remedy="Test a network that was trained without cases from TCGA-LGG.",
        )
    return ExternalSet(dataset, certain, tuple(case.name for case in uncertain))
