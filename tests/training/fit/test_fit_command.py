"""`python -m training fit`: help that teaches, refusals that say what to do, a run."""

from __future__ import annotations

import pytest
import yaml

from tests.training.fit.caches import tiny_cache
from training.cli import COMMANDS, main
from training.data.splits import find_split


def test_the_list_names_every_system(capsys):
    assert main(["fit", "--list"]) == 0
    out = capsys.readouterr().out
    for name in ("drunet-v2-flair", "unet-brats", "classifier-small", "segresnet", "mobilenetv2-unet-flair"):
        assert name in out


def test_print_shows_the_configuration_with_changes_on_both_sides_of_the_options(capsys):
    assert main(["fit", "experiment=unet-brats", "--print", "seed=7", "schedule.max_steps=3"]) == 0
    values = yaml.safe_load(capsys.readouterr().out)
    assert (values["seed"], values["schedule"]["max_steps"], values["schedule"]["max_epochs"]) == (7, 3, None)


def test_split_and_threads_are_taken_into_the_configuration(capsys):
    assert main(["fit", "experiment=unet-brats", "--print", "--split", "flair-v1", "--threads", "3"]) == 0
    values = yaml.safe_load(capsys.readouterr().out)
    assert (values["data"]["split"], values["trainer"]["threads"]) == ("flair-v1", 3)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "experiment=NAME"),
        (["unet-brats"], "experiment=unet-brats"),
        (["experiment=unet-brat"], "'unet-brats'"),
        (["experiment=unet-brats", "optimiser.learning_rat=1"], "'optimiser.learning_rate'"),
        (["experiment=unet-brats"], "--data, --cache, --run"),
    ],
)
def test_a_mistake_is_said_with_what_to_do_and_no_traceback(arguments, said, capsys):
    assert main(["fit", *arguments]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_a_file_that_cannot_be_written_is_named_without_a_traceback(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("training.cli.common.open_view", lambda *arguments: tiny_cache("multimodal2d"))
    run = tmp_path / "run"
    run.write_text("a file where the folder is to be")
    assert main(["fit", "experiment=unet-brats-cpu", "--data", "d", "--cache", "c", "--run", str(run)]) == 1
    assert f"fit: File exists: {run}" in capsys.readouterr().err


def test_ctrl_c_before_training_is_said_in_a_line(monkeypatch, capsys):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("training.cli.common.open_view", interrupted)
    assert main(["fit", "experiment=unet-brats-cpu", "--data", "d", "--cache", "c", "--run", "r"]) == 130
    assert capsys.readouterr().err == "fit: interrupted\n"


def test_an_option_that_does_not_exist_is_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["fit", "experiment=unet-brats", "--epochs", "3"])
    assert stop.value.code == 2
    assert "--epochs" in capsys.readouterr().err


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_every_command_has_help_with_an_example(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*command, "--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: python -m training")
    assert f"python -m training {' '.join(command)}" in out


def test_a_split_is_found_by_name_and_by_file(tmp_path):
    assert find_split("flair-v1").name == "flair-v1.json"
    (tmp_path / "mine.json").write_text("{}", encoding="utf-8")
    assert find_split(tmp_path / "mine.json") == tmp_path / "mine.json"
