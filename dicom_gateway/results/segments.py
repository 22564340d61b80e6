"""From label map to segments: which regions exist, how they are numbered, named, coded and coloured.

Segments are numbered from 1 without gaps in the order of the card's labels; regions without a voxel are left out.
A segment keeps the value of its label, so a label-map encoding can be read back with the card. Each segment has its own
mask: regions that overlap need no other structure, only the encoding LABELMAP refuses them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from highdicom import AlgorithmIdentificationSequence
from highdicom.color import CIELabColor
from highdicom.seg import SegmentAlgorithmTypeValues, SegmentDescription
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as DicomCode

from dicom_gateway.results.provenance import MANUFACTURER, fitting
from dicom_gateway.results.uids import ResultIdentity
from neuroscan_core.domain.codes import Code
from neuroscan_core.domain.errors import InvalidBundle
from neuroscan_core.domain.model_card import Label, ModelCard
from neuroscan_core.domain.segmentation import ModelIdentity

SPARE_COLOURS_RGB = ((230, 60, 60), (60, 160, 230), (240, 200, 60), (90, 200, 90), (200, 90, 200), (240, 140, 50))


@dataclass(frozen=True, eq=False)
class Segment:
    """One region that was found.

    Parameters
    ----------
    number : int
        Segment number in the SEG.
    label : Label
        What it is.
    colour_rgb : tuple of 3 int
        As in the card, or a spare one where another segment has the same.
    plane_indices : ndarray of int, shape (planes,)
        Slices of the manifest in which it has voxels, ascending.
    mask_pji : ndarray of bool, shape (planes, rows, columns)
        Its voxels in those slices.
    """

    number: int
    label: Label
    colour_rgb: tuple[int, int, int]
    plane_indices: npt.NDArray[np.intp]
    mask_pji: npt.NDArray[np.bool_]


def dicom_code(code: Code) -> DicomCode:
    """The same concept as pydicom and highdicom want it."""
    return DicomCode(code.value, code.scheme, code.meaning)


def segments_of(labels_kji: npt.NDArray[np.uint8], card: ModelCard) -> list[Segment]:
    """Segments of a label map; empty where nothing was found.

    Raises
    ------
    InvalidBundle
        The map holds a value that the card does not know.
    """
    planes = np.flatnonzero(labels_kji.any(axis=(1, 2)))
    labels_pji = labels_kji[planes]
    segments: list[Segment] = []
    num_explained = 0
    for label in card.labels:
        mask_pji = labels_pji == label.value
        holds = mask_pji.any(axis=(1, 2))
        if not holds.any():
            continue
        num_explained += int(np.count_nonzero(mask_pji))
        colour = _distinct(label.colour_rgb, [segment.colour_rgb for segment in segments])
        segments.append(Segment(len(segments) + 1, label, colour, planes[holds], mask_pji[holds]))
    if num_explained != np.count_nonzero(labels_pji):
        raise InvalidBundle(
            f"The masks hold values that the card of {card.name} does not list.", remedy="Export the bundle again."
        )
    return segments


def _distinct(colour: tuple[int, int, int], taken: Sequence[tuple[int, int, int]]) -> tuple[int, int, int]:
    candidates = (colour, *SPARE_COLOURS_RGB)
    return next((candidate for candidate in candidates if candidate not in taken), colour)


def algorithm_identification(model: ModelIdentity) -> AlgorithmIdentificationSequence:
    """Name, version and SHA-256 of the model (PS3.3 table 10-19); family DCM 123110 of CID 7162."""
    return AlgorithmIdentificationSequence(
        name=model.name[:64],
        family=codes.DCM.ArtificialIntelligence,
        version=model.version[:64],
        source=MANUFACTURER,
        parameters={"sha256": model.sha256},
    )


def descriptions(
    segments: Sequence[Segment], identity: ResultIdentity, charset: str | Sequence[str]
) -> list[SegmentDescription]:
    """Segment Description macros (PS3.3 C.8.20.4) of the segments."""
    algorithm = algorithm_identification(identity.model)
    return [
        SegmentDescription(
            segment_number=segment.number,
            segment_label=fitting(segment.label.name, charset),
            segmented_property_category=dicom_code(segment.label.category),
            segmented_property_type=dicom_code(segment.label.type),
            algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=algorithm,
            tracking_uid=identity.tracking_uid(segment.label.value),
            tracking_id=tracking_id(segment.label, charset),
            anatomic_regions=[dicom_code(segment.label.region)],
            display_color=CIELabColor.from_rgb(*segment.colour_rgb),
        )
        for segment in segments
    ]


def tracking_id(label: Label, charset: str | Sequence[str]) -> str:
    """TrackingID of a region: the same in SEG and SR."""
    return fitting(f"{MANUFACTURER} {label.name}", charset)
