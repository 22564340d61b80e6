"""Runs `launch_testing_edge.py` as a person does: `launch_test launch_testing_edge.py name:=value`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("launch_testing", reason="launch_testing is not installed")
pytest.importorskip("neuroscan_msgs.msg", reason="the workspace is not built and sourced")

from tests.dcmtk import dcmtk
from tests.e2e.conftest import PhantomSeries
from tests.e2e.ros import RosNode


def test_launch_test_passes(
    ros_node: RosNode, phantom_series: Callable[[str], PhantomSeries], repository: Path
) -> None:
    dcmtk("storescu")
    series = phantom_series("launch-test")
    arguments = (f"config:={ros_node.config_path}", f"series:={series.paths[0].parent}", f"port:={ros_node.port}")
    file = Path(__file__).with_name("launch_testing_edge.py")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(repository), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, "-m", "launch_testing.launch_test", str(file), *arguments],
        capture_output=True, text=True, timeout=300, env=environment, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert done.stderr.count("Ran 1 test") == 2, done.stderr[-4000:]
