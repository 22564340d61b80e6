"""The sequential pipeline as others build it: wait for the association's end, load, segment, write, send.

It is made of stock parts (pynetdicom's SCP and SCU, pydicom, a plain highdicom object) and of this project's network
with the same pre- and postprocessing, so that nothing but the order of work differs. Being told of the end by the
release of the association, it waits less than systems that wait for seconds of silence.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
from pydicom.sr.codedict import Code as DicomCode
from pynetdicom import AE, StoragePresentationContexts, evt

from neuroscan_core.domain.geometry import SliceGeometry, StackGeometry
from neuroscan_core.domain.segmentation import Segmentation
from neuroscan_core.domain.volume import FrameKey, Volume
from neuroscan_core.inference.bundle import find_bundles
from neuroscan_core.inference.onnxruntime import OnnxRuntimeEngine
from neuroscan_core.offline import segment_volume


def load(folder: Path) -> tuple[list[pydicom.Dataset], Volume]:
    """Read a folder of single-frame images, ordered along the normal."""
    datasets = [pydicom.dcmread(path) for path in sorted(folder.iterdir())]
    pairs = sorted(((_geometry(ds), ds) for ds in datasets), key=lambda pair: pair[0].offset_mm)
    voxels = np.stack([ds.pixel_array.astype(np.float32) for _, ds in pairs])
    geometry = StackGeometry.from_slices([geometry for geometry, _ in pairs])
    keys = tuple(FrameKey(str(ds.SOPInstanceUID)) for _, ds in pairs)
    return [ds for _, ds in pairs], Volume(geometry, keys, voxels)


def _geometry(ds: pydicom.Dataset) -> SliceGeometry:
    position, orientation = (float(x) for x in ds.ImagePositionPatient), (float(x) for x in ds.ImageOrientationPatient)
    spacing = (float(ds.PixelSpacing[0]), float(ds.PixelSpacing[1]))
    return SliceGeometry(
        tuple(position),
        tuple(orientation),
        spacing,
        (ds.Rows, ds.Columns),
        ds.FrameOfReferenceUID,  # type: ignore[arg-type]
    )


def write(datasets: list[pydicom.Dataset], segmentation: Segmentation, engine: OnnxRuntimeEngine) -> pydicom.Dataset:
    """A SEG as highdicom makes it from its documented interface."""
    descriptions = [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=label.name,
            segmented_property_category=DicomCode(label.category.value, label.category.scheme, label.category.meaning),
            segmented_property_type=DicomCode(label.type.value, label.type.scheme, label.type.meaning),
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=hd.AlgorithmIdentificationSequence(
                name=engine.card.name, version=engine.card.version,
                family=DicomCode("123110", "DCM", "Artificial Intelligence"),
            ),
        )
        for number, label in enumerate(engine.card.labels, start=1)
    ]  # fmt: skip
    return hd.seg.Segmentation(
        source_images=datasets,
        pixel_array=segmentation.labels_kji,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=descriptions,
        series_instance_uid=hd.UID(),
        series_number=100,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="NeuroScan",
        manufacturer_model_name="sequential",
        software_versions="1",
        device_serial_number="1",
    )


class SequentialNode:
    """Receives one series per association, and starts its work when the association ends."""

    def __init__(self, folder: Path, engine: OnnxRuntimeEngine, destination_port: int) -> None:
        self._folder, self._engine, self._destination_port = folder, engine, destination_port
        self._num_series = 0
        folder.mkdir(parents=True, exist_ok=True)

    def serve(self, port: int) -> None:
        """Listen until the process ends; one line per finished series on standard output: its end as Unix time."""
        ae = AE("SEQUENTIAL")
        for context in StoragePresentationContexts:
            ae.add_supported_context(context.abstract_syntax)
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_RELEASED, self._process)]
        ae.start_server(("127.0.0.1", port), block=True, evt_handlers=handlers)  # type: ignore[arg-type]

    def _store(self, event: Any) -> int:
        ds = event.dataset
        ds.file_meta = event.file_meta
        target = self._folder / f"{self._num_series}"
        target.mkdir(exist_ok=True)
        ds.save_as(target / f"{ds.SOPInstanceUID}.dcm", enforce_file_format=True)
        return 0x0000

    def _process(self, _: Any) -> None:
        folder = self._folder / f"{self._num_series}"
        self._num_series += 1
        datasets, volume = load(folder)
        segmentation = segment_volume(volume, self._engine)
        seg = write(datasets, segmentation, self._engine)
        ae = AE("SEQUENTIAL")
        ae.add_requested_context(seg.SOPClassUID)
        association = ae.associate("127.0.0.1", self._destination_port)
        assert association.is_established, "the archive is not there"
        status = association.send_c_store(seg)
        done_s = time.time()
        association.release()
        print(f"done {done_s:.6f} {status.Status:#06x} {int((segmentation.labels_kji > 0).sum())}", flush=True)


def main() -> None:
    """Usage: python -m benchmarks.sequential FOLDER PORT DESTINATION_PORT MODEL."""
    folder, port, destination_port, model = sys.argv[1:5]
    engine = OnnxRuntimeEngine(find_bundles(None)[model], threads=0, precision="auto")
    SequentialNode(Path(folder), engine, int(destination_port)).serve(int(port))


if __name__ == "__main__":
    main()
