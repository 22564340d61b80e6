"""Another model on a case: one worker at a time, its end is told whatever it was, and nothing waits for it."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from neuroscan_core.domain.errors import CaseConflict, WebProblem
from neuroscan_core.viewer.cases.compare import CompareJobs
from neuroscan_core.viewer.cases.folder import CaseFolder
from neuroscan_core.viewer.cases.folder_case import FolderCase
from tests.pipeline.stacks import CARD
from tests.viewer.cases.node import wait_until
from tests.viewer.cases.test_folder import ID, volume

# A worker that finds the brighter half of the voxels.
WORKER = """
import json, sys
import numpy as np
from neuroscan_core.domain.segmentation import ModelIdentity
from neuroscan_core.pipeline.measure import finish_segmentation
from neuroscan_core.viewer.cases.folder import CaseFolder
from tests.pipeline.stacks import CARD
case = CaseFolder(__import__("pathlib").Path(sys.argv[1]))
volume = case.read_volume()
print("not JSON"); print(json.dumps({"progress": 0.5}), flush=True)
labels = (volume.voxels_kji > 2000).astype(np.uint8)
found = finish_segmentation(labels, volume.geometry, volume.keys, CARD)
case.write_segmentation("result", found, ModelIdentity(sys.argv[2], "1", ""), CARD, labels * np.uint8(200))
print(json.dumps({"engine": "made-up"}))
"""


@pytest.fixture
def case(tmp_path: Path) -> FolderCase:
    folder = CaseFolder(tmp_path / "case")
    folder.write_case(title="A head", state="done")
    folder.write_volume(volume())
    return FolderCase(ID, folder)


@pytest.fixture(autouse=True)
def _own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield
    assert not list(folder.iterdir()), "nothing of a patient stays behind"


def jobs(*command: str, timeout_s: float = 60.0) -> CompareJobs:
    made = CompareJobs(command, {"tiny": CARD}, timeout_s=timeout_s)
    made.start()
    return made


def entry(case: FolderCase, sid: str) -> dict[str, object]:
    found: dict[str, object] = next(one for one in case.meta()["segmentations"] if one["id"] == sid)
    return found


def test_result_becomes_a_further_segmentation(case: FolderCase) -> None:
    running = jobs(sys.executable, "-c", WORKER)
    try:
        sid = running.submit(case, "tiny")
        assert entry(case, sid)["state"] == "running"
        wait_until(lambda: entry(case, sid)["state"] != "running", "the worker")
        assert (entry(case, sid)["state"], entry(case, sid)["engine"]) == ("final", "made-up"), entry(case, sid)
        assert case.masks(sid, -1).labels_nji.any() and case.probabilities(sid).max() == 200
    finally:
        running.stop()


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import sys; sys.exit(3)", "could not be run to its end"),
        ('print(\'{"engine": "none"}\')', "no such segmentation"),
        (
            "import json; print(json.dumps({'error': 'Not a head.', 'remedy': 'Look.'})); raise SystemExit(1)",
            "Not a head",
        ),
    ],
)
def test_worker_that_fails_says_why(case: FolderCase, program: str, reason: str) -> None:
    running = jobs(sys.executable, "-c", program)
    try:
        sid = running.submit(case, "tiny")
        wait_until(lambda: entry(case, sid)["state"] == "failed", "the failure")
        assert reason in str(entry(case, sid)["reason"])
        assert running.submit(case, "tiny") != sid, "it may be tried again"
    finally:
        running.stop()


def test_worker_that_hangs_is_ended(case: FolderCase) -> None:
    running = jobs(sys.executable, "-c", "import time; time.sleep(600)", timeout_s=0.3)
    try:
        sid = running.submit(case, "tiny")
        wait_until(lambda: entry(case, sid)["state"] == "failed", "the end")
    finally:
        running.stop()


def test_stop_ends_the_worker_and_what_waits(case: FolderCase) -> None:
    running = CompareJobs(
        (sys.executable, "-c", "import time; time.sleep(600)"), {"tiny": CARD, "other": CARD}, timeout_s=600
    )
    running.start()
    running.submit(case, "tiny")
    running.submit(case, "other")
    wait_until(lambda: running._process is not None, "the worker")
    running.stop()
    assert not running._thread.is_alive()


def test_one_model_runs_once_at_a_time_and_few_wait(case: FolderCase) -> None:
    waiting = CompareJobs((sys.executable,), {"a": CARD, "b": CARD})  # not started: nothing is taken from the queue
    waiting._waiting.maxsize = 1
    waiting.submit(case, "a")
    with pytest.raises(CaseConflict, match="already"):
        waiting.submit(case, "a")
    with pytest.raises(CaseConflict, match="Too many"):
        waiting.submit(case, "b")


def test_without_a_worker_or_a_model_nothing_is_run(case: FolderCase) -> None:
    for made, model in ((CompareJobs((), {"tiny": CARD}), "tiny"), (CompareJobs(("x",), {}), "tiny")):
        with pytest.raises(WebProblem) as refused:
            made.submit(case, model)
        assert refused.value.status == 422
