"""The command line of training: help, refusals, a dry run on real data."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="the `training` extra is not installed", exc_type=ImportError)

from training.cli import main


@pytest.mark.parametrize("command", [[], ["prepare"], ["fit"], ["test"], ["export"]])
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*command, "--help"])
    assert stop.value.code == 0
    assert "usage: python -m training" in capsys.readouterr().out


def test_fit_needs_exactly_one_length(capsys):
    common = ["fit", "--data", "d", "--cache", "c", "--run", "r"]
    for length in ([], ["--steps", "1", "--max-minutes", "1"]):
        with pytest.raises(SystemExit) as stop:
            main([*common, *length])
        assert stop.value.code == 2
    assert "--max-minutes" in capsys.readouterr().err


@pytest.mark.slow
def test_prepare_counts_the_parts_of_the_real_data(data_root, tmp_path, capsys):
    assert main(["prepare", "--data", str(data_root), "--cache", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "train: 42 LGG, 16 BraTS" in out
    assert "test: 12 LGG, 6 BraTS" in out
    assert "quarantine: 4; slices: 6516" in out
