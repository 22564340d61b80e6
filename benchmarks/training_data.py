"""An epoch's data: cached arrays and augmentation in batch, against plain loaders that read source files per slice.

All draw the very same items of the committed splits with the same augmentation
on one thread; blocks of batches are measured in turn, so that all see the same
machine. A plain loader is an ordinary PyTorch data set, as the source systems
have it: for each item it opens NIfTI volumes with nibabel and takes slices, or
reads PNG files with OpenCV, scales, augments the one sample, and a
`DataLoader` without workers puts samples together. `plain` takes voxels with
nibabel's `get_fdata()`, `frugal` with `dataobj` as the integers that they are.

Of volumes with several sequences, `frugal` alone is measured, and statistics
for normalisation are taken as known: both favour the plain loader.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

BATCH_SIZE = 16
BATCHES_PER_BLOCK = 2
SEED = 42
CACHES = Path("build/caches")
KINDS = {"slice25d": ("flair", "flair-v1"), "multimodal2d": ("multimodal", "brats-v1")}


def data_root() -> Path:
    """Folder of the real data sets."""
    shared = Path(os.environ.get("NEUROSCAN_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    return shared / "data"


def measure(num_blocks: int = 6, caches: Path = CACHES) -> dict[str, Any]:
    """Time the loaders of both kinds on the same batches.

    Parameters
    ----------
    num_blocks : int
        Blocks of `BATCHES_PER_BLOCK` batches for each loader, spread over the epoch.
    caches : pathlib.Path
        Where the arrays are or will be, one folder per view.
    """
    import torch

    if not data_root().is_dir():
        return {"skipped": f"no data in {data_root()}"}
    torch.set_num_threads(1)
    found: dict[str, Any] = {}
    for kind, (view, split) in KINDS.items():
        found |= {f"{kind}_{key}": value for key, value in measure_kind(kind, view, split, num_blocks, caches).items()}
    return found


def measure_kind(kind: str, view: str, split: str, num_blocks: int, caches: Path) -> dict[str, Any]:
    """Time the loaders of one kind."""
    from training.augment import build_augmentation
    from training.data.cache import open_cache
    from training.data.cases import find_cases
    from training.data.module import NeuroScanData
    from training.data.splits import load_split

    cases = find_cases(data_root(), view)
    cache = open_cache(view, cases, caches / view)
    data = NeuroScanData(kind, cache, load_split(split), BATCH_SIZE, seed=SEED)
    sampler, reader = data._parts(data.train_cases)
    epoch, augment = sampler.epoch(0), build_augmentation(kind)
    plain = PlainSlices(cache, {case.name: case for case in cases}, augment)
    numbers = np.linspace(0, len(epoch) - 1, num_blocks * BATCHES_PER_BLOCK, dtype=int)
    names = ("cached", "plain", "frugal") if kind == "slice25d" else ("cached", "frugal")
    totals = {name: np.zeros(2) for name in names}
    for block in np.array_split(numbers, num_blocks):
        batches = [epoch[number] for number in block]
        for name in names:
            run = cached_batches(batches, reader, augment) if name == "cached" else plain.batches(batches, name)
            totals[name] += timed(run)
    return figures(totals, len(numbers) * BATCH_SIZE, len(epoch) * BATCH_SIZE)


def figures(totals: dict[str, Any], num_slices: int, epoch_slices: int) -> dict[str, Any]:
    """What was measured, by wall clock and by processor time."""
    found: dict[str, Any] = {"slices_measured": num_slices, "slices_of_an_epoch": epoch_slices}
    for index, clock in enumerate(("wall", "cpu")):
        for name, total in totals.items():
            found[f"{name}_slices_per_s_{clock}"] = num_slices / float(total[index])
            found[f"{name}_epoch_s_{clock}"] = epoch_slices * float(total[index]) / num_slices
        for name in totals.keys() - {"cached"}:
            saved = 1.0 - float(totals["cached"][index] / totals[name][index])
            found[f"saved_percent_against_{name}_{clock}"] = 100.0 * saved
    return found


def timed(batches: Iterator[Any]) -> tuple[float, float]:
    """Consume batches; wall time and processor time of this process, in s."""
    wall, cpu = time.perf_counter(), time.process_time()
    for image, target in batches:
        assert len(image) == len(target) == BATCH_SIZE
    return time.perf_counter() - wall, time.process_time() - cpu


def cached_batches(batches: list[Any], reader: Any, augment: Callable[..., Any]) -> Iterator[Any]:
    """Batches as a training run gets them."""
    import torch

    from training.data.loader import BatchLoader

    class Fixed:
        def epoch(self, number: int) -> list[Any]:
            return batches

    for step, batch in enumerate(BatchLoader(Fixed(), reader)):
        yield augment(batch["image"], batch["target"], torch.Generator().manual_seed(step))


class PlainSlices:
    """The ordinary data set: everything is read and augmented per item."""

    def __init__(self, cache: Any, cases: dict[str, Any], augment: Callable[..., Any]) -> None:
        self._view, self._augment, self._cases = cache.view, augment, cases
        self._places = {
            index: (case, index - case.start) for case in cache.cases for index in range(case.start, case.stop)
        }
        self._items: list[Any] = []
        self._way = "plain"

    def batches(self, batches: list[Any], way: str) -> Iterator[Any]:
        """Samples of these items, collated by PyTorch."""
        from torch.utils.data import DataLoader

        self._way, self._items = way, [item for batch in batches for item in batch]
        yield from DataLoader(self, batch_size=BATCH_SIZE)  # type: ignore[arg-type]  # duck-typed data set

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, number: int) -> Any:
        import torch

        read = self._window if self._view == "flair" else self._study_slice
        image, target = read(self._items[number])
        sample = torch.from_numpy(image)[None], torch.from_numpy(target)[None]
        image, target = self._augment(*sample, torch.Generator().manual_seed(number))
        return image[0], target[0]

    def _window(self, window: Any) -> tuple[Any, Any]:
        cached, centre = self._places[window.centre]
        case = self._cases[cached.name]
        offsets = [self._places[index][1] for index in (window.below, window.centre, window.above)]
        if case.dataset == "brats":
            slices, labels = self._nifti(case, ("flair",), offsets, centre)
        else:
            slices, labels = png(case, offsets, centre)
        return in_tissue(slices[0]), (labels > 0).astype(np.float32)[None]

    def _study_slice(self, index: int) -> tuple[Any, Any]:
        from neuroscan_core.pipeline.normalise import normalise_volume

        cached, offset = self._places[index]
        slices, labels = self._nifti(self._cases[cached.name], ("t1", "t1ce", "t2", "flair"), [offset], offset)
        moments = zip(slices, cached.mean, cached.std, strict=True)
        image = np.stack([normalise_volume(planes[0], (mean, std)) for planes, mean, std in moments])
        return image, np.where(labels == 4, 3, labels).astype(np.int64)

    def _nifti(self, case: Any, names: Sequence[str], offsets: list[int], centre: int) -> tuple[list[Any], Any]:
        import nibabel

        from training.data.readers.canonical import canonical_grid

        volumes = [nibabel.load(case.folder / f"{case.name}_{name}.nii.gz") for name in (*names, "seg")]
        grid, _, is_reversed = canonical_grid(volumes[-1].shape, volumes[-1].affine, case.name)
        assert not is_reversed
        voxels = [v.get_fdata() if self._way == "plain" else np.asanyarray(v.dataobj) for v in volumes]
        slices = [[grid.to_model(np.maximum(image[..., offset], 0)) for offset in offsets] for image in voxels[:-1]]
        return slices, grid.to_model(voxels[-1][..., centre])


def png(case: Any, offsets: list[int], centre: int) -> tuple[list[Any], Any]:
    """Read slices of the LGG set; numbers start at 1 and run without gaps there."""
    import cv2

    paths = [case.folder / f"{case.name}_{offset + 1}.png" for offset in offsets]
    slices = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE).astype(np.float32) for path in paths]
    return [slices], cv2.imread(str(case.folder / f"{case.name}_{centre + 1}_mask.png"), cv2.IMREAD_GRAYSCALE)


def in_tissue(slices: list[Any]) -> Any:
    """Stack three slices in units of their largest tissue scale."""
    from neuroscan_core.pipeline.normalise import slice_scale

    scale = max(slice_scale(plane) for plane in slices)
    return np.stack(slices).astype(np.float32) / np.float32(max(scale, 1e-6))


if __name__ == "__main__":
    for key, value in measure().items():
        print(f"{key:50} {value:,.2f}" if isinstance(value, float) else f"{key:50} {value}")
