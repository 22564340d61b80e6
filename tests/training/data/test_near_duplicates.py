"""What looks the same is found, and never stands on two sides of a split."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="the `training` extra is not installed", exc_type=ImportError)

from training.data.cache import ArrayCache, CachedCase, open_cache
from training.data.cases import find_cases
from training.data.errors import LeakError
from training.data.near_duplicates import (
    NUM_BITS,
    PICTURE_THRESHOLD,
    clusters,
    distances,
    near_duplicates,
    perceptual_hash,
)
from training.data.splits import (
    Split,
    check_near_duplicates,
    groups_of,
    load_split,
    make_brats_split,
    make_new_split,
    make_pictures_split,
)


def picture(seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).random((224, 224)).astype(np.float32)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 9), None, 0, 255, cv2.NORM_MINMAX)


def cache_of(pictures: list[np.ndarray], patients: list[str] | None = None) -> ArrayCache:
    cases = tuple(
        CachedCase(f"p{n}", "pictures", n, 1, patients[n] if patients else f"p{n}") for n in range(len(pictures))
    )
    return ArrayCache(
        "pictures",
        np.stack(pictures).astype(np.uint8)[:, None],
        np.zeros((0, 0, 0), np.uint8),
        cases,
        np.zeros(0, np.float32),
        np.zeros(len(cases), np.int32),
        np.zeros((len(cases), 4), np.int32),
        (np.arange(len(cases)) % 4).astype(np.uint8),
    )


def bits_apart(first: np.ndarray, second: np.ndarray) -> int:
    return int(distances(np.stack([perceptual_hash(first), perceptual_hash(second)]))[0, 1])


@pytest.mark.parametrize(
    "change",
    [
        lambda p: cv2.resize(p, (150, 150), interpolation=cv2.INTER_AREA),
        lambda p: p * 0.6 + 30,
        lambda p: 255 * (np.clip(p, 0, 255) / 255) ** 1.3,
        lambda p: cv2.imdecode(cv2.imencode(".jpg", p.astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 40])[1], 0),
        lambda p: p + np.random.default_rng(0).normal(0, 4, p.shape),
    ],
    ids=["smaller", "brighter", "gamma", "jpeg", "noise"],
)
def test_the_same_picture_stored_otherwise_is_near(change):
    assert bits_apart(picture(1), change(picture(1))) <= PICTURE_THRESHOLD


def test_other_pictures_are_far():
    apart = [bits_apart(picture(0), picture(seed)) for seed in range(1, 20)]
    assert min(apart) > PICTURE_THRESHOLD
    assert np.mean(apart) == pytest.approx(NUM_BITS / 2, abs=12)


def test_clusters_join_what_a_chain_connects():
    assert clusters(6, [(0, 3), (3, 5), (1, 2)]) == [[0, 3, 5], [1, 2], [4]]


def test_a_near_duplicate_on_two_sides_is_an_error_with_both_names():
    cache = cache_of([picture(0), picture(1), picture(0) * 0.7])
    split = Split("s", {"train": ("p0",), "val": ("p1",), "test": ("p2",)})
    with pytest.raises(LeakError, match=r"p0 \(train\) and p2 \(test\)"):
        check_near_duplicates(split, cache)
    check_near_duplicates(Split("s", {"train": ("p0", "p2"), "val": ("p1",), "test": ()}), cache)


def test_a_new_split_keeps_patients_and_duplicates_together_and_follows_from_its_seed():
    pictures = [picture(n) for n in range(40)]
    pictures[7] = pictures[3] * 0.8
    cache = cache_of(pictures, [f"patient{n // 2 if n > 30 else n}" for n in range(40)])
    split = make_new_split(cache, "new")
    place = {name: part for part, names in split.parts.items() for name in names}
    assert len(place) == 40 and place["p3"] == place["p7"] and place["p32"] == place["p33"]
    assert make_new_split(cache, "new") == split != make_new_split(cache, "new", seed=7)
    assert sum(len(split.parts[part]) for part in ("val", "test")) in range(8, 17)


def test_volumes_are_compared_slice_by_slice():
    stack = np.stack([picture(n) for n in range(10)])
    images = np.concatenate([stack, np.clip(stack * 0.8, 0, 255), np.stack([picture(n) for n in range(20, 30)])])
    cases = tuple(CachedCase(name, "brats", 10 * n, 10, name) for n, name in enumerate("abc"))
    cache = replace(cache_of([picture(0)]), view="flair", images_SCHW=images.astype(np.uint16)[:, None], cases=cases)
    assert near_duplicates(cache, cases) == [(0, 1)]


@pytest.mark.slow
def test_the_committed_split_of_pictures_follows_from_the_seed_and_does_not_leak(shared_data, tmp_path):
    cache = open_cache("pictures", find_cases(shared_data, "pictures"), tmp_path)
    split = load_split("pictures-v1")
    assert make_pictures_split(cache) == split
    check_near_duplicates(split, cache)
    groups = groups_of(cache)
    assert (len(groups), max(len(group) for group in groups)) == (1008, 34)
    sizes = {part: len(names) for part, names in split.parts.items()}
    assert sizes == {"train": 1122, "val": 239, "test": 239}


def test_the_split_for_several_sequences_has_the_test_cases_of_the_one_for_flair(shared_data):
    cases = find_cases(shared_data, "multimodal")
    split, flair = load_split("brats-v1"), load_split("flair-v1")
    assert make_brats_split(flair, cases) == split
    assert {part: len(names) for part, names in split.parts.items()} == {"train": 20, "val": 3, "test": 6}
    for part in ("val", "test"):
        assert split.parts[part] == tuple(name for name in flair.parts[part] if name.startswith("B"))
    assert set(flair.quarantine) <= set(split.parts["train"])
