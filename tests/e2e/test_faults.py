"""Processes die at named points and at random ones: nothing acknowledged is lost, one result per series."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable

import psutil
import pydicom
import pytest

from neuroscan_core import crashpoints
from tests.dcmtk import dcmtk
from tests.e2e.conftest import PhantomSeries
from tests.e2e.node import RunningArchive, RunningNode, wait_for

# Each lies a moment beside another point, which is tried every time.
NEIGHBOURS = {"assembly.before-record", "results.before-write", "results.after-journal", "deliver.before-send"}


def send_until_all_are_acknowledged(node: RunningNode, series: PhantomSeries, died: list[str] | None = None) -> None:
    """A scanner's behaviour: what is not acknowledged is sent again."""
    for _ in range(40):
        done = subprocess.run(
            [dcmtk("storescu"), "-R", "-aec", "NEUROSCAN", "127.0.0.1", str(node.port), *map(str, series.paths)],
            capture_output=True, timeout=120, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if done.returncode == 0:
            return
        if died is not None:
            wait_for(lambda: died.extend(node.revive_dead()) or node.is_listening(), "the gateway to listen again")
        else:
            wait_for(node.is_listening, "the gateway to listen again")
    raise AssertionError("the series was never accepted whole")


def assert_exactly_one_result(node: RunningNode, archive: RunningArchive, series: PhantomSeries) -> None:
    record = node.wait_for_state(series.series_uid, "delivered")
    assert record.num_slices == len(series.paths)
    kinds = [pydicom.dcmread(path, stop_before_pixels=True).Modality for path in archive.objects()]
    assert sorted(kinds) == ["SEG", "SR"], kinds
    with node.journal() as journal:
        assert {i.sop_uid for i in journal.instances(series.series_uid)} == {
            str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in series.paths
        }


@pytest.mark.parametrize(
    "point",
    [pytest.param(point, marks=pytest.mark.slow if point in NEIGHBOURS else ()) for point in crashpoints.POINTS],
)
def test_a_process_killed_at_a_named_point_changes_nothing_in_the_end(
    point: str, node: RunningNode, archive: RunningArchive, phantom_series: Callable[[str], PhantomSeries]
) -> None:
    is_per_slice = point.startswith(("ingest", "assembly.before-record", "assembly.after-record", "segmenter.mid"))
    series = phantom_series(point)
    node.start_one_by_one(crash_at=f"{point}:{7 if is_per_slice else 1}")
    died: list[str] = []

    def is_whole() -> bool:
        died.extend(node.revive_dead())
        record = node.series(series.series_uid)
        return bool(died) and record is not None and record.state.value == "delivered"

    send_until_all_are_acknowledged(node, series, died)
    wait_for(is_whole, f"a death at {point} and a delivered series")
    assert_exactly_one_result(node, archive, series)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_kill_9_of_the_whole_node_at_random_moments_loses_nothing(
    seed: int, node: RunningNode, archive: RunningArchive, phantom_series: Callable[[str], PhantomSeries]
) -> None:
    rng = random.Random(seed)
    series = phantom_series(f"random-{seed}")
    node.start()
    sender = subprocess.Popen(
        [dcmtk("storescu"), "-R", "-aec", "NEUROSCAN", "127.0.0.1", str(node.port), *map(str, series.paths)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    with pytest.raises(subprocess.TimeoutExpired):
        sender.wait(timeout=0.001)
    psutil.wait_procs([psutil.Process(sender.pid)], timeout=rng.uniform(0.05, 2.5))
    node.kill()
    sender.wait(timeout=60)
    node.start()
    send_until_all_are_acknowledged(node, series)
    assert_exactly_one_result(node, archive, series)


@pytest.mark.parametrize("role", ["segmenter", "gateway"])
def test_one_process_killed_mid_series_is_restarted_and_the_result_is_whole(
    role: str, node: RunningNode, archive: RunningArchive, phantom_series: Callable[[str], PhantomSeries]
) -> None:
    series = phantom_series(f"kill-{role}")
    node.start()
    scanner = subprocess.Popen(
        node.command("send", str(series.paths[0].parent), "127.0.0.1", str(node.port), "--pace", "8"),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    with node.journal() as journal:
        wait_for(lambda: len(journal.instances(series.series_uid)) > len(series.paths) // 3, "a third of the slices")
    node.processes()[role].kill()
    scanner.wait(timeout=60)
    send_until_all_are_acknowledged(node, series)
    assert_exactly_one_result(node, archive, series)


def test_a_series_that_failed_is_segmented_again_on_retry(
    node: RunningNode, archive: RunningArchive, phantom_series: Callable[[str], PhantomSeries]
) -> None:
    series = phantom_series("retry")
    node.start()
    send_until_all_are_acknowledged(node, series)
    node.wait_for_state(series.series_uid, "delivered")
    with node.journal() as journal:
        journal.record(series.series_uid, state="failed", reason="results", message="as if the disk had been broken")
    done = subprocess.run(
        node.command("retry", series.series_uid, "-c", str(node.config_path)), capture_output=True, text=True
    )
    assert "1 series are segmented again" in done.stdout, done
    node.wait_for_state(series.series_uid, "delivered")
    assert_exactly_one_result(node, archive, series)
