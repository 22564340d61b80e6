"""How good the images are, as numbers: noise, signal, clipping, ghosts, shape of voxels.

What follows from the numbers is the critic's work; here they are only taken. Everything is measured in the canonical
view (D slices towards the head, H rows towards the back, W columns towards the patient's left), on the middle half of
the stack.

Sources: noise from air is that of a Rayleigh distribution (Gudbjartsson and Patz 1995, 10.1002/mrm.1910340618); noise
without air follows Immerkaer 1996 (10.1006/cviu.1996.0060); the ghost ratio is that of Giannelli 2010
(10.1120/jacmp.v11i4.3237).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from neuroscan_core.domain.volume import Volume
from neuroscan_core.pipeline.normalise import tissue_level
from neuroscan_core.pipeline.orientation import CanonicalView

Image = npt.NDArray[np.float32]

MAX_LOOKED_AT = 24  # slices, evenly spread over the middle half
RAYLEIGH_SPREAD = 0.5895  # median less 15.87th percentile of a Rayleigh distribution with sigma 1
MIN_AIR_SHARE = 0.02  # of the field of view, for noise and ghosts to be measured in it
AIR_MARGIN_MM = 8.0
TOUCHING_SHARE = 0.05  # of a face of the field of view; scalp at the crown covers less
_SECOND_DIFFERENCE = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)


@dataclass(frozen=True)
class Quality:
    """Numbers on a volume.

    Parameters
    ----------
    num_slices : int
    voxel_mm : tuple of 3 float
        Between slices, rows, columns.
    noise : float
        Standard deviation, in the unit of the voxels.
    is_noise_from_air : bool
        Whether it was measured around the head; otherwise estimated inside of it, which fine anatomy makes larger.
    signal : float
        Median of the tissue.
    clipped : float
        Share of the tissue at the largest value.
    ghost : float or None
        Difference of the air along rows and columns, as a share of the signal; None where there is no air.
    levels : int
        Different values in the looked-at slices, at most 4096 are counted.
    head_mm : tuple of 3 float
        Extent of the tissue: feet to head, front to back, right to left.
    touches : tuple of str
        Faces of the field of view that tissue lies on, e.g. ``left``; the feet's face is left out, where necks end.
    """

    num_slices: int
    voxel_mm: tuple[float, float, float]
    noise: float
    is_noise_from_air: bool
    signal: float
    clipped: float
    ghost: float | None
    levels: int
    head_mm: tuple[float, float, float]
    touches: tuple[str, ...]

    @property
    def snr(self) -> float | None:
        """Signal over noise; None where no noise was found, as in processed images."""
        return self.signal / self.noise if self.noise > 1e-6 * max(self.signal, 1e-12) else None

    @property
    def anisotropy(self) -> float:
        """Longest over shortest edge of a voxel."""
        return max(self.voxel_mm) / min(self.voxel_mm)


def measure_quality(volume: Volume) -> Quality:
    """Take the numbers of a volume."""
    view = CanonicalView.of(volume.geometry)
    volume_DHW = np.asarray(view.to_canonical(volume.voxels_kji))
    looked_at = _middle(volume_DHW)
    level = tissue_level(looked_at[:, ::2, ::2])
    tissue = _without_specks(looked_at > level)
    inside = looked_at[tissue]
    signal = float(np.median(inside)) if inside.size else 0.0
    air = _air(looked_at, tissue, view.spacing_mm[1:])
    noise, from_air = _noise(looked_at, tissue, air)
    row_mm, column_mm = volume.geometry.first.spacing_mm
    head_mm, touches = _extent(volume_DHW, level, view.spacing_mm)
    return Quality(
        num_slices=volume.geometry.num_slices,
        voxel_mm=(volume.geometry.spacing_mm, row_mm, column_mm),
        noise=noise,
        is_noise_from_air=from_air,
        signal=signal,
        clipped=_clipped(looked_at, inside),
        ghost=_ghost(looked_at, tissue, air, signal),
        levels=int(min(len(np.unique(looked_at[:, ::2, ::2])), 4096)),
        head_mm=head_mm,
        touches=touches,
    )


def _middle(volume_DHW: npt.NDArray[np.generic]) -> Image:
    quarter = len(volume_DHW) // 4
    middle = volume_DHW[quarter : len(volume_DHW) - quarter]
    return np.ascontiguousarray(middle[:: max(1, len(middle) // MAX_LOOKED_AT)], dtype=np.float32)


def _without_specks(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """A mask without single voxels: in noisy images some of the air is as bright as tissue."""
    kernel = np.ones((3, 3), np.uint8)
    return np.stack([cv2.morphologyEx(one.astype(np.uint8), cv2.MORPH_OPEN, kernel) > 0 for one in mask])


def _air(looked_at: Image, tissue: npt.NDArray[np.bool_], spacing_mm: tuple[float, float]) -> npt.NDArray[np.bool_]:
    """Voxels around the head, away from its edge; without those that the scanner or a mask set to one value."""
    size = [max(1, round(AIR_MARGIN_MM / step)) for step in spacing_mm]
    kernel = np.ones([2 * n + 1 for n in size], np.uint8)
    air = np.stack([cv2.dilate(_filled(mask), kernel) == 0 for mask in tissue])
    return np.asarray(air & (looked_at != 0))


def _filled(mask_HW: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    contours, _ = cv2.findContours(mask_HW.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    filled = np.zeros(mask_HW.shape, np.uint8)
    cv2.drawContours(filled, contours, -1, 1, -1)
    return filled


def _noise(looked_at: Image, tissue: npt.NDArray[np.bool_], air: npt.NDArray[np.bool_]) -> tuple[float, bool]:
    values = looked_at[air]
    if values.size >= MIN_AIR_SHARE * looked_at.size:
        # The lower half is hardly reached by ghosts and by flowing blood, which lie above the noise.
        low, median = np.percentile(values, (15.87, 50.0))
        sigma = float(median - low) / RAYLEIGH_SPREAD
        if sigma > 0:
            return sigma, True
    return _noise_inside(looked_at, tissue), False


def _noise_inside(looked_at: Image, tissue: npt.NDArray[np.bool_]) -> float:
    responses = []
    for image_HW, mask_HW in zip(looked_at, tissue, strict=True):
        inner = cv2.erode(mask_HW.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        if inner.any():
            responses.append(np.abs(cv2.filter2D(image_HW, cv2.CV_32F, _SECOND_DIFFERENCE))[inner])
    if not responses:
        return 0.0
    # The median of |x| of a Gaussian is 0.6745 sigma; the kernel multiplies sigma by 6.
    return float(np.median(np.concatenate(responses)) / (0.6745 * 6.0))


def _clipped(looked_at: Image, inside: npt.NDArray[np.float32]) -> float:
    return float(np.mean(inside >= looked_at.max())) if inside.size else 0.0


def _ghost(looked_at: Image, tissue: npt.NDArray[np.bool_], air: npt.NDArray[np.bool_], signal: float) -> float | None:
    """Ghosts repeat the head along the phase-encoding axis, so air along that axis is brighter than along the other.

    A hint only: a ghost of more than a tenth of the brightest tissue counts as tissue itself and is not measured.
    """
    if signal <= 0:
        return None
    differences = []
    for image_HW, mask_HW, air_HW in zip(looked_at, tissue, air, strict=True):
        rows, columns = np.flatnonzero(mask_HW.any(axis=1)), np.flatnonzero(mask_HW.any(axis=0))
        if not len(rows):
            continue
        along_rows, along_columns = np.zeros_like(air_HW), np.zeros_like(air_HW)
        along_columns[rows[0] : rows[-1] + 1] = True
        along_rows[:, columns[0] : columns[-1] + 1] = True
        beside = image_HW[air_HW & along_columns & ~along_rows]
        above = image_HW[air_HW & along_rows & ~along_columns]
        if min(beside.size, above.size) >= 0.005 * image_HW.size:
            differences.append(abs(float(beside.mean()) - float(above.mean())) / (2.0 * signal))
    return float(np.median(differences)) if differences else None


def _extent(
    volume_DHW: npt.NDArray[np.generic], level: float, spacing_mm: tuple[float, float, float]
) -> tuple[tuple[float, float, float], tuple[str, ...]]:
    step = [max(1, round(2.0 / mm)) for mm in spacing_mm]
    coarse = np.asarray(volume_DHW[:: step[0], :: step[1], :: step[2]]) > level
    tissue = _largest(coarse)
    if not tissue.any():
        return (0.0, 0.0, 0.0), ()
    lengths, touches = [], []
    names = (("", "top"), ("front", "back"), ("right", "left"))
    for axis, (mm, n) in enumerate(zip(spacing_mm, step, strict=True)):
        others = tuple(other for other in range(3) if other != axis)
        shares = tissue.mean(axis=others)
        where = np.flatnonzero(shares > 0.0)
        lengths.append(float(where[-1] - where[0] + 1) * n * mm)
        for end, name in zip((0, -1), names[axis], strict=True):
            if name and shares[end] > TOUCHING_SHARE:
                touches.append(name)
    return (lengths[0], lengths[1], lengths[2]), tuple(touches)


def _largest(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    components, num = ndimage.label(mask)
    if num == 0:
        return mask
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    return np.asarray(components == int(sizes.argmax()))
