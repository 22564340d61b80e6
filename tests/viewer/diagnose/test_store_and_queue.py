"""Diagnoses on disk and their workers: order, limits, cancel, time, crash, restart, expiry."""

from __future__ import annotations

import json
import os
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from neuroscan_core.domain.errors import CaseNotFound, WebProblem
from neuroscan_core.viewer.diagnose.queue import DiagnosisQueue
from neuroscan_core.viewer.diagnose.store import DiagnosisStore, Job

# A worker that does what the first file of its upload says, and writes what `neuroscan diagnose` would.
WORKER = """
import json, os, pathlib, sys, time
upload, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[3])
what = (upload / "what").read_text()
(out / "pid").write_text(str(os.getpid()))
(out / "arguments").write_text(json.dumps(sys.argv[1:]))
def case(state, reason=""):
    (out / "new").write_text(json.dumps({"title": "FLAIR", "state": state, "reason": reason}))
    (out / "new").replace(out / "case.json")  # whole or not at all, as the layout demands
print(json.dumps({"event": "agents", "agents": []}), flush=True)
if what == "well":
    case("done"); print(json.dumps({"event": "done", "verdict": "plausible"}), flush=True)
elif what == "no image":
    case("failed", "There is no image."); print(json.dumps({"event": "done"}), flush=True); sys.exit(1)
elif what == "wrong":
    print(json.dumps({"event": "failed", "error": "There is no model x.", "remedy": "Choose."}), flush=True)
    sys.exit(1)
elif what == "crash":
    os.abort()
elif what == "hang":
    (out / "agents.json").write_text(json.dumps([{"name": "reader", "state": "running", "notes": []},
                                                 {"name": "triage", "state": "waiting", "notes": []}]))
    while True: time.sleep(0.05); print("{}", flush=True)
"""
COMMAND = (sys.executable, "-c", WORKER)


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> DiagnosisStore:
    return DiagnosisStore(tmp_path / "diagnoses", keep_s=3600.0, clock=clock)


@pytest.fixture
def run(store: DiagnosisStore) -> Iterator[Callable[..., DiagnosisQueue]]:
    made: list[DiagnosisQueue] = []

    def start(command: tuple[str, ...] = COMMAND, **keywords: object) -> DiagnosisQueue:
        queue = DiagnosisQueue(store, command, **keywords)  # type: ignore[arg-type]
        made.append(queue)
        queue.start()
        return queue

    yield start
    for queue in made:
        queue.stop()


def uploaded(store: DiagnosisStore, what: str, **keywords: object) -> Job:
    case_id, folder = store.begin()
    (folder / "what").write_text(what)
    wishes = {"models": (), "tta": False, **keywords}
    return store.keep(case_id, num_files=1, num_bytes=len(what), **wishes)  # type: ignore[arg-type]


def wait_for(condition: Callable[[], bool], what: str = "") -> None:
    deadline = time.monotonic() + 60.0
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"it never came to pass: {what}"
        pause.wait(0.02)


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def state_of(store: DiagnosisStore, job: Job) -> str:
    return store.get(job.id).state


# ---------------------------------------------------------------------------------------------------------- the store


def test_what_is_kept_is_readable_by_this_user_alone(store: DiagnosisStore, tmp_path: Path) -> None:
    uploaded(store, "well")
    assert stat.S_IMODE((tmp_path / "diagnoses").stat().st_mode) == 0o700


def test_a_new_diagnosis_waits_and_names_its_steps(store: DiagnosisStore) -> None:
    job = uploaded(store, "well")
    assert job.state == "queued" and job.expires_at_s == 1000.0 + 3600.0
    folder = store.case_folder(job.id)
    assert folder.case()["state"] == "queued" and folder.case()["title"] == "Diagnosis of 1 file"
    assert [agent["name"] for agent in folder.agents()] == [
        "reader", "triage", "segmenters", "measurer", "critic", "reporter",
    ]  # fmt: skip


def test_an_upload_that_did_not_end_leaves_nothing(store: DiagnosisStore, tmp_path: Path) -> None:
    case_id, folder = store.begin()
    (folder / "half").write_text("x")
    store.drop(case_id)
    assert not list((tmp_path / "diagnoses").iterdir()) and store.jobs() == []


def test_deleting_takes_everything(store: DiagnosisStore, tmp_path: Path) -> None:
    job = uploaded(store, "well")
    store.delete(job.id)
    assert not list((tmp_path / "diagnoses").iterdir())
    with pytest.raises(CaseNotFound):
        store.get(job.id)
    store.delete(job.id)  # twice does no harm


def test_a_restart_keeps_what_is_done_and_marks_what_was_under_way(
    store: DiagnosisStore, tmp_path: Path, clock: Clock
) -> None:
    done, running, waiting = (uploaded(store, "well") for _ in range(3))
    store.set_done(done.id)
    store.set_running(running.id)
    (tmp_path / "diagnoses" / "d0000000000000000.part").mkdir()
    (tmp_path / "diagnoses" / "d0000000000000001.gone").mkdir()
    (tmp_path / "diagnoses" / "d0000000000000002").mkdir()
    again = DiagnosisStore(tmp_path / "diagnoses", keep_s=3600.0, clock=clock)
    assert {job.id: job.state for job in again.jobs()} == {
        done.id: "done", running.id: "failed", waiting.id: "queued",
    }  # fmt: skip
    assert "was stopped while it was at work" in again.get(running.id).reason
    assert again.case_folder(running.id).case()["state"] == "failed"
    assert sorted(path.name for path in (tmp_path / "diagnoses").iterdir()) == sorted([done.id, running.id, waiting.id])


# ---------------------------------------------------------------------------------------------------------- the queue


def test_diagnoses_are_worked_off_in_order_with_their_wishes(
    store: DiagnosisStore, run: Callable[..., DiagnosisQueue]
) -> None:
    first, second = uploaded(store, "well", models=("a", "b"), tta=True), uploaded(store, "well")
    queue = DiagnosisQueue(store, COMMAND)
    assert sorted([queue.position(first.id), queue.position(second.id)], key=str) == [1, 2]
    run()
    wait_for(lambda: [job.state for job in store.jobs()] == ["done", "done"], "both done")
    arguments = json.loads((store.case_folder(first.id).path / "arguments").read_text())
    assert arguments[0] == str(store.upload_dir(first.id))
    assert arguments[3:] == ["--case", "--progress-json", "--models", "a,b", "--tta"]


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("no image", "There is no image."),
        ("wrong", "There is no model x."),
        ("crash", "The worker ended before its work was done."),
    ],
)
def test_a_worker_that_fails_says_why(
    store: DiagnosisStore, run: Callable[..., DiagnosisQueue], what: str, reason: str
) -> None:
    bad, good = uploaded(store, what), None
    queue = run()
    wait_for(lambda: state_of(store, bad) == "failed", what)
    assert store.get(bad.id).reason.startswith(reason)
    assert store.case_folder(bad.id).case()["state"] == "failed"
    good = uploaded(store, "well")
    queue.submit(good)
    wait_for(lambda: state_of(store, good) == "done", "the next one")


def test_a_command_that_cannot_be_started_fails_the_diagnosis_alone(
    store: DiagnosisStore, run: Callable[..., DiagnosisQueue]
) -> None:
    job = uploaded(store, "well")
    run(command=("/nowhere/neuroscan",))
    wait_for(lambda: state_of(store, job) == "failed")


def hanging(store: DiagnosisStore, job: Job) -> int:
    path = store.case_folder(job.id).path / "agents.json"
    wait_for(lambda: "running" in path.read_text(), "the worker hangs")
    return int((store.case_folder(job.id).path / "pid").read_text())


def test_a_worker_that_takes_too_long_is_ended(store: DiagnosisStore, run: Callable[..., DiagnosisQueue]) -> None:
    job = uploaded(store, "hang")
    run(timeout_s=5.0)  # long enough for a worker to begin on a busy machine
    pid = hanging(store, job)
    wait_for(lambda: state_of(store, job) == "failed", "ended")
    assert "took longer" in store.get(job.id).reason and "timeout_s" in store.get(job.id).remedy
    wait_for(lambda: not is_alive(pid), "the process is gone")
    agents = store.case_folder(job.id).agents()
    assert [agent["state"] for agent in agents] == ["failed", "skipped"]


def test_cancelling_ends_the_worker_and_the_next_one_runs(
    store: DiagnosisStore, run: Callable[..., DiagnosisQueue]
) -> None:
    first, waiting, last = uploaded(store, "hang"), uploaded(store, "hang"), uploaded(store, "well")
    queue = DiagnosisQueue(store, COMMAND)
    order = sorted([first, waiting, last], key=lambda job: queue.position(job.id) or 0)
    queue = run()
    running = next(job for job in order if store.upload_dir(job.id).joinpath("what").read_text() == "hang")
    pid = hanging(store, running)
    for job in (first, waiting):
        queue.cancel(job.id)
        store.delete(job.id)
    wait_for(lambda: state_of(store, last) == "done", "the next one")
    wait_for(lambda: not is_alive(pid), "the process is gone")
    assert [job.id for job in store.jobs()] == [last.id]


def test_no_more_than_so_many_wait(store: DiagnosisStore) -> None:
    queue = DiagnosisQueue(store, COMMAND, max_waiting=2)  # not started
    for _ in range(2):
        queue.require_room()
        queue.submit(uploaded(store, "well"))
    with pytest.raises(WebProblem, match="Too many") as caught:
        queue.require_room()
    assert caught.value.status == 429 and caught.value.retry_after_s > 0


def test_what_waited_when_the_viewer_stopped_is_done_by_the_next_one(
    store: DiagnosisStore, run: Callable[..., DiagnosisQueue], tmp_path: Path, clock: Clock
) -> None:
    first, second = uploaded(store, "hang"), uploaded(store, "well")
    queue = DiagnosisQueue(store, COMMAND)
    front = first if queue.position(first.id) == 1 else second
    queue.start()
    if front is first:
        pid = hanging(store, first)
        queue.stop()
        wait_for(lambda: not is_alive(pid), "the process is gone")
        wait_for(lambda: state_of(store, first) == "failed", "marked")
        assert state_of(store, second) == "queued"
        again = DiagnosisStore(tmp_path / "diagnoses", keep_s=3600.0, clock=clock)
        following = DiagnosisQueue(again, COMMAND)
        following.start()
        wait_for(lambda: again.get(second.id).state == "done", "done by the next viewer")
        following.stop()
    else:
        wait_for(lambda: state_of(store, second) == "done")
        queue.stop()


def test_diagnoses_are_deleted_when_their_time_is_over(
    store: DiagnosisStore, run: Callable[..., DiagnosisQueue], clock: Clock
) -> None:
    old = uploaded(store, "well")
    clock.now_s += 3000.0
    young = uploaded(store, "well")
    clock.now_s += 1000.0
    assert store.expired() == [old.id]
    run()
    wait_for(lambda: store.find(old.id) is None, "the old one is gone")
    assert store.find(young.id) is not None


def test_a_worker_gives_way_to_everything_else(store: DiagnosisStore, run: Callable[..., DiagnosisQueue]) -> None:
    job = uploaded(store, "hang")
    run()
    pid = hanging(store, job)
    assert os.getpriority(os.PRIO_PROCESS, pid) == 15
    limits = Path(f"/proc/{pid}/limits").read_text()
    assert str(16 << 30) in next(line for line in limits.splitlines() if line.startswith("Max address space"))


def test_size_is_told_while_files_come_and_go(store: DiagnosisStore, tmp_path: Path) -> None:
    (tmp_path / "diagnoses" / "kept").write_bytes(b"x" * 1000)
    is_over = threading.Event()

    def come_and_go() -> None:
        path = tmp_path / "diagnoses" / "job.json.tmp"
        while not is_over.is_set():
            path.write_bytes(b"y" * 10)
            path.unlink()

    changing = threading.Thread(target=come_and_go)
    changing.start()
    try:
        sizes = {store.num_bytes() for _ in range(2000)}
    finally:
        is_over.set()
        changing.join()
    assert min(sizes) >= 1000 and max(sizes) <= 1010
