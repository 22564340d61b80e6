"""Triangles and a textured rectangle seen from a point of view, by a depth buffer; NumPy and OpenCV, no messages.

Coordinates are millimetres in the frame `SCANNER`: x to the front, y to the patient's left, z to the head. The
projection is parallel, so that lengths along an axis are the same everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Picture = npt.NDArray[np.uint8]

BACKGROUND, LINE, TEXT = (40, 36, 34), (86, 80, 76), (225, 222, 218)  # BGR
PLANE_OPACITY = 0.8
DARK = 14  # pixels of the slice below this level are air, and let one see through
MARGIN = 0.075
TICK_MM, FAR_MM = 7.0, 21.0  # of numbers and letters from the box
STEP_MM = 20.0
SMOOTH = 2  # drawn so much larger, then made smaller
FONT = cv2.FONT_HERSHEY_SIMPLEX
# What lies at the positive and the negative end of each axis.
ENDS = (("A", "P"), ("L", "R"), ("S", "I"))


class View:
    """A picture under construction.

    Parameters
    ----------
    shape : tuple of 2 int
        Rows and columns.
    lowest_mm, highest_mm : ndarray, shape (3,)
        Corners of the box that is to be seen.
    azimuth_deg, elevation_deg : float
        Where the eye is: 0 is in front of the patient, 90 at the left; above.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        lowest_mm: Array,
        highest_mm: Array,
        *,
        azimuth_deg: float = 40.0,
        elevation_deg: float = 26.0,
    ) -> None:
        shape = (shape[0] * SMOOTH, shape[1] * SMOOTH)
        self.pixels = np.full((*shape, 3), BACKGROUND, np.uint8)
        self._depth = np.full(shape, -np.inf)
        self._lowest, self._highest = lowest_mm, highest_mm
        azimuth, elevation = np.radians((azimuth_deg, elevation_deg))
        towards = np.array(
            (np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation))
        )
        right = np.cross((0.0, 0.0, 1.0), towards)
        right /= np.linalg.norm(right)
        self._axes = np.stack((right, -np.cross(towards, right), towards))
        corners = self._axes @ np.array(np.meshgrid(*np.stack((lowest_mm, highest_mm), axis=1))).reshape(3, -1)
        low, high = corners.min(axis=1), corners.max(axis=1)
        rows, columns = shape
        self._scale = (1 - 2 * MARGIN) * min(columns / (high[0] - low[0]), rows / (high[1] - low[1]))
        self._shift = np.array((columns / 2, rows / 2)) - self._scale * (low + high)[:2] / 2

    @property
    def picture(self) -> Picture:
        """What was drawn, in BGR."""
        rows, columns = self._depth.shape
        size = (columns // SMOOTH, rows // SMOOTH)
        return np.asarray(cv2.resize(self.pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)

    def project(self, points_mm: Array) -> Array:
        """Column, row and nearness to the eye of points, any shape whose last axis is 3."""
        seen = points_mm @ self._axes.T
        return np.concatenate((seen[..., :2] * self._scale + self._shift, seen[..., 2:]), axis=-1)

    def draw_box(self) -> None:
        """Draw the floor and the walls at the back, with lines every 20 mm."""
        low, high = self._lowest, self._highest
        for along, across in permutations(range(3), 2):  # the third coordinate is that of floor or wall
            for position in _steps(low[across], high[across]):
                start = low.copy()
                start[across] = position
                end = start.copy()
                end[along] = high[along]
                self._line(start, end)

    def write_scales(self) -> None:
        """Write lengths and anatomical directions at the edges of the box; over everything else."""
        low, high = self._lowest, self._highest
        middle = (low + high) / 2
        for axis, (positive, negative) in enumerate(ENDS[:2]):
            for position in _steps(low[axis], high[axis])[1:-1]:
                at = np.array((high[0] + TICK_MM, high[1] + TICK_MM, low[2]))
                at[axis] = position
                self._write(f"{position:.0f}", at, 0.42)
            for letter, end, height in (
                (positive, high[axis] + FAR_MM, low[2]),
                (negative, low[axis], high[2] + TICK_MM),
            ):
                at = np.array((middle[0], middle[1], height))
                at[axis] = end
                self._write(letter, at, 0.9, 2)
        edge = np.array((low[0], high[1], low[2]))
        for position in _steps(low[2], high[2])[1:-1]:
            self._write(f"{position:.0f}", np.array((*edge[:2], position)), 0.42, right_px=20)
        for letter, position in zip(ENDS[2], (high[2], low[2]), strict=True):
            self._write(letter, np.array((*edge[:2], position)), 0.9, 2, right_px=24)

    def draw_triangles(self, corners_t33: Array, colours_t33: Array) -> None:
        """Draw triangles.

        Parameters
        ----------
        corners_t33 : ndarray, shape (triangles, corners, xyz)
        colours_t33 : ndarray, shape (triangles, corners, BGR)
            0 to 255; in between they are interpolated.
        """
        for corners, colours in zip(self.project(corners_t33), colours_t33, strict=True):
            self._fill(corners, colours)

    def _fill(self, corners_33: Array, colours_33: Array) -> None:
        rows, columns = self._depth.shape
        i0, j0 = np.maximum(np.floor(corners_33[:, :2].min(axis=0)), 0).astype(int)
        i1, j1 = np.minimum(np.ceil(corners_33[:, :2].max(axis=0)) + 1, (columns, rows)).astype(int)
        (ax, ay, _), (bx, by, _), (cx, cy, _) = corners_33
        area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        if i0 >= i1 or j0 >= j1 or abs(area) < 1e-9:
            return
        j, i = np.mgrid[j0:j1, i0:i1]
        of_b = ((i - ax) * (cy - ay) - (cx - ax) * (j - ay)) / area
        of_c = ((bx - ax) * (j - ay) - (i - ax) * (by - ay)) / area
        weights = np.stack((1 - of_b - of_c, of_b, of_c), axis=-1)
        depth = weights @ corners_33[:, 2]
        is_seen = (weights.min(axis=-1) >= -1e-9) & (depth > self._depth[j0:j1, i0:i1])
        self._depth[j0:j1, i0:i1][is_seen] = depth[is_seen]
        self.pixels[j0:j1, i0:i1][is_seen] = (weights[is_seen] @ colours_33).astype(np.uint8)

    def draw_plane(self, corners_mm: Sequence[Array], texture: Picture) -> None:
        """Draw a rectangle after all triangles: first, second and last corner of its first row, and last corner.

        Parameters
        ----------
        corners_mm : sequence of 3 ndarray
            Of the texture: top left, top right, bottom left.
        """
        rows, columns = self._depth.shape
        top_left, top_right, bottom_left = self.project(np.stack(corners_mm))
        height, width = texture.shape[:2]
        here = np.array(((-0.5, -0.5), (width - 0.5, -0.5), (-0.5, height - 0.5)), np.float32)
        there = np.stack((top_left, top_right, bottom_left))[:, :2].astype(np.float32)
        warp = cv2.getAffineTransform(here, there)
        laid = cv2.warpAffine(texture, warp, (columns, rows), flags=cv2.INTER_LINEAR)
        matter = np.full((height, width), 255, np.uint8)
        is_air = texture.max(axis=-1) < DARK
        # Air is what is dark and reaches the border of the picture; ventricles do not.
        flooded = np.pad(is_air.astype(np.uint8), 1, constant_values=1)
        cv2.floodFill(flooded, None, (0, 0), 2)
        matter[flooded[1:-1, 1:-1] == 2] = 0
        opacity = cv2.warpAffine(matter, warp, (columns, rows), flags=cv2.INTER_LINEAR) / 255.0 * PLANE_OPACITY
        back = np.linalg.inv(np.vstack((warp, (0, 0, 1))))
        j, i = np.mgrid[:rows, :columns]
        u = (back[0, 0] * i + back[0, 1] * j + back[0, 2] + 0.5) / width
        v = (back[1, 0] * i + back[1, 1] * j + back[1, 2] + 0.5) / height
        depth = top_left[2] + u * (top_right[2] - top_left[2]) + v * (bottom_left[2] - top_left[2])
        opacity[depth <= self._depth] = 0
        mixed = laid * opacity[..., None] + self.pixels * (1 - opacity[..., None])
        self.pixels[:] = mixed.astype(np.uint8)

    def _line(self, start: Array, end: Array) -> None:
        (i0, j0), (i1, j1) = (self.project(point)[:2] for point in (start, end))
        cv2.line(self.pixels, (round(i0), round(j0)), (round(i1), round(j1)), LINE, SMOOTH, cv2.LINE_AA)

    def _write(self, text: str, at: Array, size: float, weight: int = 1, *, right_px: int = 0) -> None:
        i, j = self.project(at)[:2]
        write(self.pixels, text, (round(i) + right_px * SMOOTH, round(j)), size * SMOOTH, weight * SMOOTH, centred=True)


def write(
    picture: Picture, text: str, at: tuple[int, int], size: float = 0.5, weight: int = 1, *, centred: bool = False
) -> None:
    """Write into a picture; `at` is the left end of the line, or its middle."""
    (width, height), _ = cv2.getTextSize(text, FONT, size, weight)
    i, j = (at[0] - width // 2, at[1] + height // 2) if centred else at
    cv2.putText(picture, text, (i, j), FONT, size, TEXT, weight, cv2.LINE_AA)


def _steps(low: float, high: float) -> Array:
    return np.arange(low, high + STEP_MM / 2, STEP_MM)
