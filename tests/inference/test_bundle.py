"""A bundle whose parts disagree is refused, with what is wrong."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from neuroscan_core.domain.errors import InvalidBundle
from neuroscan_core.inference.bundle import find_bundles, load_bundle
from tests.inference.tiny_model import TINY


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TINY, tmp_path / "tiny"))


def change_card(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    card = yaml.safe_load((folder / "model.yaml").read_text())
    change(card)
    (folder / "model.yaml").write_text(yaml.safe_dump(card))


def test_a_good_bundle_is_read(folder: Path) -> None:
    bundle = load_bundle(folder)
    assert bundle.card.name == "tiny"
    assert bundle.onnx_path == folder / "model.onnx"
    assert bundle.reference.image_NCHW.shape == (2, 3, 32, 32)
    assert bundle.reference.logits_NLHW.dtype == np.float32


def test_a_changed_onnx_file_is_refused(folder: Path) -> None:
    content = bytearray((folder / "model.onnx").read_bytes())
    content[100] ^= 1
    (folder / "model.onnx").write_bytes(content)
    with pytest.raises(InvalidBundle, match="SHA-256"):
        load_bundle(folder)


@pytest.mark.parametrize("name", ["model.onnx", "model.yaml", "reference.npz"])
def test_a_missing_or_damaged_file_is_refused(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"\x00garbage: [")
    with pytest.raises(InvalidBundle):
        load_bundle(folder)
    (folder / name).unlink()
    with pytest.raises(InvalidBundle):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda card: card.update(kind="volume4d"), "volume4d"),
        (lambda card: card.update(kind="volume3d"), "regions"),
        (lambda card: card.update(kind="multimodal2d"), "zscore"),
        (lambda card: card["input"].update(skull="maybe"), "skull: maybe"),
        (lambda card: card["input"].update(size=[8, 32, 32]), "2 positive lengths"),
        (lambda card: card["input"].update(normalisation="z-score"), "z-score"),
        (lambda card: card["input"].update(channels=["z"]), "1 channels"),
        (lambda card: card["output"].update(activation="softmax"), "softmax"),
        (lambda card: card["onnx"].update(opset=99), "opset 99"),
        (lambda card: card["onnx"].update(file="../model.onnx"), "not in its folder"),
        (lambda card: card["input"].update(size=[64, 64]), "Shapes"),
        (lambda card: card.pop("labels"), "labels"),
        (lambda card: card["reference"].update(file=""), "not in its folder"),
    ],
)
def test_a_card_that_asks_for_what_cannot_be_is_refused(
    folder: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    change_card(folder, change)
    with pytest.raises(InvalidBundle, match=message):
        load_bundle(folder)


def test_bundles_are_found_by_name_and_those_of_the_site_go_first(tmp_path: Path, folder: Path) -> None:
    bundles = find_bundles(tmp_path)
    assert bundles["tiny"].folder == folder
    assert find_bundles(None).keys() == bundles.keys() - {"tiny"}


def test_two_bundles_with_one_name_are_refused(tmp_path: Path, folder: Path) -> None:
    shutil.copytree(folder, tmp_path / "again")
    with pytest.raises(InvalidBundle, match="Two bundles"):
        find_bundles(tmp_path)


def test_a_models_dir_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidBundle, match="models_dir"):
        find_bundles(tmp_path / "missing")
