"""What waits on the strand of a series, and what a batch of it causes until that is recorded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dicom_gateway.assembly.intake import StoredObject
from dicom_gateway.journal import InstanceRecord
from neuroscan_core.domain.events import SeriesEvent


@dataclass(frozen=True)
class SpooledObject:
    """An object that is read from disk again."""

    record: InstanceRecord
    path: Path
    encoded: bytes | None = None


@dataclass(frozen=True)
class Arrived:
    """An object is durable."""

    stored: StoredObject


@dataclass(frozen=True)
class Look:
    """Look whether the series is complete now."""

    now_s: float


@dataclass(frozen=True)
class JudgeAgain:
    """Forget the verdict on a series and take its objects anew."""


Message = Arrived | Look | JudgeAgain


class Draft:
    """What the objects of one batch cause, until it is recorded.

    Parameters
    ----------
    is_again : bool
        The series is judged again: all its objects are to be assembled once more.
    """

    def __init__(self, *, is_again: bool = False) -> None:
        self.is_again = is_again
        self.events: list[SeriesEvent] = []
        self.assembled: list[str] = []
        self.identity: dict[str, Any] = {}  # columns of the series table
