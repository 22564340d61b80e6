"""Fixtures of the training tests: a tiny synthetic cache, the shared data."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder of the real data sets; skips where they are absent."""
    shared = Path(os.environ.get("NEUROSCAN_SHARED", REPOSITORY.parent / "shared"))
    folder = shared / "data"
    if not (folder / "lgg_flair").is_dir():
        pytest.skip(f"real data not found in {folder}; set NEUROSCAN_SHARED")
    return folder


@pytest.fixture(scope="session")
def small_cache():
    """Four synthetic cases of eight slices: a bright square is the tumour."""
    pytest.importorskip("torch", reason="the `training` extra is not installed", exc_type=ImportError)
    from training.data.cache import ArrayCache, CachedCase

    rng = np.random.default_rng(42)
    num_cases, num_slices = 4, 8
    images = np.zeros((num_cases * num_slices, 256, 256), dtype=np.uint16)
    images[:, 48:208, 48:208] = 100
    labels = np.zeros(images.shape, dtype=np.uint8)
    for index in range(len(images)):
        if index % num_slices in (2, 3, 4, 5):
            row, column = rng.integers(64, 160, 2)
            labels[index, row : row + 32, column : column + 32] = 1
    images[labels > 0] = 220
    cases = tuple(
        CachedCase(f"case{n}", "lgg" if n % 2 == 0 else "brats", n * num_slices, num_slices, f"case{n}")
        for n in range(num_cases)
    )
    return ArrayCache(
        "flair",
        images[:, None],
        labels,
        cases,
        scales_S=np.full(len(images), 100.0, dtype=np.float32),
        foreground_S=np.count_nonzero(images, axis=(1, 2)).astype(np.int32),
        label_counts_SL=np.stack([np.bincount(plane.ravel(), minlength=4) for plane in labels]).astype(np.int32),
    )
