"""How a process is told to end."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

# The second signal comes when nothing of Python is left to handle it.
SCRIPT = """
import atexit, sys
from neuroscan_core.process import stop_on_signals

class Last:
    def __del__(self, read=sys.stdin.readline):
        print("ending", flush=True)
        read()

sys.modules["last"] = Last()
stopping = stop_on_signals()
print("ready", flush=True)
stopping.wait()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_does_not_kill_a_process_that_is_ending(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.stdout.readline() == "ending\n"
        process.send_signal(number)
        process.stdin.write("\n")
        process.stdin.close()
        assert process.wait(timeout=30) == 0
