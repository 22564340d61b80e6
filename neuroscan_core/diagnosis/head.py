"""What of a volume is head: the largest bright object, with its holes filled slice by slice."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.volume import Volume
from neuroscan_core.pipeline.normalise import tissue_level
from neuroscan_core.pipeline.orientation import CanonicalView

CLOSING_MM = 6.0


def head_mask(volume: Volume) -> npt.NDArray[np.bool_]:
    """Voxels (slices, rows, columns) inside the outline of the head; none where there is no tissue."""
    view = CanonicalView.of(volume.geometry)
    volume_DHW = np.asarray(view.to_canonical(volume.voxels_kji))
    inside = np.zeros(volume.geometry.shape, dtype=np.bool_)
    inside_DHW = view.to_canonical(inside)  # a view: written slice by slice
    level = tissue_level(np.asarray(volume_DHW[:, ::2, ::2], dtype=np.float32))
    height, width = (max(1, round(CLOSING_MM / step)) for step in view.spacing_mm[1:])
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * width + 1, 2 * height + 1))
    for d, image_HW in enumerate(volume_DHW):
        bright = np.ascontiguousarray(image_HW > level).astype(np.uint8)
        if not bright.any():
            continue
        # Single voxels of noise are opened away before outlines are closed and filled.
        solid = cv2.morphologyEx(bright, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        closed = cv2.morphologyEx(solid, cv2.MORPH_CLOSE, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        contours, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        if not contours:
            continue
        filled = np.zeros(bright.shape, np.uint8)
        largest = max(cv2.contourArea(contour) for contour in contours)
        kept = [contour for contour in contours if cv2.contourArea(contour) >= 0.1 * largest]
        cv2.drawContours(filled, kept, -1, 1, -1)
        inside_DHW[d] = filled > 0
    return inside
