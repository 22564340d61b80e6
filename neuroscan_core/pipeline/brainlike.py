"""A cheap look at a stack, to see whether it may be a head.

A network finds something in noise, in a phantom and in a knee as well; this check keeps such series from it. It looks
at coarse thumbnails of the middle half of the stack and asks for one solid, rounded, textured region of a head's size
in most of them. It says nothing about contrast or image quality.

The limits lie well outside what was seen in 120 stacks of heads (with and without skull, FLAIR, T1, diffusion and
perfusion, four makers); each limit's comment gives that range.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.errors import RejectionCode, SeriesRejection
from neuroscan_core.pipeline.grid import WORKING_SPACING_MM
from neuroscan_core.pipeline.window25d import PreparedSlice

THUMBNAIL = 64
MAX_LOOKED_AT = 20  # slices, evenly spread; up to twice as many where that does not divide
FOREGROUND = 0.3  # of the stack's tissue intensity

MAX_COVERAGE = 0.85  # foreground of the field of view; heads 0.20 to 0.69
MIN_SHARE = 0.7  # largest region of all foreground; heads 0.97 to 1
MIN_SOLIDITY = 0.8  # of its convex hull; heads 0.90 to 0.98
BOX_FILL = (0.55, 0.88)  # of its bounding box, an ellipse has 0.785; heads 0.71 to 0.83
MIN_EXTENT_MM = 70.0  # heads 120 and more
MIN_TEXTURE = 0.05  # standard deviation inside, over the mean; heads 0.10 to 0.72


@dataclass(frozen=True)
class Appearance:
    """What a thumbnail looks like; see the module's limits for the meaning of each figure."""

    coverage: float
    share: float
    solidity: float
    box_fill: float
    extent_mm: float
    texture: float

    @property
    def objection(self) -> str:
        """Why this is no head; empty where it may be one."""
        if self.coverage > MAX_COVERAGE:
            return "the images have no dark background"
        if self.extent_mm < MIN_EXTENT_MM:
            return f"the largest object is {self.extent_mm:.0f} mm wide"
        if self.share < MIN_SHARE or self.solidity < MIN_SOLIDITY:
            return "there is no single solid object"
        if not BOX_FILL[0] <= self.box_fill <= BOX_FILL[1]:
            return "the object is not rounded like a head"
        if self.texture < MIN_TEXTURE:
            return "the object is uniform inside"
        return ""


def require_brain(stack: Sequence[PreparedSlice]) -> None:
    """Refuse a stack that does not look like a head.

    Parameters
    ----------
    stack : sequence of PreparedSlice
        All slices, ordered along the normal.

    Raises
    ------
    SeriesRejection
        ``not-brain-like``, with what was missing.
    """
    objection = _objection(stack)
    if objection:
        raise SeriesRejection(
            RejectionCode.NOT_BRAIN_LIKE,
            f"The series does not look like a head: {objection}.",
            remedy="Check which series the rules send to the model.",
        )


def _objection(stack: Sequence[PreparedSlice]) -> str:
    level = float(np.percentile([prepared.scale for prepared in stack], 75)) if stack else 0.0
    if level <= 0.0:
        return "most images hold nothing"
    quarter = len(stack) // 4
    middle = stack[quarter : len(stack) - quarter]
    middle = middle[:: max(1, len(middle) // MAX_LOOKED_AT)]
    objections = [appearance(prepared.image_HW, level).objection for prepared in middle]
    wrong = [objection for objection in objections if objection]
    # Half of the middle must do: noses, necks and air sinuses make single slices look odd.
    return max(set(wrong), key=wrong.count) if 2 * len(wrong) > len(middle) else ""


def appearance(image_HW: npt.NDArray[np.float32], level: float) -> Appearance:
    """Look at a slice in the network's frame; `level` is the intensity of tissue."""
    thumbnail = cv2.resize(image_HW, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA) / np.float32(level)
    pixel_mm = max(image_HW.shape) * WORKING_SPACING_MM / THUMBNAIL
    foreground = (thumbnail > FOREGROUND).astype(np.uint8)
    num_foreground = int(foreground.sum())
    coverage = num_foreground / foreground.size
    _, regions, stats, _ = cv2.connectedComponentsWithStats(foreground, connectivity=4)
    if len(stats) < 2:
        return Appearance(coverage, 0.0, 0.0, 0.0, 0.0, 0.0)
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    share = float(stats[largest, cv2.CC_STAT_AREA]) / num_foreground
    outline = _outline((regions == largest).astype(np.uint8))
    filled, hull = np.zeros_like(foreground), np.zeros_like(foreground)
    cv2.drawContours(filled, [outline], -1, 1, -1)
    cv2.fillConvexPoly(hull, cv2.convexHull(outline), 1)
    width, height = cv2.boundingRect(outline)[2:]
    area = float(filled.sum())
    return Appearance(
        coverage,
        share,
        area / float(hull.sum()),
        area / (width * height),
        min(width, height) * pixel_mm,
        _texture(thumbnail, filled),
    )


def _outline(region: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    contours, _ = cv2.findContours(region, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return np.asarray(max(contours, key=cv2.contourArea), dtype=np.int32)


def _texture(thumbnail: npt.NDArray[np.float32], filled: npt.NDArray[np.uint8]) -> float:
    inside = thumbnail[cv2.erode(filled, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0]
    mean = float(inside.mean()) if inside.size else 0.0
    return float(inside.std()) / mean if mean > 0.0 else 0.0
