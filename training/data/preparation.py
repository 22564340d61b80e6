"""Filling the arrays of a cache, case by case, so that a kill costs one case at most.

`journal.jsonl` gets a line for each case after its slices are in the arrays
and on the disk. A run that finds a journal does the cases that are not in it.
`index.json` is written last: its presence says that the cache is complete.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neuroscan_core.pipeline.grid import MODEL_SIZE
from neuroscan_core.pipeline.normalise import slice_scale, volume_statistics
from training.data.cases import PICTURES, VIEWS, Case
from training.data.digest import write_atomically
from training.data.errors import ShapeMismatchError
from training.data.readers import Volume, num_slices, read_case
from training.data.readers.class_folders import SIZE as PICTURE_SIZE

IMAGES, LABELS, STATISTICS, INDEX, JOURNAL = (
    "images.npy", "labels.npy", "statistics.npz", "index.json", "journal.jsonl",
)  # fmt: skip
NUM_LABELS = 4
#: Pictures are small: the disk is waited for once for so many slices.
SLICES_PER_FLUSH = 64

Progress = Callable[[str, int, int], None]


def prepare_arrays(view: str, cases: Sequence[Case], folder: Path, progress: Progress | None = None) -> None:
    """Make the arrays of a view, or go on where an earlier call was ended.

    Parameters
    ----------
    cases : sequence of Case
        Sorted; their order is that of the slices.
    progress : callable, optional
        Told the name of a case before it is read, how many are done, how many there are.

    Raises
    ------
    UnreadableCaseError
        If a case does not have the form of its layout; the cases before it are kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    counts = [num_slices(case, VIEWS[view]) for case in cases]
    images, labels = _open_arrays(view, folder, sum(counts))
    done = _read_journal(folder / JOURNAL)
    starts = np.concatenate([[0], np.cumsum(counts)]).tolist()
    with (folder / JOURNAL).open("a", encoding="utf-8") as journal:
        waiting: list[dict[str, Any]] = []
        for number, (case, start, count) in enumerate(zip(cases, starts[:-1], counts, strict=True)):
            if progress is not None:
                progress(case.name, number, len(cases))
            if case.name in done:
                continue
            done[case.name] = _fill(case, view, images, labels, start, count)
            waiting.append(done[case.name])
            if sum(len(entry["foreground"]) for entry in waiting) >= SLICES_PER_FLUSH:
                _commit(waiting, images, labels, journal)
                waiting = []
        _commit(waiting, images, labels, journal)
    _finish(view, folder, [done[case.name] for case in cases])
    if progress is not None:
        progress("", len(cases), len(cases))


def _open_arrays(view: str, folder: Path, total: int) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.uint8]]:
    """Open the arrays for writing, making them where absent or of another size."""
    is_pictures = view == PICTURES
    size = (PICTURE_SIZE, PICTURE_SIZE) if is_pictures else MODEL_SIZE
    shapes = {
        IMAGES: ((total, len(VIEWS[view]), *size), np.dtype(np.uint8 if is_pictures else np.uint16)),
        LABELS: ((0, 0, 0) if is_pictures else (total, *size), np.dtype(np.uint8)),
    }
    arrays = []
    for name, (shape, dtype) in shapes.items():
        path = folder / name
        if 0 in shape:
            np.save(path, np.zeros(shape, dtype))
            arrays.append(np.zeros(shape, dtype))
            continue
        if not _has_form(path, shape, dtype):
            (folder / JOURNAL).unlink(missing_ok=True)
            np.lib.format.open_memmap(path, "w+", dtype, shape).flush()
        arrays.append(np.lib.format.open_memmap(path, "r+"))
    return arrays[0], arrays[1]


def _has_form(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    try:
        array = np.load(path, mmap_mode="r")
    except (OSError, ValueError):  # absent, or its header was being written at the kill
        return False
    return bool(array.shape == shape and array.dtype == dtype)


def _read_journal(path: Path) -> dict[str, dict[str, Any]]:
    """Return the entries by case; a line that a kill has torn counts as not written."""
    if not path.exists():
        return {}
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    if len(whole) != len(lines):
        write_atomically(path, "".join(whole))
    entries = [json.loads(line) for line in whole]
    return {entry["case"]["name"]: entry for entry in entries}


def _fill(
    case: Case,
    view: str,
    images: npt.NDArray[np.generic],
    labels: npt.NDArray[np.uint8],
    start: int,
    count: int,
) -> dict[str, Any]:
    """Read a case into its place; returns its line of the journal."""
    volume = read_case(case, VIEWS[view])
    if len(volume.images_SCHW) != count:
        raise ShapeMismatchError(
            f"{case.folder}: {len(volume.images_SCHW)} slices, its headers say {count}.",
            remedy="Did the files change during preparation?",
        )
    images[start : start + count] = volume.images_SCHW
    if view != PICTURES:
        labels[start : start + count] = volume.labels_SHW
    entry = _statistics(volume, view)
    entry["case"] = {
        "name": case.name,
        "dataset": case.dataset,
        "patient": case.patient,
        "start": start,
        "num_slices": count,
        "spacing_mm": volume.spacing_mm,
        "mean": entry.pop("mean"),
        "std": entry.pop("std"),
    }
    return entry


def _statistics(volume: Volume, view: str) -> dict[str, Any]:
    images = volume.images_SCHW
    counts = [np.bincount(plane.ravel(), minlength=NUM_LABELS).tolist() for plane in volume.labels_SHW]
    is_picture = view == PICTURES
    moments = [] if is_picture else [volume_statistics(images[:, channel]) for channel in range(images.shape[1])]
    return {
        "foreground": np.count_nonzero(images[:, 0], axis=(1, 2)).tolist(),
        "label_counts": [[0] * NUM_LABELS] * len(images) if is_picture else counts,
        "scales": [slice_scale(plane) for plane in images[:, 0]] if view == "flair" else [],
        "class": [volume.class_index] if is_picture else [],
        "mean": [mean for mean, _ in moments],
        "std": [std for _, std in moments],
    }


def _commit(entries: Sequence[dict[str, Any]], images: Any, labels: Any, journal: Any) -> None:
    """Bring slices to the disk, then say so in the journal."""
    for array in (images, labels):
        if isinstance(array, np.memmap):
            array.flush()
    journal.writelines(json.dumps(entry) + "\n" for entry in entries)
    journal.flush()
    os.fsync(journal.fileno())


def _finish(view: str, folder: Path, entries: Sequence[dict[str, Any]]) -> None:
    def joined(key: str, dtype: type) -> npt.NDArray[Any]:
        return np.array([value for entry in entries for value in entry[key]], dtype=dtype)

    np.savez(
        folder / STATISTICS,
        scales_S=joined("scales", np.float32),
        foreground_S=joined("foreground", np.int32),
        label_counts_SL=joined("label_counts", np.int32).reshape(-1, NUM_LABELS),
        classes_S=joined("class", np.uint8),
    )
    index = {"view": view, "cases": [entry["case"] for entry in entries]}
    write_atomically(folder / INDEX, json.dumps(index, indent=1))
