"""Small cases on disk, in every layout that is read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

# i towards patient left, j towards posterior, k towards the head (NIfTI is RAS).
LPS_AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])
SHAPE = (24, 20, 6)
CLASSIC = {"T1": "_t1", "T1ce": "_t1ce", "T2": "_t2", "FLAIR": "_flair", "seg": "_seg"}
RECENT = {"T1": "-t1n", "T1ce": "-t1c", "T2": "-t2w", "FLAIR": "-t2f", "seg": "-seg"}


def voxels(shape=SHAPE, seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Four images without symmetry, and labels 0 to 3 of NeuroScan."""
    rng = np.random.default_rng(seed)
    images = {name: rng.integers(1, 900, shape).astype(np.int16) for name in ("T1", "T1ce", "T2", "FLAIR")}
    labels = np.zeros(shape, dtype=np.uint8)
    labels[4:12, 3:11, 1:5], labels[6:10, 5:9, 2:4], labels[7:9, 6:8, 2:4] = 2, 3, 1
    return images, labels


def save_nifti(path: Path, data: np.ndarray, affine: np.ndarray = LPS_AFFINE) -> None:
    import nibabel

    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(data, affine), path)


def write_brats(
    root: Path,
    name: str = "Brats18_X_A_1",
    *,
    endings: dict[str, str] = CLASSIC,
    suffix: str = ".nii.gz",
    enhancing: int = 4,
    shape=SHAPE,
    affine: np.ndarray = LPS_AFFINE,
    leave_out: str = "",
    seed: int = 0,
) -> Path:
    """Write one case into `root/brats`; returns its folder."""
    images, labels = voxels(shape, seed)
    source = labels.copy()
    source[labels == 3] = enhancing
    folder = root / "brats" / name
    for sequence, ending in endings.items():
        if sequence != leave_out:
            data = source if sequence == "seg" else images[sequence]
            save_nifti(folder / f"{name}{ending}{suffix}", data, affine)
    return folder


def write_msd(
    root: Path, images: dict[str, np.ndarray], labels: np.ndarray, affine: np.ndarray = LPS_AFFINE, said=None
) -> Path:
    """Write one case as the Decathlon publishes it; returns the task's folder."""
    folder = root / "Task01_BrainTumour"
    published = np.array([0, 2, 1, 3], dtype=np.uint8)[labels]  # 1 oedema, 2 non-enhancing, 3 enhancing
    stacked = np.stack([images[name] for name in ("FLAIR", "T1", "T1ce", "T2")], axis=-1)
    save_nifti(folder / "imagesTr" / "BRATS_001.nii.gz", stacked, affine)
    save_nifti(folder / "labelsTr" / "BRATS_001.nii.gz", published, affine)
    description = {
        "name": "BRATS",
        "modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"},
        "labels": {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"},
        "training": [{"image": "./imagesTr/BRATS_001.nii.gz", "label": "./labelsTr/BRATS_001.nii.gz"}],
        **(said or {}),
    }
    (folder / "dataset.json").write_text(json.dumps(description))
    return folder
