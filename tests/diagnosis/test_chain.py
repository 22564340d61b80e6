"""The chain: what it writes down, and that it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from neuroscan_core.diagnosis.agent import AgentRecord, Finding, Progress, Skipped
from neuroscan_core.diagnosis.agents import Critic, Measurer, ReaderAgent, Reporter, Segmenters, TriageAgent
from neuroscan_core.diagnosis.case import CaseFile, Gathered
from neuroscan_core.diagnosis.chain import ChainStopped, run_chain
from neuroscan_core.diagnosis.steps import STEPS
from neuroscan_core.domain.errors import InvalidBundle


class Step:
    """An agent that does what a test wants."""

    def __init__(self, name: str, error: Exception | None = None) -> None:
        self.name, self.title, self._error = name, f"What is {name}?", error

    def run(self, case: CaseFile, progress: Progress) -> Finding:
        progress(1, 2)
        if self._error is not None:
            raise self._error
        return Finding(case, (("given", self.name),), (("found", "much"),), 0.5, ["a note"])


CASE = CaseFile(Path("somewhere"))


def test_writes_down_input_output_duration_confidence_and_notes() -> None:
    times = iter([10.0, 12.5])
    _, (record,) = run_chain([Step("one")], CASE, clock=lambda: next(times))
    assert record.as_json() == {
        "name": "one", "title": "What is one?", "state": "done", "input": [["given", "one"]],
        "output": [["found", "much"]], "duration_s": 2.5, "confidence": 0.5, "notes": ["a note"], "progress": None,
    }  # fmt: skip


def test_goes_on_where_an_agent_fails_or_has_nothing_to_do() -> None:
    steps = [
        Step("skips", Skipped("There is nothing to do.")),
        Step("fails", InvalidBundle("The model is damaged.", remedy="Copy it again.")),
        Step("works"),
    ]
    _, records = run_chain(steps, CASE)
    assert [record.state.value for record in records] == ["skipped", "failed", "done"]
    assert records[0].notes == ["There is nothing to do."]
    assert records[1].notes == ["The model is damaged. Copy it again."]


def test_a_broken_agent_shows_nothing_of_the_foreign_error(capsys: pytest.CaptureFixture[str]) -> None:
    _, (record,) = run_chain([Step("breaks", ValueError("/data/Doe^John.dcm is odd"))], CASE)
    assert record.state.value == "failed" and "ValueError" in record.notes[0]
    captured = capsys.readouterr()
    assert "Doe" not in record.notes[0] + captured.out + captured.err


def test_an_agent_sees_what_was_written_down_before_it() -> None:
    seen: list[list[str]] = []

    class Looks(Step):
        def run(self, case: CaseFile, progress: Progress) -> Finding:
            seen.append([record.state.value for record in case.records])
            return super().run(case, progress)

    run_chain([Step("one"), Looks("two")], CASE)
    assert seen == [["done", "running"]]


def test_listeners_hear_of_every_change_and_of_progress() -> None:
    heard: list[tuple[str, tuple[int, int] | None]] = []

    def listen(case: CaseFile, records: Sequence[AgentRecord]) -> None:
        heard.append((records[0].state.value, records[0].progress))

    run_chain([Step("one")], CASE, listener=listen)
    assert heard == [("waiting", None), ("running", None), ("running", (1, 2)), ("done", None)]


def test_a_listener_can_stop_the_chain_while_an_agent_is_at_work() -> None:
    def listen(case: CaseFile, records: Sequence[AgentRecord]) -> None:
        if records[0].progress is not None:
            raise ChainStopped

    with pytest.raises(ChainStopped):
        run_chain([Step("one"), Step("two")], CASE, listener=listen)


def test_confidence_is_a_share() -> None:
    with pytest.raises(AssertionError):
        Finding(CASE, (), (), 1.5)


def test_the_steps_that_are_announced_are_those_of_the_chain(tmp_path: Path) -> None:
    agents = [
        ReaderAgent(lambda _: Gathered(())), TriageAgent("", lambda name: pytest.fail(name)),
        Segmenters({}, lambda name: pytest.fail(name)), Measurer(), Critic(), Reporter(tmp_path),
    ]  # fmt: skip
    assert tuple((agent.name, agent.title) for agent in agents) == STEPS
