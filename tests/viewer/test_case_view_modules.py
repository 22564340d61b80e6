"""The pure modules of the case view, run by Node's own test runner: geometry, sorting, cutting, windows, measuring."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

JS = Path(__file__).parent / "js"
TESTS = sorted(JS.glob("*.test.mjs"))
OLDEST_NODE = (20, 19)  # the first that takes a .js file for a module where it is written as one


@pytest.fixture(scope="module")
def node() -> str:
    found = shutil.which("node")
    if found is None:
        pytest.skip("Node is not installed: the modules of the case view are not tested here.")
    text = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    major, minor = (int(part) for part in text.removeprefix("v").split(".")[:2])
    if (major, minor) < OLDEST_NODE or (major == 22 and minor < 7) or major == 21:
        pytest.skip(f"Node {text} does not know modules by their content; 20.19 or 22.7 do.")
    return found


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name.removesuffix(".test.mjs"))
def test_modules_of_the_case_view(node: str, path: Path) -> None:
    run = subprocess.run([node, "--test", str(path)], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "# pass 0" not in run.stdout, "the file has no test that ran"


def test_every_test_file_is_run() -> None:
    assert len(TESTS) >= 8
