"""From voxels with an affine to the network's frame: axial slices towards the head.

Row 0 is anterior, column 0 is patient right, 256 x 256 pixels of about 1 mm,
through the node's own `InPlaneGrid`. Nothing is scaled in intensity but what
16 bits ask for.

Shape legend: i, j, k axes of a file; C channels, S slices, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from neuroscan_core.pipeline.grid import InPlaneGrid
from training.data.errors import UnknownLabelError, UnsupportedPlaneError

#: A slice may lean by about 8 degrees against the world's axes.
MIN_COSINE = 0.99
MAX_UINT16 = 65535
#: Below this bright end, integers would be too coarse for what floats hold.
MIN_BRIGHT_END = 64.0
FLOAT_BRIGHT_END = 4096.0


@dataclass(frozen=True)
class Volume:
    """What a reader returns.

    Parameters
    ----------
    images_SCHW : numpy.ndarray
        uint16 (pictures uint8), channels as asked for.
    labels_SHW : numpy.ndarray
        uint8: 0 background, 1 necrotic core, 2 oedema, 3 enhancing; where only the whole tumour is known, 1.
    spacing_mm : tuple of float
        Between slices, rows and columns of the arrays; 0.0 where unknown.
    class_index : int
        Of a picture, in the order of `CLASSES`; -1 otherwise.
    """

    images_SCHW: npt.NDArray[np.generic]  # noqa: N815 - shape suffix
    labels_SHW: npt.NDArray[np.uint8]  # noqa: N815 - shape suffix
    spacing_mm: tuple[float, float, float]
    class_index: int = -1


def canonical_grid(
    shape_ijk: Sequence[int], affine_ras: npt.NDArray[np.floating], name: str
) -> tuple[InPlaneGrid, tuple[float, float, float], bool]:
    """Return the grid of a NIfTI volume's slices, the spacing, and whether k runs towards the feet.

    Parameters
    ----------
    shape_ijk : sequence of int
        Of the volume, three axes.
    affine_ras : numpy.ndarray
        Voxel to world, RAS in mm, (4, 4).
    name : str
        For the error.

    Raises
    ------
    UnsupportedPlaneError
        If the third axis does not run along the body or slices are oblique.
    """
    # NIfTI is RAS: LPS direction cosines are the columns of the affine with x and y negated.
    directions = np.diag([-1.0, -1.0, 1.0]) @ np.asarray(affine_ras, dtype=np.float64)[:3, :3]
    spacing = np.linalg.norm(directions, axis=0)
    if not np.all(spacing > 0):
        raise UnsupportedPlaneError(f"{name}: the affine is singular.", remedy="Write the file anew with its geometry.")
    directions = directions / spacing
    if abs(directions[2, 2]) < MIN_COSINE:
        raise UnsupportedPlaneError(
            f"{name}: slices are oblique or not axial (cosine {directions[2, 2]:.2f}).",
            remedy="Resample the volume onto axial slices first.",
        )
    # A slice [:, :, k] is (i, j): i is its row, j its column.
    grid = InPlaneGrid.from_orientation(
        int(shape_ijk[0]),
        int(shape_ijk[1]),
        (float(spacing[0]), float(spacing[1])),
        (*directions[:, 1], *directions[:, 0]),
    )
    return grid, (float(spacing[2]), *in_plane_spacing(grid)), bool(directions[2, 2] < 0)


def in_plane_spacing(grid: InPlaneGrid) -> tuple[float, float]:
    """Return the distance of rows and of columns after `to_model`, in mm."""
    if grid.is_resampled:
        return grid.working_spacing_mm, grid.working_spacing_mm
    rows, columns = grid.spacing_mm
    return (columns, rows) if grid.transpose else (rows, columns)


def to_uint16(volume: npt.NDArray[np.generic]) -> npt.NDArray[np.uint16]:
    """Store intensities in 16 bits.

    Below 0 becomes 0. Integers stay as they are where they fit; floats of a
    small range (0..1, say) and values beyond 16 bits are scaled by one
    factor, which no normalisation of NeuroScan notices.
    """
    positive = np.maximum(np.nan_to_num(volume, nan=0.0, posinf=0.0, neginf=0.0), 0)
    top = float(positive.max(initial=0))
    is_coarse = positive.dtype.kind == "f" and 0 < top < MIN_BRIGHT_END
    if top > MAX_UINT16 or is_coarse:
        positive = positive.astype(np.float32) * np.float32(
            (MAX_UINT16 if top > MAX_UINT16 else FLOAT_BRIGHT_END) / top
        )
    return np.rint(positive).astype(np.uint16) if positive.dtype.kind == "f" else positive.astype(np.uint16)


def image_slices(volume_ijk: npt.NDArray[np.generic], grid: InPlaneGrid, is_reversed: bool) -> npt.NDArray[np.uint16]:
    """Bring the slices [:, :, k] of an image into the network's frame, [S, H, W]."""
    order = range(volume_ijk.shape[2])
    stored = to_uint16(volume_ijk)
    slices = [grid.to_model(stored[:, :, k]) for k in (reversed(order) if is_reversed else order)]
    return np.rint(np.stack(slices)).astype(np.uint16)


def label_slices(labels_ijk: npt.NDArray[np.generic], grid: InPlaneGrid, is_reversed: bool) -> npt.NDArray[np.uint8]:
    """Bring the slices of a label map into the network's frame, [S, H, W].

    Where slices are resampled, each label is resampled as a fraction and the
    strongest one wins, so that no label turns into another on an edge.
    """
    order = range(labels_ijk.shape[2])
    slices = [_label_slice(np.asarray(labels_ijk[:, :, k]), grid) for k in (reversed(order) if is_reversed else order)]
    return np.stack(slices)


def _label_slice(labels_ij: npt.NDArray[np.generic], grid: InPlaneGrid) -> npt.NDArray[np.uint8]:
    if not grid.is_resampled:
        return np.rint(grid.to_model(labels_ij)).astype(np.uint8)
    values = np.unique(labels_ij)
    winner, best = np.zeros(grid.size, dtype=np.uint8), np.full(grid.size, 0.5, dtype=np.float32)
    tumour = grid.to_model(labels_ij > 0)
    strongest = np.zeros(grid.size, dtype=np.float32)
    for value in values[values > 0]:
        share = grid.to_model(labels_ij == value)
        winner = np.where(share > strongest, np.uint8(value), winner)
        strongest = np.maximum(strongest, share)
    return np.where(tumour >= best, winner, np.uint8(0))


def map_labels(labels: npt.NDArray[np.generic], mapping: dict[int, int], name: str) -> npt.NDArray[np.uint8]:
    """Replace the labels of a source by those of NeuroScan.

    Raises
    ------
    UnknownLabelError
        If a value is not in the mapping.
    """
    values = np.unique(labels)
    unknown = [float(value) for value in values if float(value) not in mapping]
    if unknown:
        raise UnknownLabelError(
            f"{name}: label {unknown[:5]}, known are {sorted(mapping)}.",
            remedy="Is this the expert's label map of this data set?",
        )
    table = np.zeros(max(mapping) + 1, dtype=np.uint8)
    table[list(mapping)] = list(mapping.values())
    return table[np.asarray(labels).astype(np.intp)]
