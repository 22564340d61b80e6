"""Geometry of a frame from the attributes of the Image Plane module or of functional groups.

Which data set holds which attribute is the caller's business.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset

from dicom_gateway.reading.attributes import (
    FRAME_OF_REFERENCE_UID,
    IMAGE_ORIENTATION_PATIENT,
    IMAGE_POSITION_PATIENT,
    PIXEL_SPACING,
    decimals,
    string,
)  # fmt: skip
from dicom_gateway.reading.layout import PixelLayout
from dicom_gateway.reading.pixels import rescale_of
from neuroscan_core.domain.errors import RejectionCode, SeriesRejection, UnreadableObject
from neuroscan_core.domain.geometry import SliceGeometry


@dataclass(frozen=True)
class FrameFacts:
    """Where a frame lies and what its stored values mean.

    Parameters
    ----------
    number : int
        From 1.
    geometry : SliceGeometry
    slope, intercept : float
        Modality rescale.
    """

    number: int
    geometry: SliceGeometry
    slope: float = 1.0
    intercept: float = 0.0


def missing_geometry(what: str, remedy: str = "") -> SeriesRejection:
    """The rejection for a geometry that is not stated."""
    return SeriesRejection(RejectionCode.MISSING_GEOMETRY, what, remedy=remedy)


def plane_of(position: Dataset, orientation: Dataset, measures: Dataset, *, frame_of_reference_uid: str,
             shape: tuple[int, int]) -> SliceGeometry:  # fmt: skip
    """Geometry of one frame.

    Parameters
    ----------
    position, orientation, measures : Dataset
        Hold ImagePositionPatient, ImageOrientationPatient and PixelSpacing; one and the same for classic images.

    Raises
    ------
    SeriesRejection
        MISSING_GEOMETRY where an attribute is missing or makes no sense.
    """
    try:
        origin = decimals(position, IMAGE_POSITION_PATIENT, 3)
        cosines = decimals(orientation, IMAGE_ORIENTATION_PATIENT, 6)
        spacing = decimals(measures, PIXEL_SPACING, 2)
    except UnreadableObject as exc:
        raise missing_geometry(f"The position of an image is not readable: {exc.message}") from exc
    if origin is None or cosines is None or spacing is None:
        raise missing_geometry(
            "An image does not state position, orientation or pixel spacing.",
            "Send the original images; screenshots and reports have no geometry.",
        )
    return SliceGeometry(
        position_mm=(origin[0], origin[1], origin[2]),
        orientation=(cosines[0], cosines[1], cosines[2], cosines[3], cosines[4], cosines[5]),
        spacing_mm=(spacing[0], spacing[1]),
        shape=shape,
        frame_of_reference_uid=frame_of_reference_uid,
    )


def classic_frame(header: Dataset, layout: PixelLayout) -> FrameFacts:
    """Facts of a single-frame image (PS3.3 C.7.6.2)."""
    geometry = plane_of(
        header, header, header,
        frame_of_reference_uid=string(header, FRAME_OF_REFERENCE_UID), shape=(layout.rows, layout.columns),
    )  # fmt: skip
    return FrameFacts(1, geometry, *rescale_of(header))
