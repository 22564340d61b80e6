"""Doing everything once at start, so that the first series does not wait for tables that are read on first use."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage

from dicom_gateway.results.provenance import PLACEHOLDER_UID
from dicom_gateway.results.seg import shell
from dicom_gateway.results.seg_bytes import slice_parts
from dicom_gateway.results.sources import slice_of
from neuroscan_core.domain.volume import FrameKey


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
