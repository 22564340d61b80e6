"""Progress of the chain on a terminal, or as one JSON object a line for programs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import TextIO

from rich.console import Console
from rich.table import Table

from neuroscan_core.diagnosis.agent import AgentRecord, AgentState
from neuroscan_core.diagnosis.case import CaseFile
from neuroscan_core.diagnosis.chain import ChainStopped
from neuroscan_core.domain.errors import NeuroScanError

INTERVAL_S = 0.25


class JsonProgress:
    """Lines of JSON: ``{"event": "agents", "agents": [...]}``, at last ``{"event": "done", ...}``.

    Parameters
    ----------
    out : TextIO, optional
        Default: standard output.
    clock : callable
        Seconds that never go back.
    """

    def __init__(self, out: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._out, self._clock = out or sys.stdout, clock
        self._states: tuple[str, ...] = ()
        self._told_at_s = -INTERVAL_S

    def __call__(self, case: CaseFile, records: Sequence[AgentRecord]) -> None:
        """Tell of a change; progress within a step at most a few times a second."""
        states, now_s = tuple(record.state.value for record in records), self._clock()
        if states == self._states and now_s - self._told_at_s < INTERVAL_S:
            return
        self._states, self._told_at_s = states, now_s
        self._write({"event": "agents", "agents": [record.as_json() for record in records]})

    def finish(self, case: CaseFile) -> None:
        """Tell of the end."""
        files = {} if case.files is None else {kind: str(path) for kind, path in case.files.paths.items()}
        verdict = None if case.verdict is None else case.verdict.word
        self._write({"event": "done", "verdict": verdict, "files": files})

    def fail(self, error: NeuroScanError) -> None:
        """Tell that nothing could be begun."""
        self._write({"event": "failed", "error": error.message, "remedy": error.remedy})

    def _write(self, line: dict[str, object]) -> None:
        try:
            self._out.write(json.dumps(line) + "\n")
            self._out.flush()
        except BrokenPipeError:
            raise ChainStopped from None  # whoever started this has gone


class ShownProgress:
    """What a person sees: the step at work, then a table of all.

    Parameters
    ----------
    console : Console, optional
        For the step at work; default: standard error, so that the table can be piped.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._status = self._console.status("Starting")
        self._status.start()
        self._ended: set[str] = set()

    def __call__(self, case: CaseFile, records: Sequence[AgentRecord]) -> None:
        """Show a change."""
        for record in records:
            is_over = record.state in (AgentState.DONE, AgentState.FAILED, AgentState.SKIPPED)
            if is_over and record.name not in self._ended:
                self._ended.add(record.name)
                took = "" if record.duration_s is None else f" ({record.duration_s:.1f} s)"
                self._console.print(f"{record.name}: {record.state.value}{took}", highlight=False, markup=False)
            elif record.state is AgentState.RUNNING:
                share = f" {100 * record.progress[0] // max(record.progress[1], 1)} %" if record.progress else ""
                self._status.update(f"{record.name}: {record.title}{share}")

    def fail(self, error: NeuroScanError) -> None:
        """Nothing could be begun; the command says why."""
        self._status.stop()

    def finish(self, case: CaseFile) -> None:
        """Show what came out."""
        self._status.stop()
        console = Console()
        out = console if console.is_terminal else Console(width=160)
        for record in case.records:
            table = Table(title=f"{record.name}: {record.state.value}", title_justify="left", show_header=False)
            for name, value in [*record.input, *record.output]:
                table.add_row(name, value)
            for note in record.notes:
                table.add_row("note", note)
            out.print(table, markup=False) if table.row_count else out.print(f"{record.name}: {record.state.value}")
        if case.verdict is not None:
            out.print(f"Verdict: {case.verdict.word}", markup=False)
        if case.files is not None:
            out.print(f"Report: {case.files.paths['html']}", markup=False, soft_wrap=True)
