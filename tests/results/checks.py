"""Judges of objects that are not ours."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

# dciodvfy of 2024 and before does not know the label map (supplement 243): it looks for no module, wants segments
# numbered from 1, and does not take it for a segmentation where a report refers to one of its segments.
_UNKNOWN_TO_IT = (
    "Information Object Not found",
    "SegmentNumber not monotonically increasing from one by one",
    "Shall not be present for Referenced SOP Class that is not segmentation - attribute <ReferencedSegmentNumber>",
)


def assert_valid(path: Path, *, is_labelmap: bool = False) -> None:
    """Fail where dciodvfy finds an error."""
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy (Debian package dicom3tools) is not installed")
    done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False, errors="replace")
    lines = (done.stdout + done.stderr).splitlines()
    errors = [line for line in lines if line.startswith("Error")]
    if is_labelmap:
        errors = [line for line in errors if not any(known in line for known in _UNKNOWN_TO_IT)]
    assert not errors, "\n".join(errors)
