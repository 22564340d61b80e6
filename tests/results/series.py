"""Series to make results of: generated ones in every orientation, and real ones, with an asymmetric finding in each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage

from dicom_gateway.results.uids import derived_uid
from neuroscan_core.domain import codes
from neuroscan_core.domain.events import SegmentationReady, SeriesCompleted
from neuroscan_core.domain.geometry import SliceGeometry, StackGeometry
from neuroscan_core.domain.model_card import ModelCard
from neuroscan_core.domain.segmentation import Diameter, ModelIdentity, RegionMeasurement, Segmentation
from neuroscan_core.domain.volume import FrameKey

MODEL = ModelIdentity("test-net", "1.2.3", "ab" * 32, "onnxruntime-cpu")
LAST_RECEIVED_AT_S = 1_700_000_000.25
OBLIQUE = (0.9980103502087, 0.0452014937917, 0.0439564083525, -0.0342042276612, 0.9738053338552, -0.2247960001230)


def card(labels: Sequence[tuple[int, str, codes.Code, tuple[int, int, int]]] = ()) -> ModelCard:
    """Card of a model with these labels; tumour and oedema where none are given."""
    labels = labels or (
        (1, "tumour", codes.NEOPLASM, (230, 159, 0)),
        (2, "oedema", codes.EDEMA, (0, 114, 178)),
    )
    return ModelCard.from_mapping(
        {
            "name": MODEL.name, "version": MODEL.version, "kind": "slice25d", "task": "test", "modality": "MR",
            "input": {
                "name": "image", "channels": ["z-1", "z", "z+1"], "sequence": "FLAIR", "size": [64, 64],
                "spacing_mm": 1.0, "spacing_tolerance": 0.1, "planes": ["axial"], "normalisation": "none",
            },
            "output": {"name": "logits", "activation": "sigmoid", "threshold": 0.5},
            "labels": [
                {
                    "value": value, "name": name, "colour_rgb": list(colour),
                    "category": _triple(codes.MORPHOLOGICALLY_ABNORMAL_STRUCTURE), "type": _triple(kind),
                    "region": _triple(codes.BRAIN),
                }
                for value, name, kind, colour in labels
            ],
            "licence": "test", "onnx": {"file": "model.onnx", "sha256": MODEL.sha256},
        }
    )  # fmt: skip


def _triple(code: codes.Code) -> list[str]:
    return [code.value, code.scheme, code.meaning]


@dataclass(frozen=True, eq=False)
class Series:
    """A series as the gateway knows it when it is complete."""

    name: str
    datasets: list[Dataset]
    manifest: tuple[FrameKey, ...]
    geometry: StackGeometry

    @property
    def uid(self) -> str:
        return str(self.datasets[0].SeriesInstanceUID)

    def labels(self, *, two: bool = True) -> np.ndarray:
        """Label map without any symmetry; empty slices at both ends and a gap."""
        labels_kji = np.zeros(self.geometry.shape, np.uint8)
        num, rows, columns = labels_kji.shape
        low, high = num // 5, max(num // 2, num // 5 + 3)
        labels_kji[low:high, rows // 4 : rows // 2, columns // 3 : columns // 3 + 5] = 1
        labels_kji[low + 1, rows // 4 + 1, columns // 3 : columns - 2] = 1
        labels_kji[num - 2, rows // 8, columns // 8 : columns // 4] = 1
        if two:
            labels_kji[low : low + 2, rows // 2 : rows // 2 + 3, columns // 4 : columns // 3] = 2
        return labels_kji

    def completed(self, version: int = 1) -> SeriesCompleted:
        return SeriesCompleted(
            self.uid, 99, self.manifest, self.geometry, version, "release", LAST_RECEIVED_AT_S + version
        )

    def result(self, labels_kji: np.ndarray | None = None, version: int = 1) -> SegmentationReady:
        labels_kji = self.labels() if labels_kji is None else labels_kji
        segmentation = Segmentation(self.geometry, self.manifest, labels_kji, self._measured(labels_kji))
        return SegmentationReady(self.uid, version, segmentation, MODEL)

    def _measured(self, labels_kji: np.ndarray) -> tuple[RegionMeasurement, ...]:
        measurements = []
        for value in (1, 2):
            planes = np.flatnonzero((labels_kji == value).any(axis=(1, 2)))
            diameter = None
            if len(planes):
                key = self.manifest[int(planes[0])]
                diameter = Diameter(key, 21.5, 7.25, (10.0, 12.0, 20.0, 14.0), (14.0, 16.0, 15.0, 10.0))
            volume_ml = float(np.count_nonzero(labels_kji == value)) * self.geometry.voxel_volume_ml
            measurements.append(RegionMeasurement(value, volume_ml, 2 if len(planes) else 0, diameter))
        return tuple(measurements)

    def positions_mm(self, mask_kji: np.ndarray) -> np.ndarray:
        """Patient positions (LPS, mm) of the voxels of a mask, shape (voxels, 3), from each slice's own header."""
        points = []
        for k in np.flatnonzero(mask_kji.any(axis=(1, 2))):
            geometry = slice_geometry(self._header(self.manifest[k]), self.manifest[k].frame_number)
            j, i = np.nonzero(mask_kji[k])
            row, column = np.array(geometry.orientation[:3]), np.array(geometry.orientation[3:])
            points.append(
                np.array(geometry.position_mm)
                + np.outer(i * geometry.spacing_mm[1], row)
                + np.outer(j * geometry.spacing_mm[0], column)
            )
        return np.concatenate(points)

    def _header(self, key: FrameKey) -> Dataset:
        return next(ds for ds in self.datasets if ds.SOPInstanceUID == key.sop_instance_uid)


def slice_geometry(ds: Dataset, frame_number: int = 1) -> SliceGeometry:
    """Geometry of a frame, read independently of the code under test."""

    def group(keyword: str) -> Dataset:
        if "PerFrameFunctionalGroupsSequence" not in ds:
            return ds
        frame, shared = ds.PerFrameFunctionalGroupsSequence[frame_number - 1], ds.SharedFunctionalGroupsSequence[0]
        return (frame if keyword in frame else shared)[keyword].value[0]

    return SliceGeometry(
        tuple(float(x) for x in group("PlanePositionSequence").ImagePositionPatient),
        tuple(float(x) for x in group("PlaneOrientationSequence").ImageOrientationPatient),
        tuple(float(x) for x in group("PixelMeasuresSequence").PixelSpacing),
        (int(ds.Rows), int(ds.Columns)),
        str(ds.FrameOfReferenceUID),
    )


def series_of(name: str, datasets: list[Dataset]) -> Series:
    """Order the slices of objects along their normal."""
    slices = []
    for ds in datasets:
        for number in range(1, int(ds.get("NumberOfFrames", 1)) + 1):
            slices.append((slice_geometry(ds, number), FrameKey(str(ds.SOPInstanceUID), number)))
    slices.sort(key=lambda pair: pair[0].offset_mm)
    geometry = StackGeometry.from_slices([geometry for geometry, _ in slices])
    return Series(name, datasets, tuple(key for _, key in slices), geometry)


def real_series(folder: Path) -> Series:
    """A series from disk, without pixels."""
    return series_of(folder.name, [pydicom.dcmread(path, stop_before_pixels=True) for path in sorted(folder.iterdir())])


def classic_series(
    name: str = "axial",
    *,
    orientation: Sequence[float] = (1, 0, 0, 0, 1, 0),
    spacing_mm: Sequence[float] = (1.0, 1.0, 1.0),
    shape: Sequence[int] = (12, 48, 64),
    descending: bool = False,
    **changes: object,
) -> Series:
    """Single-frame MR images; spacing is between slices, rows, columns."""
    normal = np.cross(orientation[:3], orientation[3:])
    steps = range(shape[0])
    datasets = []
    for n, k in enumerate(reversed(steps) if descending else steps):
        ds = _common(name, MRImageStorage, shape)
        ds.SOPInstanceUID = derived_uid(name, "image", str(k))
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.InstanceNumber = n + 1
        ds.ImagePositionPatient = _ds(np.array([-61.5, 33.25, -12.125]) + k * spacing_mm[0] * normal)
        ds.ImageOrientationPatient = _ds(orientation)
        ds.PixelSpacing = _ds(spacing_mm[1:])
        ds.SliceThickness = str(spacing_mm[0])
        ds.AcquisitionTime = f"12{n // 60:02d}{n % 60:02d}"
        ds.PixelData = np.full(shape[1:], k, np.uint16).tobytes()
        for keyword, value in changes.items():
            if value is None:
                del ds[keyword]
            else:
                setattr(ds, keyword, value)
        datasets.append(ds)
    return series_of(name, datasets)


def enhanced_series(name: str = "enhanced", *, shared_orientation: bool = True, reverse: bool = False) -> Series:
    """One enhanced MR object, oblique; frames in descending order where `reverse`."""
    shape = (10, 40, 48)
    ds = _common(name, EnhancedMRImageStorage, shape)
    ds.SOPInstanceUID = derived_uid(name, "object")
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.NumberOfFrames = shape[0]
    measures, plane = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = ["0.9", "1.1"], "2.5"
    plane.ImageOrientationPatient = _ds(OBLIQUE)
    shared = Dataset()
    if shared_orientation:
        shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [plane], [measures]
    ds.SharedFunctionalGroupsSequence = [shared]
    normal, frames = np.cross(OBLIQUE[:3], OBLIQUE[3:]), []
    for k in reversed(range(shape[0])) if reverse else range(shape[0]):
        frame, position = Dataset(), Dataset()
        position.ImagePositionPatient = _ds(np.array([-20.0, 5.5, 40.25]) + k * 2.5 * normal)
        frame.PlanePositionSequence = [position]
        if not shared_orientation:
            frame.PlaneOrientationSequence, frame.PixelMeasuresSequence = [plane], [measures]
        frames.append(frame)
    ds.PerFrameFunctionalGroupsSequence = frames
    return series_of(name, [ds])


def mosaic_series() -> Series:
    """One object whose single frame holds nine slices as tiles, of which eight are used."""
    ds = classic_series("mosaic", shape=(1, 3 * 32, 3 * 32)).datasets[0]
    first = SliceGeometry((-50.0, -40.0, 10.0), OBLIQUE, (2.0, 2.0), (32, 32), str(ds.FrameOfReferenceUID))
    manifest = tuple(FrameKey(str(ds.SOPInstanceUID), k + 1) for k in range(8))
    return Series("mosaic", [ds], manifest, StackGeometry(first, 3.0, 8))


def _common(name: str, sop_class_uid: str, shape: Sequence[int]) -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = sop_class_uid
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.SOPClassUID, ds.Modality = sop_class_uid, "MR"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Test^Phantom", "", "", "O"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = derived_uid(name, "study"), derived_uid(name, "series")
    ds.StudyDate, ds.StudyTime, ds.StudyID, ds.AccessionNumber = "20240102", "101112", "7", "A1"
    ds.ReferringPhysicianName, ds.StudyDescription = "", "Head"
    ds.SeriesNumber, ds.SeriesDescription = 4, "AX FLAIR"
    ds.Manufacturer, ds.ManufacturerModelName = "Generator", "One"
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = derived_uid(name, "frame"), ""
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    ds.Rows, ds.Columns = shape[1:]
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 16, 15
    return ds


def _ds(values: Sequence[float]) -> list[str]:
    return [f"{value:.12g}"[:16] for value in values]
