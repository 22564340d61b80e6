"""The benchmark compares like with like: the plain loader gives the very items of the cached one."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the `training` extra is not installed", exc_type=ImportError)
pytest.importorskip("lightning", reason="the `training` extra is not installed", exc_type=ImportError)

from benchmarks.training_data import KINDS, PlainSlices, figures  # noqa: E402
from training.data.cache import open_cache  # noqa: E402
from training.data.cases import find_cases  # noqa: E402
from training.data.module import NeuroScanData  # noqa: E402
from training.data.splits import Split  # noqa: E402

NAMES = ("Brats18_TCIA02_135_1", "TCGA_CS_4941_19960909")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["plain", "frugal"])
def test_plain_and_cached_batches_are_equal(kind, way, shared_data, tmp_path):
    view, _ = KINDS[kind]
    cases = [case for case in find_cases(shared_data, view) if case.name in NAMES]
    cache = open_cache(view, cases, tmp_path)
    split = Split("s", {"train": tuple(case.name for case in cases), "val": (), "test": ()})
    sampler, reader = NeuroScanData(kind, cache, split, 16)._parts(cache.cases)
    items = sampler.epoch(0)[0]
    plain = PlainSlices(cache, {case.name: case for case in cases}, lambda image, target, generator: (image, target))
    image, target = next(plain.batches([items], way))
    cached = reader(items)
    torch.testing.assert_close(image.float(), cached["image"], atol=1e-5, rtol=1e-5)
    assert torch.equal(target, cached["target"])


def test_figures_follow_from_what_was_measured():
    found = figures({"cached": np.array([2.0, 1.0]), "plain": np.array([10.0, 4.0])}, 100, 1000)
    assert found["plain_epoch_s_wall"] == 100.0 and found["cached_slices_per_s_cpu"] == 100.0
    assert found["saved_percent_against_plain_wall"] == pytest.approx(80.0)
    assert found["saved_percent_against_plain_cpu"] == pytest.approx(75.0)
