"""What the journal holds, as values: states, records, and how rows become records."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from enum import Enum


class SeriesState(str, Enum):
    """Where a series is in its life."""

    RECEIVING = "receiving"
    COMPLETE = "complete"
    SEGMENTING = "segmenting"
    SEGMENTED = "segmented"
    DELIVERING = "delivering"
    DELIVERED = "delivered"
    COMMITTED = "committed"
    PURGED = "purged"
    REJECTED = "rejected"
    FAILED = "failed"
    DEAD_LETTER = "dead-letter"
    IGNORED = "ignored"
    COLLECTED = "collected"
    WAITING = "waiting"


OPEN_STATES = frozenset({SeriesState.RECEIVING, SeriesState.COMPLETE, SeriesState.SEGMENTING})


class DeliveryState(str, Enum):
    """Where a result is on its way to one destination."""

    QUEUED = "queued"
    DELIVERED = "delivered"
    COMMITTED = "committed"
    DEAD_LETTER = "dead-letter"


class Admission(Enum):
    """What `Journal.add_instance` found."""

    NEW = "new"
    SAME = "same"
    CONFLICT = "conflict"


@dataclass(frozen=True)
class InstanceRecord:
    """One received object.

    Parameters
    ----------
    path : str
        File below the spool folder.
    digest : str
        SHA-256 of the data set as received, hexadecimal.
    association : str
        Identifies the association on which it came.
    """

    sop_uid: str
    series_uid: str
    study_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    path: str
    size: int
    digest: str
    association: str
    received_at_s: float


class RecordKind(str, Enum):
    """What a row of the series is: a series that was received, or what is made of several series of a study."""

    SERIES = "series"
    STUDY = "study"


@dataclass(frozen=True)
class SeriesRecord:
    """One series, or the segmentation of several series of a study, which has events and results alike.

    Parameters
    ----------
    rule : str
        Rule that chose the model; for a study, its name in the configuration.
    """

    series_uid: str
    study_uid: str
    state: SeriesState
    model: str
    rule: str
    priority: int
    modality: str
    description: str
    version: int
    num_slices: int
    reason: str
    message: str
    opened_at_s: float
    last_received_at_s: float
    finished_at_s: float | None
    kind: RecordKind = RecordKind.SERIES


@dataclass(frozen=True)
class StudySeriesRecord:
    """A series that may take part in a study.

    Parameters
    ----------
    studies : tuple of str
        Names of the configured studies that it fits.
    role : str
        What it shows: T1, T1ce, T2 or FLAIR.
    why : str
        Why it is taken for that.
    name : str
        Number and description, for people.
    is_original : bool
    acquired_at : str
        Date and time as text that sorts by time.
    """

    series_uid: str
    study_uid: str
    studies: tuple[str, ...]
    role: str
    why: str
    name: str
    is_original: bool
    acquired_at: str


@dataclass(frozen=True)
class EventRecord:
    """One numbered event of a series; slices point to their object, others carry their content.

    Parameters
    ----------
    kind : str
        Name of the event class.
    payload : bytes
        The event without pixels, as `neuroscan_core.bus.wire` writes it.
    """

    kind: str
    sop_uid: str = ""
    frame_number: int = 0
    payload: bytes = b""
    sequence: int = -1


@dataclass(frozen=True)
class ResultRecord:
    """One produced object.

    Parameters
    ----------
    kind : str
        ``SEG``, ``SR`` or ``SC``.
    path : str
        File below the results folder.
    summary : str
        One line for people, without patient data.
    """

    sop_uid: str
    series_uid: str
    version: int
    kind: str
    sop_class_uid: str
    path: str
    summary: str
    created_at_s: float


@dataclass(frozen=True)
class DeliveryRecord:
    """One result on its way to one destination."""

    id: int
    sop_uid: str
    destination: str
    state: DeliveryState
    attempts: int
    next_attempt_at_s: float
    last_error: str
    transaction_uid: str
    delivered_at_s: float | None
    committed_at_s: float | None
    result: ResultRecord


def instance_of(row: sqlite3.Row) -> InstanceRecord:
    """Row of `SELECT_INSTANCES` as a record."""
    return InstanceRecord(
        sop_uid=row["sop_uid"],
        series_uid=row["series_uid"],
        study_uid=row["study_uid"],
        sop_class_uid=row["sop_class_uid"],
        transfer_syntax_uid=row["transfer_syntax_uid"],
        path=row["path"],
        size=row["size"],
        digest=row["digest"],
        association=row["association"],
        received_at_s=row["received_at_s"],
    )


def series_of(row: sqlite3.Row) -> SeriesRecord:
    """Row of the series as a record."""
    values = dict(row)
    return SeriesRecord(**{**values, "state": SeriesState(values["state"]), "kind": RecordKind(values["kind"])})


def study_series_of(row: sqlite3.Row) -> StudySeriesRecord:
    """Row of the series of studies as a record."""
    values = dict(row)
    studies = tuple(values.pop("studies").split("\n"))
    return StudySeriesRecord(**{**values, "studies": studies, "is_original": bool(values["is_original"])})


def result_of(row: sqlite3.Row) -> ResultRecord:
    """Row of the results as a record."""
    return ResultRecord(
        sop_uid=row["sop_uid"],
        series_uid=row["series_uid"],
        version=row["version"],
        kind=row["kind"],
        sop_class_uid=row["sop_class_uid"],
        path=row["path"],
        summary=row["summary"],
        created_at_s=row["created_at_s"],
    )


def delivery_of(row: sqlite3.Row) -> DeliveryRecord:
    """Row of `SELECT_DELIVERIES` as a record."""
    return DeliveryRecord(
        id=row["id"],
        sop_uid=row["sop_uid"],
        destination=row["destination"],
        state=DeliveryState(row["state"]),
        attempts=row["attempts"],
        next_attempt_at_s=row["next_attempt_at_s"],
        last_error=row["last_error"],
        transaction_uid=row["transaction_uid"],
        delivered_at_s=row["delivered_at_s"],
        committed_at_s=row["committed_at_s"],
        result=result_of(row),
    )
