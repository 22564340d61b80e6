"""Runs agents one after the other and writes down what each did; goes on where one has nothing to do or fails."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from neuroscan_core.diagnosis.agent import Agent, AgentRecord, AgentState, Skipped
from neuroscan_core.diagnosis.case import CaseFile
from neuroscan_core.domain.errors import NeuroScanError
from neuroscan_core.log import get_logger

log = get_logger(__name__)


class ChainStopped(BaseException):
    """A listener does not want the chain to go on; no agent may catch it."""


Listener = Callable[[CaseFile, Sequence[AgentRecord]], None]


def tell_nobody(case: CaseFile, records: Sequence[AgentRecord]) -> None:
    """Listen to nothing."""


def run_chain(
    agents: Sequence[Agent],
    case: CaseFile,
    *,
    listener: Listener = tell_nobody,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[CaseFile, tuple[AgentRecord, ...]]:
    """Let every agent look at a case.

    Parameters
    ----------
    agents : sequence of Agent
        In order.
    case : CaseFile
    listener : callable
        Told of the case and of all records whenever one has changed; `ChainStopped` ends the chain.
    clock : callable
        Seconds.

    Returns
    -------
    CaseFile
        With what all agents added.
    tuple of AgentRecord
        One per agent.
    """
    records = tuple(AgentRecord(agent.name, agent.title) for agent in agents)
    listener(case, records)
    for agent, record in zip(agents, records, strict=True):
        record.state = AgentState.RUNNING
        listener(case, records)
        case = _run_one(agent, record, case.with_records(records), listener, clock)
        listener(case, records)
    return case.with_records(records), records


def _run_one(
    agent: Agent, record: AgentRecord, case: CaseFile, listener: Listener, clock: Callable[[], float]
) -> CaseFile:
    began_s, given = clock(), case

    def progress(done: int, of: int) -> None:
        record.progress = (done, of)
        listener(given, given.records)

    try:
        finding = agent.run(case, progress)
    except Skipped as skipped:
        record.state, record.notes = AgentState.SKIPPED, [str(skipped)]
    except NeuroScanError as error:
        record.state, record.notes = AgentState.FAILED, [str(error)]
    except MemoryError:
        record.state = AgentState.FAILED
        record.notes = ["There is not enough memory for this step. Give fewer or smaller series."]
    except Exception as error:
        # One agent that breaks must not cost what the others found; the log has the rest.
        # Texts of foreign errors may hold names of files or values of headers, so only where it happened is logged.
        places = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
        log.error("an agent broke", agent=agent.name, exception=type(error).__name__, at=" ".join(places[-8:]))
        record.state = AgentState.FAILED
        record.notes = [f"This step broke ({type(error).__name__}); the log says more."]
    else:
        case = finding.case
        record.state, record.input, record.output = AgentState.DONE, finding.input, finding.output
        record.confidence, record.notes = finding.confidence, list(finding.notes)
    record.duration_s, record.progress = clock() - began_s, None
    return case
