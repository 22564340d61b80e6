"""The card as a page repeats figures, split and terms."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="the `training` extra is not installed", exc_type=ImportError)
pytest.importorskip("onnx", reason="the `training` extra is not installed", exc_type=ImportError)

from training.bundle import make_card
from training.card_page import card_page

CHOSEN = {"threshold": 0.45, "min_component_ml": 0.5}


def test_page_repeats_figures_split_and_terms():
    first = {"data": "A", "patients": 6, "protocol": "pooled", "dice_mean": 0.8123, "ci95": [0.7, 0.9]}
    second = {"data": "B", "patients": 12, "protocol": "pooled", "dice_mean": 0.7}
    metrics = [first, second]
    page = card_page(make_card("1.0.0", "0" * 64, 2_614_513, CHOSEN, metrics))
    assert "| Dice, mean | 0.812 | 0.700 |" in page
    assert "| 95 % CI of the mean | 0.700 to 0.900 | - |" in page
    assert "42 train, 6 val, 12 test" in page
    assert "non-commercial" in page
    assert "2,614,513 parameters" in page
    assert "Protocol: pooled." in page


def test_page_says_when_nothing_was_measured():
    assert "Not evaluated yet." in card_page(make_card("0.1.0", "0" * 64, 1, CHOSEN, []))
