"""The process of one candidate: opens its engine, runs when told, says how long runs took and how much memory it had.

Requests and answers are lines of JSON on standard input and output: {"run": "engine" | "tta" | "pipeline", "count": n}
or {"stop": true}. What libraries print goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any

from neuroscan_core.config import SegmenterConfig
from neuroscan_core.domain.errors import NeuroScanError
from neuroscan_core.inference.bundle import load_bundle
from neuroscan_core.ports import InferenceEngine
from training.compare.steps import engine_seconds, pipeline_seconds

NUM_TTA_VIEWS = 3
STATUS_FILE = Path("/proc/self/status")


def serve(requests: IO[str], answers: IO[str]) -> int:
    """Open the candidate that the first line names, then answer until told to stop."""
    first = json.loads(requests.readline())
    began = time.perf_counter()
    before_mib = peak_memory_mib()
    try:
        bundle = load_bundle(Path(first["folder"]))
        engine = bundle.open_engine(SegmenterConfig.model_validate(first["config"]))
    except NeuroScanError as exc:
        _answer(answers, error=str(exc))
        return 1
    _answer(answers, engine=engine.name, open_s=time.perf_counter() - began, before_mib=before_mib)
    sources: dict[str, Iterator[float]] = {
        "engine": engine_seconds(engine, bundle),
        "tta": engine_seconds(engine, bundle, NUM_TTA_VIEWS),
        "pipeline": pipeline_seconds(engine),
    }
    try:
        return _answer_requests(requests, answers, sources, engine)
    finally:
        engine.close()


def _answer_requests(
    requests: IO[str], answers: IO[str], sources: dict[str, Iterator[float]], engine: InferenceEngine
) -> int:
    for line in requests:
        request = json.loads(line)
        if request.get("stop"):
            break
        seconds = list(islice(sources[request["run"]], request["count"]))
        # The name may change: an engine that fails while it serves is replaced.
        _answer(answers, seconds=seconds, peak_mib=peak_memory_mib(), engine=engine.name)
    return 0


def _answer(answers: IO[str], **content: Any) -> None:
    print(json.dumps(content), file=answers, flush=True)


def peak_memory_mib() -> float:
    """Return the most memory that this process has had; not getrusage, which remembers the parent's before exec."""
    if STATUS_FILE.is_file():
        for line in STATUS_FILE.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024.0
    import resource

    divisor = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / divisor


def main() -> int:
    """Serve on standard input and output."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return serve(sys.stdin, answers)


if __name__ == "__main__":
    sys.exit(main())
