"""`python -m training test | audit | compare` on a tiny data set of PNG slices, from folders to files."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import yaml

pytest.importorskip("torch", reason="the `training` extra is not installed", exc_type=ImportError)
pytest.importorskip("monai", reason="the `training` extra is not installed", exc_type=ImportError)
pytest.importorskip("onnx", reason="the `training` extra is not installed", exc_type=ImportError)

import cv2

from tests.training.tiny import write_bundle
from training.cli import main

NAMES = ("TCGA_CS_1_20000101", "TCGA_CS_2_20000101", "TCGA_DU_3_20000101")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Three patients, a split with one of them in each part, a bundle."""
    root = tmp_path_factory.mktemp("world")
    rng = np.random.default_rng(2)
    for n, name in enumerate(NAMES):
        folder = root / "data" / "lgg_flair" / name
        folder.mkdir(parents=True)
        for k in range(1, 5):
            image = np.zeros((256, 256), np.uint8)
            image[40:216, 40:216] = rng.integers(40, 60, (176, 176))
            mask = np.zeros_like(image)
            mask[80 : 120 + n, 90:130] = 255 * (k in (2, 3))
            image[mask > 0] = 200
            cv2.imwrite(str(folder / f"{name}_{k}.png"), image)
            cv2.imwrite(str(folder / f"{name}_{k}_mask.png"), mask)
    parts = dict(zip(("train", "val", "test"), ([name] for name in NAMES), strict=True))
    (root / "split.json").write_text(json.dumps({"name": "tiny", "seed": 42, **parts, "quarantine": {}}))
    write_bundle("slice25d", root / "bundle", side=256)
    return root


def arguments(world, command, *more):
    data = ("--data", str(world / "data"), "--cache", str(world / "cache"), "--split", str(world / "split.json"))
    return [command, *data, *more]


def test_a_part_is_evaluated_and_written(world, tmp_path, capsys):
    out = tmp_path / "out"
    command = arguments(world, "test", "--bundle", str(world / "bundle"), "--choose", "--tta", "--out", str(out))
    assert main(command) == 0
    results = json.loads((out / "val.json").read_text())
    assert [patient["name"] for patient in results["patients"]] == [NAMES[1]]
    assert results["patients"][0]["dice"] == pytest.approx(1.0)
    assert "tta" in results
    assert (out / "postprocessing.json").is_file()
    assert "lgg: n=1 Dice mean 1.0000" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (("--part", "test", "--choose"), "validation cases only"),
        (("--external", "lgg"), "lgg is not external: 2 of its 3 cases"),
        (("--external", "lgg", "--choose"), "validation cases only"),
        (("--external", "brats"), "no cases of brats"),
    ],
)
def test_figures_that_would_not_mean_what_they_say_are_refused(world, more, reason, capsys):
    assert main(arguments(world, "test", "--bundle", str(world / "bundle"), *more)) == 1
    assert reason in capsys.readouterr().err


def test_nothing_is_external_to_a_network_of_unknown_training(world, capsys):
    command = arguments(world, "test", "--bundle", str(world / "bundle"), "--external", "lgg")
    at = command.index("--split")
    assert main([*command[:at], *command[at + 2 :]]) == 1
    assert "Nothing says what the network was trained on" in capsys.readouterr().err


def test_what_was_chosen_on_validation_patients_is_used_and_the_split_is_told(world, tmp_path):
    chosen = {"threshold": 0.35, "min_component_ml": 0.25}
    (tmp_path / "postprocessing.json").write_text(json.dumps(chosen))
    more = ("--part", "test", "--postprocessing", str(tmp_path / "postprocessing.json"), "--out", str(tmp_path))
    assert main(arguments(world, "test", "--bundle", str(world / "bundle"), *more)) == 0
    results = json.loads((tmp_path / "test.json").read_text())
    assert results["postprocessing"] == chosen
    assert results["split"] == "tiny"


def test_a_choice_that_cannot_be_read_is_refused(world, tmp_path, capsys):
    more = ("--postprocessing", str(tmp_path / "none.json"))
    assert main(arguments(world, "test", "--bundle", str(world / "bundle"), *more)) == 1
    assert "none.json" in capsys.readouterr().err


@pytest.mark.parametrize("command", [("test",), ("audit", "--out", "audit.html")])
def test_a_network_of_another_split_is_not_tested_on_the_split_of_the_data(command, world, tmp_path, capsys):
    bundle = tmp_path / "bundle"
    shutil.copytree(world / "bundle", bundle)
    card = yaml.safe_load((bundle / "model.yaml").read_text())
    (bundle / "model.yaml").write_text(yaml.safe_dump(card | {"training": {"split": "mine"}}))
    data = ("--data", str(world / "data"), "--cache", str(world / "cache"))
    assert main([*command, *data, "--bundle", str(bundle)]) == 1
    assert "trained with the split 'mine'" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["test", "audit"])
def test_what_is_missing_is_named(command, capsys):
    assert main([command]) == 1
    assert "--bundle or --run" in capsys.readouterr().err


def test_an_audit_is_drawn(world, tmp_path, capsys):
    page = tmp_path / "audit.html"
    assert main(arguments(world, "audit", "--bundle", str(world / "bundle"), "--no-tta", "--out", str(page))) == 0
    assert page.read_text(encoding="utf-8").count("<img ") == 16
    assert "not drawn: Loss and validation by step" in capsys.readouterr().out


def test_a_comparison_is_written_with_and_without_accuracy(world, tmp_path, capsys):
    quick = ("--bundles", str(world / "bundle"), "--engines", "onnxruntime", "--rounds", "1", "--runs", "1")
    assert main(["compare", *quick, "--out", str(tmp_path / "a")]) == 0
    assert "Dice" not in (tmp_path / "a" / "comparison.md").read_text()
    assert main(arguments(world, "compare", *quick, "--no-tta", "--out", str(tmp_path / "b"))) == 0
    assert "Dice val lgg" in (tmp_path / "b" / "comparison.md").read_text()
    assert "1.0000" in capsys.readouterr().out


def test_a_learning_curve_needs_no_network(world, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(arguments(world, "test", "--bundle", str(world / "bundle"), "--out", str(out))) == 0
    curve = ["test", "--curve", f"4={out / 'val.json'}", f"8={out / 'val.json'}", "--out", str(tmp_path / "curve")]
    assert main(curve) == 0
    assert "| lgg | 4 |" in (tmp_path / "curve" / "learning-curve.md").read_text()
    assert main(["test", "--curve", "many"]) == 1
    assert "PATIENTS=FILE" in capsys.readouterr().err
