"""Task01_BrainTumour of the Medical Segmentation Decathlon: four-dimensional NIfTI and a `dataset.json`.

`dataset.json` says which channel is which sequence (published: FLAIR, T1w,
t1gd, T2w) and what labels mean (published: 1 oedema, 2 non-enhancing tumour,
3 enhancing tumour). Both are mapped by name to NeuroScan's order and values.
Cases come from BraTS 2016 and 2017 under other names: check for
near-duplicates before mixing them with BraTS.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from training.data.cases import MSD, SEQUENCES, Case
from training.data.errors import MissingModalityError, ShapeMismatchError, UnknownLabelError, UnreadableCaseError
from training.data.readers.canonical import Volume, canonical_grid, image_slices, label_slices, map_labels
from training.data.readers.nifti import open_nifti, voxels_of

LAYOUT = "Medical Segmentation Decathlon Task01 (dataset.json, imagesTr/, labelsTr/)"
DESCRIPTION = "dataset.json"
_SEQUENCE_WORDS = {
    "t1": "T1", "t1w": "T1", "t1gd": "T1ce", "t1ce": "T1ce", "t1c": "T1ce", "t2": "T2", "t2w": "T2", "flair": "FLAIR",
}  # fmt: skip
_LABEL_WORDS = {
    "background": 0, "necrotic core": 1, "necrosis": 1, "non-enhancing tumor": 1, "non-enhancing tumour": 1,
    "edema": 2, "oedema": 2, "peritumoral edema": 2, "enhancing tumor": 3, "enhancing tumour": 3,
}  # fmt: skip


def find(folder: Path) -> list[Case]:
    """List the training cases of a folder with a description of four sequences."""
    path = folder / DESCRIPTION
    if not path.is_file():
        return []
    description = _description(folder)
    if not {"modality", "training"} <= set(description):
        return []
    present = {_SEQUENCE_WORDS.get(str(name).lower(), "") for name in description["modality"].values()}
    channels = tuple(name for name in SEQUENCES if name in present)
    names = [Path(entry["image"]).name for entry in description["training"]] if channels else []
    return [Case(MSD, name.removesuffix(".gz").removesuffix(".nii"), folder, "msd", channels) for name in sorted(names)]


def files(case: Case) -> list[Path]:
    """List image, labels and the description."""
    image, labels = _paths(case)
    return sorted(path for path in (image, labels, case.folder / DESCRIPTION) if path.is_file())


def num_slices(case: Case, channels: Sequence[str]) -> int:
    """Count slices by the header of the label map."""
    return int(_load(_paths(case)[1]).shape[2])


def read(case: Case, channels: Sequence[str]) -> Volume:
    """Read channels and labels; see `training.data.readers.read_case`."""
    description = _description(case.folder)
    image_path, labels_path = _paths(case)
    image, seg = _load(image_path), _load(labels_path)
    where = _channels(description, case)
    missing = [name for name in channels if name not in where]
    if missing:
        raise MissingModalityError(f"{case.name}: {DESCRIPTION} names no {', '.join(missing)}.")
    if len(image.shape) != 4 or image.shape[:3] != seg.shape or image.shape[3] != len(where):
        raise ShapeMismatchError(
            f"{case.name}: image {image.shape}, labels {seg.shape}, {len(where)} sequences in {DESCRIPTION}.",
            remedy="Expected x, y, z, sequence for the image and x, y, z for the labels.",
        )
    grid, spacing_mm, is_reversed = canonical_grid(seg.shape, seg.affine, case.name)
    voxels = voxels_of(image)
    labels = map_labels(voxels_of(seg), _label_mapping(description, case), case.name)
    stacks = [image_slices(voxels[..., where[name]], grid, is_reversed) for name in channels]
    return Volume(np.stack(stacks, axis=1), label_slices(labels, grid, is_reversed), spacing_mm)


def _description(folder: Path) -> dict[str, Any]:
    try:
        description: dict[str, Any] = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as exc:
        raise UnreadableCaseError(f"{folder / DESCRIPTION}: {exc}", remedy="Fetch the file again.") from exc
    return description


def _paths(case: Case) -> tuple[Path, Path]:
    image, labels = (case.folder / part / f"{case.name}.nii.gz" for part in ("imagesTr", "labelsTr"))
    return image, labels


def _channels(description: dict[str, Any], case: Case) -> dict[str, int]:
    """Sequence -> index along the fourth axis."""
    where = {}
    for index, word in description["modality"].items():
        sequence = _SEQUENCE_WORDS.get(str(word).lower())
        if sequence is None:
            raise MissingModalityError(f"{case.name}: sequence {word!r} is not known.", remedy=f"Known: {SEQUENCES}.")
        where[sequence] = int(index)
    return where


def _label_mapping(description: dict[str, Any], case: Case) -> dict[int, int]:
    mapping = {0: 0}
    for value, word in description.get("labels", {}).items():
        label = _LABEL_WORDS.get(str(word).lower().strip())
        if label is None:
            raise UnknownLabelError(f"{case.name}: label {value} is {word!r}.", remedy=f"Known: {list(_LABEL_WORDS)}.")
        mapping[int(value)] = label
    return mapping


def _load(path: Path):  # type: ignore[no-untyped-def]  # nibabel has no types
    if not path.is_file():
        raise MissingModalityError(f"{path} is missing.", remedy=f"{DESCRIPTION} lists the case; fetch the file.")
    return open_nifti(path)
