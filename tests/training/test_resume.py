"""A run that is killed and resumed ends where an uninterrupted one ends."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the `training` extra is not installed", exc_type=ImportError)

from training.checkpoint import WeightAverage, load_checkpoint, save_checkpoint  # noqa: E402
from training.fit import BEST, LAST, FitConfig, Trainer  # noqa: E402
from training.schedule import Schedule  # noqa: E402


@pytest.fixture
def config():
    schedule = Schedule(max_steps=5, crop_size=64, full_size=96)
    return FitConfig(schedule, batch_size=4, use_bf16=False, save_every_s=1e9)


@pytest.fixture(autouse=True)
def one_thread():
    """Sums over threads would depend on how the work was divided."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def trainer(config, cache, folder):
    return Trainer(config, cache, list(cache.cases[:3]), [], folder)


@pytest.mark.slow
def test_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(config, small_cache, tmp_path):
    trainer(config, small_cache, tmp_path / "whole").run()
    killed = trainer(config, small_cache, tmp_path / "killed")
    killed.run(stop_after_steps=2)
    killed.save()
    killed.run(stop_after_steps=1)  # lost: never saved
    resumed = trainer(config, small_cache, tmp_path / "killed")
    assert resumed.step == 2
    resumed.run()
    whole, again = (load_checkpoint(tmp_path / n / LAST) for n in ("whole", "killed"))
    assert whole["position"] == again["position"]
    for part in ("weights", "average"):
        for name, value in whole[part].items():
            assert torch.equal(value, again[part][name]), (part, name)


def test_validation_keeps_the_best_weights(config, small_cache, tmp_path):
    run = trainer(config, small_cache, tmp_path)
    run.val_cases = [small_cache.cases[3]]
    score = run.validate()
    best = load_checkpoint(tmp_path / BEST)
    assert best["score"] == score == run.best_score
    assert best["network"] == "mobilenetv2-unet"


def test_pretrained_encoder_learns_ten_times_slower(config, small_cache, tmp_path):
    source = trainer(config, small_cache, tmp_path / "a").network
    save_checkpoint(source.state_dict(), tmp_path / "imagenet.pt")
    config = FitConfig(config.schedule, encoder_weights=tmp_path / "imagenet.pt")
    encoder, decoder = trainer(config, small_cache, tmp_path / "b").optimizer.param_groups
    assert encoder["peak"] == pytest.approx(0.1 * decoder["peak"])


def test_average_follows_the_weights():
    network = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(network.weight)
    average = WeightAverage(network, decay=0.9)
    torch.nn.init.ones_(network.weight)
    average.update(network, step=1000)
    assert average.state["weight"].item() == pytest.approx(0.1)


def test_schedule_warms_up_then_falls_and_grows_the_image():
    schedule = Schedule(max_steps=100, warmup=0.1, final_factor=0.01)
    factors = [schedule.learning_rate_factor(schedule.progress(s, 0.0)) for s in range(101)]
    assert max(factors) == pytest.approx(1.0)
    assert factors[0] < factors[5] < factors[10] > factors[50] > factors[100]
    assert factors[100] == pytest.approx(0.01)
    assert [schedule.image_size(p) for p in (0.0, 0.59, 0.6, 1.0)] == [192, 192, 256, 256]


@pytest.mark.parametrize("lengths", [(None, None), (10, 1.0)])
def test_schedule_needs_exactly_one_length(lengths):
    with pytest.raises(ValueError, match="either"):
        Schedule(*lengths)
