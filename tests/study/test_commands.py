"""The commands that a newcomer types to try a study."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from dicom_gateway.rules import check_kinds
from neuroscan_core.cli.app import app
from neuroscan_core.config import parse_config
from neuroscan_core.domain.errors import ConfigurationError
from neuroscan_core.domain.events import SeriesProgress
from neuroscan_core.domain.model_card import ModelKind
from neuroscan_core.node import NodeAnswer

MODELS = Path(__file__).parent / "models"


def neuroscan(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "neuroscan_core.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_a_phantom_study_is_written_judged_and_segmented(tmp_path: Path) -> None:
    config = tmp_path / "node.yaml"
    config.write_text(yaml.safe_dump({"segmenter": {"models_dir": str(MODELS), "threads": 1}}))
    written = neuroscan("phantom", tmp_path / "study", "--study", "--slices", 20)
    assert written.returncode == 0, written.stderr
    assert "T1ce: 20 images" in written.stdout
    judged = neuroscan("rules", "test", tmp_path / "study", "-c", config)
    assert "It shows T1ce. Short repetition and echo time" in judged.stdout, judged.stderr
    done = neuroscan("segment", tmp_path / "study", "--model", "unet-tiny", "-o", tmp_path / "out", "-c", config)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out").rglob("*.dcm"))) == 2
    neither = neuroscan("segment", "--model", "unet-tiny", "-o", tmp_path / "out", "-c", config)
    assert neither.returncode == 2
    assert "--t1ce" in neither.stderr


def test_status_says_why_a_study_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    message = "T2 is waited for; there is T1 (series 3 'AX T1')."
    study = SeriesProgress(
        "2.25.1", "waiting", 0, 0, 0, False, "unet", "MR", "Study: tumour", "missing-sequence", message=message
    )
    monkeypatch.setattr("neuroscan_core.node.ask_node", lambda config: NodeAnswer((), (), (study,)))
    result = CliRunner().invoke(app, ["status"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert "missing-sequence" in result.output
    assert f"Study: tumour: {message}" in result.output


def test_studies_and_triage_need_models_of_the_right_kind() -> None:
    kinds = {"unet": ModelKind.MULTIMODAL2D, "flair": ModelKind.SLICE25D, "judge": ModelKind.CLASSIFIER}
    rule = {"name": "r", "model": "flair"}

    def check(**sections: object) -> None:
        check_kinds(parse_config({"rules": [rule], **sections}), kinds)

    check(studies=[{"name": "s", "model": "unet", "triage": "judge"}], rules=[rule | {"triage": "judge"}])
    for wrong, why in (
        ({"studies": [{"name": "s", "model": "flair"}]}, "does not segment several series"),
        ({"studies": [{"name": "s", "model": "unte"}]}, "Did you mean unet"),
        ({"studies": [{"name": "s", "model": "unet", "triage": "unet"}]}, "does not classify"),
        ({"rules": [rule | {"model": "unet"}]}, "does not segment a single series"),
        ({"rules": [rule | {"triage": "flair"}]}, "does not classify"),
    ):
        with pytest.raises(ConfigurationError, match=why):
            check(**wrong)
