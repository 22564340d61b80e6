"""DCMTK's programs, not the namesakes that pynetdicom installs beside Python."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path

import pytest


@cache
def _find(name: str) -> str | None:
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        program = Path(folder) / name
        if os.access(program, os.X_OK) and program.is_file():
            version = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
            if "dcmtk" in version.stdout.lower():
                return str(program)
    return None


def dcmtk(name: str) -> str:
    """Path of a program of DCMTK; skips the test where it is not installed."""
    program = _find(name)
    if program is None:
        pytest.skip(f"DCMTK's {name} is not installed (apt-get install dcmtk)")
    return program
