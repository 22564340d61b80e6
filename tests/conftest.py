"""Fixtures of all tests: where real data lies, and generated heads."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from neuroscan_core.phantom import HeadPhantom, head_phantom

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Folder of what is shared between checkouts and is no part of any: data and tools."""
    path = Path(os.environ.get("NEUROSCAN_SHARED", ROOT.parent / "shared"))
    if not path.is_dir():
        pytest.skip(f"there is no {path}; set NEUROSCAN_SHARED to the folder that holds data/")
    return path


@pytest.fixture(scope="session")
def shared_data(shared_dir: Path) -> Path:
    """Folder of real images."""
    path = shared_dir / "data"
    if not path.is_dir():
        pytest.skip(f"there is no real data in {shared_dir}")
    return path


@pytest.fixture(scope="session")
def need_program() -> Callable[[str], str]:
    """Path of a program, or a skip that names the Debian package."""

    def find(name: str, package: str = "") -> str:
        path = shutil.which(name)
        if path is None:
            pytest.skip(f"{name} is not installed (apt-get install {package or name})")
        return path

    return find


@pytest.fixture(scope="session")
def small_phantom() -> HeadPhantom:
    """A head of 24 thick slices, quick to make and to send."""
    return head_phantom(num_slices=24)
