"""All slices of all cases in two memory-mapped arrays, made once.

The folder's name is a digest of the source files, so changed data makes a
new cache and never meets an old one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from neuroscan_core.pipeline.grid import MODEL_SIZE
from training.data.cases import Case
from training.data.readers import case_files, read_case

FORMAT = 1
IMAGES, MASKS, INDEX = "images.npy", "masks.npy", "index.json"


@dataclass(frozen=True)
class CachedCase:
    """Where the slices of a case stand in the cache."""

    name: str
    dataset: str
    start: int
    num_slices: int

    @property
    def stop(self) -> int:
        """Index after the last slice."""
        return self.start + self.num_slices


@dataclass(frozen=True)
class SliceCache:
    """Slices of all cases.

    Parameters
    ----------
    images_SHW : numpy.ndarray
        uint16, canonical slices, memory-mapped read-only.
    masks_SHW : numpy.ndarray
        uint8, 0 or 1.
    cases : tuple of CachedCase
        Contiguous ranges of S.
    """

    images_SHW: npt.NDArray[np.uint16]  # noqa: N815 - shape suffix
    masks_SHW: npt.NDArray[np.uint8]  # noqa: N815 - shape suffix
    cases: tuple[CachedCase, ...]

    def select(self, names: Sequence[str]) -> list[CachedCase]:
        """Return the named cases.

        Raises
        ------
        KeyError
            If a case is not in the cache.
        """
        known = {case.name: case for case in self.cases}
        return [known[name] for name in names]


def cache_key(cases: Sequence[Case]) -> str:
    """Return a digest of the names and bytes of all source files."""
    digest = hashlib.sha256(f"format {FORMAT}".encode())
    for case in sorted(cases):
        for path in case_files(case):
            digest.update(f"{case.dataset}/{case.name}/{path.name}".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def open_cache(cases: Sequence[Case], cache_root: Path, progress: Callable[[str], None] = lambda _: None) -> SliceCache:
    """Open the cache of these cases, making it first where absent.

    Parameters
    ----------
    progress : callable
        Told the name of each case that is read.
    """
    folder = cache_root / cache_key(cases)
    if not (folder / INDEX).exists():
        folder.mkdir(parents=True, exist_ok=True)
        _build(sorted(cases), folder, progress)
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    return SliceCache(
        np.load(folder / IMAGES, mmap_mode="r"),
        np.load(folder / MASKS, mmap_mode="r"),
        tuple(CachedCase(**entry) for entry in index),
    )


def _build(cases: Sequence[Case], folder: Path, progress: Callable[[str], None]) -> None:
    stacks, index, start = [], [], 0
    for case in cases:
        progress(case.name)
        image_SHW, mask_SHW = read_case(case)
        stacks.append((image_SHW, mask_SHW))
        index.append(CachedCase(case.name, case.dataset, start, len(image_SHW)).__dict__)
        start += len(image_SHW)
    shape = (start, *MODEL_SIZE)
    images = np.lib.format.open_memmap(folder / IMAGES, "w+", np.uint16, shape)
    masks = np.lib.format.open_memmap(folder / MASKS, "w+", np.uint8, shape)
    for entry, (image_SHW, mask_SHW) in zip(index, stacks, strict=True):
        images[entry["start"] : entry["start"] + entry["num_slices"]] = image_SHW
        masks[entry["start"] : entry["start"] + entry["num_slices"]] = mask_SHW
    images.flush()
    masks.flush()
    # Written last: its presence says that the arrays are complete.
    (folder / INDEX).write_text(json.dumps(index, indent=1), encoding="utf-8")
