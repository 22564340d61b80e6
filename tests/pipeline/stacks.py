"""Small stacks, a small card and a cheap engine for tests of the segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.geometry import SliceGeometry, StackGeometry
from neuroscan_core.domain.model_card import ModelCard
from neuroscan_core.domain.volume import FrameKey, Slice, Volume
from neuroscan_core.pipeline.normalise import NORMALISATION
from neuroscan_core.pipeline.window25d import PreparedSlice

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
FEET_UP = (1.0, 0.0, 0.0, 0.0, -1.0, 0.0)


def card_mapping(**changes: Any) -> dict[str, Any]:
    """The content of a small `model.yaml`."""
    return {
        "name": "tiny",
        "version": "1.0",
        "kind": "slice25d",
        "task": "test",
        "modality": "MR",
        "input": {
            "name": "image",
            "channels": ["z-1", "z", "z+1"],
            "sequence": "FLAIR",
            "size": [32, 32],
            "spacing_mm": 1.0,
            "spacing_tolerance": 0.15,
            "planes": ["axial"],
            "normalisation": NORMALISATION,
        },
        "output": {"name": "logits", "activation": "sigmoid", "threshold": 0.5},
        "postprocessing": {"min_component_ml": 0.002},
        "labels": [
            {
                "value": 1,
                "name": "whole tumour",
                "category": ["49755003", "SCT", "Morphologically Abnormal Structure"],
                "type": ["108369006", "SCT", "Neoplasm"],
                "region": ["12738006", "SCT", "Brain"],
                "colour_rgb": [230, 159, 0],
            }
        ],
        "licence": "none",
        "onnx": {"file": "model.onnx", "sha256": "0" * 64, "opset": 20},
        "reference": {"file": "reference.npz"},
        **changes,
    }


CARD = ModelCard.from_mapping(card_mapping())


class CheapEngine:
    """An engine whose logits depend on each channel differently, so that a wrong neighbour shows."""

    def __init__(self, card: ModelCard = CARD) -> None:
        self.card = card
        self.name = "cheap"
        self.num_runs = 0
        self.num_windows = 0

    def run(self, image_NCHW: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        self.num_runs += 1
        self.num_windows += len(image_NCHW)
        below, centre, above = image_NCHW[:, 0:1], image_NCHW[:, 1:2], image_NCHW[:, 2:3]
        return np.asarray(centre + 0.75 * below - 0.5 * above - 1.0, dtype=np.float32)

    def close(self) -> None:
        pass


def accept_anything(_: Sequence[PreparedSlice]) -> None:
    """In place of the check for a head."""


def stack_geometry(
    num_slices: int,
    *,
    shape: tuple[int, int] = (32, 32),
    spacing_mm: tuple[float, float] = (1.0, 1.0),
    gap_mm: float = 3.0,
    orientation: tuple[float, float, float, float, float, float] = AXIAL,
) -> StackGeometry:
    return StackGeometry(SliceGeometry((-10.0, 5.0, 20.0), orientation, spacing_mm, shape), gap_mm, num_slices)


def random_volume(geometry: StackGeometry, seed: int = 0) -> Volume:
    rng = np.random.default_rng(seed)
    voxels_kji = rng.gamma(2.0, 100.0, geometry.shape).astype(np.float32)
    keys = tuple(FrameKey(f"1.2.{k}") for k in range(geometry.num_slices))
    return Volume(geometry, keys, voxels_kji)


def slices_of(volume: Volume) -> list[Slice]:
    return [Slice(key, volume.geometry.slice_geometry(k), volume.voxels_kji[k]) for k, key in enumerate(volume.keys)]
