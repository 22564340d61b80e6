"""The plane that best divides a head into two mirror images, and how sure that is.

No atlas and no landmarks: the plane is the one about which the images are most symmetric. It starts between the sides
of the head and is moved and turned until a sample of voxels and their mirror images correlate best; what a tumour
covers, on either side, does not count. Positions are LPS in mm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage, optimize

from neuroscan_core.domain.volume import Volume
from neuroscan_core.pipeline.normalise import tissue_level
from neuroscan_core.pipeline.orientation import CanonicalView

Points = npt.NDArray[np.float64]

WORKING_MM = 4.0
RIM = 3  # voxels of that size
MAX_SHIFT_MM = 20.0
MAX_TURN = 0.35  # radians
SURE_CORRELATION = 0.8  # 27 heads in the space of an atlas: 0.84 to 0.97, the plane within 2 mm of the atlas's
FAIR_CORRELATION = 0.65


@dataclass(frozen=True)
class Midline:
    """A plane: ``normal . x = offset_mm``; the patient's left is where it is greater.

    Parameters
    ----------
    normal : tuple of 3 float
        Unit vector, LPS, towards the patient's left.
    offset_mm : float
    correlation : float
        Of voxels with their mirror images, -1 to 1.
    """

    normal: tuple[float, float, float]
    offset_mm: float
    correlation: float

    @property
    def is_sure(self) -> bool:
        """Whether sides can be told by it."""
        return self.correlation >= SURE_CORRELATION

    @property
    def sureness(self) -> str:
        """How sure it is, as a word."""
        if self.is_sure:
            return "sure"
        return "fair" if self.correlation >= FAIR_CORRELATION else "unsure"

    def left_of_mm(self, points_mm: Points) -> npt.NDArray[np.float64]:
        """Distance of points (n, 3) from the plane, positive on the patient's left."""
        return np.asarray(points_mm @ np.array(self.normal) - self.offset_mm)


def find_midline(volume: Volume, ignore_kji: npt.NDArray[np.bool_] | None = None) -> Midline:
    """Find the plane of symmetry of a head.

    Parameters
    ----------
    volume : Volume
    ignore_kji : ndarray of bool, optional
        Voxels, e.g. of a tumour, that do not count.
    """
    view = CanonicalView.of(volume.geometry)
    step = [max(1, round(WORKING_MM / mm)) for mm in view.spacing_mm]
    coarse_DHW = _coarse(np.asarray(view.to_canonical(volume.voxels_kji)), step)
    level = tissue_level(coarse_DHW)
    ignore_DHW = np.zeros(coarse_DHW.shape, dtype=np.bool_)
    if ignore_kji is not None:
        ignore_DHW = _coarse(np.asarray(view.to_canonical(ignore_kji)).astype(np.float32), step) > 0
    mm = np.array([n * one for n, one in zip(step, view.spacing_mm, strict=True)])
    tissue = coarse_DHW > level
    where = np.argwhere(tissue)
    if len(where) < 50:
        return Midline((1.0, 0.0, 0.0), 0.0, -1.0)
    filled = np.stack([ndimage.binary_fill_holes(one) for one in tissue])
    # With a rim of air: where the head's edges lie is what a large shift gets wrong.
    rimmed = ndimage.binary_dilation(filled, iterations=RIM)
    points = np.argwhere(rimmed)[:: max(1, int(rimmed.sum()) // 20_000)]
    centre = np.array([where[:, 0].mean(), where[:, 1].mean(), (where[:, 2].min() + where[:, 2].max()) / 2])
    smooth_DHW = np.log1p(np.maximum(coarse_DHW, 0.0) / max(level, 1e-12))
    correlate = _correlation(smooth_DHW, ignore_DHW, points, centre, mm)
    best = _search(correlate)
    return _in_patient(best, correlate(best), centre, view, volume, step)


def _coarse(volume_DHW: npt.NDArray[Any], step: list[int]) -> npt.NDArray[np.float32]:
    """Mean of blocks, slice by slice; what does not fill a block at the end is left out."""
    depth, height, width = (max(1, length // n) for length, n in zip(volume_DHW.shape, step, strict=True))
    out_DHW = np.empty((depth, height, width), dtype=np.float32)
    for d in range(depth):
        block = volume_DHW[d * step[0] : (d + 1) * step[0], : height * step[1], : width * step[2]]
        mean_HW = np.ascontiguousarray(block.mean(axis=0), dtype=np.float32)
        out_DHW[d] = cv2.resize(mean_HW, (width, height), interpolation=cv2.INTER_AREA)
    return out_DHW


def _correlation(
    image_DHW: npt.NDArray[np.float32],
    ignore_DHW: npt.NDArray[np.bool_],
    points: npt.NDArray[np.intp],
    centre: Points,
    mm: Points,
) -> Callable[[Points], float]:
    """Correlation of voxels with their mirror images about a plane (shift in mm, two turns in radians)."""
    at_mm = (points - centre) * mm
    values = image_DHW[tuple(points.T)]
    counts = ~ignore_DHW[tuple(points.T)]

    def correlate(plane: Points) -> float:
        normal = _normal(plane)
        distance = at_mm @ normal - plane[0]
        mirrored = (at_mm - 2.0 * distance[:, None] * normal) / mm + centre
        others = ndimage.map_coordinates(image_DHW, mirrored.T, order=1, mode="constant")
        nearest = np.rint(mirrored).astype(np.intp)
        inside = np.all((nearest >= 0) & (nearest < image_DHW.shape), axis=1)
        nearest = np.clip(nearest, 0, np.array(image_DHW.shape) - 1)
        use = counts & ~(ignore_DHW[tuple(nearest.T)] & inside)
        if use.sum() < 50:
            return -1.0
        a, b = values[use] - values[use].mean(), others[use] - others[use].mean()
        scale = float(np.sqrt((a @ a) * (b @ b)))
        return float(a @ b) / scale if scale > 0 else -1.0

    return correlate


def _normal(plane: Points) -> Points:
    """Unit normal in (D, H, W)."""
    normal = np.array([np.tan(plane[1]), np.tan(plane[2]), 1.0])
    return np.asarray(normal / np.linalg.norm(normal))


def _search(correlate: Callable[[Points], float]) -> Points:
    shifts = np.arange(-20.0, 20.1, 4.0)
    best = max((np.array([shift, 0.0, turn]) for shift in shifts for turn in (-0.12, 0.0, 0.12)), key=correlate)
    simplex = best + np.array([[0, 0, 0], [4.0, 0, 0], [0, 0.08, 0], [0, 0, 0.08]])

    def loss(plane: Points) -> float:
        if abs(plane[0]) > MAX_SHIFT_MM or max(abs(plane[1]), abs(plane[2])) > MAX_TURN:
            return 1.0
        return -correlate(plane)

    found = optimize.minimize(
        loss, best, method="Nelder-Mead",
        options={"initial_simplex": simplex, "xatol": 0.01, "fatol": 1e-4, "maxfev": 160},
    )  # fmt: skip
    return np.asarray(found.x)


def _in_patient(
    plane: Points, correlation: float, centre: Points, view: CanonicalView, volume: Volume, step: list[int]
) -> Midline:
    """From the coarse canonical grid to LPS."""
    steps = volume.geometry.affine_lps[:3, [2, 1, 0]].T  # millimetres per voxel along k, j, i
    lengths = np.linalg.norm(steps, axis=1)
    signs = [-1.0 if reverse else 1.0 for reverse in view.is_reversed]
    directions = np.stack([sign * steps[axis] / lengths[axis] for axis, sign in zip(view.axes, signs, strict=True)])
    normal = _normal(plane) @ directions
    # Centre of the coarse grid's voxel as index of the full canonical grid, then of the source's array.
    full = (centre + 0.5) * step - 0.5
    index_kji = np.zeros(3)
    for n, (axis, reverse) in enumerate(zip(view.axes, view.is_reversed, strict=True)):
        index_kji[axis] = volume.geometry.shape[axis] - 1 - full[n] if reverse else full[n]
    k, j, i = index_kji
    centre_mm = (volume.geometry.affine_lps @ (i, j, k, 1.0))[:3]
    if normal[0] < 0:
        raise AssertionError("the canonical view runs towards the patient's left")
    return Midline((float(normal[0]), float(normal[1]), float(normal[2])),
                   float(normal @ centre_mm + plane[0]), correlation)  # fmt: skip
