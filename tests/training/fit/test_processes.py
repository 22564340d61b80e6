"""Real processes: killed in the middle and resumed; two that train one network together."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from training.fit.checkpoint import load_checkpoint
from training.fit.history import read_history
from training.fit.state import LAST

pytestmark = pytest.mark.slow
WORKER = Path(__file__).with_name("worker.py")
PATIENCE_S = 300


def start(kind, folder, *changes):
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, str(WORKER), kind, str(folder), *changes],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MASTER_PORT": str(free_port())},
    )


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def finish(process):
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, output
    return output


def kill_after(process, step):
    """Read what the worker prints until it has done a step, then kill it without warning."""
    seen = []
    for line in process.stdout:
        seen.append(line)
        if line.strip() == f"step {step}":
            process.send_signal(signal.SIGKILL)
            break
    process.stdout.close()
    assert process.wait(PATIENCE_S) == -signal.SIGKILL, "".join(seen)


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


@pytest.mark.parametrize("kind", ["slice25d", "volume3d"])
def test_a_run_killed_in_the_middle_of_an_epoch_ends_with_the_weights_of_one_that_was_not(kind, tmp_path):
    # 11 steps in epochs of 4; a checkpoint after every step but the one whose process is killed before it is written.
    changes = ("schedule.max_steps=11", "data.options.epoch_length=4", "trainer.save_every_minutes=0")
    finish(start(kind, tmp_path / "whole", *changes))
    kill_after(start(kind, tmp_path / "killed", *changes), step=3)
    kill_after(start(kind, tmp_path / "killed", *changes), step=6)
    at_death = load_checkpoint(tmp_path / "killed" / LAST)["position"]
    assert at_death["batch"] > 0, "the process died between epochs: the test shows nothing"
    finish(start(kind, tmp_path / "killed", *changes))
    whole, resumed = (load_checkpoint(tmp_path / name / LAST) for name in ("whole", "killed"))
    assert resumed["position"]["step"] == 11
    for part in ("weights", "average"):
        assert_same(whole[part], resumed[part])
    rows = [read_history(tmp_path / name / "history.csv") for name in ("whole", "killed")]
    scores = [[(row["step"], row["score"]) for row in run if row["score"]] for run in rows]
    assert scores[0] == scores[1]


def test_two_processes_train_one_network_on_batches_of_their_own(tmp_path):
    changes = ("trainer.devices=2", "trainer.strategy=ddp", "schedule.max_steps=6", "data.options.epoch_length=8")
    finish(start("multimodal2d", tmp_path, *changes, "logger=mlflow"))
    first, second = (load_checkpoint(tmp_path / f"rank{rank}.pt") for rank in (0, 1))
    learnt = [name for name in first["weights"] if name.endswith(("weight", "bias"))]
    assert learnt
    for name in learnt:
        assert torch.equal(first["weights"][name], second["weights"][name]), name
    seen = [set(part["seen"].tolist()) for part in (first, second)]
    assert len(seen[0]) == len(seen[1]) == 6
    assert not seen[0] & seen[1]
    assert load_checkpoint(tmp_path / LAST)["position"]["step"] == 6
    rows = read_history(tmp_path / "history.csv")
    assert [row["step"] for row in rows if row["loss"]] == ["2", "4", "6"]
    assert len(json.loads((tmp_path / "tracking.json").read_text())["mlflow"]) == 32
