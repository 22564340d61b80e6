"""Sample inputs of deploy folders: slices of the generated head, of no patient."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.model_card import ModelCard, ModelKind
from neuroscan_core.phantom import BRAIN, HeadPhantom, Weighting, head_phantom

NUM_SLICES = 16
HEAD_MM, WIDTH_MM = 155.0, 240.0
NOISE = 0.01


def write_samples(card: ModelCard, folder: Path) -> list[Path]:
    """Write what a model of this kind is fed; the files."""
    folder.mkdir(parents=True, exist_ok=True)
    if card.kind is ModelKind.CLASSIFIER:
        return _write_pictures(folder)
    head = _head(card)
    names = card.channels if len(card.channels) == 4 else (Weighting.FLAIR.value,)
    images = [_image(head, Weighting(name), is_stripped=card.needs_stripped) for name in names]
    image = np.stack(images) if len(images) > 1 else images[0]
    path = folder / "head.npz"
    spacing_mm = np.array([head.geometry.spacing_mm, *head.geometry.first.spacing_mm])
    np.savez_compressed(path, image=image, spacing_mm=spacing_mm)
    return [path]


def _head(card: ModelCard) -> HeadPhantom:
    if card.kind is not ModelKind.VOLUME3D:
        return head_phantom(num_slices=NUM_SLICES)
    size = int(np.ceil(WIDTH_MM / card.spacing_mm))
    return head_phantom(num_slices=round(HEAD_MM / card.spacing_mm), size=size, spacing_mm=card.spacing_mm)


def _image(head: HeadPhantom, weighting: Weighting, *, is_stripped: bool) -> npt.NDArray[np.uint16]:
    image = head.image(weighting, noise=NOISE)
    return np.asarray(image * np.isin(head.tissue_kji, BRAIN) if is_stripped else image, dtype=np.uint16)


def _write_pictures(folder: Path) -> list[Path]:
    head = head_phantom(num_slices=NUM_SLICES)
    image = _image(head, Weighting.T1CE, is_stripped=False)
    paths = []
    for number, k in enumerate(range(NUM_SLICES // 3, NUM_SLICES - 2, 2)):
        path = folder / f"picture-{number}.png"
        scaled = np.clip(image[k] / np.percentile(image[k], 99.5) * 255, 0, 255).astype(np.uint8)
        if not cv2.imwrite(str(path), scaled):
            raise OSError(f"cannot write {path}")
        paths.append(path)
    return paths
