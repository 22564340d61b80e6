"""Runs of every kind: what they leave, what they are refused, how they end."""

from __future__ import annotations

import errno

import numpy as np
import pytest
import torch

from neuroscan_core.domain.errors import ConfigurationError
from tests.training.fit.caches import EXPERIMENTS, tiny_cache, tiny_config
from training.fit.checkpoint import load_checkpoint, save_checkpoint
from training.fit.history import read_history
from training.fit.module import FitModule
from training.fit.run import run_fit
from training.fit.state import BEST, LAST, sole_run
from training.networks import build_network

KINDS = tuple(EXPERIMENTS)


def fit(kind, folder, *changes):
    cache, split = tiny_cache(kind)
    return run_fit(tiny_config(kind, *changes), cache, split, folder)


def weights(folder, part="weights"):
    return load_checkpoint(folder / LAST)[part]


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_leaves_weights_that_can_be_exported_and_its_figures(kind, tmp_path):
    result = fit(kind, tmp_path)
    assert result.finished and result.step == 6
    best = torch.load(tmp_path / BEST, weights_only=True)
    assert (best["kind"], best["experiment"]) == (kind, EXPERIMENTS[kind])
    build_network(best["network"], **best["options"]).load_state_dict(best["weights"])
    assert best["score"] == result.score == pytest.approx(max(scores(tmp_path)))
    assert [int(row["step"]) for row in read_history(tmp_path / "history.csv") if row["loss"]] == [2, 4, 6]


def scores(folder):
    return [float(row["score"]) for row in read_history(folder / "history.csv") if row["score"]]


@pytest.mark.parametrize("kind", KINDS)
def test_two_runs_give_the_same_weights_bit_for_bit(kind, tmp_path):
    for name in ("one", "two"):
        fit(kind, tmp_path / name)
    assert_same(weights(tmp_path / "one"), weights(tmp_path / "two"))


def test_a_layer_without_deterministic_form_warns_and_does_not_end_the_run(tmp_path, monkeypatch):
    seen = []
    step = FitModule.training_step

    def spy(self, batch, batch_idx):
        seen.append(
            (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled())
        )
        return step(self, batch, batch_idx)

    monkeypatch.setattr(FitModule, "training_step", spy)
    fit("multimodal2d", tmp_path, "schedule.max_steps=1")
    assert seen == [(True, True)]


def test_another_seed_gives_other_weights(tmp_path):
    fit("multimodal2d", tmp_path / "one")
    fit("multimodal2d", tmp_path / "two", "seed=43")
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert any(not torch.equal(one[name], two[name]) for name in one)


def test_training_lowers_the_loss(tmp_path):
    fit("multimodal2d", tmp_path, "schedule.max_steps=120", "trainer.log_every_steps=20", "validation.every_epochs=9")
    losses = [float(row["loss"]) for row in read_history(tmp_path / "history.csv") if row["loss"]]
    assert losses[-1] < 0.9 * losses[0]


def test_a_complete_run_is_not_trained_further(tmp_path):
    fit("multimodal2d", tmp_path)
    before = (tmp_path / LAST).read_bytes()
    result = fit("multimodal2d", tmp_path)
    assert result.finished and result.step == 6
    assert (tmp_path / LAST).read_bytes() == before


def test_a_longer_run_goes_on_from_the_shorter_one(tmp_path):
    fit("multimodal2d", tmp_path)
    assert fit("multimodal2d", tmp_path, "schedule.max_steps=9").step == 9
    steps = [int(row["step"]) for row in read_history(tmp_path / "history.csv") if row["loss"]]
    assert steps == [2, 4, 6, 8]


def test_a_folder_with_a_run_of_other_settings_is_refused_by_key(tmp_path):
    fit("multimodal2d", tmp_path)
    with pytest.raises(ConfigurationError, match=r"optimiser\.learning_rate 0\.002 -> 0\.5"):
        fit("multimodal2d", tmp_path, "optimiser.learning_rate=0.5")


def test_a_folder_in_which_another_run_is_under_way_is_refused_and_free_afterwards(tmp_path):
    with sole_run(tmp_path), pytest.raises(ConfigurationError, match="Another process is training"):
        fit("multimodal2d", tmp_path)
    assert fit("multimodal2d", tmp_path, "schedule.max_steps=1").finished


def test_a_file_system_without_locks_is_told_and_trained_on(tmp_path, monkeypatch, caplog):
    def flock(file, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", flock)
    assert fit("multimodal2d", tmp_path, "schedule.max_steps=1").finished
    assert "cannot be locked (No locks available)" in caplog.text


def test_a_damaged_checkpoint_is_said_with_what_to_do(tmp_path):
    fit("multimodal2d", tmp_path, "schedule.max_steps=1")
    whole = (tmp_path / LAST).read_bytes()
    for damaged in (b"", b"no checkpoint", whole[: len(whole) // 2]):
        (tmp_path / LAST).write_bytes(damaged)
        with pytest.raises(ConfigurationError, match=r"last\.pt is damaged"):
            fit("multimodal2d", tmp_path, "schedule.max_steps=1")


def test_a_run_ends_early_when_the_score_does_not_rise(tmp_path):
    changes = ("optimiser.learning_rate=1e-9", "schedule.max_steps=500", "schedule.stop_patience=2")
    result = fit("multimodal2d", tmp_path, *changes, "data.options.epoch_length=3")
    assert result.finished and result.step < 500
    values = scores(tmp_path)
    assert max(values[-2:]) <= max(values[:-2]) + 1e-4
    assert fit("multimodal2d", tmp_path, *changes, "data.options.epoch_length=3").step == result.step


def test_the_rate_falls_at_a_plateau(tmp_path):
    changes = ("schedule=plateau", "schedule.max_steps=60", "schedule.plateau_patience=0")
    fit("multimodal2d", tmp_path, *changes, "optimiser.learning_rate=1e-9", "data.options.epoch_length=3")
    factor = weights(tmp_path, "plateau")["factor"]
    rates = [float(row["learning_rate"]) for row in read_history(tmp_path / "history.csv")]
    assert factor < 1.0
    assert rates[0] == 1e-9 and rates == sorted(rates, reverse=True) and rates[-1] < 1e-9


def test_a_length_in_minutes_ends_the_run(tmp_path):
    result = fit("multimodal2d", tmp_path, "schedule.max_steps=null", "schedule.max_minutes=0.02")
    assert result.finished
    assert result.minutes >= 0.02


def test_an_encoder_learns_at_its_own_rate(tmp_path):
    cache, split = tiny_cache("slice25d")
    config = tiny_config("slice25d", "schedule.max_steps=1")
    config.network.name, config.network.options, config.network.encoder_lr_factor = "mobilenetv2-unet", {}, 0.1
    run_fit(config, cache, split, tmp_path)
    encoder, rest = weights(tmp_path, "optimiser")["param_groups"]
    assert encoder["lr"] == pytest.approx(0.1 * rest["lr"])


def test_encoder_weights_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(ConfigurationError, match=r"no\.pt"):
        fit("multimodal2d", tmp_path, f"network.encoder_weights={tmp_path / 'no.pt'}")


def test_the_images_grow_with_the_run(tmp_path, monkeypatch):
    sizes = []
    step = FitModule.training_step

    def spy(self, batch, batch_idx):
        sizes.append(batch["image"].shape[-1])
        return step(self, batch, batch_idx)

    monkeypatch.setattr(FitModule, "training_step", spy)
    fit("multimodal2d", tmp_path, "schedule.crop_size=16", "schedule.crop_until=0.5", "schedule.full_size=32")
    assert sizes == [16, 16, 16, 32, 32, 32]


def test_averaged_weights_are_those_that_are_scored(tmp_path):
    fit("multimodal2d", tmp_path, "schedule.max_steps=3")
    state, best = load_checkpoint(tmp_path / LAST), load_checkpoint(tmp_path / BEST)
    assert_same(state["average"], best["weights"])
    assert any(not torch.equal(state["weights"][name], value) for name, value in best["weights"].items())


def test_a_checkpoint_that_is_cut_short_never_takes_the_place_of_a_whole_one(tmp_path, monkeypatch):
    save_checkpoint({"value": 1}, tmp_path / LAST)

    def broken(state, file):
        file.write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", broken)
    with pytest.raises(OSError, match="no space"):
        save_checkpoint({"value": 2}, tmp_path / LAST)
    monkeypatch.undo()
    assert load_checkpoint(tmp_path / LAST) == {"value": 1}


def test_a_classifier_has_curves_of_loss_and_accuracy_of_both_parts(tmp_path):
    result = fit("classifier", tmp_path)
    rows = read_history(tmp_path / "history.csv")
    trained, validated = ([row for row in rows if row[name]] for name in ("loss", "score"))
    assert all(0 <= float(row["train_accuracy"]) <= 1 for row in trained)
    assert all(float(row["validation_loss"]) > 0 for row in validated)
    assert result.score == max(float(row["accuracy"]) for row in validated)


def test_history_has_the_regions_of_each_validation(tmp_path):
    fit("volume3d", tmp_path)
    rows = [row for row in read_history(tmp_path / "history.csv") if row["score"]]
    regions = [float(rows[-1][f"dice_{region}"]) for region in ("WT", "TC", "ET")]
    assert float(rows[-1]["score"]) == pytest.approx(np.mean(regions))
