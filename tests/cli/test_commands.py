"""Commands as a person types them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dicom_gateway.phantom_series import write_phantom_series
from neuroscan_core.phantom import HeadPhantom, Weighting
from neuroscan_core.viewer.security.credentials import PasswordHash


def neuroscan(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command line; it must end by itself."""
    command = [sys.executable, "-m", "neuroscan_core.cli", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="session")
def flair_folder(small_phantom: HeadPhantom, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flair")
    write_phantom_series(folder, small_phantom, Weighting.FLAIR)
    return folder


def test_help_imports_no_heavy_library() -> None:
    code = (
        "import sys, neuroscan_core.cli.app; "
        "heavy = {'numpy', 'zmq', 'pydicom', 'pynetdicom', 'onnxruntime', 'cv2', 'pydantic', 'starlette'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "command",
    [
        ("up",), ("gateway",), ("segmenter",), ("viewer",), ("segment",), ("send",), ("archive",), ("status",),
        ("phantom",), ("doctor",), ("models",), ("results",), ("retry",), ("rules", "test"), ("config", "check"),
        ("config", "reference"), ("config", "example"), ("keys",), ("demo",), ("viewer-password",),
    ],
)  # fmt: skip
def test_every_command_has_help_that_hides_what_is_for_tests(command: tuple[str, ...], tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from neuroscan_core.cli.app import app

    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0, result.output
    assert "crash-at" not in result.output and "--supervised" not in result.output


def test_error_says_what_happened_and_what_to_do_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "node.yaml").write_text("gatewy: {}\n")
    result = neuroscan("config", "check", "node.yaml", cwd=tmp_path)
    assert result.returncode == 1
    assert "gatewy" in result.stderr and "What to do:" in result.stderr
    assert "Traceback" not in result.stderr


def test_doctor_finds_nothing_wrong_on_a_machine_that_runs_these_tests(tmp_path: Path) -> None:
    (tmp_path / "node.yaml").write_text("gateway: {host: 127.0.0.1, port: 0, min_free_bytes: 0}\nviewer: {port: 0}\n")
    result = neuroscan("doctor", "-c", "node.yaml", cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "hash and reference agree" in result.stdout
    assert "debug" not in result.stdout + result.stderr


def test_doctor_names_a_destination_that_does_not_answer(tmp_path: Path) -> None:
    (tmp_path / "node.yaml").write_text(
        "gateway: {host: 127.0.0.1, port: 0, min_free_bytes: 0}\nviewer: {enabled: false}\n"
        "destinations: [{name: pacs, host: 127.0.0.1, port: 1, timeout_s: 2}]\n"
    )
    result = neuroscan("doctor", "-c", "node.yaml", cwd=tmp_path)
    assert result.returncode == 1
    assert re.search(r"FAIL destination pacs: .*127\.0\.0\.1:1", result.stdout)


def test_rules_test_explains_the_choice(flair_folder: Path, tmp_path: Path) -> None:
    result = neuroscan("rules", "test", flair_folder, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "sends the series to mobilenetv2-unet-flair" in result.stdout


def test_models_shows_licence_and_measured_results(tmp_path: Path) -> None:
    result = neuroscan("models", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "mobilenetv2-unet-flair" in result.stdout and "Dice" in result.stdout and "research only" in result.stdout


def test_keys_are_made_once(tmp_path: Path) -> None:
    assert neuroscan("keys", "keys", cwd=tmp_path).returncode == 0
    assert (tmp_path / "keys" / "private").stat().st_mode & 0o077 == 0
    assert "there already" in neuroscan("keys", "keys", cwd=tmp_path).stdout


def test_viewer_password_prints_a_hash_for_the_configuration_and_no_password(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "neuroscan_core.cli", "viewer-password"]
    told = subprocess.run(command, input="four words are enough\n", capture_output=True, text=True, cwd=tmp_path)
    assert told.returncode == 0 and "four words" not in told.stdout + told.stderr
    hashed = yaml.safe_load(f"password_hash: {told.stdout}")["password_hash"]
    assert PasswordHash.parse(hashed).matches("four words are enough")
    short = subprocess.run(command, input="short\n", capture_output=True, text=True, cwd=tmp_path)
    assert short.returncode == 1 and "What to do" in short.stderr


def test_status_of_a_node_that_does_not_run_is_not_ready(tmp_path: Path) -> None:
    result = neuroscan("status", cwd=tmp_path)
    assert result.returncode == 1
    assert "The gateway does not answer" in result.stdout


@pytest.mark.parametrize("command", ["results", "retry"])
def test_commands_on_the_journal_do_not_make_one(command: str, tmp_path: Path) -> None:
    result = neuroscan(command, cwd=tmp_path)
    assert result.returncode == 1 and "There is no journal" in result.stderr
    assert not list(tmp_path.iterdir())


def test_segment_writes_seg_and_report(flair_folder: Path, tmp_path: Path) -> None:
    result = neuroscan("segment", flair_folder, "-o", tmp_path / "out", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert re.search(r"tumour of \d+\.\d ml", result.stdout)
    assert len(list((tmp_path / "out").rglob("*.dcm"))) == 2


def test_segment_says_why_nothing_was_segmented(small_phantom: HeadPhantom, tmp_path: Path) -> None:
    folder = tmp_path / "t1"
    folder.mkdir()
    write_phantom_series(folder, small_phantom, Weighting.T1)
    result = neuroscan("segment", folder, "-o", tmp_path / "out", cwd=tmp_path)
    assert result.returncode == 1
    assert "No rule matches" in result.stderr
