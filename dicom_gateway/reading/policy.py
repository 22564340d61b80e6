"""Which images may be segmented at all, by what their header says of itself.

Geometry is judged elsewhere (`stack`); which series is wanted is decided by the rules.
"""

from __future__ import annotations

from pydicom import uid
from pydicom.dataset import Dataset

from dicom_gateway.reading.attributes import (
    BODY_PART_EXAMINED,
    COMPLEX_IMAGE_COMPONENT,
    IMAGE_TYPE,
    LOSSY_IMAGE_COMPRESSION,
    MODALITY,
    PHOTOMETRIC_INTERPRETATION,
    SAMPLES_PER_PIXEL,
    SOP_CLASS_UID,
    integer,
    string,
    strings,
)  # fmt: skip
from dicom_gateway.reading.mosaic import is_mosaic
from dicom_gateway.reading.plane import missing_geometry
from neuroscan_core.config import LossyPolicy, SeriesConfig
from neuroscan_core.domain.errors import RejectionCode, SeriesRejection

SOP_CLASSES = {uid.MRImageStorage, uid.EnhancedMRImageStorage, uid.LegacyConvertedEnhancedMRImageStorage}
COLOUR_SOP_CLASSES = {uid.EnhancedMRColorImageStorage}
LOSSY_SYNTAXES = {uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit}
MAYBE_LOSSY_SYNTAXES = {uid.JPEGLSNearLossless, uid.JPEG2000, uid.HTJ2K}
"""Lossy unless LossyImageCompression says otherwise."""

SCOUTS = {"LOCALIZER", "SCOUT", "LOCALISER", "SURVEY"}
PHASES = {"P", "PHASE", "PHASE MAP", "PHASE_MAP", "I", "IMAGINARY", "FIELD_MAP", "FIELD MAP", "B0 MAP", "VELOCITY MAP"}
MAPS = {
    "ADC", "ADC_UNSPECIFIED", "EADC", "FA", "TRACEW", "TRACE", "TENSOR", "TENSOR_B0", "MIP", "MINIP", "MIN_IP",
    "MAX_IP", "PROJECTION IMAGE", "SUBTRACTION", "CBF", "CBV", "MTT", "TTP", "TMAX", "RCBF", "RCBV", "RELCBF",
    "RELCBV", "RELMTT", "PBP", "GBP", "T1 MAP", "T2 MAP", "T2_STAR MAP", "R2 MAP", "RHO MAP", "PERFUSION_MAP",
    "CSAPARALLEL", "SCREEN SAVE",
}  # fmt: skip
REFORMATS = {"MPR", "CSA MPR", "REFORMATTED", "RESAMPLED", "DIS2D", "DIS3D", "NORM", "DRS", "DRG"}
"""DERIVED images that still show the measured contrast: other cuts, distortion correction, intensity filters."""


def classify(header: Dataset, config: SeriesConfig) -> None:
    """Accept an image, or say why its series must not be segmented.

    Raises
    ------
    SeriesRejection
        WRONG_MODALITY, WRONG_SOP_CLASS, NOT_GREYSCALE, LOCALIZER, DERIVED_IMAGE, LOSSY_COMPRESSED or WRONG_BODY_PART.
    """
    _check_kind(header)
    _check_image_type(header, config.accept_derived)
    if config.lossy is LossyPolicy.REJECT and is_lossy(header):
        raise SeriesRejection(
            RejectionCode.LOSSY_COMPRESSED,
            "The images were compressed with loss.",
            remedy="Send them uncompressed, or set series.lossy to accept.",
        )
    part = string(header, BODY_PART_EXAMINED).upper()
    if part and config.body_parts and part not in {allowed.upper() for allowed in config.body_parts}:
        raise SeriesRejection(
            RejectionCode.WRONG_BODY_PART,
            f"The series shows {part}, not the head.",
            remedy="series.body_parts lists what is accepted.",
        )


def require_referable_frames(header: Dataset) -> None:
    """Refuse images whose slices a segmentation object could not refer to.

    A SEG on the source grid refers to every slice as an instance and frame. The tiles of a mosaic are neither: a SEG
    for one would either have another grid than its reference or place tumour wrongly in a viewer.

    Raises
    ------
    SeriesRejection
        MISSING_GEOMETRY.
    """
    if is_mosaic(header):
        raise missing_geometry(
            "The series holds Siemens mosaics: a result could not refer to their single slices.",
            "Let the scanner send single or enhanced multi-frame images.",
        )


def is_lossy(header: Dataset) -> bool:
    """Whether the pixels lost information on their way."""
    flag = string(header, LOSSY_IMAGE_COMPRESSION)
    syntax = getattr(getattr(header, "file_meta", None), "TransferSyntaxUID", "")
    return flag == "01" or syntax in LOSSY_SYNTAXES or (syntax in MAYBE_LOSSY_SYNTAXES and flag != "00")


def _check_kind(header: Dataset) -> None:
    modality = string(header, MODALITY)
    if modality != "MR":
        raise SeriesRejection(RejectionCode.WRONG_MODALITY, f"The modality is {modality or 'not stated'}, not MR.")
    sop_class = uid.UID(string(header, SOP_CLASS_UID))
    if sop_class in COLOUR_SOP_CLASSES:
        raise SeriesRejection(RejectionCode.NOT_GREYSCALE, "The images are colour maps.")
    if sop_class not in SOP_CLASSES:
        raise SeriesRejection(
            RejectionCode.WRONG_SOP_CLASS, f"Objects of the class {sop_class.name} are not MR images."
        )
    samples = integer(header, SAMPLES_PER_PIXEL, 1)
    photometric = string(header, PHOTOMETRIC_INTERPRETATION)
    if samples != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise SeriesRejection(RejectionCode.NOT_GREYSCALE, f"The images are {photometric or 'colour'}, not greyscale.")


def _check_image_type(header: Dataset, accept_derived: bool) -> None:
    values = [value.upper() for value in strings(header, IMAGE_TYPE)]
    kinds = set(values[2:])
    if SCOUTS & set(values):
        raise SeriesRejection(RejectionCode.LOCALIZER, "The series is a localizer.")
    if accept_derived:
        return
    component = string(header, COMPLEX_IMAGE_COMPONENT).upper()
    if kinds & PHASES or component in ("PHASE", "IMAGINARY"):
        raise SeriesRejection(RejectionCode.DERIVED_IMAGE, "The series shows phase, not the magnitude of the signal.")
    maps = sorted(kinds & MAPS)
    if maps:
        raise SeriesRejection(RejectionCode.DERIVED_IMAGE, f"The series is a calculated map ({', '.join(maps)}).")
    if values[:1] == ["DERIVED"] and not kinds & REFORMATS:
        raise SeriesRejection(
            RejectionCode.DERIVED_IMAGE,
            "The series is derived from other images.",
            remedy="Send the original series, or set series.accept_derived.",
        )
