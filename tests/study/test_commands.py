"""The commands that a newcomer types to try a study."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml

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
