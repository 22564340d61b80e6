"""SEG and SR of what a model found, by the same writer as in the node; the critic's verdict stands in the SR."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from prometheus_client import CollectorRegistry

from dicom_gateway.reading import SourceSeries
from dicom_gateway.reading.attributes import STUDY_INSTANCE_UID, string
from dicom_gateway.results.headers import SourceHeaders
from dicom_gateway.results.sources import CompanionSeries
from dicom_gateway.results.writer import ResultWriter
from dicom_gateway.study.candidates import job_uid
from neuroscan_core.config import NodeConfig
from neuroscan_core.diagnosis.case import Gathered, ModelResult, Source
from neuroscan_core.domain.events import SegmentationReady, SeriesCompleted
from neuroscan_core.domain.model_card import ModelKind

VERSION = 1


def write_objects(
    gathered: Gathered,
    source: Source,
    result: ModelResult,
    warnings: Sequence[str],
    folder: Path,
    *,
    config: NodeConfig,
    clock: Callable[[], float] = time.time,
) -> Mapping[str, Path]:
    """Write the objects of one model into a folder, as ``seg.dcm`` and ``sr.dcm``.

    Parameters
    ----------
    gathered : Gathered
    source : Source
        The series on whose grid the result lies; from `read_dicom`.
    result : ModelResult
    warnings : sequence of str
        Go into the SR.
    folder : Path
        Made where missing.
    config : NodeConfig

    Raises
    ------
    UnreadableObject, StorageError
        See `ResultWriter`.
    """
    series = source.handle
    assert isinstance(series, SourceSeries), "the source was read by `read_dicom`"
    is_of_study = result.card.kind is not ModelKind.SLICE25D or bool(gathered.study)
    study_uid = string(series.headers[0], STUDY_INSTANCE_UID)
    uid = job_uid(study_uid, result.card.name) if is_of_study else series.series_instance_uid
    segmentation = replace(result.segmentation, warnings=(*result.segmentation.warnings, *result.notes, *warnings))
    completed = SeriesCompleted(
        uid, 0, manifest=segmentation.keys, geometry=segmentation.geometry, version=VERSION, reason="object",
        last_received_at_s=clock(),
    )  # fmt: skip
    ready = SegmentationReady(uid, VERSION, segmentation, result.identity)
    headers = SourceHeaders(lambda _: series.headers)
    folder.mkdir(parents=True, exist_ok=True)
    writer = ResultWriter(config.results, config.gateway, folder, headers, clock=clock, registry=CollectorRegistry())
    companions = _companions(gathered, source) if is_of_study else []
    found = {}
    for record in writer.write(completed, ready, result.card, companions=companions):
        kind = record.kind.lower()
        found[kind] = (folder / record.path).replace(folder / f"{kind}.dcm")
    shutil.rmtree(folder / uid, ignore_errors=True)  # the writer's own folder, now empty
    return found


def _companions(gathered: Gathered, source: Source) -> list[CompanionSeries]:
    """The other series of the study."""
    return [
        CompanionSeries.of(role, other.handle.headers)
        for role, other in gathered.study.items()
        if other is not source and isinstance(other.handle, SourceSeries)
    ]
