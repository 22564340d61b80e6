"""What the node finds: label maps, measurements of them, and what a classifier says of a series."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from neuroscan_core.domain import codes
from neuroscan_core.domain.codes import Code
from neuroscan_core.domain.geometry import StackGeometry
from neuroscan_core.domain.model_card import ModelCard
from neuroscan_core.domain.volume import FrameKey

# Values of the label map of models of gliomas, everywhere: necrotic core, oedema, enhancing tumour.
GLIOMA_LABELS = (1, 2, 3)


@dataclass(frozen=True)
class CompositeRegion:
    """Labels of a glioma taken together (Menze 2015, 10.1109/TMI.2014.2377694).

    Parameters
    ----------
    name : str
        Short name, as the literature has it.
    title : str
        For people.
    labels : tuple of int
    type : Code
    """

    name: str
    title: str
    labels: tuple[int, ...]
    type: Code


# Each lies inside the one before.
GLIOMA_REGIONS = (
    CompositeRegion("WT", "whole tumour", (1, 2, 3), codes.NEOPLASM),
    CompositeRegion("TC", "tumour core", (1, 3), codes.TUMOUR_CORE),
    CompositeRegion("ET", "enhancing tumour", (3,), codes.ENHANCING_LESION),
)


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

    @classmethod
    def of(cls, card: ModelCard, engine: str) -> ModelIdentity:
        """Identity of a bundle's model on an engine."""
        return cls(card.name, card.version, card.onnx_sha256, engine)


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


@dataclass(frozen=True)
class CompositeMeasurement:
    """Size of several labels taken together.

    Parameters
    ----------
    region : str
        Name of one of `GLIOMA_REGIONS`.
    volume_ml, num_components, diameter
        As in `RegionMeasurement`.
    """

    region: str
    volume_ml: float
    num_components: int
    diameter: Diameter | None


@dataclass(frozen=True)
class Triage:
    """What a classifier says of a series; evidence beside a segmentation, never a diagnosis.

    Parameters
    ----------
    model : ModelIdentity
    classes : tuple of Code
        The meaning of each is its name.
    probabilities : tuple of float
        Of the series, one per class; they sum to 1.
    keys : tuple of FrameKey
        Slices that were looked at.
    slice_probabilities : tuple of tuple of float
        Per slice of `keys`, one per class.
    """

    model: ModelIdentity
    classes: tuple[Code, ...]
    probabilities: tuple[float, ...]
    keys: tuple[FrameKey, ...]
    slice_probabilities: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        assert len(self.probabilities) == len(self.classes) > 0
        assert len(self.slice_probabilities) == len(self.keys)

    @property
    def most_likely(self) -> Code:
        """Class with the greatest probability."""
        return self.classes[max(range(len(self.classes)), key=self.probabilities.__getitem__)]


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
    composites : tuple of CompositeMeasurement
        Labels taken together, where the model tells the parts of a glioma apart; may be empty.
    warnings : tuple of str
        What a reader of the result must know, as sentences; goes into the report.
    triage : Triage or None
        Where a classifier looked at the series, too.
    """

    geometry: StackGeometry
    keys: tuple[FrameKey, ...]
    labels_kji: npt.NDArray[np.uint8]
    measurements: tuple[RegionMeasurement, ...]
    composites: tuple[CompositeMeasurement, ...] = ()
    warnings: tuple[str, ...] = ()
    triage: Triage | None = None

    def __post_init__(self) -> None:
        assert self.labels_kji.shape == self.geometry.shape
        assert len(self.keys) == self.geometry.num_slices

    @property
    def is_empty(self) -> bool:
        """Whether nothing was found."""
        return not self.labels_kji.any()
