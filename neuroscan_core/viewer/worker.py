"""Processes that compute for the viewer and tell of it in lines of JSON.

A worker has a low priority, so that masks of series that are arriving come first; a bound of memory; and is the first
that the kernel ends where memory is short. It ends by itself when the viewer is gone: nobody reads its lines.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

NICENESS = 15
MAX_BYTES = 16 << 30  # of addresses; the engine reserves far more than it uses
OOM_SCORE = 800


def start_worker(command: Sequence[str]) -> subprocess.Popen[str]:
    """Start a worker; its lines are read by `messages_of`."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        start_new_session=True,
    )  # fmt: skip
    _restrain(process.pid)
    return process


def messages_of(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    """What a worker says, until it says no more; lines that are no JSON object are passed over."""
    assert process.stdout is not None
    for line in process.stdout:
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if isinstance(said, dict) and said:
            yield said


def end_worker(process: subprocess.Popen[str]) -> None:
    """End a worker and all that it has started, at once."""
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)


def _restrain(pid: int) -> None:
    """Less of everything; where the system does not allow it, it runs as it is."""
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, pid, NICENESS)
    with contextlib.suppress(OSError, AttributeError, ValueError):
        resource.prlimit(pid, resource.RLIMIT_AS, (MAX_BYTES, MAX_BYTES))
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_text(str(OOM_SCORE), encoding="ascii")
