"""The benchmarks of the bus run, and what they measure is of the expected order."""

from __future__ import annotations

import pytest


@pytest.mark.slow
def test_the_benchmark_measures_both_kinds_of_connection() -> None:
    from benchmarks.bus import measure

    figures = measure(num_slices=25)
    assert len(figures) == 12
    assert all(0 < value < 60_000 for value in figures.values())


@pytest.mark.slow
def test_the_benchmark_measures_the_ros_bus_beside_zeromq() -> None:
    pytest.importorskip("rclpy", reason="needs ROS 2")
    pytest.importorskip("neuroscan_ros", reason="needs the package of ros_ws")
    from benchmarks.ros_bus import measure

    figures = measure(num_slices=20, num_one_way=25, rounds=1)
    assert len(figures) == 19
    assert all(0 < value < 60_000 for name, value in figures.items() if name != "rmw")
