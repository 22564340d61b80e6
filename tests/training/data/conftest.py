"""Fixtures of the tests of data: cases on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from .layouts import write_brats


@pytest.fixture
def brats(tmp_path: Path) -> Callable[..., Path]:
    """Write a BraTS case below `tmp_path`."""
    return lambda *args, **options: write_brats(tmp_path, *args, **options)
