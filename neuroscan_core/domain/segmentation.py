"""What the node finds: label maps and measurements of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.geometry import StackGeometry
from neuroscan_core.domain.volume import FrameKey


@dataclass(frozen=True)
class ModelIdentity:
    """Which model made a result.

    Parameters
    ----------
    name, version : str
    sha256 : str
        Of the ONNX file, lower-case hexadecimal.
    engine : str
        What executed it, e.g. ``onnxruntime-cpu``.
    """

    name: str
    version: str
    sha256: str
    engine: str = ""


@dataclass(frozen=True)
class Diameter:
    """Largest axial diameters of a region (longest, and longest perpendicular to it) in one slice.

    Parameters
    ----------
    key : FrameKey
        Slice in which they were measured.
    long_mm, short_mm : float
    long_axis_ij, short_axis_ij : tuple of 4 float
        End points (i0, j0, i1, j1) in voxel indices of that slice.
    """

    key: FrameKey
    long_mm: float
    short_mm: float
    long_axis_ij: tuple[float, float, float, float]
    short_axis_ij: tuple[float, float, float, float]


@dataclass(frozen=True)
class RegionMeasurement:
    """Size of one labelled region.

    Parameters
    ----------
    label : int
        Value in the label map.
    volume_ml : float
    num_components : int
        26-connected parts.
    diameter : Diameter or None
        None where the region is empty.
    """

    label: int
    volume_ml: float
    num_components: int
    diameter: Diameter | None


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Label map of a volume on its source grid.

    Parameters
    ----------
    geometry : StackGeometry
    keys : tuple of FrameKey
        One per slice, ordered along the normal.
    labels_kji : ndarray of uint8, shape (slices, rows, columns)
        0 is background.
    measurements : tuple of RegionMeasurement
        One per label of the model, empty regions included.
    """

    geometry: StackGeometry
    keys: tuple[FrameKey, ...]
    labels_kji: npt.NDArray[np.uint8]
    measurements: tuple[RegionMeasurement, ...]

    def __post_init__(self) -> None:
        assert self.labels_kji.shape == self.geometry.shape
        assert len(self.keys) == self.geometry.num_slices

    @property
    def is_empty(self) -> bool:
        """Whether nothing was found."""
        return not self.labels_kji.any()
