"""`NeuroScanData`: the cached data as Lightning takes it, for all four kinds of network.

Training batches alone come from here: validation predicts whole cases and
takes them from `cache` and `val_cases`.
"""

from __future__ import annotations

from collections.abc import Sequence

import lightning

from training.data.batches import BatchReader, PatchReader, PictureReader, SliceReader, WindowReader
from training.data.cache import ArrayCache, CachedCase
from training.data.cases import VIEW_OF_KIND
from training.data.errors import DataError
from training.data.loader import BatchLoader
from training.data.sampling import EpochSampler, PatchSampler, PictureSampler, Sampler, SliceSampler
from training.data.splits import Split

__all__ = ["VIEW_OF_KIND", "NeuroScanData"]

DEFAULT_PATCH = (64, 64, 64)
DEFAULT_PICTURE = 224
SPACING_TOLERANCE_MM = 0.1


class NeuroScanData(lightning.LightningDataModule):
    """Batches for training and cases for validation and test.

    Parameters
    ----------
    kind : str
        `slice25d`, `multimodal2d`, `volume3d` or `classifier`.
    cache : ArrayCache
        Of the view in `VIEW_OF_KIND`.
    split : Split
        By patient, or by cluster of near-duplicates for pictures.
    batch_size : int
        Items per training batch.
    num_workers : int
        0 reads one batch ahead in a thread, which suffices for cached arrays.
    seed : int
        Same seed, same batches.
    patch_size : int or sequence of int, optional
        volume3d: slices, rows, columns that the network sees (default 64 each); classifier: size of a picture
        (default 224).
    spacing_mm : float
        volume3d: 1.0 or 2.0.
    epoch_length : int, optional
        Batches per epoch; by default what the cases make.

    Raises
    ------
    DataError
        If view and kind do not belong together, or the split names cases that are not in the cache; as soon as
        batches are asked for, if there are no training cases, or those of a 3D network are not at 1 mm.
    """

    def __init__(
        self,
        kind: str,
        cache: ArrayCache,
        split: Split,
        batch_size: int = 16,
        num_workers: int = 0,
        seed: int = 42,
        patch_size: int | Sequence[int] | None = None,
        spacing_mm: float = 1.0,
        epoch_length: int | None = None,
    ) -> None:
        super().__init__()
        if VIEW_OF_KIND.get(kind) != cache.view:
            raise DataError(
                f"a network of kind {kind} is not trained from view {cache.view}.",
                remedy=f"Kinds and views: {VIEW_OF_KIND}.",
            )
        self.kind, self.cache, self.split = kind, cache, split
        self.batch_size, self.num_workers, self.seed, self.epoch_length = batch_size, num_workers, seed, epoch_length
        self.patch_size, self.spacing_mm = patch_size, spacing_mm
        self.train_cases, self.val_cases, self.test_cases = (
            cache.select(split.parts[part]) for part in ("train", "val", "test")
        )
        self._loader: BatchLoader | None = None

    @property
    def picture_size(self) -> int:
        """Rows and columns of a picture, for `classifier`."""
        return _as_int(self.patch_size) if self.patch_size is not None else DEFAULT_PICTURE

    @property
    def patch_DHW(self) -> tuple[int, int, int]:  # noqa: N802 - shape suffix
        """Voxels that a network of kind `volume3d` sees at once."""
        size = self.patch_size if self.patch_size is not None else DEFAULT_PATCH
        depth, height, width = (size,) * 3 if isinstance(size, int) else size
        return depth, height, width

    def train_dataloader(self) -> BatchLoader:
        """Return the loader of training batches; the same one at each call."""
        if self._loader is None:
            sampler, reader = self._parts(self.train_cases)
            self._loader = BatchLoader(sampler, reader, self.num_workers)
        return self._loader

    def _parts(self, cases: Sequence[CachedCase]) -> tuple[Sampler, BatchReader]:
        if not cases:
            raise DataError(f"the split {self.split.name} has no training cases.", remedy="Give another --split.")
        common = (self.cache, cases, self.batch_size, self.seed, self.epoch_length)
        if self.kind == "slice25d":
            return EpochSampler(*common), WindowReader(self.cache)
        if self.kind == "multimodal2d":
            return SliceSampler(*common), SliceReader(self.cache, cases)
        if self.kind == "classifier":
            return PictureSampler(*common), PictureReader(self.cache, self.picture_size)
        _check_spacing(cases)
        step = _step(self.spacing_mm)
        size_SHW = tuple(step * length for length in self.patch_DHW)
        return PatchSampler(*common, size_SHW), PatchReader(self.cache, size_SHW, step)  # type: ignore[arg-type]


def _check_spacing(cases: Sequence[CachedCase]) -> None:
    other = [case.name for case in cases if not all(_is_about_1_mm(mm) for mm in case.spacing_mm)]
    if other:
        raise DataError(
            f"{len(other)} training cases of a 3D network are not cached at 1 mm: {', '.join(other[:5])}.",
            remedy="Resample them to 1 mm first, or train with a split without them.",
        )


def _is_about_1_mm(spacing_mm: float) -> bool:
    # A source that does not state its spacing is taken for 1 mm, as in validation.
    return spacing_mm == 0.0 or abs(spacing_mm - 1.0) <= SPACING_TOLERANCE_MM


def _as_int(size: int | Sequence[int]) -> int:
    return size if isinstance(size, int) else size[-1]


def _step(spacing_mm: float) -> int:
    if spacing_mm not in (1.0, 2.0):
        raise DataError(f"volumes are cached at 1 mm, {spacing_mm} mm cannot be made.", remedy="Choose 1.0 or 2.0.")
    return int(spacing_mm)
