"""The label map of a series, put together of masks in whatever order they come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.events import MaskReady
from neuroscan_core.domain.geometry import SliceGeometry, StackGeometry
from neuroscan_core.domain.segmentation import ModelIdentity
from neuroscan_core.domain.volume import FrameKey

MAX_STACK = 4096  # slices; more means that the positions are no stack


@dataclass(frozen=True, eq=False)
class LabelVolume:
    """The part of a label map that holds all of its labels.

    Parameters
    ----------
    geometry : StackGeometry
        Of the whole series.
    origin_kji : tuple of 3 int
        Index of the first voxel of the part in the series.
    labels_kji : ndarray of uint8
        Empty, of shape (0, 0, 0), where nothing was found.
    is_final : bool
        False while it is put together of the masks so far.
    """

    geometry: StackGeometry
    origin_kji: tuple[int, int, int]
    labels_kji: npt.NDArray[np.uint8]
    model: ModelIdentity
    is_final: bool

    @property
    def affine_lps(self) -> npt.NDArray[np.float64]:
        """4x4 matrix from (i, j, k, 1) of the part to LPS millimetres."""
        to_whole = np.eye(4)
        to_whole[:3, 3] = self.origin_kji[::-1]
        return np.asarray(self.geometry.affine_lps @ to_whole)

    @classmethod
    def of(cls, geometry: StackGeometry, labels_kji: npt.NDArray[np.uint8], model: ModelIdentity) -> LabelVolume:
        """Cut a whole label map to what is labelled; it is final."""
        box = filled_box(labels_kji)
        return cls(geometry, (box[0].start, box[1].start, box[2].start), labels_kji[box], model, True)


@dataclass(frozen=True, eq=False)
class CutMask:
    """The mask of a slice, cut to the rectangle that its labels fill; a mask without labels takes no memory.

    Parameters
    ----------
    revision : int
        See `MaskReady`.
    origin_ji : tuple of 2 int
        Index of the first pixel.
    labels_ji : ndarray of uint8
    """

    revision: int
    origin_ji: tuple[int, int]
    labels_ji: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, mask: MaskReady) -> CutMask:
        """Cut the mask of an event."""
        rows, columns = filled_box(mask.labels_ji)
        return cls(mask.revision, (rows.start, columns.start), mask.labels_ji[rows, columns].copy())


def places(
    geometries: Mapping[FrameKey, SliceGeometry], spacing_hint_mm: float | None
) -> tuple[StackGeometry, dict[FrameKey, int]] | None:
    """Where slices of an unfinished series lie in their stack.

    Parameters
    ----------
    geometries : mapping of FrameKey to SliceGeometry
        Any of the slices, in any order.
    spacing_hint_mm : float or None
        Distance of neighbouring slices; the smallest gap where it is not known.

    Returns
    -------
    tuple of StackGeometry and dict of FrameKey to int, or None
        The stack from the first to the last of them, and the index of each. None where there is no slice, or where
        their positions are no stack.
    """
    if not geometries:
        return None
    normal = next(iter(geometries.values())).normal
    offsets_mm = {key: float(normal @ geometry.position_mm) for key, geometry in geometries.items()}
    lowest = min(offsets_mm, key=offsets_mm.__getitem__)
    first = geometries[lowest]
    gaps_mm = np.diff(np.unique(np.round(list(offsets_mm.values()), 3)))
    spacing_mm = spacing_hint_mm or (float(np.min(gaps_mm)) if gaps_mm.size else max(first.spacing_mm))
    indices = {key: round((offset_mm - offsets_mm[lowest]) / spacing_mm) for key, offset_mm in offsets_mm.items()}
    num_slices = max(indices.values()) + 1
    return (StackGeometry(first, spacing_mm, num_slices), indices) if num_slices <= MAX_STACK else None


def put_together(
    geometry: StackGeometry, indices: Mapping[FrameKey, int], masks: Mapping[FrameKey, CutMask], model: ModelIdentity
) -> LabelVolume:
    """The box around all masks; those of slices that have no index are left out."""
    filled = {indices[key]: mask for key, mask in masks.items() if mask.labels_ji.size and key in indices}
    if not filled:
        return LabelVolume(geometry, (0, 0, 0), np.zeros((0, 0, 0), np.uint8), model, False)
    k0, k1 = min(filled), max(filled) + 1
    j0 = min(mask.origin_ji[0] for mask in filled.values())
    i0 = min(mask.origin_ji[1] for mask in filled.values())
    j1 = max(mask.origin_ji[0] + mask.labels_ji.shape[0] for mask in filled.values())
    i1 = max(mask.origin_ji[1] + mask.labels_ji.shape[1] for mask in filled.values())
    labels_kji = np.zeros((k1 - k0, j1 - j0, i1 - i0), np.uint8)
    for k, mask in filled.items():
        j, i = mask.origin_ji[0] - j0, mask.origin_ji[1] - i0
        rows, columns = mask.labels_ji.shape
        labels_kji[k - k0, j : j + rows, i : i + columns] = mask.labels_ji
    return LabelVolume(geometry, (k0, j0, i0), labels_kji, model, False)


def filled_box(labels: npt.NDArray[np.uint8]) -> tuple[slice, ...]:
    """The smallest box that holds everything that is not background; slices of no length where nothing is."""
    box = []
    for axis in range(labels.ndim):
        others = tuple(other for other in range(labels.ndim) if other != axis)
        filled = np.flatnonzero(labels.any(axis=others))
        box.append(slice(int(filled[0]), int(filled[-1]) + 1) if filled.size else slice(0, 0))
    return tuple(box)
