"""2.5D windows: a slice with its two neighbours, as the network sees them.

Here one slice is brought into the network's frame, three become one input, and logits become labels on the source
pixels. Which slices are neighbours is decided in `streaming`; intensities and in-plane geometry are those of
`normalise` and `grid`.

Shape legend: C = 3 slices (z-1, z, z+1), L labels of the model, H, W rows and columns of the network's input, j, i
source rows and columns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.errors import RejectionCode, SeriesRejection
from neuroscan_core.domain.geometry import SliceGeometry
from neuroscan_core.domain.model_card import ModelCard
from neuroscan_core.domain.volume import FrameKey, Slice
from neuroscan_core.pipeline.grid import MIN_AXIAL_COSINE, InPlaneGrid
from neuroscan_core.pipeline.normalise import normalise_window, slice_scale


@dataclass(frozen=True, eq=False)
class PreparedSlice:
    """A slice in the network's frame.

    Parameters
    ----------
    key : FrameKey
    grid : InPlaneGrid
        Way from the source pixels and back.
    offset_mm : float
        Position along the slice normal.
    is_head_up : bool
        Whether growing offsets run towards the head.
    image_HW : ndarray of float32
        Source intensities on the network's grid.
    scale : float
        `slice_scale` of it; 0 for a slice that is all air.
    """

    key: FrameKey
    grid: InPlaneGrid
    offset_mm: float
    is_head_up: bool
    image_HW: npt.NDArray[np.float32]  # noqa: N815 - shape suffix
    scale: float


def is_axial(geometry: SliceGeometry) -> bool:
    """Whether a slice can be fed to an axial network as it is, obliquely or not."""
    return abs(float(geometry.normal[2])) >= MIN_AXIAL_COSINE


def prepare_slice(source: Slice, card: ModelCard) -> PreparedSlice:
    """Bring a slice into the network's frame.

    Raises
    ------
    SeriesRejection
        ``unsupported-plane`` where the slice is not axial.
    """
    geometry = source.geometry
    if not is_axial(geometry):
        raise SeriesRejection(
            RejectionCode.UNSUPPORTED_PLANE, f"The slices are {geometry.plane.value}; the model needs axial ones."
        )
    grid = InPlaneGrid.from_orientation(
        *geometry.shape,
        geometry.spacing_mm,
        geometry.orientation,
        size=card.plane_size,
        working_spacing_mm=card.spacing_mm,
        tolerance=card.spacing_tolerance,
    )
    image_HW = grid.to_model(source.pixels_ji)
    with np.errstate(invalid="ignore", over="ignore"):
        is_finite = math.isfinite(float(image_HW.sum()))
    if not is_finite:
        np.nan_to_num(image_HW, copy=False, posinf=0.0, neginf=0.0)
    return PreparedSlice(
        source.key, grid, geometry.offset_mm, bool(geometry.normal[2] > 0), image_HW, slice_scale(image_HW)
    )


def stack_window(before: PreparedSlice, centre: PreparedSlice, after: PreparedSlice) -> npt.NDArray[np.float32]:
    """Return the network's input (C, H, W) for `centre`.

    Parameters
    ----------
    before, after : PreparedSlice
        Neighbours with the smaller and the larger offset; `centre` itself where there is none. The network's channels
        run towards the head, whichever way the offsets do.
    """
    below, above = (before, after) if centre.is_head_up else (after, before)
    slices = (below, centre, above)
    return normalise_window([s.image_HW for s in slices], [s.scale for s in slices])


def labels_from_logits(logits_LHW: npt.NDArray[np.float32], card: ModelCard) -> npt.NDArray[np.uint8]:
    """Return the label map (H, W): each label where its probability exceeds the threshold, later ones on top."""
    threshold = math.log(card.threshold / (1.0 - card.threshold))
    labels_HW = np.zeros(logits_LHW.shape[1:], dtype=np.uint8)
    for label, logit_HW in zip(card.labels, logits_LHW, strict=True):
        labels_HW[logit_HW > threshold] = label.value
    return labels_HW


def labels_on_source(labels_HW: npt.NDArray[np.uint8], centre: PreparedSlice) -> npt.NDArray[np.uint8]:
    """Bring a label map back onto the pixels (j, i) that `centre` came from."""
    return np.asarray(centre.grid.from_model(labels_HW), dtype=np.uint8)


def empty_labels(centre: PreparedSlice) -> npt.NDArray[np.uint8]:
    """Return the label map of a slice in which nothing is found."""
    return np.zeros((centre.grid.rows, centre.grid.columns), dtype=np.uint8)
