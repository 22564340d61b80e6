"""Pictures of slices with their masks; pixels in, PNG out."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

# One colour per label value in BGR, as OpenCV orders it; values beyond start again.
PALETTE_BGR = ((66, 66, 245), (80, 200, 255), (120, 220, 90), (245, 160, 70))
WINDOW_PERCENTILE = 99.5

Picture = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]


def grey_levels(pixels_ji: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    """Window a slice between 0 and its 99.5th percentile; shape (rows, columns)."""
    image_ji = pixels_ji.astype(np.float32)
    top = float(np.percentile(image_ji[::2, ::2], WINDOW_PERCENTILE))
    return np.asarray(np.clip(image_ji * (255.0 / max(top, 1e-6)), 0, 255), dtype=np.uint8)


def grey_picture(pixels_ji: npt.NDArray[np.generic]) -> Picture:
    """Grey levels of a slice as BGR, shape (rows, columns, 3)."""
    grey_ji = grey_levels(pixels_ji)
    return np.asarray(cv2.cvtColor(grey_ji, cv2.COLOR_GRAY2BGR), dtype=np.uint8)


def overlay_picture(
    pixels_ji: npt.NDArray[np.generic], labels_ji: npt.NDArray[np.uint8], *, opacity: float = 0.35
) -> Picture:
    """Draw a label map over its slice: tinted, with an outline.

    Parameters
    ----------
    pixels_ji : ndarray, shape (rows, columns)
    labels_ji : ndarray of uint8, shape (rows, columns)
        0 is background.
    opacity : float
        Of the tint.

    Returns
    -------
    ndarray of uint8, shape (rows, columns, 3)
        BGR.
    """
    return tint(grey_levels(pixels_ji), labels_ji, palette_colour, opacity=opacity)


def palette_colour(label: int) -> Colour:
    """Colour of a label of which nothing is known, in BGR."""
    return PALETTE_BGR[(label - 1) % len(PALETTE_BGR)]


def tint(
    grey_ji: npt.NDArray[np.uint8],
    labels_ji: npt.NDArray[np.uint8],
    colour_of: Callable[[int], Colour],
    *,
    opacity: float = 0.35,
) -> Picture:
    """Draw a label map over grey levels; see `overlay_picture`.

    Parameters
    ----------
    grey_ji, labels_ji : ndarray of uint8, shape (rows, columns)
    colour_of : callable
        Gives the colour of a label; its components come out in the order in which it has them.
    """
    picture = np.asarray(cv2.cvtColor(grey_ji, cv2.COLOR_GRAY2BGR), dtype=np.uint8)
    for value in np.unique(labels_ji[labels_ji > 0]):
        colour = colour_of(int(value))
        region_ji = labels_ji == value
        tinted = (1 - opacity) * picture[region_ji] + opacity * np.array(colour, dtype=np.float32)
        picture[region_ji] = tinted.astype(np.uint8)
        contours, _ = cv2.findContours(region_ji.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, contours, -1, colour, 1)
    return picture


def encode_png(picture: Picture) -> bytes:
    """PNG bytes of a BGR picture."""
    is_encoded, data = cv2.imencode(".png", picture)
    assert is_encoded
    return bytes(data.tobytes())
