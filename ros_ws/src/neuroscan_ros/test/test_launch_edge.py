"""The node under `ros2 launch`: a scanner pushes a series, topics show its masks, the archive gets SEG and SR."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import pydicom
import pytest
import yaml

pytest.importorskip("rclpy", reason="ROS 2 is not sourced")
msgs = pytest.importorskip("neuroscan_msgs.msg", reason="the workspace is not built and sourced")

from neuroscan_ros import qos

from tests.dcmtk import dcmtk
from tests.e2e.conftest import PhantomSeries, storescu
from tests.e2e.node import RunningArchive, wait_for
from tests.e2e.ros import RosNode, RunningLaunch
from tests.e2e.test_faults import assert_exactly_one_result, send_until_all_are_acknowledged
from tests.e2e.test_main_job import batch_mask, mask_of, of_modality

Listen = Callable[..., list[Any]]
WriteSeries = Callable[[str], PhantomSeries]
KEEP_ALL = qos.stream(1000)
NODES = {"ros2": ("/viewer_node", "/segmentation_node", "/gateway_node"), "zmq": ("/bridge_node", "/viewer_node")}
PROCESSES = {
    "ros2": {"viewer_node", "segmentation_node", "gateway_node"},
    "zmq": {"viewer_node", "bridge_node", "viewer", "segmenter", "gateway"},
}


def launch_edge(node: RosNode, bus: str, *arguments: str, namespace: str = "") -> RunningLaunch:
    """Launch all of it and wait until it can work."""
    launched = node.launch("edge.launch.py", f"bus:={bus}", *arguments)
    launched.wait_until_active(*(f"{namespace}{name}" for name in NODES[bus]))
    wait_for(node.is_listening, "the gateway to listen")
    if bus == "zmq":
        launched.wait_for_line("segmenter is ready")
    return launched


def start_scanner(node: RosNode, series: PhantomSeries) -> subprocess.Popen[str]:
    """Begin to send a series slowly; a third of it has been acknowledged on return."""
    scanner = subprocess.Popen(
        node.command("send", str(series.paths[0].parent), "127.0.0.1", str(node.port), "--pace", "8"),
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    with node.journal() as journal:
        wait_for(
            lambda: len(journal.instances(series.series_uid)) > len(series.paths) // 3 + 1, "a third of the slices"
        )
    return scanner


def keys_of(masks: list[Any]) -> set[tuple[str, int]]:
    return {(mask.key.sop_instance_uid, mask.key.frame_number) for mask in masks}


def sop_uids(paths: list[Path]) -> set[str]:
    return {str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in paths}


@pytest.mark.parametrize("bus", ["ros2", "zmq"])
def test_a_pushed_series_gives_a_mask_of_each_slice_on_the_topic_and_one_result_in_the_archive(
    bus: str, ros_node: RosNode, archive: RunningArchive, phantom_series: WriteSeries, listen: Listen
) -> None:
    series = phantom_series(f"launch-{bus}")
    slices = listen(msgs.Slice, "/neuroscan/slices", KEEP_ALL)
    masks = listen(msgs.Mask, "/neuroscan/masks", KEEP_ALL)
    statuses = listen(msgs.SeriesStatus, "/neuroscan/series", KEEP_ALL)
    launched = launch_edge(ros_node, bus)
    wait_for(lambda: statuses, "the first heartbeat of the gateway")
    storescu(ros_node.port, series.paths)
    assert_exactly_one_result(ros_node, archive, series)
    wait_for(lambda: len(keys_of(masks)) >= len(series.paths), "a mask of each slice on the topic")
    assert {uid for uid, _ in keys_of(masks)} == sop_uids(series.paths)
    assert {one.key.sop_instance_uid for one in slices} == sop_uids(series.paths)
    assert len(slices) == len(series.paths)
    (seg_path,) = of_modality(archive, "SEG")
    assert np.array_equal(mask_of(seg_path, series.paths), batch_mask(series.paths))
    status, ends = launched.interrupt()
    assert status == 0
    assert ends == dict.fromkeys(PROCESSES[bus], 0), launched.log()[-4000:]


@pytest.mark.parametrize("is_group", [True, False], ids=["ctrl-c", "supervisor"])
def test_an_interrupt_in_the_middle_of_a_series_loses_nothing(
    is_group: bool, ros_node: RosNode, archive: RunningArchive, phantom_series: WriteSeries
) -> None:
    series = phantom_series(f"interrupt-{is_group}")
    launched = launch_edge(ros_node, "ros2")
    with start_scanner(ros_node, series) as scanner:
        status, ends = launched.interrupt(is_group=is_group)
        assert (status, ends) == (0, dict.fromkeys(PROCESSES["ros2"], 0)), launched.log()[-4000:]
        report, _ = scanner.communicate(timeout=60)
    acknowledged = int(re.search(r"(\d+) objects", report)[1])
    with ros_node.journal() as journal:
        assert len(journal.instances(series.series_uid)) >= acknowledged > len(series.paths) // 3, report
    launch_edge(ros_node, "ros2")
    send_until_all_are_acknowledged(ros_node, series)
    wait_for(lambda: of_modality(archive, "SR"), "a result")

    def is_whole() -> bool:
        record = ros_node.series(series.series_uid)
        return record is not None and (record.num_slices, record.state.value) == (len(series.paths), "delivered")

    wait_for(is_whole, "the result of the whole series")


@pytest.mark.parametrize(
    ("bus", "victim"),
    [("ros2", "segmentation_node"), ("ros2", "gateway_node"), ("zmq", "segmenter"), ("zmq", "gateway")],
)
def test_a_process_killed_in_the_middle_of_a_series_changes_nothing_in_the_end(
    bus: str, victim: str, ros_node: RosNode, archive: RunningArchive, phantom_series: WriteSeries, listen: Listen
) -> None:
    series = phantom_series(f"kill-{bus}-{victim}")
    masks = listen(msgs.Mask, "/neuroscan/masks", KEEP_ALL)
    launched = launch_edge(ros_node, bus)
    with start_scanner(ros_node, series) as scanner:
        launched.kill(victim)
        scanner.communicate(timeout=60)
    send_until_all_are_acknowledged(ros_node, series)
    assert_exactly_one_result(ros_node, archive, series)
    if victim.startswith("gateway"):
        wait_for(lambda: len(keys_of(masks)) >= len(series.paths), "a mask of each slice on the topic")
    if bus == "ros2":
        launched.wait_until_active(f"/{victim}", count=2)
    (seg_path,) = of_modality(archive, "SEG")
    assert np.array_equal(mask_of(seg_path, series.paths), batch_mask(series.paths))


def test_who_joins_late_sees_the_last_result(
    ros_node: RosNode, archive: RunningArchive, phantom_series: WriteSeries, listen: Listen
) -> None:
    from sensor_msgs.msg import Image

    series = phantom_series("late")
    launch_edge(ros_node, "ros2")
    storescu(ros_node.port, series.paths)
    assert_exactly_one_result(ros_node, archive, series)
    results = listen(msgs.Segmentation, "/neuroscan/segmentations", qos.latched(qos.SEGMENTATIONS_KEPT))
    pictures = listen(Image, "/neuroscan/overlay", qos.latched())
    wait_for(lambda: results and pictures, "the last result and its picture")
    assert results[0].series_instance_uid == series.series_uid
    assert len(results[0].keys) == len(series.paths)
    assert (pictures[0].encoding, pictures[0].header.frame_id) == ("rgb8", qos.PATIENT_FRAME)


def test_a_namespace_moves_every_topic_and_two_nodes_do_not_hear_one_another(
    ros_node: RosNode, archive: RunningArchive, phantom_series: WriteSeries, listen: Listen
) -> None:
    series = phantom_series("namespace")
    masks = listen(msgs.Mask, "/site/a/neuroscan/masks", KEEP_ALL)
    elsewhere = listen(msgs.Mask, "/neuroscan/masks", KEEP_ALL)
    launch_edge(ros_node, "ros2", "namespace:=/site/a", namespace="/site/a")
    storescu(ros_node.port, series.paths)
    assert_exactly_one_result(ros_node, archive, series)
    wait_for(lambda: len(keys_of(masks)) >= len(series.paths), "a mask of each slice on the topic")
    assert not elsewhere


def test_a_launch_file_around_it_can_rename_topics(
    ros_node: RosNode, archive: RunningArchive, phantom_series: WriteSeries, listen: Listen, tmp_path: Path
) -> None:
    series = phantom_series("remap")
    file = tmp_path / "around.launch.py"
    file.write_text(
        "from launch import LaunchDescription\n"
        "from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription\n"
        "from launch_ros.actions import SetRemap\n"
        "from launch_ros.substitutions import FindPackageShare\n"
        "def generate_launch_description():\n"
        "    edge = [FindPackageShare('neuroscan'), '/launch/edge.launch.py']\n"
        "    arguments = {'viewer': 'false'}.items()\n"
        "    return LaunchDescription([GroupAction([SetRemap('neuroscan/masks', 'tumour/masks'),\n"
        "        IncludeLaunchDescription(edge, launch_arguments=arguments)])])\n"
    )
    masks = listen(msgs.Mask, "/tumour/masks", KEEP_ALL)
    ros_node.launch(file).wait_until_active("/segmentation_node", "/gateway_node")
    storescu(ros_node.port, series.paths)
    assert_exactly_one_result(ros_node, archive, series)
    wait_for(lambda: len(keys_of(masks)) >= len(series.paths), "a mask of each slice on the renamed topic")


def test_parameters_win_over_the_configuration_and_arguments_choose_model_and_engine(
    ros_node: RosNode, archive: RunningArchive, phantom_series: WriteSeries, tmp_path: Path
) -> None:
    series = phantom_series("parameters")
    file = tmp_path / "site.params.yaml"
    note = {"gateway_node": {"ros__parameters": {"results.institution_note": "SITE-7"}}}
    file.write_text(yaml.safe_dump(note))
    config = yaml.safe_load(ros_node.config_path.read_text())
    config["rules"] = [{"name": "nothing", "model": None}]
    ros_node.config_path.write_text(yaml.safe_dump(config))
    launch_edge(ros_node, "ros2", f"params_file:={file}", "model:=mobilenetv2-unet-flair", "engine:=onnxruntime")
    storescu(ros_node.port, series.paths)
    assert_exactly_one_result(ros_node, archive, series)
    (seg_path,) = of_modality(archive, "SEG")
    assert "SITE-7" in pydicom.dcmread(seg_path, stop_before_pixels=True).SeriesDescription


def test_a_switch_that_plain_processes_do_not_know_is_refused_with_a_sentence(ros_node: RosNode) -> None:
    launched = ros_node.launch("edge.launch.py", "bus:=zmq", "engine:=triton")
    wait_for(lambda: "engine:=triton does not reach the plain processes" in launched.log(), "the sentence")
    assert "Traceback" not in launched.log()


def test_rviz_that_is_not_installed_is_told_and_all_else_runs(ros_node: RosNode) -> None:
    from ament_index_python.packages import get_packages_with_prefixes

    if "rviz2" in get_packages_with_prefixes():
        pytest.skip("rviz2 is installed")
    launched = ros_node.launch("viewer.launch.py", "rviz:=true")
    launched.wait_until_active("/viewer_node")
    assert "rviz is not installed" in launched.log()


@pytest.mark.filterwarnings("ignore::UserWarning")  # real headers violate value rules; pydicom says so
def test_a_series_of_a_real_scanner_is_shown_and_delivered(
    ros_node: RosNode, archive: RunningArchive, shared_data: Path, listen: Listen
) -> None:
    folder = shared_data / "dicom_mr" / "philips_elition_pcasl_classic"
    if not folder.is_dir():
        pytest.skip(f"there is no {folder}")
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    masks = listen(msgs.Mask, "/neuroscan/masks", KEEP_ALL)
    launch_edge(ros_node, "ros2")
    subprocess.run(
        [dcmtk("storescu"), "-R", "-aec", "NEUROSCAN", "127.0.0.1", str(ros_node.port), *map(str, paths)],
        check=True, timeout=120, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    uid = str(pydicom.dcmread(paths[0], stop_before_pixels=True).SeriesInstanceUID)
    record = ros_node.wait_for_state(uid, "delivered")
    wait_for(lambda: len(keys_of(masks)) >= record.num_slices, "a mask of each slice on the topic")
    assert of_modality(archive, "SR")


def test_orthanc_as_the_archive_holds_the_results(
    tmp_path: Path, orthanc: tuple[int, int], phantom_series: WriteSeries
) -> None:
    dicom_port, http_port = orthanc
    series = phantom_series("orthanc")
    destination = {"name": "orthanc", "host": "127.0.0.1", "port": dicom_port, "ae_title": "ORTHANC"}
    node = RosNode(tmp_path, [destination])
    try:
        launch_edge(node, "ros2")
        storescu(node.port, series.paths)
        node.wait_for_state(series.series_uid, "delivered")
    finally:
        node.close()

    def get(path: str) -> Any:
        with urlopen(f"http://127.0.0.1:{http_port}{path}", timeout=20) as response:
            return json.load(response)

    assert sorted(get(f"/series/{key}")["MainDicomTags"]["Modality"] for key in get("/series")) == ["SEG", "SR"]
