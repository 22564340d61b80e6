"""All slices of all cases in memory-mapped arrays, made once per view of the data.

The folder's name holds a digest of the source files, so changed data makes a
new cache and never meets an old one. How the arrays are filled, and how that
goes on after a kill, is in `preparation`.

Shape legend: S slices (or pictures), C channels, H rows, W columns.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from neuroscan_core.pipeline.normalise import normalise_volume
from training.data.cases import VIEWS, Case
from training.data.digest import cache_key
from training.data.errors import DataError, NoCasesError, StaleCacheError
from training.data.preparation import IMAGES, INDEX, LABELS, STATISTICS, Progress, prepare_arrays

__all__ = ["ArrayCache", "CachedCase", "cache_folder", "cache_key", "open_cache"]


@dataclass(frozen=True)
class CachedCase:
    """Where the slices of a case stand in the cache.

    Parameters
    ----------
    name, dataset, patient : str
        As of the `Case`.
    start, num_slices : int
        Its slices are `start` to `stop`, towards the head.
    spacing_mm : tuple of float
        Between slices, rows and columns; 0.0 where the source does not say.
    mean, std : tuple of float
        Per channel, `volume_statistics` of the whole volume; empty for pictures.
    """

    name: str
    dataset: str
    start: int
    num_slices: int
    patient: str = ""
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    @property
    def stop(self) -> int:
        """Index after the last slice."""
        return self.start + self.num_slices


@dataclass(frozen=True)
class ArrayCache:
    """Slices of all cases, read-only.

    Parameters
    ----------
    view : str
        `flair` (uint16, C = 1), `multimodal` (uint16, C = 4: T1, T1ce, T2, FLAIR) or `pictures` (uint8, C = 1).
    images_SCHW : numpy.ndarray
        Canonical slices, not normalised.
    labels_SHW : numpy.ndarray
        uint8, 0 to 3 (whole tumour alone: 1); of pictures [0, 0, 0].
    cases : tuple of CachedCase
        Contiguous ranges of S.
    scales_S : numpy.ndarray
        float32, `slice_scale` of each slice (flair; otherwise empty).
    foreground_S : numpy.ndarray
        int32, pixels above 0 in the first channel.
    label_counts_SL : numpy.ndarray
        int32, pixels of each label 0 to 3.
    classes_S : numpy.ndarray
        uint8, index in `CLASSES` (pictures; otherwise empty).
    folder : pathlib.Path or None
        Where it lies; None for arrays made in memory.
    """

    view: str
    images_SCHW: npt.NDArray[np.generic]  # noqa: N815 - shape suffix
    labels_SHW: npt.NDArray[np.uint8]  # noqa: N815 - shape suffix
    cases: tuple[CachedCase, ...]
    scales_S: npt.NDArray[np.float32]  # noqa: N815 - shape suffix
    foreground_S: npt.NDArray[np.int32]  # noqa: N815 - shape suffix
    label_counts_SL: npt.NDArray[np.int32]  # noqa: N815 - shape suffix
    classes_S: npt.NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, dtype=np.uint8))  # noqa: N815
    folder: Path | None = None

    def select(self, names: Sequence[str]) -> list[CachedCase]:
        """Return the named cases.

        Raises
        ------
        DataError
            If a case is not in the cache.
        """
        known = {case.name: case for case in self.cases}
        missing = [name for name in names if name not in known]
        if missing:
            raise DataError(
                f"{len(missing)} cases are not among the {len(known)} of view {self.view}: {', '.join(missing[:5])}.",
                remedy="Does the split belong to this data and this view?",
            )
        return [known[name] for name in names]

    def normalised(self, case: CachedCase, offsets: Sequence[int] | slice = slice(None)) -> npt.NDArray[np.float32]:
        """Return slices of a case as z-scores of its whole volume, [S, C, H, W].

        Parameters
        ----------
        offsets : sequence of int or slice
            Slices, counted from the first of the case.
        """
        stored_SCHW = self.images_SCHW[case.start : case.stop][offsets]
        planes = [
            normalise_volume(stored_SCHW[:, channel], (case.mean[channel], case.std[channel]))
            for channel in range(stored_SCHW.shape[1])
        ]
        return np.stack(planes, axis=1)


def cache_folder(view: str, cases: Sequence[Case], cache_root: Path) -> Path:
    """Return where the cache of these cases lies, whether or not it is there."""
    return cache_root / f"{view}-{cache_key(view, cases, cache_root)}"


def open_cache(view: str, cases: Sequence[Case], cache_root: Path, progress: Progress | None = None) -> ArrayCache:
    """Open the cache of these cases, making it first where absent.

    Parameters
    ----------
    view : str
        `flair`, `multimodal` or `pictures`; cases without its channels are left out.
    progress : callable, optional
        Told of each case: its name, how many are done, how many there are.

    Raises
    ------
    NoCasesError
        If no case has the channels of the view.
    UnreadableCaseError
        If a case does not have the form of its layout.
    StaleCacheError
        If the folder's arrays and index do not fit together.
    """
    if view not in VIEWS:
        raise DataError(f"there is no view {view!r}.", remedy=f"Known: {', '.join(VIEWS)}.")
    chosen = sorted(case for case in cases if case.offers(view))
    if not chosen:
        raise NoCasesError(f"none of {len(cases)} cases has {', '.join(VIEWS[view])}.", remedy="Is the data complete?")
    folder = cache_folder(view, chosen, cache_root)
    if not (folder / INDEX).exists():
        prepare_arrays(view, chosen, folder, progress)
    return load_cache(folder)


def load_cache(folder: Path) -> ArrayCache:
    """Open a finished cache by its folder.

    Raises
    ------
    StaleCacheError
        If arrays and index do not fit together.
    """
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    entries = [{key: tuple(v) if isinstance(v, list) else v for key, v in entry.items()} for entry in index["cases"]]
    cases = tuple(CachedCase(**entry) for entry in entries)
    images, labels = (np.load(folder / name, mmap_mode="r") for name in (IMAGES, LABELS))
    num_slices = cases[-1].stop
    if len(images) != num_slices or len(labels) not in (0, num_slices):
        raise StaleCacheError(f"{folder}: {len(images)} slices for {num_slices}.", remedy="Delete the folder.")
    with np.load(folder / STATISTICS) as statistics:
        named = {name: statistics[name] for name in statistics.files}
    return ArrayCache(index["view"], images, labels, cases, **named, folder=folder)
