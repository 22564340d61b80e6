"""What an agent is, what it hands back, and what is written down about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from neuroscan_core.diagnosis.case import CaseFile
from neuroscan_core.domain.errors import NeuroScanError

Facts = tuple[tuple[str, str], ...]
Progress = Callable[[int, int], None]  # pieces done, pieces in all


class Skipped(NeuroScanError):
    """An agent has nothing to work on; the chain goes on without it."""


class AgentState(str, Enum):
    """How far an agent has come."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, eq=False)
class Finding:
    """What an agent hands back.

    Parameters
    ----------
    case : CaseFile
        What was known, and what the agent adds to it.
    input, output : tuple of (str, str)
        What was looked at and what was found, as names and values for people.
    confidence : float or None
        From 0 to 1; None where the agent cannot say.
    notes : sequence of str
        Sentences that a reader of the result must know.
    """

    case: CaseFile
    input: Facts
    output: Facts
    confidence: float | None = None
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        assert self.confidence is None or 0.0 <= self.confidence <= 1.0, self.confidence


class Agent(Protocol):
    """One step of the chain."""

    @property
    def name(self) -> str:
        """Short name, as in the report."""
        ...

    @property
    def title(self) -> str:
        """What it does, for people."""
        ...

    def run(self, case: CaseFile, progress: Progress) -> Finding:
        """Look at a case.

        Raises
        ------
        Skipped
            There is nothing for it to do.
        NeuroScanError
            It could not do its work; the chain goes on without it.
        """
        ...


@dataclass
class AgentRecord:
    """What is written down about an agent; the only mutable thing of the chain, changed by the chain alone."""

    name: str
    title: str
    state: AgentState = AgentState.WAITING
    input: Facts = ()
    output: Facts = ()
    duration_s: float | None = None
    confidence: float | None = None
    notes: list[str] = field(default_factory=list)
    progress: tuple[int, int] | None = None

    def as_json(self) -> dict[str, Any]:
        """As the browser and `report.json` have it."""
        return {
            "name": self.name,
            "title": self.title,
            "state": self.state.value,
            "input": [list(pair) for pair in self.input],
            "output": [list(pair) for pair in self.output],
            "duration_s": None if self.duration_s is None else round(self.duration_s, 3),
            "confidence": None if self.confidence is None else round(self.confidence, 3),
            "notes": list(self.notes),
            "progress": None if self.progress is None else list(self.progress),
        }
