"""Results as DICOM objects: segmentation (SEG), measurement report (SR) and overlay pictures (SC), written durably."""

from dicom_gateway.results.headers import SourceHeaders
from dicom_gateway.results.seg import BINARY_SOP_CLASS_UID, LABELMAP_SOP_CLASS_UID
from dicom_gateway.results.sources import CompanionSeries
from dicom_gateway.results.writer import ResultWriter, encoding_of

__all__ = [
    "BINARY_SOP_CLASS_UID",
    "LABELMAP_SOP_CLASS_UID",
    "CompanionSeries",
    "ResultWriter",
    "SourceHeaders",
    "encoding_of",
]
