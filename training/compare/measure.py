"""Lets candidates take turns, each in a process of its own, and says how long each took.

Machines are noisy: what else runs slows whatever runs at that moment. So every round gives each candidate its turn, and
a ratio is formed within rounds, against the first candidate of that very round.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neuroscan_core.domain.errors import EngineUnavailable
from neuroscan_core.lifetime import Closes
from training.compare.candidate import Candidate

RUNS = ("engine", "tta", "pipeline")
TURN_SECONDS = 8.0


@dataclass
class Timing:
    """Durations of one kind of run, by round.

    Parameters
    ----------
    rounds : list of list of float
        Seconds of each run.
    """

    rounds: list[list[float]] = field(default_factory=list)

    def percentile_ms(self, percent: float) -> float:
        """Return a percentile over all rounds."""
        return float(np.percentile(np.concatenate(self.rounds), percent) * 1000.0)

    def ratio_to(self, first: Timing) -> float:
        """Return how many times as long as the first candidate it took: median over rounds of the medians' ratio."""
        pairs = zip(self.rounds, first.rounds, strict=True)
        return float(np.median([np.median(own) / np.median(other) for own, other in pairs]))


@dataclass
class Measured:
    """Speed and memory of a candidate.

    Parameters
    ----------
    engine : str
        What executed it, as it says itself.
    open_s : float
        Time to open the engine, a build of TensorRT included.
    peak_mib, before_mib : float
        Most memory of its process, and what that had before the engine was opened.
    """

    candidate: Candidate
    engine: str
    open_s: float
    before_mib: float
    peak_mib: float = 0.0
    timings: dict[str, Timing] = field(default_factory=lambda: {run: Timing() for run in RUNS})


class Worker(Closes):
    """A process that runs one candidate.

    Raises
    ------
    EngineUnavailable
        The engine cannot be opened, or the process ended.
    """

    def __init__(self, candidate: Candidate) -> None:
        self._candidate = candidate
        self._counts: dict[str, int] = {}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "training.compare.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        config = candidate.config.model_dump(mode="json")
        try:
            opened = self._ask(folder=str(candidate.folder), config=config)
        except EngineUnavailable:
            self.close()
            raise
        self.measured = Measured(candidate, opened["engine"], opened["open_s"], opened["before_mib"])

    def warm_up(self, counts: dict[str, int]) -> None:
        """Do each kind of run once, and settle how many of them make a turn: no more than fit into its time."""
        for run, count in counts.items():
            seconds = self._ask(run=run, count=1)["seconds"][0]
            self._counts[run] = min(count, max(1, int(TURN_SECONDS / max(seconds, 1e-6))))

    def turn(self, run: str) -> None:
        """Do the runs of a turn, and keep their durations."""
        answer = self._ask(run=run, count=self._counts[run])
        self.measured.peak_mib, self.measured.engine = answer["peak_mib"], answer["engine"]
        self.measured.timings[run].rounds.append(answer["seconds"])

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(BrokenPipeError):  # it ended already
            self._process.stdin.close()
        try:
            self._process.wait(timeout=10.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _ask(self, **request: Any) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            print(json.dumps(request), file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        answer = json.loads(line) if line else {"error": "Its process ended."}
        if "error" in answer:
            raise EngineUnavailable(f"{self._candidate.label} cannot be measured. {answer['error']}")
        found: dict[str, Any] = answer
        return found


def measure(
    candidates: Sequence[Candidate],
    *,
    num_rounds: int = 5,
    counts: dict[str, int],
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[list[Measured], list[str]]:
    """Measure candidates in turns.

    Parameters
    ----------
    counts : dict of str to int
        Most runs of each kind in a turn, of `RUNS`; fewer where they take long.
    progress : callable
        Told what happens.

    Returns
    -------
    list of Measured
        In the order of the candidates, without those that cannot be opened.
    list of str
        Why the others cannot.
    """
    refused = []
    with ExitStack() as stack:
        workers = []
        for candidate in candidates:
            progress(f"opening {candidate.label}")
            try:
                workers.append(stack.enter_context(Worker(candidate)))
            except EngineUnavailable as exc:
                refused.append(str(exc))
        for worker in workers:
            worker.warm_up(counts)
        for number in range(num_rounds):
            progress(f"round {number + 1} of {num_rounds}")
            # Whoever comes first in a round may meet a colder machine: that changes from round to round.
            shift = number % max(len(workers), 1)
            for worker in (*workers[shift:], *workers[:shift]):
                for run in counts:
                    worker.turn(run)
        return [worker.measured for worker in workers], refused
