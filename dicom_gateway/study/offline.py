"""Segmentation of studies on disk: DICOM folders in, SEG and SR out, with the same parts as in the node."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry

from dicom_gateway.journal import ResultRecord
from dicom_gateway.reading import SourceSeries, read_series
from dicom_gateway.reading.attributes import STUDY_INSTANCE_UID, string
from dicom_gateway.results.headers import SourceHeaders
from dicom_gateway.results.sources import CompanionSeries
from dicom_gateway.results.writer import ResultWriter
from dicom_gateway.study.candidates import candidate_of, job_uid, series_name
from dicom_gateway.study.choice import Candidate, choose
from dicom_gateway.study.roles import OTHER, role_of
from neuroscan_core.config import NodeConfig, StudyConfig
from neuroscan_core.domain.errors import ConfigurationError, RejectionCode, SeriesRejection
from neuroscan_core.domain.events import SegmentationReady, SeriesCompleted
from neuroscan_core.domain.segmentation import ModelIdentity
from neuroscan_core.domain.study import StudyVolume
from neuroscan_core.pipeline.classify import with_opinion
from neuroscan_core.pipeline.sliding import Progress, no_progress
from neuroscan_core.pipeline.study import bring_together, classify_study, match_series, segment_study
from neuroscan_core.ports import InferenceEngine

VERSION = 1


@dataclass(frozen=True, eq=False)
class GatheredStudy:
    """Series of one study that were found to belong together.

    Parameters
    ----------
    series : dict of str to SourceSeries
        Role -> series.
    reference : str
        Role whose grid the study is on.
    warnings : tuple of str
    """

    study_instance_uid: str
    series: dict[str, SourceSeries]
    reference: str
    warnings: tuple[str, ...]

    @property
    def companions(self) -> list[CompanionSeries]:
        """All series but the reference."""
        return [CompanionSeries.of(role, one.headers) for role, one in self.series.items() if role != self.reference]

    def volume(self) -> StudyVolume:
        """All series on one grid."""
        return bring_together({role: one.require_volume() for role, one in self.series.items()}, self.reference)


def studies_of(series: Sequence[SourceSeries]) -> dict[str, list[SourceSeries]]:
    """Series by StudyInstanceUID, in order of appearance."""
    studies: dict[str, list[SourceSeries]] = {}
    for one in series:
        studies.setdefault(string(one.headers[0], STUDY_INSTANCE_UID), []).append(one)
    return studies


def explain(series: Sequence[SourceSeries]) -> Iterator[str]:
    """What each series shows and why, as lines."""
    for one in series:
        verdict = role_of(one.headers[0])
        yield f"{series_name(one.headers[0])}: {verdict.role}. {verdict.why}"
        if one.rejection is not None and verdict.role != OTHER:
            yield f"  It cannot be used. {one.rejection}"


def gather(
    study_instance_uid: str, series: Sequence[SourceSeries], requires: Sequence[str], study: StudyConfig
) -> GatheredStudy:
    """Choose and match the series of a study.

    Raises
    ------
    SeriesRejection
        ``missing-sequence``, ``different-frames-of-reference`` or ``no-overlap``.
    """
    by_uid = {one.series_instance_uid: one for one in series}
    choice = choose([candidate for one in series if (candidate := _candidate(one)) is not None], requires)
    if choice.missing:
        raise SeriesRejection(
            RejectionCode.MISSING_SEQUENCE,
            f"The study has no usable {' and no '.join(choice.missing)}.{_unusable(series, choice.missing)}",
            remedy="Put the missing series into the folder, or choose a model that does without.",
        )
    geometries = {role: candidate.geometry for role, candidate in choice.chosen.items()}
    match = match_series(
        geometries,
        references=study.references,
        min_overlap=study.min_overlap,
        allow_different_frames=study.allow_different_frames,
    )
    chosen = {role: by_uid[candidate.series_instance_uid] for role, candidate in choice.chosen.items()}
    return GatheredStudy(study_instance_uid, chosen, match.reference, match.warnings)


def _candidate(series: SourceSeries) -> Candidate | None:
    verdict = role_of(series.headers[0])
    if verdict.role == OTHER or series.volume is None:
        return None
    return candidate_of(series.series_instance_uid, series.headers[0], verdict, series.volume.geometry)


def _unusable(series: Sequence[SourceSeries], missing: Sequence[str]) -> str:
    """What was found for missing roles but cannot be used, as sentences."""
    found = [(role_of(one.headers[0]).role, one) for one in series if one.rejection is not None]
    return "".join(
        f" {role} ({series_name(one.headers[0])}): {one.rejection.message}"
        for role, one in found
        if role in missing and one.rejection is not None
    )


def segment_study_folder(
    source: Path,
    output: Path,
    config: NodeConfig,
    engine: InferenceEngine,
    *,
    classifier: InferenceEngine | None = None,
    progress: Progress = no_progress,
    clock: Callable[[], float] = time.time,
) -> Iterator[str]:
    """Segment every study of a folder, one after the other.

    Yields
    ------
    str
        What each series is, and what happened to each study, as lines.

    Raises
    ------
    ConfigurationError
        There is no DICOM in the folder.
    SeriesRejection
        No study was segmented; with the reason of the last.
    """
    studies = studies_of(read_series([source], config.series))
    rejection: SeriesRejection | None = None
    num_segmented = 0
    for study_uid, series in studies.items():
        yield from explain(series)
        try:
            study = gather(study_uid, series, engine.card.channels, study_config(config, engine.card.name))
            result, records = _segment_one(study, output, config, engine, classifier, progress, clock)
        except SeriesRejection as exc:
            rejection = exc
            yield f"study: not segmented. {exc}"
            continue
        num_segmented += 1
        yield from (f"! {warning}" for warning in result.segmentation.warnings)
        yield f"study on the grid of {study.reference}: {records[0].summary if records else 'no results wanted'}"
        yield from (f"  {record.kind} {output / record.path}" for record in records)
    if num_segmented == 0:
        raise rejection or ConfigurationError(f"There is no DICOM series in {source}.", remedy="Check the path.")


def study_config(config: NodeConfig, model: str) -> StudyConfig:
    """The configured study with this model; one with defaults where there is none."""
    return next((one for one in config.studies if one.model == model), StudyConfig(name=model, model=model))


def _segment_one(
    study: GatheredStudy,
    output: Path,
    config: NodeConfig,
    engine: InferenceEngine,
    classifier: InferenceEngine | None,
    progress: Progress,
    clock: Callable[[], float],
) -> tuple[SegmentationReady, list[ResultRecord]]:
    volume = study.volume()
    segmentation = segment_study(volume, engine, progress=progress, warnings=study.warnings)
    if classifier is not None:
        alone, judge = segmentation, classifier
        segmentation = with_opinion(alone, judge.card.name, lambda: classify_study(volume, judge, alone))
    reference = study.series[study.reference]
    card = engine.card
    uid = job_uid(study.study_instance_uid, card.name)
    completed = SeriesCompleted(
        uid, 0, manifest=segmentation.keys, geometry=segmentation.geometry, version=VERSION, reason="object",
        last_received_at_s=clock(),
    )  # fmt: skip
    identity = ModelIdentity.of(card, engine.name)
    result = SegmentationReady(uid, VERSION, segmentation, identity)
    output.mkdir(parents=True, exist_ok=True)
    headers = SourceHeaders(lambda _: reference.headers)
    writer = ResultWriter(config.results, config.gateway, output, headers, clock=clock, registry=CollectorRegistry())
    return result, writer.write(completed, result, card, companions=study.companions)
