"""Reading DICOM MR objects: header facts, decoded slices with geometry, and the policy of what may be segmented."""

from dicom_gateway.reading.announced import expected_num_slices, is_concatenated, spacing_hint_mm
from dicom_gateway.reading.objects import ImageObject, object_of, open_object, parse_object, read_header
from dicom_gateway.reading.plane import FrameFacts
from dicom_gateway.reading.policy import classify, is_lossy, require_referable_frames
from dicom_gateway.reading.series import SourceSeries, dicom_files, read_series
from dicom_gateway.reading.slices import frames_of, slices_of
from dicom_gateway.reading.stack import CURABLE, SliceStack

__all__ = [
    "CURABLE", "FrameFacts", "ImageObject", "SliceStack", "SourceSeries", "classify", "dicom_files",
    "expected_num_slices", "frames_of", "is_concatenated", "is_lossy", "object_of", "open_object", "parse_object",
    "read_header", "read_series", "require_referable_frames", "slices_of", "spacing_hint_mm",
]  # fmt: skip
