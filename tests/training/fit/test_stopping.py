"""SIGTERM and Ctrl-C: the state is saved, and the run that goes on is the run that was."""

from __future__ import annotations

import os
import signal

import pytest
import torch

from tests.training.fit.caches import tiny_cache, tiny_config
from training.cli import main
from training.fit import score
from training.fit.checkpoint import load_checkpoint
from training.fit.history import read_history
from training.fit.module import FitModule
from training.fit.run import run_fit
from training.fit.state import BEST, LAST
from training.fit.stopping import StopRequest, StopRequested

# Epochs of 4 batches, so that step 3 is within one.
IN_EPOCHS = (
    "schedule.max_steps=null",
    "schedule.max_epochs=3",
    "data.options.epoch_length=4",
    "trainer.log_every_steps=1",
)


def fit(folder, *changes):
    cache, split = tiny_cache("multimodal2d")
    return run_fit(tiny_config("multimodal2d", *IN_EPOCHS, *changes), cache, split, folder)


def signal_in_step(monkeypatch, step, signum):
    original = FitModule.training_step

    def training_step(self, batch, batch_idx):
        if self.position.step == step:
            os.kill(os.getpid(), signum)
        return original(self, batch, batch_idx)

    monkeypatch.setattr(FitModule, "training_step", training_step)


def assert_same_runs(first, second):
    for name in (LAST, BEST):
        one, two = (load_checkpoint(folder / name)["weights"] for folder in (first, second))
        assert all(torch.equal(one[key], two[key]) for key in one)
    scores = [
        [(row["step"], row["score"]) for row in read_history(folder / "history.csv") if row["score"]]
        for folder in (first, second)
    ]
    assert scores[0] == scores[1]
    assert len(scores[0]) == 3


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_run_after_its_step_and_the_same_command_goes_on(signum, tmp_path, monkeypatch):
    fit(tmp_path / "whole")
    with monkeypatch.context() as patch:
        signal_in_step(patch, 6, signum)
        stopped = fit(tmp_path / "stopped")
    assert (stopped.finished, stopped.signum, stopped.step) == (False, signum, 7)
    assert load_checkpoint(tmp_path / "stopped" / LAST)["position"]["batch"] == 3
    resumed = fit(tmp_path / "stopped")
    assert (resumed.finished, resumed.signum, resumed.step) == (True, 0, 12)
    assert_same_runs(tmp_path / "whole", tmp_path / "stopped")


def test_a_signal_breaks_a_validation_off_and_the_resumed_run_makes_it(tmp_path, monkeypatch):
    fit(tmp_path / "whole")
    original, asked = score.score_case, []

    def score_case(*arguments):
        asked.append(arguments)
        if len(asked) == 3:  # two patients: this is the first one of the second validation
            os.kill(os.getpid(), signal.SIGTERM)
        return original(*arguments)

    monkeypatch.setattr(score, "score_case", score_case)
    stopped = fit(tmp_path / "stopped")
    assert (stopped.finished, stopped.step, len(asked)) == (False, 8, 3)
    # The state is that of the first validation: nothing was saved between.
    assert load_checkpoint(tmp_path / "stopped" / LAST)["position"]["step"] == 4
    assert fit(tmp_path / "stopped").finished
    assert_same_runs(tmp_path / "whole", tmp_path / "stopped")


def test_a_run_leaves_the_handlers_as_they_were(tmp_path):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    fit(tmp_path, "schedule.max_epochs=1")
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_the_second_signal_ends_at_once():
    stop = StopRequest()
    with stop.listening():
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.signum == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_ctrl_c_in_a_process_that_reads_batches_is_left_to_the_run(monkeypatch):
    stop, process = StopRequest(), os.getpid()
    with stop.listening():
        monkeypatch.setattr(os, "getpid", lambda: process + 1)
        os.kill(process, signal.SIGINT)
        assert not stop
        monkeypatch.undo()
        os.kill(process, signal.SIGINT)
        assert stop.signum == signal.SIGINT


def test_a_guarded_predictor_answers_until_somebody_asks_to_stop():
    stop = StopRequest()
    predict = stop.guard(lambda batch: batch + 1)
    assert predict(1) == 2
    stop.signum = signal.SIGTERM
    with pytest.raises(StopRequested):
        predict(1)


def test_the_command_says_where_it_stopped_and_its_status_is_not_success(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("training.cli.common.open_view", lambda *arguments: tiny_cache("multimodal2d"))
    signal_in_step(monkeypatch, 1, signal.SIGTERM)
    changes = [
        "trainer=cpu",
        "logger=none",
        "data.batch_size=2",
        "schedule.max_steps=5",
        "network.options.widths=[4,8]",
    ]
    folders = ["--data", "d", "--cache", "c", "--run", str(tmp_path)]
    assert (
        main(["fit", "experiment=unet-brats-strong", *changes, "network.options.widths=[4,8]", *folders])
        == 128 + signal.SIGTERM
    )
    out = capsys.readouterr().out
    assert "unet-brats-strong: stopped" in out
    assert "The same command goes on" in out
    assert load_checkpoint(tmp_path / LAST)["position"]["step"] == 2
