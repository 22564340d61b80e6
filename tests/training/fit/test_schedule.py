"""Length, learning rate and image size; what a plateau does."""

from __future__ import annotations

import pytest

from training.fit.config import ScheduleConfig
from training.fit.schedule import Plateau, Position, Schedule


def test_cosine_warms_up_then_falls():
    schedule = Schedule(ScheduleConfig(max_steps=100, warmup=0.1, final_factor=0.01))
    factors = [schedule.learning_rate_factor(schedule.progress(Position(step=s), 10)) for s in range(101)]
    assert max(factors) == pytest.approx(1.0)
    assert factors[0] < factors[5] < factors[10] > factors[50] > factors[100]
    assert factors[100] == pytest.approx(0.01)


def test_images_grow_after_a_share_of_the_run():
    schedule = Schedule(ScheduleConfig(max_steps=10, crop_size=192, crop_until=0.6, full_size=256))
    assert [schedule.image_size(p) for p in (0.0, 0.59, 0.6, 1.0)] == [192, 192, 256, 256]


@pytest.mark.parametrize(
    ("length", "position", "progress"),
    [
        ({"max_steps": 40}, Position(step=10), 0.25),
        ({"max_epochs": 4}, Position(epoch=1, batch=5), 0.375),
        ({"max_minutes": 2.0}, Position(elapsed_s=30.0), 0.25),
        ({"max_minutes": 2.0}, Position(elapsed_s=300.0), 1.0),
    ],
)
def test_progress_follows_the_length_that_is_given(length, position, progress):
    assert Schedule(ScheduleConfig(**length)).progress(position, batches_per_epoch=10) == progress


def test_the_rate_drops_after_the_patience_and_not_below_its_floor():
    config = ScheduleConfig(name="plateau", plateau_patience=1, plateau_factor=0.5, min_factor=0.25, warmup=0)
    plateau, schedule = Plateau(), Schedule(config)
    drops = [plateau.update(score, config) for score in (0.5, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6)]
    assert drops == [False, False, False, True, False, True, False, False]
    assert schedule.learning_rate_factor(0.5, plateau.factor) == 0.25


def test_a_better_score_starts_the_patience_anew():
    config = ScheduleConfig(name="plateau", plateau_patience=1)
    plateau = Plateau()
    assert not any(plateau.update(score, config) for score in (0.1, 0.1, 0.2, 0.2, 0.3, 0.3))
    assert plateau.factor == 1.0


def test_a_cosine_is_not_lowered_by_plateaus_but_can_end_early():
    config = ScheduleConfig(name="cosine", stop_patience=2)
    plateau = Plateau()
    ends = []
    for score in (0.5, 0.4, 0.4):
        assert not plateau.update(score, config)
        ends.append(Schedule(config).stops_early(plateau))
    assert ends == [False, False, True]


def test_a_plateau_survives_its_checkpoint():
    config, plateau, again = ScheduleConfig(name="plateau", plateau_patience=0), Plateau(), Plateau()
    for score in (0.5, 0.4):
        plateau.update(score, config)
    again.load(plateau.state())
    assert again == plateau
    assert again.factor == 0.5
