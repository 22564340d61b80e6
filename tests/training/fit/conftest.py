"""Fixtures of the loop's tests."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the `training` extra is not installed", exc_type=ImportError)
pytest.importorskip("lightning", reason="the `training` extra is not installed", exc_type=ImportError)
pytest.importorskip("hydra", reason="the `training` extra is not installed", exc_type=ImportError)


@pytest.fixture(autouse=True)
def as_found():
    """Threads and deterministic mode are of the whole process: put them back."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)
