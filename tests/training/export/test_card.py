"""The card, and the page that repeats it: figures, split and terms."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="the `training` extra is not installed", exc_type=ImportError)
pytest.importorskip("onnx", reason="the `training` extra is not installed", exc_type=ImportError)

from neuroscan_core.domain.model_card import ModelCard, ModelKind
from neuroscan_core.model_text import model_lines
from training.bundle.card import CardFacts, OnnxFacts, make_card, metrics_of
from training.bundle.card_page import card_page
from training.bundle.feed import Feed
from training.bundle.words import SPLITS, licence, training_data
from training.data.splits import Split, load_split

FEED = Feed((256, 256), 1.0, ("z-1", "z", "z+1"), "FLAIR", "foreground-median-v1", "any")


def card(**changes):
    facts = {
        "name": "mobilenetv2-unet-flair",
        "version": "1.0.0",
        "kind": ModelKind.SLICE25D,
        "feed": FEED,
        "onnx": OnnxFacts("0" * 64, 20, 2_614_513),
        "split": load_split("flair-v1"),
        "postprocessing": {"threshold": 0.45, "min_component_ml": 0.5},
    }
    return make_card(CardFacts(**(facts | changes)))


def test_page_repeats_figures_split_and_terms():
    first = {"data": "A", "patients": 6, "protocol": "pooled", "dice_mean": 0.8123, "ci95": [0.7, 0.9]}
    second = {"data": "B", "patients": 12, "protocol": "pooled", "dice_mean": 0.7}
    page = card_page(card(metrics=[first, second]))
    assert "| Dice, mean | 0.812 | 0.700 |" in page
    assert "| 95 % CI of the mean | 0.700 to 0.900 | - |" in page
    assert "42 train, 6 val, 12 test" in page
    assert "16 train, 3 val, 6 test" in page
    assert "non-commercial" in page
    assert "2,614,513 parameters" in page
    assert "Protocol: pooled." in page
    assert "stroke" in page


def test_page_says_when_nothing_was_measured():
    assert "Not evaluated yet." in card_page(card())


def test_page_lists_other_files():
    variant = {"file": "model.int8.onnx", "sha256": "1" * 64, "precision": "int8", "engine": "onnxruntime"}
    page = card_page(card(variants=[variant | {"note": "Dice on validation 0.001 lower"}]))
    assert "- `model.int8.onnx`: int8 for onnxruntime (Dice on validation 0.001 lower)" in page


def test_chosen_threshold_and_size_are_in_the_card():
    read = ModelCard.from_mapping(card())
    assert (read.threshold, read.min_component_ml) == (0.45, 0.5)


def test_figures_of_an_evaluation_are_rounded_and_nested_tables_left_out():
    results = {
        "part": "test",
        "protocol": "pooled",
        "sets": {
            "brats": {"patients": 6, "dice_mean": 0.812345, "ci95": [0.71234, 0.9], "dice_mean_TC": 0.5,
                      "calibration": {"ece": 0.1}, "curve": [0.1, 0.2, 0.3]},
        },
    }  # fmt: skip
    assert metrics_of(results) == [
        {
            "data": "BraTS 2018/2021, test patients", "protocol": "pooled", "patients": 6, "dice_mean": 0.8123,
            "ci95": [0.7123, 0.9], "dice_mean_TC": 0.5,
        }
    ]  # fmt: skip


def split(name="mine", train=(), val=(), test=()):
    return Split(name, {"train": train, "val": val, "test": test})


def test_figures_of_a_classifier_count_pictures():
    summary = {"patients": 239, "accuracy": 0.91234, "ci95": [0.87, 0.94], "f1_macro": 0.9, "roc_auc_macro": 0.99}
    (entry,) = metrics_of({"part": "test", "protocol": "over pictures", "sets": {"pictures": summary}})
    assert entry["data"] == "Brain Tumor MRI Dataset, test pictures"
    assert (entry["pictures"], entry["accuracy"]) == (239, 0.9123)
    feed = Feed((160, 160), 0.0, ("grey",), "any", "picture-window-v1", "any")
    made = card(kind=ModelKind.CLASSIFIER, feed=feed, split=load_split("pictures-v1"), metrics=[entry])
    page = card_page(made)
    assert "test pictures (n=239)" in page
    assert "| Accuracy | 0.912 |" in page
    assert "| 95 % CI of the mean | 0.870 to 0.940 |" in page
    text = "\n".join(model_lines(ModelCard.from_mapping(made)))
    assert "accuracy 0.912 (95 % CI 0.870 to 0.940) (239 pictures)" in text
    assert "split by cluster of near-duplicates: 1122 train, 239 val, 239 test" in page


def test_counts_and_terms_come_from_the_split():
    both = split(train=("Brats18_a", "TCGA_x"), val=("Brats18_b",))
    lgg, brats = training_data(both, ModelKind.SLICE25D)
    assert (lgg["patients"]["train"], brats["patients"]) == (1, {"train": 1, "val": 1, "test": 0})
    assert "2 patients" in brats["name"]
    assert "non-commercial" in licence(both, ModelKind.SLICE25D)


def test_data_that_was_not_used_binds_nobody():
    brats = split(train=("Brats18_a",), val=("Brats18_b",))
    assert [entry["name"][:5] for entry in training_data(brats, ModelKind.VOLUME3D)] == ["BraTS"]
    assert "LGG" not in licence(brats, ModelKind.VOLUME3D)
    lgg = split(train=("TCGA_a",), val=("TCGA_b",), test=("Brats18_a",))
    assert "BraTS" not in licence(lgg, ModelKind.SLICE25D)


def test_every_kind_has_words_for_its_split():
    for kind, name in SPLITS.items():
        committed = load_split(name)
        for source in training_data(committed, kind):
            assert source["licence"]
            assert source["citation"]
        assert "Not a medical device" in licence(committed, kind)
