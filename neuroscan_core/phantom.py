"""A generated head with a tumour whose extent is known: for the demo, for tests and for benchmarks; of no patient.

Anatomy is a map of tissues made from ellipsoids and smooth noise; each MR weighting is a table of tissue brightness,
blurred like a point spread function, with a receive-coil bias field and Rician noise. How slices become DICOM is in
`dicom_gateway.phantom_series`.

Axes: k towards the head's top, j towards the back, i towards the patient's left (LPS); millimetres, origin at the
centre of the grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum

import cv2
import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.geometry import SliceGeometry, StackGeometry

Field = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


class Weighting(str, Enum):
    """The four sequences of a tumour protocol."""

    FLAIR = "FLAIR"
    T1 = "T1"
    T1CE = "T1ce"
    T2 = "T2"


class Tissue(IntEnum):
    """Values of the tissue map."""

    AIR = 0
    FAT = 1
    MUSCLE = 2
    BONE = 3
    MARROW = 4
    CSF = 5
    GREY = 6
    WHITE = 7
    EYE = 8
    OEDEMA = 9
    ENHANCING = 10
    NECROSIS = 11


BRAIN = (Tissue.CSF, Tissue.GREY, Tissue.WHITE, Tissue.OEDEMA, Tissue.ENHANCING, Tissue.NECROSIS)
"""What is left of a head without its skull."""


TUMOUR = (Tissue.OEDEMA, Tissue.ENHANCING, Tissue.NECROSIS)

# Brightness relative to white matter = 100, in the order of `Tissue`.
_BRIGHTNESS: dict[Weighting, tuple[int, ...]] = {
    Weighting.FLAIR: (0, 215, 75, 14, 70, 18, 112, 100, 16, 205, 190, 125),
    Weighting.T1: (0, 175, 80, 12, 125, 28, 76, 100, 30, 66, 70, 42),
    Weighting.T1CE: (0, 175, 88, 12, 125, 28, 78, 100, 30, 66, 185, 42),
    Weighting.T2: (0, 150, 50, 12, 80, 235, 128, 100, 230, 200, 160, 225),
}
_UNIT = 6.0  # stored values per unit of brightness: tissue lies at some hundreds, as scanners store it


@dataclass(frozen=True, eq=False)
class HeadPhantom:
    """A head on a regular axial grid.

    Parameters
    ----------
    tissue_kji : ndarray of uint8, shape (slices, rows, columns)
        Values of `Tissue`.
    geometry : StackGeometry
    seed : int
    """

    tissue_kji: npt.NDArray[np.uint8]
    geometry: StackGeometry
    seed: int

    @property
    def tumour_kji(self) -> Mask:
        """The whole tumour, oedema included."""
        return np.isin(self.tissue_kji, TUMOUR)

    @property
    def tumour_ml(self) -> float:
        """Volume of the whole tumour."""
        return float(self.tumour_kji.sum()) * self.geometry.voxel_volume_ml

    def image(self, weighting: Weighting, *, noise: float = 0.025, bias: float = 0.08) -> npt.NDArray[np.uint16]:
        """Stored values of one sequence.

        Parameters
        ----------
        noise : float
            Standard deviation of each complex channel, as a fraction of white matter.
        bias : float
            Largest relative deviation of the coil's sensitivity.

        Returns
        -------
        ndarray of uint16, shape (slices, rows, columns)
        """
        rng = np.random.default_rng((self.seed, list(Weighting).index(weighting)))
        signal_kji = np.array(_BRIGHTNESS[weighting], dtype=np.float32)[self.tissue_kji]
        shape = self.geometry.shape
        signal_kji *= 1.0 + 0.035 * _smooth_noise(rng, shape, 5) * (self.tissue_kji > Tissue.AIR)
        for image_ji in signal_kji:
            cv2.GaussianBlur(image_ji, (0, 0), 0.65, dst=image_ji)
        signal_kji *= 1.0 + bias * np.clip(_smooth_noise(rng, shape, 110), -1, 1)
        sigma = 100.0 * noise
        out_kji = np.empty(shape, dtype=np.uint16)
        for k, image_ji in enumerate(signal_kji):
            real_ji = image_ji + sigma * rng.standard_normal(image_ji.shape, dtype=np.float32)
            imaginary_ji = sigma * rng.standard_normal(image_ji.shape, dtype=np.float32)
            out_kji[k] = np.clip(np.hypot(real_ji, imaginary_ji) * _UNIT, 0, 4095)
        return out_kji


def head_phantom(*, num_slices: int = 155, size: int = 256, spacing_mm: float = 1.0, seed: int = 7) -> HeadPhantom:
    """Make a head of `num_slices` axial slices, always about 155 mm from the neck to above the crown.

    Parameters
    ----------
    num_slices : int
        Fewer slices are further apart.
    size : int
        Rows and columns.
    spacing_mm : float
        Between pixels.
    seed : int
        Other seeds make other folds and another outline of the tumour.

    Raises
    ------
    ValueError
        The grid is too small to hold a head.
    """
    if num_slices < 2 or size * spacing_mm < 200:
        raise ValueError(f"{num_slices} slices of {size * spacing_mm:.0f} mm do not hold a head.")
    gap_mm = 155.0 / num_slices
    first = SliceGeometry(
        (-(size - 1) / 2 * spacing_mm, -(size - 1) / 2 * spacing_mm, -72.0),
        (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
        (spacing_mm, spacing_mm),
        (size, size),
    )
    geometry = StackGeometry(first, gap_mm, num_slices)
    rng = np.random.default_rng(seed)
    return HeadPhantom(_Anatomy(geometry, rng).tissues(), geometry, seed)


class _Anatomy:
    """Draws the tissue map from the outside in."""

    def __init__(self, geometry: StackGeometry, rng: np.random.Generator) -> None:
        affine, (slices, rows, columns) = geometry.affine_lps, geometry.shape
        self._z: Field = (affine[2, 3] + affine[2, 2] * np.arange(slices, dtype=np.float32))[:, None, None]
        self._y: Field = (affine[1, 3] + affine[1, 1] * np.arange(rows, dtype=np.float32))[None, :, None]
        self._x: Field = (affine[0, 3] + affine[0, 0] * np.arange(columns, dtype=np.float32))[None, None, :]
        self._shape = geometry.shape
        self._spacing = (geometry.spacing_mm, *geometry.first.spacing_mm)
        self._rng = rng

    def tissues(self) -> npt.NDArray[np.uint8]:
        """Paint every tissue over the ones before it."""
        out = np.zeros(self._shape, dtype=np.uint8)
        depth_mm = self._brain_depth()
        self._paint_head(out, depth_mm)
        self._paint_brain(out, depth_mm)
        self._paint_ventricles(out)
        self._paint_tumour(out, depth_mm)
        return out

    def _noise(self, scale_mm: float) -> Field:
        return _smooth_noise(self._rng, self._shape, scale_mm, self._spacing)

    def _ellipsoid(self, centre_mm: Sequence[float], radii_mm: Sequence[float], angle_deg: float = 0.0) -> Field:
        """Normalised distance, 1 on the surface; turned about the head's axis."""
        x, y, z = self._x - centre_mm[0], self._y - centre_mm[1], self._z - centre_mm[2]
        c, s = np.float32(np.cos(np.radians(angle_deg))), np.float32(np.sin(np.radians(angle_deg)))
        u, v = (x * c + y * s) / radii_mm[0], (y * c - x * s) / radii_mm[1]
        return np.asarray(np.sqrt(u * u + v * v + np.square(z / radii_mm[2])), dtype=np.float32)

    def _brain_depth(self) -> Field:
        """Approximate depth below the brain's surface, negative outside."""
        below = np.minimum(self._z + 12.0, 0.0)
        x, y = self._x / 66.0, (self._y - 2.0) / 83.0
        narrowing = 1.0 + 0.05 * y  # the forehead is narrower than the back
        d = np.sqrt(np.square(x * narrowing) + y * y + np.square(np.maximum(self._z - 2, 0) / 64.0)
                    + np.square(below / 42.0), dtype=np.float32)  # fmt: skip
        return np.asarray((1.0 - d) * 66.0 + 1.2 * self._noise(28), dtype=np.float32)

    def _paint_head(self, out: npt.NDArray[np.uint8], depth_mm: Field) -> None:
        """Scalp, skull and, below the brain, face and neck."""
        d = np.sqrt(np.square(self._x / 81.0) + np.square((self._y - 1.0) / 99.0)
                    + np.square(np.maximum(self._z - 2, 0) / 79.0), dtype=np.float32)  # fmt: skip
        outside_mm = (1.0 - d) * 81.0 + 0.8 * self._noise(40)
        out[outside_mm > 0] = Tissue.MUSCLE
        out[(outside_mm > 1.2) & (outside_mm < 6.5 + 1.5 * self._noise(30))] = Tissue.FAT
        face = (depth_mm < -3) & (outside_mm > 7) & (self._z < -8)
        texture = self._noise(7)
        out[face & (texture > 1.0)] = Tissue.FAT
        out[face & (texture < -0.9)] = Tissue.BONE
        sinuses = (self._ellipsoid((0, -62, -48), (16, 22, 20)) < 1 + 0.15 * texture) & (outside_mm > 12)
        out[sinuses & (np.abs(self._noise(4)) > 0.25)] = Tissue.AIR
        for side in (-1, 1):
            socket = self._ellipsoid((side * 31, -63, -34), (18, 20, 16)) < 1
            out[socket & (outside_mm > 6)] = Tissue.FAT
            out[self._ellipsoid((side * 32, -70, -34), (12, 12, 12)) < 1] = Tissue.EYE
        skull = (depth_mm < -2.5) & (depth_mm > -9) & (outside_mm > 4)
        out[skull] = Tissue.BONE
        out[skull & (depth_mm < -4.3) & (depth_mm > -6.8) & (self._noise(12) > -0.5)] = Tissue.MARROW

    def _paint_brain(self, out: npt.NDArray[np.uint8], depth_mm: Field) -> None:
        """Grey matter along the surface and along folds that reach inwards from it."""
        out[depth_mm > -2.5] = Tissue.CSF
        folds = np.abs(self._noise(9))
        reach = np.clip((26.0 - depth_mm) / 26.0, 0.0, 1.0)
        fissure_mm = np.abs(self._x + 1.5 * self._noise(35))
        deep = self._ellipsoid((0, 5, 10), (30, 38, 16)) < 1
        out[depth_mm > 0] = Tissue.WHITE
        out[(depth_mm > 0) & ((depth_mm < 3.2) | ((folds < 0.55 * reach) & ~deep))] = Tissue.GREY
        out[(depth_mm > 0) & (folds < 0.16 * reach) & (depth_mm < 18) & ~deep] = Tissue.CSF
        between = (depth_mm > 0) & ((self._z > 22) | (np.abs(self._y - 5) > 48)) & (self._z > -20)
        out[between & (fissure_mm < 3.8)] = Tissue.GREY
        out[between & (fissure_mm < 1.1)] = Tissue.CSF
        nuclei = [(15, -14, 8, 7, 16, 10), (12, 12, 6, 8, 13, 8)]
        for side in (-1, 1):
            for x, y, z, a, b, c in nuclei:
                out[self._ellipsoid((side * x, y, z), (a, b, c), side * 12) < 1] = Tissue.GREY
        sylvian_mm = np.abs(self._y + 10.0 - 0.8 * (self._z - 2.0) + 2.0 * self._noise(25))
        sides = [self._ellipsoid((side * 50, -10, 2), (22, 26, 18)) for side in (-1, 1)]
        insula = (depth_mm > 0) & (np.minimum(*sides) < 1)
        out[insula & (sylvian_mm < 5.0)] = Tissue.GREY
        out[insula & (sylvian_mm < 1.8)] = Tissue.CSF
        self._paint_hindbrain(out, depth_mm)

    def _paint_hindbrain(self, out: npt.NDArray[np.uint8], depth_mm: Field) -> None:
        cerebellum = (self._ellipsoid((0, 45, -36), (48, 32, 22)) < 1) & (depth_mm > 0)
        leaves = np.sin(0.9 * (self._y + 0.35 * np.abs(self._x)) + 1.5 * self._noise(18))
        out[cerebellum] = Tissue.WHITE
        out[cerebellum & (leaves > -0.45)] = Tissue.GREY
        out[cerebellum & (leaves > 0.92)] = Tissue.CSF
        stem = self._ellipsoid((0, 12, -42), (15, 15, 34)) < 1
        out[self._ellipsoid((0, 12, -42), (17.5, 17.5, 34)) < 1] = Tissue.CSF
        out[stem] = Tissue.WHITE
        out[self._ellipsoid((0, 28, -36), (7, 5, 10)) < 1] = Tissue.CSF

    def _paint_ventricles(self, out: npt.NDArray[np.uint8]) -> None:
        wobble = 1.0 + 0.10 * self._noise(14)
        for side in (-1, 1):
            out[self._ellipsoid((side * 9.5, -16, 17), (5, 19, 9), side * 14) < wobble] = Tissue.CSF
            out[self._ellipsoid((side * 14, 14, 17), (6, 20, 8), -side * 18) < wobble] = Tissue.CSF
            out[self._ellipsoid((side * 27, 34, 4), (6, 16, 8), side * 20) < wobble] = Tissue.CSF
        out[self._ellipsoid((0, -3, 5), (2.2, 14, 9)) < wobble] = Tissue.CSF

    def _paint_tumour(self, out: npt.NDArray[np.uint8], depth_mm: Field) -> None:
        """Oedema that spreads along white matter, around an enhancing rim with a dead centre."""
        centre = (33.0, -20.0, 27.0)
        rough = self._noise(13)
        d = self._ellipsoid(centre, (21, 27, 21), -20) + 0.16 * rough
        room = depth_mm > 1.0
        oedema = room & (((d < 1.0) & (out == Tissue.WHITE)) | ((d < 0.88) & (out != Tissue.AIR)))
        core = self._ellipsoid(centre, (12.5, 15, 12.5), 15) + 0.10 * rough
        out[oedema] = Tissue.OEDEMA
        out[room & (core < 1.0)] = Tissue.ENHANCING
        out[room & (core < 0.72)] = Tissue.NECROSIS


def _smooth_noise(
    rng: np.random.Generator,
    shape: tuple[int, int, int],
    scale_mm: float,
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> Field:
    """Noise of unit standard deviation that varies over about `scale_mm`, shape (k, j, i)."""
    slices, rows, columns = shape
    coarse = [max(2, int(np.ceil(n * step / scale_mm)) + 3) for n, step in zip(shape, spacing_mm, strict=True)]
    grid = rng.standard_normal(coarse, dtype=np.float32)
    planes = np.stack([cv2.resize(plane, (columns, rows), interpolation=cv2.INTER_CUBIC) for plane in grid])
    position = np.linspace(0.0, coarse[0] - 1.0, slices, dtype=np.float32)
    below = np.minimum(position.astype(np.intp), coarse[0] - 2)
    weight = (position - below)[:, None, None].astype(np.float32)
    field = planes[below] * (1 - weight) + planes[below + 1] * weight
    return np.asarray(field / max(float(field[:: max(1, slices // 8)].std()), 1e-6), dtype=np.float32)
