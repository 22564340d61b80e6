"""Where a finding lies: side, box in the patient, and place in the head in words that need no atlas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from neuroscan_core.diagnosis.midline import Midline
from neuroscan_core.domain.geometry import StackGeometry
from neuroscan_core.pipeline.postprocess import bounding_box

NEAR_MIDLINE_MM = 5.0
ONE_SIDED = 0.9
NO_ATLAS = "Lobes and structures are not named: no atlas is used."


@dataclass(frozen=True)
class Location:
    """Where a finding lies.

    Parameters
    ----------
    midline : Midline
    left_share : float
        Share of its volume on the patient's left.
    near_midline_share : float
        Share within 5 mm of the midline.
    box_mm : tuple of 6 float
        Smallest x, y, z and largest x, y, z, LPS, of the voxels' corners.
    centre_mm : tuple of 3 float
        Centre of mass, LPS.
    place : tuple of 2 float
        Centre within the head: 0 front to 1 back; 0 lowest to 1 highest slice with tissue.
    """

    midline: Midline
    left_share: float
    near_midline_share: float
    box_mm: tuple[float, float, float, float, float, float]
    centre_mm: tuple[float, float, float]
    place: tuple[float, float]

    @property
    def side(self) -> str:
        """``left``, ``right`` or ``both sides``; the patient's."""
        if self.left_share >= ONE_SIDED:
            return "left"
        return "right" if self.left_share <= 1.0 - ONE_SIDED else "both sides"

    @property
    def sentence(self) -> str:
        """Side and share, with how sure it is."""
        left, right = round(100 * self.left_share), 100 - round(100 * self.left_share)
        where = {"left": "in the left hemisphere", "right": "in the right hemisphere"}.get(self.side, "on both sides")
        near = ", close to the midline" if self.near_midline_share > 0.25 else ""
        sure = {"sure": "", "fair": "; the estimate of the midline is only fair"}.get(
            self.midline.sureness, "; the midline could not be found surely, so the side must be looked at"
        )
        return f"It lies {where} (left {left} %, right {right} %){near}{sure}."

    @property
    def place_words(self) -> str:
        """Coarse place in the head, by thirds of its extent in the images."""
        y, z = self.place
        front = "front" if y < 1 / 3 else "middle" if y < 2 / 3 else "back"
        upper = "lower" if z < 1 / 3 else "middle" if z < 2 / 3 else "upper"
        return f"{front} third of the head from front to back, {upper} third of its height in the images"


def locate(
    mask_kji: npt.NDArray[np.bool_], head_kji: npt.NDArray[np.bool_], geometry: StackGeometry, midline: Midline
) -> Location | None:
    """Say where a mask lies; None where it is empty.

    Parameters
    ----------
    mask_kji : ndarray of bool
    head_kji : ndarray of bool
        Tissue of the head on the same grid.
    geometry : StackGeometry
    midline : Midline
    """
    box = bounding_box(mask_kji)
    if box is None:
        return None
    points_mm = _positions(mask_kji, box, geometry)
    left_mm = midline.left_of_mm(points_mm)
    on_left = float(np.mean(left_mm > 0) + 0.5 * np.mean(left_mm == 0))
    low, high = _box_mm(box, geometry)
    centre = points_mm.mean(axis=0)
    return Location(
        midline,
        on_left,
        float(np.mean(np.abs(left_mm) <= NEAR_MIDLINE_MM)),
        (low[0], low[1], low[2], high[0], high[1], high[2]),
        (float(centre[0]), float(centre[1]), float(centre[2])),
        _place(centre, head_kji, geometry),
    )


def _positions(
    mask_kji: npt.NDArray[np.bool_], box: tuple[slice, slice, slice], geometry: StackGeometry
) -> npt.NDArray[np.float64]:
    index_kji = np.argwhere(mask_kji[box]) + [along.start for along in box]
    affine = geometry.affine_lps
    return np.asarray(index_kji[:, ::-1] @ affine[:3, :3].T + affine[:3, 3])


def _box_mm(box: tuple[slice, slice, slice], geometry: StackGeometry) -> tuple[list[float], list[float]]:
    ends = [(along.start - 0.5, along.stop - 0.5) for along in box]
    corners = np.array([[i, j, k] for k in ends[0] for j in ends[1] for i in ends[2]])
    corners_mm = corners @ geometry.affine_lps[:3, :3].T + geometry.affine_lps[:3, 3]
    return corners_mm.min(axis=0).round(1).tolist(), corners_mm.max(axis=0).round(1).tolist()


def _place(
    centre_mm: npt.NDArray[np.float64], head_kji: npt.NDArray[np.bool_], geometry: StackGeometry
) -> tuple[float, float]:
    stride = (1, 4, 4) if min(head_kji.shape[1:]) >= 32 else (1, 1, 1)
    index_kji = np.argwhere(head_kji[:: stride[0], :: stride[1], :: stride[2]]) * stride
    if not len(index_kji):
        return 0.5, 0.5
    head_mm = index_kji[:, ::-1] @ geometry.affine_lps[:3, :3].T + geometry.affine_lps[:3, 3]
    (front, low), (back, high) = np.percentile(head_mm[:, 1:], (0.5, 99.5), axis=0)
    y = (centre_mm[1] - front) / max(back - front, 1e-6)
    z = (centre_mm[2] - low) / max(high - low, 1e-6)
    return float(np.clip(y, 0, 1)), float(np.clip(z, 0, 1))
