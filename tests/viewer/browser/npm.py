"""Packages of npm for tests alone: fetched once, kept in pytest's cache, never part of the application."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

PATIENCE_S = 240.0


def npm_package(cache: Path, name: str, version: str) -> Path:
    """Folder of an unpacked package; skips the test where it cannot be had.

    Parameters
    ----------
    cache : Path
        Keeps it for the next time.
    name, version : str
    """
    folder = cache / f"{name.strip('@').replace('/', '-')}-{version}"
    if (folder / "package" / "package.json").is_file():
        return folder / "package"
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip(f"npm is not installed, so {name} cannot be fetched")
    folder.mkdir(parents=True, exist_ok=True)
    command = [npm, "pack", "--silent", f"{name}@{version}"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm does not bring {name} within {PATIENCE_S:.0f} s")
    if done.returncode != 0:
        pytest.skip(f"npm cannot fetch {name}: {done.stderr.strip()[-200:]}")
    with tarfile.open(folder / done.stdout.split()[-1]) as archive:
        archive.extractall(folder, filter="data")
    return folder / "package"
