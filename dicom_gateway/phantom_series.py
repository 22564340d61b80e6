"""A generated head as the classic MR series that a scanner would send.

The head itself is made in `neuroscan_core.phantom`. Nothing announces the number of images, so that a receiver has to
find out by itself when the series is complete, as with most scanners.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

from neuroscan_core.phantom import HeadPhantom, Weighting

_NAMESPACE = uuid.UUID("6f8f7a52-3c0e-5f0b-9d0b-6a1f3f1b7c11")
_PROTOCOLS = {
    # Description, scanning sequence, TR, TE, TI (ms)
    Weighting.FLAIR: ("AX FLAIR 1mm", ["SE", "IR"], 8000.0, 120.0, 2250.0),
    Weighting.T1: ("AX T1 1mm", ["SE"], 600.0, 12.0, None),
    Weighting.T1CE: ("AX T1 1mm POST", ["SE"], 600.0, 12.0, None),
    Weighting.T2: ("AX T2 1mm", ["SE"], 4500.0, 100.0, None),
}


def derived_uid(*parts: object) -> UID:
    """UID that depends on `parts` only (PS3.5 B.2, name-based UUID)."""
    return UID(f"2.25.{uuid.uuid5(_NAMESPACE, '/'.join(str(part) for part in parts)).int}")


def phantom_datasets(phantom: HeadPhantom, weighting: Weighting, *, series: str = "0") -> Iterator[FileDataset]:
    """Yield the images of one series from the neck to the crown.

    Parameters
    ----------
    phantom : HeadPhantom
    weighting : Weighting
    series : str
        Another value makes another study of the same head: all UIDs differ.
    """
    voxels_kji = phantom.image(weighting)
    template = _series_header(phantom, weighting, series)
    for k, pixels_ji in enumerate(voxels_kji):
        yield _image(template, phantom, k, pixels_ji)


def write_phantom_series(folder: Path, phantom: HeadPhantom, weighting: Weighting, *, series: str = "0") -> list[Path]:
    """Write one series as Part 10 files ``IM0001.dcm``... into an existing folder; see `phantom_datasets`."""
    paths = []
    for number, ds in enumerate(phantom_datasets(phantom, weighting, series=series), start=1):
        path = folder / f"IM{number:04d}.dcm"
        ds.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def _series_header(phantom: HeadPhantom, weighting: Weighting, series: str) -> Dataset:
    description, sequence, repetition_ms, echo_ms, inversion_ms = _PROTOCOLS[weighting]
    study = (phantom.seed, phantom.geometry.num_slices, series)
    number = 2 + list(Weighting).index(weighting)
    ds = Dataset()
    ds.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    ds.SOPClassUID = MRImageStorage
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = "20200101"
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = f"1200{number:02d}"
    ds.AccessionNumber = ""
    ds.Modality = "MR"
    ds.Manufacturer = "GE MEDICAL SYSTEMS"
    ds.ManufacturerModelName = "NeuroScan phantom"
    ds.InstitutionName = "PHANTOM"
    ds.StationName = "PHANTOM"
    ds.ReferringPhysicianName = ""
    ds.StudyDescription = "MR HEAD PHANTOM"
    ds.SeriesDescription = description
    ds.PatientName = "PHANTOM^HEAD"
    ds.PatientID = f"PHANTOM-{phantom.seed}"
    ds.PatientBirthDate = ""
    ds.PatientSex = "O"
    ds.BodyPartExamined = "BRAIN"
    ds.ScanningSequence = sequence
    ds.SequenceVariant = "SK"
    ds.ScanOptions = ""
    ds.MRAcquisitionType = "2D"
    ds.SliceThickness = _decimal(phantom.geometry.spacing_mm)
    ds.RepetitionTime = repetition_ms
    ds.EchoTime = echo_ms
    ds.EchoTrainLength = 1
    if inversion_ms is not None:
        ds.InversionTime = inversion_ms
    ds.MagneticFieldStrength = 3.0
    ds.SpacingBetweenSlices = _decimal(phantom.geometry.spacing_mm)
    ds.FlipAngle = 90.0
    ds.PatientPosition = "HFS"
    if weighting is Weighting.T1CE:
        ds.ContrastBolusAgent = "PHANTOM"
    ds.StudyInstanceUID = derived_uid("study", *study)
    ds.SeriesInstanceUID = derived_uid("series", *study, weighting.value)
    ds.FrameOfReferenceUID = derived_uid("frame of reference", *study)
    ds.StudyID = "1"
    ds.SeriesNumber = number
    ds.AcquisitionNumber = 1
    ds.PositionReferenceIndicator = ""
    return ds


def _image(template: Dataset, phantom: HeadPhantom, k: int, pixels_ji: npt.NDArray[np.uint16]) -> FileDataset:
    geometry = phantom.geometry
    x, y, z = np.asarray(geometry.first.position_mm) + k * geometry.spacing_mm * geometry.first.normal
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = derived_uid("image", template.SeriesInstanceUID, k)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    # One copy per image of a template with single-valued elements only: the elements may be shared.
    ds = FileDataset("", dict(template), file_meta=meta, preamble=b"\0" * 128)
    ds.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    ds.InstanceNumber = k + 1
    ds.ImagePositionPatient = [_decimal(x), _decimal(y), _decimal(z)]
    ds.ImageOrientationPatient = [_decimal(cosine) for cosine in geometry.first.orientation]
    ds.SliceLocation = _decimal(z)
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows, ds.Columns = pixels_ji.shape
    ds.PixelSpacing = [_decimal(spacing) for spacing in geometry.first.spacing_mm]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
    ds.WindowCenter, ds.WindowWidth = "600", "1200"
    ds.PixelData = pixels_ji.astype("<u2").tobytes()
    return ds


def _decimal(value: float) -> str:
    """At most 16 characters, as a decimal string (PS3.5 6.2, DS) allows."""
    return f"{float(value):.6f}".rstrip("0").rstrip(".")
