"""Synthetic heads: reference inputs that belong to no patient.

A phantom is an ellipse of tissue with a bright rim (scalp), dark ventricles
and, if asked, a bright blob. It looks enough like FLAIR to make a network
answer, and is good for nothing else.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from neuroscan_core.pipeline.grid import MODEL_SIZE
from neuroscan_core.pipeline.normalise import normalise_window

TISSUE = 100.0
# Coarse steps let the reference file compress well.
QUANTUM = 1.0 / 64.0


def phantom_slice(rng: np.random.Generator, has_lesion: bool, has_scalp: bool = True) -> npt.NDArray[np.float32]:
    """Return one axial slice, shape `MODEL_SIZE`, tissue about 100."""
    height, width = MODEL_SIZE
    image = np.zeros(MODEL_SIZE, dtype=np.float32)
    centre = (width // 2, height // 2)
    if has_scalp:
        cv2.ellipse(image, centre, (84, 104), 0, 0, 360, 2.2 * TISSUE, -1)
        cv2.ellipse(image, centre, (78, 98), 0, 0, 360, 0.2 * TISSUE, -1)
    cv2.ellipse(image, centre, (72, 92), 0, 0, 360, TISSUE, -1)
    for side in (-1, 1):
        ventricle = (centre[0] + 12 * side, centre[1] - 8)
        cv2.ellipse(image, ventricle, (7, 26), 12 * side, 0, 360, 0.35 * TISSUE, -1)
    if has_lesion:
        cv2.ellipse(image, (centre[0] + 38, centre[1] - 20), (20, 26), 30, 0, 360, 1.9 * TISSUE, -1)
    texture = cv2.resize(rng.normal(0.0, 0.08, (64, 64)).astype(np.float32), (width, height))
    image = cv2.GaussianBlur(image, (0, 0), 1.2) * (1.0 + texture)
    return np.asarray(np.maximum(image, 0.0), dtype=np.float32)


def reference_windows(seed: int = 42) -> npt.NDArray[np.float32]:
    """Return normalised windows [3, 3, H, W]: lesion with and without scalp, none."""
    windows = []
    for has_lesion, has_scalp in ((True, True), (True, False), (False, True)):
        rng = np.random.default_rng((seed, has_lesion, has_scalp))
        slices = [phantom_slice(rng, has_lesion, has_scalp) for _ in range(3)]
        windows.append(np.round(normalise_window(slices) / QUANTUM) * np.float32(QUANTUM))
    return np.stack(windows).astype(np.float32)
