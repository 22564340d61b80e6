"""Real MR objects, and small made ones that differ from a sound image in exactly what a test is about."""

from __future__ import annotations

import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

MakeImage = Callable[..., Dataset]


@pytest.fixture(scope="session")
def mr_data() -> Path:
    """Folder of real MR objects of several makers."""
    root = Path(os.environ.get("NEUROSCAN_SHARED", Path(__file__).parents[3] / "shared"))
    folder = root / "data" / "dicom_mr"
    if not folder.is_dir():
        pytest.skip(f"no real MR data at {folder}; NEUROSCAN_SHARED names another place")
    return folder


@pytest.fixture
def make_image() -> MakeImage:
    """Make one axial image; keyword arguments replace attributes, None removes one."""

    def make(k: int = 0, pixels_ji: npt.NDArray[Any] | None = None, **attributes: Any) -> Dataset:
        pixels = np.arange(12 * 8, dtype=np.uint16).reshape(12, 8) + k if pixels_ji is None else pixels_ji
        ds = Dataset()
        ds.SOPClassUID, ds.SOPInstanceUID = MRImageStorage, generate_uid(entropy_srcs=["image", str(k)])
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = "1.2.3", "1.2.3.1", "1.2.3.9"
        ds.Modality, ds.ImageType = "MR", ["ORIGINAL", "PRIMARY", "M", "ND"]
        ds.BodyPartExamined, ds.MRAcquisitionType = "HEAD", "2D"
        ds.ImagePositionPatient, ds.ImageOrientationPatient = [-4.0, -6.0, 3.0 * k], [1, 0, 0, 0, 1, 0]
        ds.PixelSpacing, ds.SliceThickness = [1.5, 1.0], 3.0
        ds.Rows, ds.Columns = pixels.shape
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated = ds.BitsStored = 8 * pixels.dtype.itemsize
        ds.HighBit, ds.PixelRepresentation = ds.BitsStored - 1, int(pixels.dtype.kind == "i")
        ds.add_new("PixelData", "OW", pixels.tobytes())
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        for keyword, value in attributes.items():
            if value is None:
                delattr(ds, keyword)
            else:
                setattr(ds, keyword, value)
        return ds

    return make


@pytest.fixture
def as_file() -> Callable[[Dataset], bytes]:
    """Encode a data set as a Part 10 file."""

    def encode(ds: Dataset) -> bytes:
        stream = BytesIO()
        ds.save_as(stream, enforce_file_format=True)
        return stream.getvalue()

    return encode
