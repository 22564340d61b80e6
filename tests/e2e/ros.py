"""`ros2 launch` of the node as a real process, for tests that look at the whole under ROS 2; imports no ROS."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil

from tests.e2e.node import RunningNode, wait_for

END_WITHIN_S = 10.0  # what the nodes promise
_LAUNCH_S = 5.0  # what `ros2 launch` itself may need on a busy machine to notice and to say so


class RunningLaunch:
    """A launch file that runs.

    Parameters
    ----------
    file : Path or str
        Path of a launch file, or its name within the package ``neuroscan``.
    arguments : str
        As on the command line: ``name:=value``.
    folder : Path
        Receives ``launch.log``.
    """

    def __init__(self, file: Path | str, *arguments: str, folder: Path) -> None:
        self._log_path = folder / "launch.log"
        self._log = self._log_path.open("ab")
        target = [str(file)] if isinstance(file, Path) else ["neuroscan", file]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        self._process = subprocess.Popen(
            ["ros2", "launch", *target, *arguments], stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log,
            env=environment, start_new_session=True, preexec_fn=hear_sigint,
        )  # fmt: skip

    def log(self) -> str:
        """Everything that was said so far."""
        return self._log_path.read_text(errors="replace")

    def wait_for_line(self, pattern: str, count: int = 1) -> None:
        """Wait until a regular expression was found `count` times in the log."""

        def found() -> bool:
            if self._process.poll() is not None:
                raise AssertionError(f"the launch ended with {self._process.returncode}:\n{self.log()[-4000:]}")
            return len(re.findall(pattern, self.log())) >= count

        try:
            wait_for(found, f"{pattern!r} in the log")
        except AssertionError as exc:
            raise AssertionError(f"{exc}\n{self.log()[-6000:]}") from exc

    def wait_until_active(self, *nodes: str, count: int = 1) -> None:
        """Wait until nodes were brought up, `count` times."""
        for node in nodes:
            self.wait_for_line(rf"{node} is active", count)

    def process(self, name: str) -> psutil.Process:
        """Newest process of an executable."""
        for child in reversed(psutil.Process(self._process.pid).children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                if any(Path(part).name == name for part in child.cmdline()[:3]):
                    return child
        raise AssertionError(f"there is no process {name}:\n{self.log()[-3000:]}")

    def kill(self, name: str) -> None:
        """`kill -9` for a process."""
        self.process(name).kill()

    def interrupt(self, *, is_group: bool = True) -> tuple[int, dict[str, int]]:
        """End by SIGINT, for the whole group as Ctrl-C does or for the launch alone as a supervisor does.

        Returns
        -------
        int
            Exit status of the launch.
        dict of str to int
            Exit status of the processes that it started, the last one of each name.
        """
        family = psutil.Process(self._process.pid).children(recursive=True)
        if is_group:
            os.killpg(self._process.pid, signal.SIGINT)
        else:
            self._process.send_signal(signal.SIGINT)
        _, alive = psutil.wait_procs(family, timeout=END_WITHIN_S)
        assert not alive, f"still there after {END_WITHIN_S:.0f} s: {alive}\n{self.log()[-4000:]}"
        status = self._process.wait(timeout=_LAUNCH_S)
        return status, self.exit_statuses()

    def exit_statuses(self) -> dict[str, int]:
        """Executable -> exit status of its last process that ended."""
        found = {}
        for line in self.log().splitlines():
            if died := re.search(r"\[(\S+?)-\d+\]: process has died \[pid \d+, exit code (-?\d+)", line):
                found[died[1]] = int(died[2])
            elif clean := re.search(r"\[(\S+?)-\d+\]: process has finished cleanly", line):
                found[clean[1]] = 0
        return found

    def close(self) -> None:
        """End it for good, whatever state it is in."""
        if self._process.poll() is None:
            family = psutil.Process(self._process.pid).children(recursive=True)
            os.killpg(self._process.pid, signal.SIGINT)
            try:
                self._process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                for process in [*family, psutil.Process(self._process.pid)]:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()
                self._process.wait()
        self._log.close()


class RosNode(RunningNode):
    """The node under `ros2 launch`, on a state folder that survives restarts; see `RunningNode`."""

    launched: RunningLaunch | None = None

    def launch(self, file: Path | str, *arguments: str) -> RunningLaunch:
        """Start a launch file with this node's configuration."""
        if self.launched:
            self.launched.close()
        folder = self.folder / f"launch-{len(list(self.folder.glob('launch-*')))}"
        folder.mkdir()
        self.launched = RunningLaunch(file, f"config:={self.config_path}", *arguments, folder=folder)
        return self.launched

    def log(self) -> str:
        """What the last launch has said."""
        return self.launched.log() if self.launched else super().log()

    def close(self) -> None:
        """Stop it for good."""
        if self.launched:
            self.launched.close()
        super().close()


def hear_sigint() -> None:
    """A shell's background job ignores SIGINT, and so would everything started from it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def launching(file: Path | str, *arguments: str, folder: Path) -> Iterator[RunningLaunch]:
    """A launch that ends with the block."""
    folder.mkdir(parents=True, exist_ok=True)
    running = RunningLaunch(file, *arguments, folder=folder)
    try:
        yield running
    finally:
        running.close()
