"""Recipes compose; what cannot be used is refused with what is near."""

from __future__ import annotations

import pytest

from neuroscan_core.domain.errors import ConfigurationError
from training.augment import build_augmentation
from training.fit.compose import compose_config, dump_config, list_experiments, load_config
from training.losses import build_loss
from training.networks import build_network

SYSTEM_A = ("drunet-flair", "drunet-v2-flair", "mobilenetv2-unet-flair")


@pytest.mark.parametrize("name", sorted(list_experiments()))
def test_every_recipe_builds_its_parts_and_says_what_it_is(name):
    config = compose_config(name)
    assert config.experiment == name
    assert config.title == list_experiments()[name] != ""
    assert build_network(config.network.name, **config.network.options) is not None
    assert build_loss(config.loss.name, **config.loss.options) is not None
    assert build_augmentation(config.kind, config.augment) is not None


def test_the_three_networks_of_system_a_share_their_settings():
    settings = []
    for name in SYSTEM_A:
        values = compose_config(name).to_dict()
        settings.append({k: v for k, v in values.items() if k not in ("network", "title", "experiment")})
    assert settings[0] == settings[1] == settings[2]
    assert settings[0]["data"]["batch_size"] == 16
    assert settings[0]["schedule"]["max_epochs"] == 20
    assert settings[0]["optimiser"]["name"] == "adam"
    assert settings[0]["loss"]["options"] == {"dice_weight": 0.7, "focal_weight": 0.3, "gamma": 2.0, "alpha": 0.8}
    assert settings[0]["trainer"]["precision"] == "bf16-mixed"


def test_system_c_halves_its_rate_at_a_plateau():
    config = compose_config("unet-brats")
    assert (config.optimiser.name, config.optimiser.learning_rate) == ("adam", 1e-4)
    assert config.optimiser.learning_rate * config.schedule.min_factor == 5e-5
    assert (config.schedule.name, config.loss.name) == ("plateau", "weighted-dice")


@pytest.mark.parametrize(
    ("override", "near"),
    [
        ("optimiser.learning_rat=1", "optimiser.learning_rate"),
        ("schedul.max_steps=1", "schedule.max_steps"),
        ("sed=1", "seed"),
        ("schedule=cosin", "cosine"),
        ("network=drunet-v3", "drunet"),
    ],
)
def test_an_unknown_key_or_choice_is_refused_with_the_nearest_one(override, near):
    with pytest.raises(ConfigurationError, match=f"The nearest is '{near}"):
        compose_config("unet-brats", [override])


def test_an_unknown_experiment_is_refused_with_the_nearest_one():
    with pytest.raises(ConfigurationError, match="The nearest is 'segresnet'"):
        compose_config("segresnett")


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("optimiser.learning_rate=fast", "optimiser.learning_rate"),
        ("schedule.name=steps", "schedule.name"),
        ("kind=slice3d", "kind"),
        ("schedule.max_steps=0", "schedule.max"),
        ("data.batch_size=0", "data.batch_size"),
    ],
)
def test_a_value_that_cannot_be_used_names_its_key(override, key):
    with pytest.raises(ConfigurationError, match=key):
        compose_config("unet-brats", [override])


def test_a_length_on_the_command_line_takes_the_place_of_the_recipes():
    schedule = compose_config("unet-brats", ["schedule.max_minutes=5"]).schedule
    assert (schedule.max_minutes, schedule.max_epochs, schedule.max_steps) == (5.0, None, None)


def test_two_lengths_are_refused():
    with pytest.raises(ConfigurationError, match="exactly one length"):
        compose_config("unet-brats", ["schedule.max_minutes=5", "schedule.max_steps=5"])


def test_options_of_parts_are_free():
    config = compose_config("unet-brats", ["network.options.widths=[4,8]", "data.options.epoch_length=7"])
    assert config.network.options == {"widths": [4, 8]}
    assert config.data.options == {"epoch_length": 7}


def test_a_saved_configuration_reads_back_the_same(tmp_path):
    config = compose_config("segresnet", ["seed=7"])
    (tmp_path / "config.yaml").write_text(dump_config(config), encoding="utf-8")
    assert load_config(tmp_path / "config.yaml") == config
