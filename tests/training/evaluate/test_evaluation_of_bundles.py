"""Evaluation of bundles of all kinds, from the ONNX file to JSON and CSV; the command line."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest

pytest.importorskip("torch", reason="the `training` extra is not installed", exc_type=ImportError)
pytest.importorskip("monai", reason="the `training` extra is not installed", exc_type=ImportError)
pytest.importorskip("onnx", reason="the `training` extra is not installed", exc_type=ImportError)

from rich.console import Console

from neuroscan_core.domain.errors import InvalidBundle
from neuroscan_core.domain.model_card import ModelKind
from tests.training.tiny import label_volume, picture_cache, segmentation_cache, write_bundle
from training.evaluate import EvaluationRefused, NothingToEvaluate, evaluate_bundle, print_results
from training.evaluate.learning_curve import curve_table, learning_curve, read_results, save_curve
from training.evaluate.patient import evaluate_case
from training.evaluate.summary import summarise_sets
from training.postprocessing import Postprocessing

VIEWS = {"slice25d": "flair", "multimodal2d": "multimodal", "volume3d": "multimodal"}


def evaluate(kind, folder, **options):
    bundle = write_bundle(kind, folder / "bundle")
    cache = picture_cache() if kind == "classifier" else segmentation_cache(VIEWS[kind])
    cases = [case for case in cache.cases if case.dataset != "lgg"] if kind == "volume3d" else cache.cases
    return evaluate_bundle(bundle, cache, cases, "val", **options)


def test_a_flair_network_misses_the_column_that_is_not_bright(tmp_path):
    """The first tumour is 14 wide, 13 are found: Dice 26/27, precision 1, recall 13/14."""
    results = evaluate("slice25d", tmp_path)
    first = results["patients"][0]
    assert first["name"] == "TCGA_CS_1_1"
    assert first["dice"] == pytest.approx(26 / 27)
    assert (first["precision"], first["recall"]) == (1.0, pytest.approx(13 / 14))
    assert first["regions"]["WT"]["truth_ml"] == pytest.approx(14 * 14 * 4 * 5 / 1000)


def test_distances_are_given_where_the_spacing_is_known(tmp_path):
    results = evaluate("slice25d", tmp_path)
    assert [patient["hd95_mm"] for patient in results["patients"]] == [None, None, 1.0, 1.0, 1.0]
    assert "hd95_mm_mean" not in results["sets"]["lgg"]
    assert results["regions"]["brats"]["WT"]["num_lesions"] == 3


@pytest.mark.parametrize("kind", ["multimodal2d", "volume3d"])
def test_regions_and_classes_are_told_apart(kind, tmp_path):
    """The column misses oedema, necrosis or the enhancing part, depending on where the tumour lies."""
    results = evaluate(kind, tmp_path)
    patient = next(p for p in results["patients"] if p["name"] == "Brats18_CBICA_A_1")
    assert list(patient["regions"]) == ["WT", "TC", "ET"]
    assert list(patient["classes"]) == ["necrotic core", "oedema", "enhancing tumour"]
    # The enhancing centre is 6 x 6, of which one column is missed.
    assert patient["regions"]["ET"]["recall"] == pytest.approx(5 / 6)
    assert patient["dice"] == pytest.approx(np.mean([entry["dice"] for entry in patient["regions"].values()]))
    assert results["sets"]["brats"]["dice_mean_ET"] == results["regions"]["brats"]["ET"]["dice_mean"]


def test_labels_that_are_swapped_cost_classes_but_not_the_whole_tumour():
    """Oedema where necrosis is, and the other way round."""
    cache = segmentation_cache("multimodal", 3)
    case = cache.cases[2]
    swapped = np.array([0, 2, 1, 3])[label_volume(2)]
    probabilities = np.eye(4, dtype=np.float32)[swapped].transpose(3, 0, 1, 2)
    found = evaluate_case(cache, case, probabilities, ModelKind.MULTIMODAL2D, Postprocessing()).result
    assert (found.regions["WT"].dice, found.regions["ET"].dice) == (1.0, 1.0)
    assert (found.classes["necrotic core"].dice, found.classes["oedema"].dice) == (0.0, 0.0)
    assert 0 < found.regions["TC"].dice < 1


def test_augmentation_at_test_time_comes_with_its_cost(tmp_path):
    results = evaluate("slice25d", tmp_path, tta=True)
    assert results["tta"]["cost"] == pytest.approx(results["tta"]["seconds_per_slice"] / results["seconds_per_slice"])
    assert "no test-time augmentation" in results["protocol"]
    # A convolution of single pixels does not mind flips.
    assert results["tta"]["sets"] == results["sets"]


def test_files_hold_what_was_measured_and_what_was_chosen(tmp_path):
    results = evaluate("slice25d", tmp_path, choose=True, out=tmp_path / "out", pictures=tmp_path / "pictures")
    written = json.loads((tmp_path / "out" / "val.json").read_text())
    assert written["sets"] == results["sets"]
    assert json.loads((tmp_path / "out" / "postprocessing.json").read_text()) == results["postprocessing"]
    with (tmp_path / "out" / "val.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["case"] for row in rows] == [patient["name"] for patient in results["patients"]]
    assert float(rows[0]["dice"]) == pytest.approx(26 / 27, abs=1e-5)
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 4


@pytest.mark.parametrize("more", [{"choose": True}, {"pictures": "folder"}])
def test_what_a_classifier_does_not_have_is_refused(more, tmp_path):
    with pytest.raises(EvaluationRefused, match="no threshold and no masks"):
        evaluate("classifier", tmp_path, **more)


def test_nothing_chosen_leaves_no_file_of_choices(tmp_path):
    evaluate("slice25d", tmp_path, out=tmp_path / "out")
    assert not (tmp_path / "out" / "postprocessing.json").exists()


def test_a_classifier_is_scored_over_pictures(tmp_path):
    """Three of 24 pictures are labelled wrongly."""
    results = evaluate("classifier", tmp_path, out=tmp_path / "out")
    assert results["sets"]["pictures"]["accuracy"] == pytest.approx(21 / 24)
    assert np.trace(results["confusion"]) == 21
    assert np.sum(results["confusion"]) == 24
    text = (tmp_path / "out" / "val.csv").read_text()
    assert text.startswith("part,picture,truth,predicted,glioma")


@pytest.mark.parametrize("kind", [*VIEWS, "classifier"])
def test_results_are_printed_for_people(kind, tmp_path):
    out = io.StringIO()
    print_results(evaluate(kind, tmp_path, tta=True), Console(file=out, width=200))
    assert "95 % CI" in out.getvalue()
    assert "times as long" in out.getvalue()


def test_a_perfect_network_is_calibrated_and_a_wrong_one_is_not():
    cache = segmentation_cache("flair", 3)
    case = cache.cases[2]
    truth = (label_volume(2) > 0).astype(np.float32)[None]
    for probabilities, ece in ((truth, 0.0), (1.0 - truth, 1.0)):
        found = evaluate_case(cache, case, probabilities, ModelKind.SLICE25D, Postprocessing())
        summary = summarise_sets([found])["calibration"]["brats"]["WT"]
        assert (summary["ece"], summary["brier"]) == (pytest.approx(ece), pytest.approx(ece))


def test_no_cases_are_refused(tmp_path):
    bundle = write_bundle("slice25d", tmp_path)
    with pytest.raises(NothingToEvaluate, match="val"):
        evaluate_bundle(bundle, segmentation_cache("flair"), [], "val")


def test_a_damaged_network_is_refused(tmp_path):
    bundle = write_bundle("slice25d", tmp_path)
    (bundle / "model.onnx").write_bytes(b"something else")
    cache = segmentation_cache("flair")
    with pytest.raises(InvalidBundle, match="SHA-256"):
        evaluate_bundle(bundle, cache, cache.cases, "val")


def test_a_learning_curve_is_sorted_by_patients(tmp_path):
    results = evaluate("slice25d", tmp_path, out=tmp_path / "out")
    worse = json.loads(json.dumps(results))
    worse["sets"]["lgg"] |= {"dice_mean": 0.5, "ci95": [0.4, 0.6]}
    points = learning_curve([(16, results), (4, worse)])
    assert [(p.dataset, p.num_patients) for p in points] == [("brats", 4), ("brats", 16), ("lgg", 4), ("lgg", 16)]
    assert "| lgg | 4 | 0.5000 |" in curve_table(points)
    files = save_curve(points, tmp_path / "curve")
    assert all(path.stat().st_size > 0 for path in files)


def test_runs_evaluated_on_different_cases_make_no_curve(tmp_path):
    results = evaluate("slice25d", tmp_path)
    with pytest.raises(EvaluationRefused, match="different cases"):
        learning_curve([(4, results), (8, results | {"patients": results["patients"][1:]})])
    with pytest.raises(EvaluationRefused, match="accuracy"):
        learning_curve([(4, results)], "accuracy")
    with pytest.raises(EvaluationRefused, match="PATIENTS=FILE"):
        read_results(["val.json"])
