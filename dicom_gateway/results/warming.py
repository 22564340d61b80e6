"""Doing everything once at start, so that the first series does not wait for tables that are read on first use.

Of those tables, what no result needs is dropped.
"""

from __future__ import annotations

import gc

from highdicom._standard_utils import get_iod_module_map, get_module_attribute_map, get_sop_class_iod_map
from pydicom.dataset import Dataset
from pydicom.uid import (
    ComprehensiveSRStorage,
    EnhancedMRImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    MRImageStorage,
    SecondaryCaptureImageStorage,
)

from dicom_gateway.results.provenance import PLACEHOLDER_UID
from dicom_gateway.results.seg import BINARY_SOP_CLASS_UID, LABELMAP_SOP_CLASS_UID, shell
from dicom_gateway.results.seg_bytes import slice_parts
from dicom_gateway.results.sources import slice_of
from neuroscan_core.domain.volume import FrameKey

# What is written here, and what it is made from.
SOP_CLASSES = (
    BINARY_SOP_CLASS_UID, LABELMAP_SOP_CLASS_UID, ComprehensiveSRStorage, SecondaryCaptureImageStorage,
    MRImageStorage, EnhancedMRImageStorage, LegacyConvertedEnhancedMRImageStorage,
)  # fmt: skip


def warm_up() -> None:
    """Build a SEG of one voxel and throw it away; takes some 0.5 s in a new process, 10 ms after that."""
    header = Dataset()
    header.SOPClassUID, header.SOPInstanceUID = MRImageStorage, PLACEHOLDER_UID
    header.StudyInstanceUID = header.SeriesInstanceUID = header.FrameOfReferenceUID = PLACEHOLDER_UID
    header.Rows = header.Columns = 8
    header.ImagePositionPatient, header.ImageOrientationPatient = ["0", "0", "0"], ["1", "0", "0", "0", "1", "0"]
    header.PixelSpacing, header.SliceThickness = ["1", "1"], "1"
    source = slice_of(FrameKey(PLACEHOLDER_UID), header)
    slice_parts(source)
    shell(source)
    _forget_other_iods()


def _forget_other_iods() -> None:
    """Drop highdicom's tables of attributes of IODs that are never written here: some 50 MB of 60."""
    iod_of, modules_of = get_sop_class_iod_map(), get_iod_module_map()
    needed = {module["key"] for uid in SOP_CLASSES if uid in iod_of for module in modules_of[iod_of[uid]]}
    attributes = get_module_attribute_map()
    for module in attributes.keys() - needed:
        del attributes[module]
    gc.collect()
