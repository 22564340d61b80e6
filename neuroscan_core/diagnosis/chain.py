"""Runs agents one after the other and writes down what each did; goes on where one has nothing to do or fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from neuroscan_core.diagnosis.agent import Agent, AgentRecord, AgentState, Skipped
from neuroscan_core.diagnosis.case import CaseFile
from neuroscan_core.domain.errors import NeuroScanError
from neuroscan_core.log import get_logger

log = get_logger(__name__)

Listener = Callable[[Sequence[AgentRecord]], None]


def tell_nobody(records: Sequence[AgentRecord]) -> None:
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
        Told of all records whenever one has changed; what it raises ends the chain.
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
    listener(records)
    for agent, record in zip(agents, records, strict=True):
        record.state = AgentState.RUNNING
        listener(records)
        case = _run_one(agent, record, case.with_records(records), lambda: listener(records), clock)
        listener(records)
    return case.with_records(records), records


def _run_one(
    agent: Agent, record: AgentRecord, case: CaseFile, tell: Callable[[], None], clock: Callable[[], float]
) -> CaseFile:
    began_s = clock()

    def progress(done: int, of: int) -> None:
        record.progress = (done, of)
        tell()

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
        log.exception("an agent broke", agent=agent.name)
        record.state = AgentState.FAILED
        record.notes = [f"This step broke ({type(error).__name__}); the log says more."]
    else:
        case = finding.case
        record.state, record.input, record.output = AgentState.DONE, finding.input, finding.output
        record.confidence, record.notes = finding.confidence, list(finding.notes)
    record.duration_s, record.progress = clock() - began_s, None
    return case
