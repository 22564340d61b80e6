"""The benchmark of the bus runs, and what it measures is of the expected order."""

from __future__ import annotations

import pytest


@pytest.mark.slow
def test_the_benchmark_measures_both_kinds_of_connection() -> None:
    from benchmarks.bus import measure

    figures = measure(num_slices=25)
    assert len(figures) == 12
    assert all(0 < value < 60_000 for value in figures.values())
