"""DICOM files as sources of a diagnosis: each series, what it shows and why, and a study of four if it is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from dicom_gateway.reading import SourceSeries, read_series
from dicom_gateway.reading.attributes import MODALITY, SERIES_DESCRIPTION, decimal, string
from dicom_gateway.study.candidates import series_name
from dicom_gateway.study.facts import sequence_facts
from dicom_gateway.study.offline import gather, studies_of
from dicom_gateway.study.roles import role_of
from neuroscan_core.config import NodeConfig, StudyConfig
from neuroscan_core.diagnosis.case import Gathered, InputKind, Source
from neuroscan_core.domain.errors import SeriesRejection, UnreadableObject
from neuroscan_core.domain.study import SEQUENCES

_MANUFACTURER, _MODEL = BaseTag(0x00080070), BaseTag(0x00081090)
_FIELD_STRENGTH, _ACQUISITION = BaseTag(0x00180087), BaseTag(0x00180023)


def read_dicom(files: Sequence[Path], config: NodeConfig) -> Gathered:
    """Read series and find a study among them.

    Parameters
    ----------
    files : sequence of Path
        With a Part 10 header each.
    config : NodeConfig
        What is accepted, and how studies are put together.
    """
    series, num_unreadable = _read(files, config)
    sources = {one.series_instance_uid: _source(one) for one in series}
    notes = [f"Left out, not readable as DICOM: {num_unreadable}."] if num_unreadable else []
    for study_instance_uid, members in studies_of(series).items():
        try:
            found = gather(study_instance_uid, members, SEQUENCES, _study_config(config))
        except SeriesRejection as exc:
            if len({sources[one.series_instance_uid].sequence for one in members} & set(SEQUENCES)) > 1:
                notes.append(f"The series are not used as one study. {exc.message}")
            continue
        roles: Mapping[str, Source] = {role: sources[one.series_instance_uid] for role, one in found.series.items()}
        return Gathered(tuple(sources.values()), roles, found.reference, (*notes, *found.warnings))
    return Gathered(tuple(sources.values()), notes=tuple(notes))


def _read(files: Sequence[Path], config: NodeConfig) -> tuple[list[SourceSeries], int]:
    """Series of those files that can be read; one that cannot must not cost the others."""
    from dicom_gateway.reading import open_object

    readable = []
    for path in files:
        try:
            open_object(path)
        except UnreadableObject:
            continue
        readable.append(path)
    return read_series(readable, config.series), len(files) - len(readable)


def _study_config(config: NodeConfig) -> StudyConfig:
    return config.studies[0] if config.studies else StudyConfig(name="diagnosis", model="")


def _source(series: SourceSeries) -> Source:
    header = series.headers[0]
    verdict = role_of(header)
    return Source(
        InputKind.DICOM,
        series_name(header),
        series.volume,
        series.rejection,
        modality=string(header, MODALITY),
        sequence=verdict.role,
        reasons=(*verdict.reasons, *(f"But {what}" for what in verdict.contradictions)),
        facts=_facts(header),
        handle=series,
    )


def _facts(header: Dataset) -> tuple[tuple[str, str], ...]:
    """What tells of machine and protocol; nothing that tells of a patient, a place or a day."""
    facts = sequence_facts(header)
    machine = " ".join(part for part in (string(header, _MANUFACTURER), string(header, _MODEL)) if part)
    field = decimal(header, _FIELD_STRENGTH)
    found = [
        ("machine", machine),
        ("field strength", f"{field:g} T" if field is not None and field == field else ""),
        ("timing", facts.timing),
        ("acquisition", string(header, _ACQUISITION)),
        ("contrast agent", "none by the header" if facts.is_without_agent else facts.agent and "given"),
        ("description", string(header, SERIES_DESCRIPTION)),
    ]
    return tuple((name, value) for name, value in found if value)
