"""`python -m training export`: what a person sees, and exit codes."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="the `training` extra is not installed", exc_type=ImportError)
pytest.importorskip("onnx", reason="the `training` extra is not installed", exc_type=ImportError)
pytest.importorskip("onnxscript", reason="the `training` extra is not installed", exc_type=ImportError)

from neuroscan_core.inference.bundle import load_bundle  # noqa: E402 - after the skips
from tests.training.export.runs import write_run  # noqa: E402
from training.cli import main  # noqa: E402


@pytest.fixture
def run(tmp_path):
    return write_run("multimodal2d", tmp_path / "run")


def test_export_writes_a_bundle_and_says_what_is_in_it(run, tmp_path, capsys):
    bundle = tmp_path / "bundle"
    assert main(["export", "--run", str(run), "--bundle", str(bundle), "--version", "1.2.3", "--fp16"]) == 0
    card = load_bundle(bundle).card
    assert (card.name, card.version) == ("unet-brats", "1.2.3")
    assert [variant.precision for variant in card.variants] == ["fp16"]
    told = capsys.readouterr().out
    assert "unet-brats 1.2.3" in told
    assert "model.fp16.onnx" in told


def test_name_can_be_chosen(run, tmp_path):
    bundle = tmp_path / "bundle"
    assert main(["export", "--weights", str(run / "best.pt"), "--bundle", str(bundle), "--name", "mine"]) == 0
    assert load_bundle(bundle).card.name == "mine"


def test_damaged_checkpoint_ends_with_a_message(run, tmp_path, capsys):
    (run / "best.pt").write_bytes(b"nothing")
    assert main(["export", "--run", str(run), "--bundle", str(tmp_path / "bundle")]) == 1
    told = capsys.readouterr().err
    assert "damaged" in told
    assert "Traceback" not in told
    assert not (tmp_path / "bundle").exists()


def test_int8_without_patients_is_refused_before_anything_is_written(run, tmp_path, capsys):
    assert main(["export", "--run", str(run), "--bundle", str(tmp_path / "bundle"), "--int8"]) == 1
    assert "Give --data and --cache" in capsys.readouterr().err
    assert not (tmp_path / "bundle").exists()
