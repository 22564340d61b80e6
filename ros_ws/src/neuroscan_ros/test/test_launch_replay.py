"""What `ros2 bag record` keeps of a node can be looked at again without it."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not sourced")
msgs = pytest.importorskip("neuroscan_msgs.msg", reason="the workspace is not built and sourced")
pytest.importorskip("ros2bag", reason="rosbag2 is not installed")

from neuroscan_ros import qos

from tests.e2e.conftest import PhantomSeries, storescu
from tests.e2e.node import wait_for
from tests.e2e.ros import RosNode, hear_sigint, launching

TOPICS = ("slices", "series", "masks", "segmentations")
KEEP_ALL = qos.stream(1000)


@contextmanager
def recording(bag: Path, log: Path) -> Iterator[None]:
    """The recipe of `launch/replay.launch.py`."""
    command = ["ros2", "bag", "record", "-o", str(bag), *(f"/neuroscan/{topic}" for topic in TOPICS)]
    with log.open("wb") as output, subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, preexec_fn=hear_sigint
    ) as recorder:  # fmt: skip
        try:
            wait_for(lambda: "All requested topics are subscribed" in log.read_text(), "the recorder to be ready")
            yield
        finally:
            recorder.send_signal(signal.SIGINT)
            assert recorder.wait(timeout=30) == 0, log.read_text()


def test_a_recorded_series_is_played_to_the_viewer_as_it_was(
    ros_node: RosNode,
    phantom_series: Callable[[str], PhantomSeries],
    listen: Callable[..., list[Any]],
    tmp_path: Path,
) -> None:
    from sensor_msgs.msg import Image
    from visualization_msgs.msg import Marker

    series = phantom_series("bag")
    bag = tmp_path / "bag"
    live = listen(msgs.Mask, "/neuroscan/masks", KEEP_ALL)
    launched = ros_node.launch("edge.launch.py", "viewer:=false")
    launched.wait_until_active("/segmentation_node", "/gateway_node")
    with recording(bag, tmp_path / "record.log"):
        results = listen(msgs.Segmentation, "/neuroscan/segmentations", qos.latched(qos.SEGMENTATIONS_KEPT))
        storescu(ros_node.port, series.paths)
        ros_node.wait_for_state(series.series_uid, "delivered")
        wait_for(lambda: results and len(live) >= len(series.paths), "the result on its topic")
    launched.interrupt()
    masks_then = {mask.key.sop_instance_uid: bytes(mask.labels) for mask in live}
    assert len(masks_then) == len(series.paths)

    live.clear()
    results.clear()
    slices = listen(msgs.Slice, "/neuroscan/slices", KEEP_ALL)
    surfaces = listen(Marker, "/neuroscan/tumour_surface", qos.latched(10))
    pictures = listen(Image, "/neuroscan/overlay", qos.latched(100))
    arguments = (f"bag:={bag}", "rate:=4.0", f"config:={ros_node.config_path}")
    with launching("replay.launch.py", *arguments, folder=tmp_path / "replay") as replay:
        replay.wait_for_line("process has finished cleanly")
        wait_for(lambda: results and any(surface.points for surface in surfaces), "the surface of the tumour")
    assert {mask.key.sop_instance_uid: bytes(mask.labels) for mask in live} == masks_then
    assert len(slices) == len(series.paths) and pictures
    (result,) = {one.series_instance_uid: one for one in results}.values()
    labels_kji = np.frombuffer(bytes(result.labels), np.uint8)
    assert result.series_instance_uid == series.series_uid and labels_kji.any()


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [("rate:=1.0", "Which recording"), ("bag:=/nowhere/bag", "There is no recording /nowhere/bag")],
)
def test_a_recording_that_is_not_there_is_told_as_a_sentence(argument: str, sentence: str, tmp_path: Path) -> None:
    with launching("replay.launch.py", argument, folder=tmp_path) as replay:
        wait_for(lambda: sentence in replay.log(), "the sentence")
        assert "Traceback" not in replay.log()
