"""A generated head as the classic MR series that a scanner would send, one or a whole study.

The head itself is made in `neuroscan_core.phantom`. Nothing announces the number of images, so that a receiver has to
find out by itself when the series is complete, as with most scanners.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

from neuroscan_core.domain.geometry import SliceGeometry, StackGeometry
from neuroscan_core.phantom import HeadPhantom, Weighting
from neuroscan_core.pipeline.resample import resample

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
    yield from weighted_datasets(
        phantom.image(weighting), phantom.geometry, weighting, study=_study_key(phantom, series)
    )


def weighted_datasets(
    voxels_kji: npt.NDArray[np.uint16],
    geometry: StackGeometry,
    weighting: Weighting,
    *,
    study: Sequence[object],
    repetition: int = 0,
    **changes: object,
) -> Iterator[FileDataset]:
    """Yield any stack of axial, sagittal, coronal or oblique slices as the images of a series.

    Parameters
    ----------
    voxels_kji : ndarray of uint16, shape of `geometry`
    study : sequence
        What the UIDs of study and frame of reference follow from.
    repetition : int
        Another value makes another series of the same study.
    **changes
        DICOM keywords with values that replace those of the protocol; None removes one.
    """
    template = _series_header(geometry, weighting, study, repetition)
    for keyword, value in changes.items():
        if value is None:
            del template[keyword]
        else:
            setattr(template, keyword, value)
    for k, pixels_ji in enumerate(voxels_kji):
        yield _image(template, geometry, k, pixels_ji)


def write_phantom_series(folder: Path, phantom: HeadPhantom, weighting: Weighting, *, series: str = "0") -> list[Path]:
    """Write one series as Part 10 files ``IM0001.dcm``... into an existing folder; see `phantom_datasets`."""
    return write_datasets(folder, phantom_datasets(phantom, weighting, series=series))


def write_datasets(folder: Path, datasets: Iterable[FileDataset]) -> list[Path]:
    """Write data sets as Part 10 files ``IM0001.dcm``... into an existing folder."""
    paths = []
    for number, ds in enumerate(datasets, start=1):
        path = folder / f"IM{number:04d}.dcm"
        ds.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def write_phantom_study(folder: Path, phantom: HeadPhantom, *, series: str = "0") -> dict[Weighting, list[Path]]:
    """Write a tumour protocol of four series into folders named after them.

    As in clinics, the series lie on different grids: T1ce axial and fine, FLAIR axial in thicker slices, T1 sagittal,
    T2 tilted and thick. All share the study and the frame of reference.
    """
    written = {}
    for weighting in Weighting:
        geometry = study_geometry(phantom.geometry, weighting)
        image_kji = phantom.image(weighting).astype(np.float32)
        voxels_kji = np.rint(resample(image_kji, phantom.geometry, geometry)).astype(np.uint16)
        target = folder / weighting.value
        target.mkdir(parents=True, exist_ok=True)
        datasets = weighted_datasets(voxels_kji, geometry, weighting, study=_study_key(phantom, series))
        written[weighting] = write_datasets(target, datasets)
    return written


def study_geometry(head: StackGeometry, weighting: Weighting) -> StackGeometry:
    """Grid on which the series of a weighting is acquired in `write_phantom_study`, around the centre of `head`."""
    if weighting is Weighting.T1CE:
        return head
    axial, tilted = np.eye(3), _turn_about_x(8.0)
    sagittal = np.array([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    if weighting is Weighting.FLAIR:
        return _stack_around(head, axial, (2.0, 1.0, 1.0), (200.0, 240.0, 220.0))
    if weighting is Weighting.T1:
        return _stack_around(head, sagittal, (1.5, 1.2, 1.2), (190.0, 190.0, 240.0))
    return _stack_around(head, tilted, (4.0, 0.8, 0.8), (190.0, 230.0, 210.0))


def _turn_about_x(angle_deg: float) -> npt.NDArray[np.float64]:
    c, s = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])


def _stack_around(
    head: StackGeometry,
    axes: npt.NDArray[np.float64],
    spacing_mm: tuple[float, float, float],
    extent_mm: tuple[float, float, float],
) -> StackGeometry:
    """Stack around the centre of `head`; columns of `axes` are the directions of i, j, k, else k, j, i."""
    slices, rows, columns = (max(2, round(length / step)) for length, step in zip(extent_mm, spacing_mm, strict=True))
    k, j, i = ((size - 1) / 2 for size in head.shape)
    centre = (head.affine_lps @ (i, j, k, 1.0))[:3]
    half = axes @ np.multiply((columns - 1, rows - 1, slices - 1), spacing_mm[::-1]) / 2
    x, y, z = (float(c) for c in centre - half)
    a, b, c, d, e, f = (float(cosine) for cosine in (*axes[:, 0], *axes[:, 1]))
    first = SliceGeometry((x, y, z), (a, b, c, d, e, f), spacing_mm[1:], (rows, columns))
    return StackGeometry(first, spacing_mm[0], slices)


def _study_key(phantom: HeadPhantom, series: str) -> tuple[object, ...]:
    return (phantom.seed, phantom.geometry.num_slices, series)


def _series_header(geometry: StackGeometry, weighting: Weighting, study: Sequence[object], repetition: int) -> Dataset:
    description, sequence, repetition_ms, echo_ms, inversion_ms = _PROTOCOLS[weighting]
    number = 2 + list(Weighting).index(weighting) + 10 * repetition
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
    ds.PatientID = f"PHANTOM-{study[0]}"
    ds.PatientBirthDate = ""
    ds.PatientSex = "O"
    ds.BodyPartExamined = "BRAIN"
    ds.ScanningSequence = sequence
    ds.SequenceVariant = "SK"
    ds.ScanOptions = ""
    ds.MRAcquisitionType = "2D"
    ds.SliceThickness = _decimal(geometry.spacing_mm)
    ds.RepetitionTime = repetition_ms
    ds.EchoTime = echo_ms
    ds.EchoTrainLength = 1
    if inversion_ms is not None:
        ds.InversionTime = inversion_ms
    ds.MagneticFieldStrength = 3.0
    ds.SpacingBetweenSlices = _decimal(geometry.spacing_mm)
    ds.FlipAngle = 90.0
    ds.PatientPosition = "HFS"
    if weighting is Weighting.T1CE:
        ds.ContrastBolusAgent = "PHANTOM"
    ds.StudyInstanceUID = derived_uid("study", *study)
    ds.SeriesInstanceUID = derived_uid("series", *study, weighting.value, *([repetition] if repetition else []))
    ds.FrameOfReferenceUID = derived_uid("frame of reference", *study)
    ds.StudyID = "1"
    ds.SeriesNumber = number
    ds.AcquisitionNumber = 1
    ds.PositionReferenceIndicator = ""
    return ds


def _image(template: Dataset, geometry: StackGeometry, k: int, pixels_ji: npt.NDArray[np.uint16]) -> FileDataset:
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
