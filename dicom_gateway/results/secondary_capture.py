"""Overlay pictures for archives that cannot show a SEG: the source slice in grey with the regions drawn on it.

Single-frame Secondary Capture, one picture per slice with a finding: every archive and viewer stores, sorts and scrolls
that. The multi-frame true-colour class would make one object of them, but is missing in much of what cannot show SEG.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from highdicom.sc import SCImage
from pydicom.uid import SecondaryCaptureImageStorage

from dicom_gateway.results import provenance
from dicom_gateway.results.seg import reference_item
from dicom_gateway.results.segments import Segment
from dicom_gateway.results.sources import SourceSlice
from dicom_gateway.results.uids import ResultIdentity
from neuroscan_core import __version__

SC_SOP_CLASS_UID = SecondaryCaptureImageStorage
FILL_OPACITY = 0.25
WINDOW_PERCENTILES = (0.5, 99.5)
_LETTERS = (("L", "R"), ("P", "A"), ("H", "F"))  # towards +x, -x, +y, -y, +z, -z of LPS


@dataclass(frozen=True, eq=False)
class OverlayContent:
    """Everything the pictures are made of.

    Parameters
    ----------
    identity : ResultIdentity
    slices : sequence of SourceSlice
    segments : sequence of Segment
        At least one.
    at_s : float
        Unix time of the last image.
    series_number : int
    series_description : str
    """

    identity: ResultIdentity
    slices: Sequence[SourceSlice]
    segments: Sequence[Segment]
    at_s: float
    series_number: int
    series_description: str

    @property
    def planes(self) -> list[int]:
        """Indices of slices with a finding."""
        return sorted({int(k) for segment in self.segments for k in segment.plane_indices})


def window_of(images: Sequence[npt.NDArray[np.float32]]) -> tuple[float, float]:
    """Grey values shown as black and as white: the same for all pictures of a series."""
    sample = np.concatenate([image_ji[::2, ::2].reshape(-1) for image_ji in images])
    low, high = np.percentile(sample, WINDOW_PERCENTILES)
    return float(low), float(max(high, low + 1e-6))


def overlays(content: OverlayContent, images: Sequence[npt.NDArray[np.float32]]) -> Iterator[SCImage]:
    """Draw and build the pictures.

    Parameters
    ----------
    content : OverlayContent
    images : sequence of ndarray, shape (rows, columns)
        Source pixels of the slices `content.planes`.
    """
    window = window_of(images)
    for number, (k, image_ji) in enumerate(zip(content.planes, images, strict=True), 1):
        yield _picture(content, number, content.slices[k], drawn(image_ji, window, content.segments, k))


def drawn(
    image_ji: npt.NDArray[np.float32], window: tuple[float, float], segments: Sequence[Segment], k: int
) -> npt.NDArray[np.uint8]:
    """Slice `k` in grey with regions filled faintly and outlined.

    Returns
    -------
    ndarray of uint8, shape (rows, columns, 3)
        Red, green, blue.
    """
    low, high = window
    grey_ji = np.clip((image_ji - low) / (high - low), 0, 1) * 255
    picture_jic = np.repeat(grey_ji[:, :, None], 3, axis=2)
    for segment in segments:
        position = int(np.searchsorted(segment.plane_indices, k))
        if position == len(segment.plane_indices) or segment.plane_indices[position] != k:
            continue
        mask_ji = segment.mask_pji[position]
        colour = np.array(segment.colour_rgb, float)
        picture_jic[mask_ji] += FILL_OPACITY * (colour - picture_jic[mask_ji])
        picture_jic[outline(mask_ji)] = colour
    return np.asarray(np.round(picture_jic), np.uint8)


def outline(mask_ji: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Voxels of a mask that touch, by an edge, what is not in it."""
    padded = np.pad(mask_ji, 1)
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.asarray(mask_ji & ~inside)


def patient_orientation(orientation: Sequence[float]) -> tuple[str, str]:
    """Anatomical directions of rows and columns (PS3.3 C.7.6.1.1.1), nearest letter each."""
    letters = []
    for direction in (np.array(orientation[:3]), np.array(orientation[3:])):
        axis = int(np.argmax(np.abs(direction)))
        letters.append(_LETTERS[axis][int(direction[axis] < 0)])
    return letters[0], letters[1]


def _picture(content: OverlayContent, number: int, source: SourceSlice, picture: npt.NDArray[np.uint8]) -> SCImage:
    result = SCImage(
        pixel_array=picture,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        study_instance_uid=str(source.header.StudyInstanceUID),
        series_instance_uid=provenance.PLACEHOLDER_UID,
        series_number=1,
        sop_instance_uid=provenance.PLACEHOLDER_UID,
        instance_number=number,
        manufacturer=provenance.MANUFACTURER,
        manufacturer_model_name=provenance.MODEL_NAME,
        software_versions=__version__,
        patient_birth_date="",
        pixel_spacing=(float(source.spacing[0]), float(source.spacing[1])),
        patient_orientation=patient_orientation([float(text) for text in source.orientation]),
    )
    result.copy_patient_and_study_information(provenance.bare_header(source))
    provenance.restore_identity(result, source.header)
    provenance.identify(
        result,
        sop_uid=content.identity.instance_uid("SC", number=number),
        series_uid=content.identity.series_uid("SC"),
        number=content.series_number,
        description=content.series_description,
        at_s=content.at_s,
    )
    provenance.add_equipment(result, content.identity.model, at_s=content.at_s)
    result.DateOfSecondaryCapture, result.TimeOfSecondaryCapture = result.ContentDate, result.ContentTime
    result.ImageComments = provenance.RESEARCH_USE
    result.BurnedInAnnotation = "NO"
    result.BodyPartExamined = source.header.get("BodyPartExamined") or "BRAIN"
    reference = reference_item(source)
    if source.frame_number is not None:
        reference.ReferencedFrameNumber = source.frame_number
    result.SourceImageSequence = [reference]
    return result
