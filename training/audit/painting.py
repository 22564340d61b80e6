"""Masks laid over slices, right green, invented red, missed blue; pictures are RGB in [0, 1]."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from training.audit.style import INVENTED, MISSED, RIGHT, rgb

OPACITY = 0.55

Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


def grey(slice_HW: npt.NDArray[np.generic]) -> Image:
    """Return a slice as RGB in [0, 1], bright end at the 99.5th percentile."""
    image = slice_HW.astype(np.float32)
    top = max(float(np.percentile(image, 99.5)), 1e-6)
    return np.repeat(np.clip(image / top, 0.0, 1.0)[..., None], 3, axis=2)


def paint(image_HW3: Image, mask_HW: Mask, colour: str, opacity: float = OPACITY) -> Image:
    """Return the image with a mask laid over it."""
    painted = image_HW3.copy()
    painted[mask_HW] = (1.0 - opacity) * painted[mask_HW] + opacity * rgb(colour)
    return painted


def paint_errors(image_HW3: Image, truth_HW: Mask, found_HW: Mask) -> Image:
    """Return the image with right, invented and missed pixels in their colours."""
    painted = paint(image_HW3, truth_HW & found_HW, RIGHT)
    painted = paint(painted, found_HW & ~truth_HW, INVENTED)
    return paint(painted, truth_HW & ~found_HW, MISSED)
