"""Milliseconds from the label map of a series to its SEG on disk, beside plain highdicom for the same object.

155 slices of 256x256, one region in 60 of them. Both sides write the same bytes with the same syncs; the node's side
has done ahead, as in operation, what it can do while slices arrive. Rounds alternate, the median counts.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry
from pydicom import Dataset

from dicom_gateway.phantom_series import phantom_datasets
from dicom_gateway.results import ResultWriter, SourceHeaders, seg, storing
from dicom_gateway.results.segments import segments_of
from dicom_gateway.results.sources import source_slices
from dicom_gateway.results.uids import ResultIdentity, manifest_digest
from dicom_gateway.results.writer import part10
from neuroscan_core.config import GatewayConfig, ResultsConfig, SegFormat
from neuroscan_core.domain.events import SegmentationReady, SeriesCompleted
from neuroscan_core.domain.geometry import SliceGeometry, StackGeometry
from neuroscan_core.domain.model_card import ModelCard
from neuroscan_core.domain.segmentation import Diameter, ModelIdentity, RegionMeasurement, Segmentation
from neuroscan_core.domain.volume import FrameKey
from neuroscan_core.inference.bundle import find_bundles
from neuroscan_core.phantom import Weighting, head_phantom

NUM_SLICES = 155
TUMOUR_SLICES = slice(50, 110)
ROUNDS = 9


def measure(*, rounds: int = ROUNDS) -> dict[str, Any]:
    """Measure writing of SEG and report.

    Returns
    -------
    dict
        Medians in milliseconds; the ratio is highdicom's time over ours.
    """
    datasets: list[Dataset] = list(phantom_datasets(head_phantom(num_slices=NUM_SLICES), Weighting.FLAIR))
    for ds in datasets:
        del ds.PixelData
    card = find_bundles()["mobilenetv2-unet-flair"].card
    completed, result = _finished(datasets, card)
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        return _measure(Path(folder), datasets, completed, result, card, rounds)


def _measure(
    folder: Path,
    datasets: list[Dataset],
    completed: SeriesCompleted,
    result: SegmentationReady,
    card: ModelCard,
    rounds: int,
) -> dict[str, Any]:
    uid = completed.series_instance_uid
    ours_ms: list[float] = []
    plain_ms: list[float] = []
    report_ms: list[float] = []
    ahead_ms: list[float] = []
    cpu_ms: list[float] = []
    headers = SourceHeaders(lambda _: datasets)
    writer = ResultWriter(ResultsConfig(), GatewayConfig(), folder, headers, registry=CollectorRegistry())
    for _ in range(rounds):
        headers.forget(uid)
        ahead_ms.append(_ms(lambda: _arrive(headers, writer, uid, datasets)))
        cpu_s = time.process_time()
        ours_ms.append(_ms(lambda: writer.write_seg(completed, result, card)))
        cpu_ms.append(1000 * (time.process_time() - cpu_s))
        report_ms.append(_ms(lambda: writer.write_rest(completed, result, card)))
        plain_ms.append(_ms(lambda: _plain(folder / "plain.dcm", headers, completed, result, card)))
    ours, plain = statistics.median(ours_ms), statistics.median(plain_ms)
    return {
        "num_slices": len(datasets),
        "seg_write_ms": round(ours, 1),
        "seg_write_cpu_ms": round(statistics.median(cpu_ms), 1),
        "seg_write_highdicom_ms": round(plain, 1),
        "seg_write_ratio": round(plain / ours, 2),
        "prepare_per_slice_ms": round(statistics.median(ahead_ms) / len(datasets), 2),
        "report_write_ms": round(statistics.median(report_ms), 1),
    }


def _arrive(headers: SourceHeaders, writer: ResultWriter, uid: str, datasets: list[Dataset]) -> None:
    for n, ds in enumerate(datasets, 1):
        headers.add(uid, ds)
        if n % 8 == 0 or n == len(datasets):
            writer.prepare(uid)


def _plain(
    path: Path, headers: SourceHeaders, completed: SeriesCompleted, result: SegmentationReady, card: ModelCard
) -> None:
    uid, found = completed.series_instance_uid, result.segmentation
    content = seg.SegContent(
        identity=ResultIdentity(uid, result.model, 1, manifest_digest(completed.manifest)),
        slices=source_slices(headers.for_manifest(uid, completed.manifest), completed.manifest, found.geometry),
        segments=segments_of(found.labels_kji, card),
        spacing_mm=found.geometry.spacing_mm,
        at_s=completed.last_received_at_s,
        series_number=9700,
        series_description="plain",
    )
    storing.write_durably(path, part10(seg.segmentation(content, SegFormat.BINARY)))


def _finished(datasets: list[Dataset], card: ModelCard) -> tuple[SeriesCompleted, SegmentationReady]:
    geometry = StackGeometry.from_slices([_geometry(ds) for ds in datasets])
    manifest = tuple(FrameKey(str(ds.SOPInstanceUID)) for ds in datasets)
    labels_kji = np.zeros(geometry.shape, np.uint8)
    labels_kji[TUMOUR_SLICES, 90:140, 100:160] = card.labels[0].value
    diameter = Diameter(manifest[80], 60.0, 50.0, (100, 90, 160, 140), (110, 140, 150, 90))
    volume_ml = float(np.count_nonzero(labels_kji)) * geometry.voxel_volume_ml
    measured = (RegionMeasurement(card.labels[0].value, volume_ml, 1, diameter),)
    model = ModelIdentity(card.name, card.version, card.onnx_sha256)
    uid = str(datasets[0].SeriesInstanceUID)
    completed = SeriesCompleted(uid, NUM_SLICES + 1, manifest, geometry, 1, "release", 1.7e9)
    return completed, SegmentationReady(uid, 1, Segmentation(geometry, manifest, labels_kji, measured), model)


def _geometry(ds: Dataset) -> SliceGeometry:
    x, y, z = (float(value) for value in ds.ImagePositionPatient)
    a, b, c, d, e, f = (float(value) for value in ds.ImageOrientationPatient)
    row_mm, column_mm = (float(value) for value in ds.PixelSpacing)
    shape = (int(ds.Rows), int(ds.Columns))
    return SliceGeometry((x, y, z), (a, b, c, d, e, f), (row_mm, column_mm), shape, str(ds.FrameOfReferenceUID))


def _ms(call: Callable[[], object]) -> float:
    start_s = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - start_s)
