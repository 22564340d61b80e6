"""Real images, where they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    folder = Path(os.environ.get("NEUROSCAN_SHARED", Path(__file__).parents[3] / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip(f"no real images at {folder}")
    return folder
