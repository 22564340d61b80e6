"""Pictures of a result for the report, as PNG: radiological view, outlines in the colours of the model's card."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from neuroscan_core.diagnosis.case import ModelResult, Reading
from neuroscan_core.pipeline.orientation import CanonicalView

HEIGHT = 320  # pixels
_HEAT = cv2.COLORMAP_VIRIDIS  # told apart by colour-blind people, and readable in grey


@dataclass(frozen=True)
class Picture:
    """A picture with its caption.

    Parameters
    ----------
    name : str
        Short, for file names and identifiers.
    caption : str
    png : bytes
    width, height : int
        Pixels.
    """

    name: str
    caption: str
    png: bytes
    width: int
    height: int


def pictures_of(reading: Reading, result: ModelResult | None) -> list[Picture]:
    """The slice that shows most, plain, outlined and as probabilities; planes across it; other slices.

    Nothing in them identifies the patient but what the images themselves show.
    """
    scene = _Scene(reading, result)
    d, h, w = scene.centre
    axial = scene.plane("axial", d)
    found = [_picture("slice", f"Slice {scene.number(d)}", scene.drawn(axial, outlined=False))]
    if result is None or result.segmentation.is_empty:
        return found
    found.append(_picture("outline", f"Slice {scene.number(d)} with what was marked", scene.drawn(axial)))
    found.append(_picture("probability", "Probability of tumour: dark violet 0, yellow 1", scene.heat(axial)))
    if reading.has_millimetres and reading.volume.geometry.num_slices > 1:
        found.append(_picture("coronal", "Coronal, through the middle of it", scene.drawn(scene.plane("coronal", h))))
        found.append(
            _picture("sagittal", "Sagittal, through the middle of it", scene.drawn(scene.plane("sagittal", w)))
        )
    if len(scene.marked) > 2:
        found.append(_picture("montage", "Slices through it, from the lowest to the highest", scene.montage()))
    return found


class _Plane:
    """A slice of image, labels and probabilities, with the size of its pixels and the names of its sides."""

    def __init__(
        self,
        image: npt.NDArray[np.float32],
        labels: npt.NDArray[np.uint8],
        probability: npt.NDArray[np.uint8],
        spacing_mm: tuple[float, float],
        sides: tuple[str, str],
    ) -> None:
        self.image, self.labels, self.probability, self.spacing_mm = image, labels, probability, spacing_mm
        self.sides = sides


class _Scene:
    def __init__(self, reading: Reading, result: ModelResult | None) -> None:
        self._view = view = CanonicalView.of(reading.volume.geometry)
        self._is_axial = view.axes[0] == 0
        self._has_sides = reading.has_millimetres  # a picture does not say which side is which
        self._num_slices = reading.volume.geometry.num_slices
        volume = view.to_canonical(reading.volume.voxels_kji)
        self._image = np.asarray(volume, dtype=np.float32)
        empty = np.zeros(volume.shape, dtype=np.uint8)
        self._labels = empty if result is None else np.asarray(view.to_canonical(result.segmentation.labels_kji))
        self._probability = empty if result is None else np.asarray(view.to_canonical(result.probability_kji))
        self._colours = {} if result is None else {label.value: label.colour_rgb for label in result.card.labels}
        sample = self._image[:, ::2, ::2]
        self._low, self._high = (float(value) for value in np.percentile(sample, (0.5, 99.8)))
        areas_D = np.count_nonzero(self._labels, axis=(1, 2))
        self.marked = np.flatnonzero(areas_D)
        depth, height, width = volume.shape
        d = int(areas_D.argmax()) if len(self.marked) else depth // 2
        where = np.argwhere(self._labels[d] > 0)
        h, w = where.mean(axis=0) if len(where) else (height // 2, width // 2)
        self.centre = (d, int(h), int(w))

    def number(self, d: int) -> str:
        """Number of a slice for people, from 1, where the series has axial slices."""
        if not self._is_axial:
            return "(axial view)"
        k = self._num_slices - 1 - d if self._view.is_reversed[0] else d
        return f"{k + 1} of {self._num_slices}"

    def plane(self, name: str, at: int) -> _Plane:
        gap, row, column = self._view.spacing_mm
        # The head is up in coronal and sagittal pictures; the nose points to the left in sagittal ones.
        cut: dict[str, tuple[Callable[[npt.NDArray[np.generic]], npt.NDArray[np.generic]], tuple[float, float]]] = {
            "axial": (lambda a: a[at], (row, column)),
            "coronal": (lambda a: a[::-1, at, :], (gap, column)),
            "sagittal": (lambda a: a[::-1, :, at], (gap, row)),
        }
        take, spacing_mm = cut[name]
        parts = [np.ascontiguousarray(take(array)) for array in (self._image, self._labels, self._probability)]
        image, labels, probability = parts[0].astype(np.float32), parts[1].astype(np.uint8), parts[2].astype(np.uint8)
        sides = ("A", "P") if name == "sagittal" else ("R", "L")
        return _Plane(image, labels, probability, spacing_mm, sides if self._has_sides else ("", ""))

    def _sized(self, plane: _Plane, height: int) -> tuple[int, int]:
        rows_mm, columns_mm = (n * mm for n, mm in zip(plane.image.shape, plane.spacing_mm, strict=True))
        return max(1, min(3 * height, round(height * columns_mm / rows_mm))), height

    def _grey(self, plane: _Plane, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
        span = max(self._high - self._low, 1e-12)
        grey = (np.clip((plane.image - self._low) / span, 0, 1) * 255).astype(np.uint8)
        return np.asarray(
            cv2.cvtColor(cv2.resize(grey, size, interpolation=cv2.INTER_LINEAR), cv2.COLOR_GRAY2BGR), np.uint8
        )

    def drawn(self, plane: _Plane, *, outlined: bool = True, height: int = HEIGHT) -> npt.NDArray[np.uint8]:
        """Grey picture (BGR) with outlines."""
        size = self._sized(plane, height)
        picture = self._grey(plane, size)
        for value, (red, green, blue) in self._colours.items() if outlined else ():
            mask = cv2.resize((plane.labels == value).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
            contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(picture, contours, -1, (blue, green, red), 2 if height >= HEIGHT else 1)
        return _lettered(picture, plane.sides) if height >= HEIGHT else picture

    def heat(self, plane: _Plane) -> npt.NDArray[np.uint8]:
        """Grey picture with probabilities in colour over it."""
        size = self._sized(plane, HEIGHT)
        picture = self._grey(plane, size)
        probability = cv2.resize(plane.probability, size, interpolation=cv2.INTER_LINEAR)
        colours = cv2.applyColorMap(probability, _HEAT)
        weight = (np.clip(probability.astype(np.float32) / 64.0, 0, 1) * 0.7)[..., None]
        return _lettered(np.asarray(picture * (1 - weight) + colours * weight).astype(np.uint8), plane.sides)

    def montage(self, columns: int = 4, height: int = 160) -> npt.NDArray[np.uint8]:
        """Up to eight slices, evenly spread over those that are marked."""
        chosen = sorted({int(self.marked[n]) for n in np.linspace(0, len(self.marked) - 1, 8).round().astype(int)})
        tiles = [self.drawn(self.plane("axial", d), height=height) for d in chosen]
        tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % min(columns, len(tiles)))
        rows = [np.hstack(tiles[n : n + columns]) for n in range(0, len(tiles), columns)]
        return np.asarray(np.vstack([row for row in rows if row.shape == rows[0].shape]), dtype=np.uint8)


def _lettered(picture: npt.NDArray[np.uint8], sides: tuple[str, str]) -> npt.NDArray[np.uint8]:
    """Write the names of the sides into the picture: right and left, or anterior and posterior, of the patient."""
    for letter, x in zip(sides, (8, picture.shape[1] - 26), strict=True):
        at = (x, picture.shape[0] // 2)
        for colour, width in (((0, 0, 0), 5), ((255, 255, 255), 2)):  # readable on any grey
            cv2.putText(picture, letter, at, cv2.FONT_HERSHEY_SIMPLEX, 0.8, colour, width, cv2.LINE_AA)
    return picture


def _picture(name: str, caption: str, pixels: npt.NDArray[np.uint8]) -> Picture:
    done, encoded = cv2.imencode(".png", pixels)
    assert done, "OpenCV encodes PNG"
    return Picture(name, caption, encoded.tobytes(), pixels.shape[1], pixels.shape[0])
