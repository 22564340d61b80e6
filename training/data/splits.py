"""Splits by patient: made once with a seed, committed, checked for leaks.

`flair-v1` divides LGG by contributing centre and BraTS at random. BraTS cases
from TCGA-LGG are held in quarantine: they may show persons of the LGG set.
`brats-v1` has its validation and test cases and trains with all others.
`pictures-v1` divides pictures by clusters of near-duplicates.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from training.data.cache import ArrayCache
from training.data.cases import BRATS, CLASSES, LGG, Case
from training.data.errors import DataError, LeakError
from training.data.near_duplicates import clusters, near_duplicates

SEED = 42
SPLITS_FOLDER = Path(__file__).parent.parent / "splits"
DEFAULT_SPLIT = SPLITS_FOLDER / "flair-v1.json"
PARTS = ("train", "val", "test")
LGG_SIZES = {"train": 42, "val": 6, "test": 12}
BRATS_SIZES = {"train": 16, "val": 3, "test": 6}
HELD_OUT_SHARES = {"val": 0.15, "test": 0.15}
QUARANTINED_CENTRES = ("TCIA10", "TCIA13")
QUARANTINE_REASON = "TCGA lower-grade glioma: may be the same persons as in the LGG set, so used nowhere"


@dataclass(frozen=True)
class Split:
    """Case names per part.

    Parameters
    ----------
    name : str
        Name and version of the split.
    parts : dict of str to tuple of str
        Cases of `train`, `val` and `test`.
    quarantine : dict of str to str
        Cases that no part may hold, with the reason.
    """

    name: str
    parts: dict[str, tuple[str, ...]]
    quarantine: dict[str, str] = field(default_factory=dict)

    def select(self, cases: Sequence[Case], part: str) -> list[Case]:
        """Return the cases of one part, in the order of `cases`."""
        names = set(self.parts[part])
        return [case for case in cases if case.name in names]


def make_split(cases: Sequence[Case], seed: int = SEED) -> Split:
    """Divide cases into the parts of `flair-v1`."""
    rng = random.Random(seed)
    quarantined = [c for c in cases if c.dataset == BRATS and c.centre in QUARANTINED_CENTRES]
    lgg = [c for c in cases if c.dataset == LGG]
    brats = [c for c in cases if c.dataset == BRATS and c not in quarantined]
    parts: dict[str, list[str]] = {part: [] for part in PARTS}
    for members, sizes, strata in (
        (lgg, LGG_SIZES, sorted({c.centre for c in lgg})),
        (brats, BRATS_SIZES, [None]),
    ):
        chosen = _stratified(members, sizes, strata, rng)
        for part in PARTS:
            parts[part] += chosen[part]
    return Split(
        "flair-v1",
        {part: tuple(sorted(names)) for part, names in parts.items()},
        {c.name: QUARANTINE_REASON for c in quarantined},
    )


def make_brats_split(flair: Split, cases: Sequence[Case]) -> Split:
    """Return `brats-v1`: validation and test as in `flair-v1`, all other BraTS cases in training.

    What is in quarantine there may train here: the LGG set is not used for networks of several sequences.
    """
    known = {case.name for case in cases if case.dataset == BRATS}
    parts = {part: tuple(name for name in flair.parts[part] if name in known) for part in ("val", "test")}
    held_out = {name for names in parts.values() for name in names}
    return Split("brats-v1", {"train": tuple(sorted(known - held_out)), **parts})


def make_pictures_split(cache: ArrayCache, seed: int = SEED) -> Split:
    """Return `pictures-v1`: clusters of near-duplicates on one side, 70/15/15 of every class.

    Who is shown is not published; pictures of one person are near-duplicates
    more often than not, and what is in one cluster stays together.
    """
    return make_new_split(cache, "pictures-v1", seed)


def make_new_split(cache: ArrayCache, name: str, seed: int = SEED) -> Split:
    """Divide what is in a cache 70/15/15 within each data set, or each class of pictures.

    What shows one patient, or looks the same, stays on one side.
    """
    rng = random.Random(seed)
    parts: dict[str, list[str]] = {part: [] for part in PARTS}
    groups = groups_of(cache)
    strata = [_stratum(group, cache) for group in groups]
    for stratum in sorted(set(strata)):
        members = [group for group, other in zip(groups, strata, strict=True) if other == stratum]
        rng.shuffle(members)
        total = sum(len(group) for group in members)
        room = {part: round(share * total) for part, share in HELD_OUT_SHARES.items()}
        for group in members:
            # The first side that still has room for the whole group; what fits nowhere else trains.
            part = next((side for side in ("test", "val") if len(group) <= room[side]), "train")
            if part != "train":
                room[part] -= len(group)
            parts[part] += [cache.cases[n].name for n in group]
    return Split(name, {part: tuple(sorted(names)) for part, names in parts.items()})


def groups_of(cache: ArrayCache) -> list[list[int]]:
    """Return what must stay together: indices of cases of one patient, or that look the same."""
    first: dict[str, int] = {}
    same_patient = [(first.setdefault(case.patient or case.name, n), n) for n, case in enumerate(cache.cases)]
    return clusters(len(cache.cases), [*same_patient, *near_duplicates(cache, cache.cases)])


def _stratum(group: Sequence[int], cache: ArrayCache) -> str:
    """Return the data set of a group, or the class of most of its pictures (the lower one of equals)."""
    if not len(cache.classes_S):
        return cache.cases[group[0]].dataset
    counts = np.bincount([cache.classes_S[cache.cases[n].start] for n in group], minlength=len(CLASSES))
    return str(counts.argmax())


def check_near_duplicates(split: Split, cache: ArrayCache) -> None:
    """Check that nothing that looks the same stands on two sides.

    Raises
    ------
    LeakError
        Naming the pairs.
    """
    place = {name: part for part, names in split.parts.items() for name in names}
    cases = [case for case in cache.cases if case.name in place]
    bad = [
        f"{cases[n].name} ({place[cases[n].name]}) and {cases[m].name} ({place[cases[m].name]})"
        for n, m in near_duplicates(cache, cases)
        if place[cases[n].name] != place[cases[m].name]
    ]
    if bad:
        raise LeakError(
            f"{len(bad)} pairs look the same and stand on two sides of {split.name}: {'; '.join(bad[:5])}.",
            remedy="Put each pair on one side, or make the split anew with `prepare --new-split`.",
        )


def _stratified(
    cases: Sequence[Case],
    sizes: dict[str, int],
    strata: Sequence[str | None],
    rng: random.Random,
) -> dict[str, list[str]]:
    """Give every part its share of each stratum, chosen at random."""
    queues: list[list[str]] = []
    for stratum in strata:
        members = sorted(c.name for c in cases if stratum in (None, c.centre))
        rng.shuffle(members)
        queues.append(members)
    counts = [len(queue) for queue in queues]
    chosen: dict[str, list[str]] = {}
    for part in ("test", "val"):
        chosen[part] = []
        for queue, quota in zip(queues, _quotas(counts, sizes[part]), strict=True):
            chosen[part] += [queue.pop() for _ in range(quota)]
    return {"train": [name for queue in queues for name in queue], **chosen}


def _quotas(counts: Sequence[int], total: int) -> list[int]:
    """Divide `total` in proportion to `counts` by the largest remainder."""
    exact = [total * count / sum(counts) for count in counts]
    quotas = [int(share) for share in exact]
    by_remainder = sorted(range(len(counts)), key=lambda n: quotas[n] - exact[n])
    for index in by_remainder[: total - sum(quotas)]:
        quotas[index] += 1
    return quotas


def check_leaks(split: Split, cases: Sequence[Case]) -> None:
    """Check that no patient is on two sides and that quarantine is kept.

    Raises
    ------
    LeakError
        Naming the patient and the two places.
    """
    patients = {case.name: case.patient for case in cases}
    seen: dict[str, str] = {}
    for place, names in [*split.parts.items(), ("quarantine", tuple(split.quarantine))]:
        for name in names:
            patient = patients.get(name, name)
            if seen.setdefault(patient, place) != place:
                raise LeakError(f"patient {patient} is in {seen[patient]} and in {place}")


def save_split(split: Split, path: Path) -> None:
    """Write a split as JSON."""
    content = {"name": split.name, "seed": SEED, **split.parts, "quarantine": split.quarantine}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def find_split(name: Path | str) -> Path:
    """Return the file of a split, given as a file or as the name of a committed one.

    Raises
    ------
    DataError
        There is no such split; the message lists those that there are.
    """
    for path in (Path(name), SPLITS_FOLDER / f"{name}.json"):
        if path.is_file():
            return path
    known = ", ".join(sorted(file.stem for file in SPLITS_FOLDER.glob("*.json")))
    raise DataError(f"There is no split {str(name)!r}.", remedy=f"Give a file, or one of {known}.")


def load_split(name: Path | str = DEFAULT_SPLIT) -> Split:
    """Read a split by its file, or a committed one by its name.

    Raises
    ------
    DataError
        If there is no such split, or it is not one.
    """
    path = find_split(name)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        parts = {part: tuple(content[part]) for part in PARTS}
        return Split(content["name"], parts, content["quarantine"])
    except (KeyError, TypeError, json.JSONDecodeError) as exc:
        raise DataError(f"{path} is not a split: {exc!r}.", remedy="Make it with `prepare --new-split`.") from exc
