"""The demonstration: reading a SEG back, and the whole story on a small phantom."""

from __future__ import annotations

import io
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console

from dicom_gateway.demo import DemoOptions, run_demo
from dicom_gateway.demo.readback import dice
from neuroscan_core.domain.errors import ConfigurationError


def test_dice_is_pooled_over_all_images() -> None:
    full, empty = np.ones((2, 2), bool), np.zeros((2, 2), bool)
    one = empty.copy()
    one[0, 0] = True
    assert dice({("a", 1): full}, {("a", 1): full}) == 1.0
    assert dice({("a", 1): full}, {("b", 1): full}) == 0.0
    assert dice({("a", 1): full, ("b", 1): one}, {("a", 1): full}) == pytest.approx(8 / 9)
    assert dice({}, {}) == 1.0


def test_refuses_a_folder_that_it_did_not_make(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(ConfigurationError, match="not made by a demonstration"):
        run_demo(DemoOptions(output=tmp_path), Console(file=io.StringIO()))
    assert (tmp_path / "mine.txt").read_text() == "keep me"


def test_refuses_an_archive_that_it_does_not_know(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no archive called"):
        run_demo(DemoOptions(output=tmp_path / "demo", pacs="none", num_slices=10), Console(file=io.StringIO()))


def test_story_ends_with_a_seg_in_the_archive_and_a_picture(tmp_path: Path) -> None:
    told = io.StringIO()
    output = tmp_path / "demo"
    run_demo(DemoOptions(output=output, num_slices=24, images_per_s=100.0), Console(file=told, width=300))
    text = told.getvalue()
    assert "slices in 24, masks out 24" in text
    assert re.search(r"SEG stored( and committed)? by archive: last image -> acknowledged \d+ ms", text)
    assert len(list((output / "archive").rglob("*.dcm"))) == 2
    picture = cv2.imread(str(output / "overlay.png"))
    assert picture is not None and picture.shape[0] == 768
