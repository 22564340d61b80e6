"""A slice as a grey picture for classifiers: `picture-window-v1`.

The very same function serves training, where pictures come from files, and the node, where they are slices of a
series. What is done with several pictures of one series is in `classify`.
"""

from __future__ import annotations

from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

T = TypeVar("T", bound=np.generic)
PICTURE_NORMALISATION = "picture-window-v1"
WINDOW_PERCENTILES = (0.5, 99.5)


def picture_from_slice(slice_HW: npt.NDArray[np.generic], size: int | tuple[int, int]) -> npt.NDArray[np.float32]:
    """Return what a classifier sees of a slice.

    The slice is windowed between two of its own percentiles, padded with black to a square, which keeps its aspect,
    and resized: by area where it shrinks, linearly where it grows. Pixels count as square.

    Parameters
    ----------
    slice_HW : numpy.ndarray
        Intensities, shape (H, W), any real dtype; values that are not finite count as the darkest.
    size : int or tuple of int
        Rows and columns of the picture.

    Returns
    -------
    numpy.ndarray
        Shape (1, size, size), float32 in [-1, 1]; black (-1) where the slice has one value only.

    Raises
    ------
    ValueError
        If it is not a two-dimensional image with pixels.
    """
    if slice_HW.ndim != 2 or 0 in slice_HW.shape:
        raise ValueError(f"a picture is made of rows and columns, not of an array of shape {slice_HW.shape}")
    rows, columns = (size, size) if isinstance(size, int) else size
    square = padded_square(_windowed(slice_HW))
    shrinks = rows < square.shape[0] or columns < square.shape[1]
    resized = cv2.resize(square, (columns, rows), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(resized * np.float32(2) - np.float32(1), dtype=np.float32)[None]


def _windowed(slice_HW: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    """Grey values in [0, 1]."""
    image_HW = slice_HW.astype(np.float32)
    is_finite = np.isfinite(image_HW)
    if not is_finite.all():
        image_HW[~is_finite] = image_HW[is_finite].min() if is_finite.any() else 0.0
    low, high = (np.float32(value) for value in np.percentile(image_HW, WINDOW_PERCENTILES))
    if not high > low:  # a small bright part lies beyond the percentiles
        low, high = image_HW.min(), image_HW.max()
    if not high > low:
        return np.zeros_like(image_HW)
    return np.asarray(np.clip((image_HW - low) / (high - low), 0.0, 1.0), dtype=np.float32)


def padded_square(image_HW: npt.NDArray[T]) -> npt.NDArray[T]:
    """Return an image in the middle of a square of zeros."""
    height, width = image_HW.shape
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    square = np.zeros((side, side), dtype=image_HW.dtype)
    square[top : top + height, left : left + width] = image_HW
    return square
