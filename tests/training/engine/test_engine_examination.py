"""Engines are built, held against ONNX Runtime and timed as the node would use them."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuroscan_core.config import SegmenterConfig
from neuroscan_core.domain.errors import EngineRefused
from neuroscan_core.domain.model_card import ModelCard
from neuroscan_core.inference import select
from neuroscan_core.inference.bundle import load_bundle
from tests.inference.tensorrt.world import Machine, bundle_with_variants
from tests.inference.test_bundle import change_card
from tests.inference.tiny_model import TINY
from tests.pipeline.cards import CLASSIFIER, MULTIMODAL, VOLUME
from tests.pipeline.studies import ContrastEngine
from training.cli import main
from training.engine.examination import examine
from training.engine.files import needs_fp16_file, with_fp16_files
from training.engine.latency import Latency, engine_latency, result_latency


def openers(machine: Machine) -> dict[str, Any]:
    return {"tensorrt": lambda bundle, config: machine.open(bundle, **config.model_dump(exclude={"tensorrt"}))}


def describe(card: dict[str, Any]) -> None:
    """What the page of a card needs beside what the node needs."""
    card["onnx"]["parameters"] = 28
    card.update(metrics=[], training_data=[])


def ticking() -> Any:
    """A clock that goes on by 2 ms with each look at it."""
    numbers = itertools.count()
    return lambda: next(numbers) * 0.002


def test_gate_only_builds_compares_and_times_nothing() -> None:
    machine = Machine(None, noise=1e-3)
    found = examine(load_bundle(TINY), SegmenterConfig(engine="tensorrt"), [], 5, openers=openers(machine))
    assert (found.model, found.engine, found.latencies) == ("tiny", "tensorrt-fp16", ())
    assert 0 < found.agreement.probability < 5e-3 and found.keeps_items_apart
    assert machine.gpu.num_open == 0


def test_an_engine_that_is_refused_is_not_timed() -> None:
    with pytest.raises(EngineRefused, match="differs"):
        examine(load_bundle(TINY), SegmenterConfig(engine="tensorrt"), [1], 5, openers=openers(Machine(None, noise=1)))


def test_both_latencies_are_told_with_their_batch() -> None:
    config = SegmenterConfig(engine="tensorrt", max_batch=2)
    found = examine(load_bundle(TINY), config, [1, 2], 4, openers=openers(Machine(None)), clock=ticking())
    assert [(row.what, row.batch, row.num_runs) for row in found.latencies] == [
        ("engine alone", 1, 4), ("engine alone", 2, 4), ("slice in, mask out", 1, 4),
    ]  # fmt: skip
    assert [row.median_ms for row in found.latencies] == pytest.approx([2.0, 2.0, 2.0])
    assert found.latencies[1].per_s == pytest.approx(1000.0)
    assert json.loads(json.dumps(found.as_json()))["latencies"][2]["what"] == "slice in, mask out"


def test_the_bundled_reference_fills_any_batch() -> None:
    class Counting:
        name, card = "counting", load_bundle(TINY).card
        shapes: list[tuple[int, ...]] = []  # noqa: RUF012 - one test, one list

        def run(self, image: np.ndarray) -> np.ndarray:
            self.shapes.append(image.shape)
            return image

        def close(self) -> None:
            pass

    engine_latency(Counting(), load_bundle(TINY), 5, 2)
    assert Counting.shapes == [(5, 3, 32, 32)] * 5


@pytest.mark.parametrize(("card", "what"), [(MULTIMODAL, "study in, labels out"), (VOLUME, "study in, labels out")])
def test_studies_are_timed_as_a_whole(card: ModelCard, what: str) -> None:
    row = result_latency(ContrastEngine(card), 3, num_slices=10, clock=ticking())
    assert (row.what, row.num_runs) == (what, 1) and row.median_ms == pytest.approx(2.0)


def test_classifiers_are_timed_per_series() -> None:
    class Undecided:
        name, card = "undecided", CLASSIFIER

        def run(self, image: np.ndarray) -> np.ndarray:
            return np.zeros((len(image), 4), np.float32)

        def close(self) -> None:
            pass

    assert result_latency(Undecided(), 30, num_slices=10).what == "series in, classes out"


def test_median_and_tail_are_in_milliseconds() -> None:
    row = Latency.of("it", 4, [0.001, 0.002, 0.009])
    assert (row.median_ms, row.num_runs) == (pytest.approx(2.0), 3)
    assert row.p95_ms == pytest.approx(8.3) and row.per_s == pytest.approx(2000.0)


@pytest.mark.parametrize(
    ("version", "precision", "variants", "is_needed"),
    [
        ("10.3.0", "auto", (), False),
        ("10.12.0.36", "auto", (), True),
        ("11.4.0.106", "fp16", (), True),
        ("11.4.0.106", "fp32", (), False),
        ("11.4.0.106", "auto", ("fp16",), False),
        ("11.4.0.106", "fp16", ("int8",), True),
    ],
)
def test_an_fp16_file_is_made_only_where_it_is_wanted(
    version: str, precision: str, variants: tuple[str, ...], is_needed: bool, tmp_path: Path
) -> None:
    bundle = bundle_with_variants(tmp_path / "bundle", *variants)
    config = SegmenterConfig.model_validate({"precision": precision})
    assert needs_fp16_file(bundle, config, version) == is_needed


def test_the_fp16_file_that_is_made_is_the_one_that_is_built(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="the `training` extra is not installed")
    pytest.importorskip("torch", reason="the `training` extra is not installed", exc_type=ImportError)
    folder = Path(shutil.copytree(TINY, tmp_path / "bundle"))
    change_card(folder, describe)
    bundle = with_fp16_files(folder)
    machine = Machine(None, "11.4.0.106")
    with machine.open(bundle) as engine:
        assert engine.name == "tensorrt-fp16"
        assert 0 < engine.agreement.probability < 5e-3
    assert machine.faults.builds[0].sha256 == bundle.card.variants[0].sha256


def test_the_command_times_what_this_machine_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "report.json"
    arguments = ["--bundle", str(TINY), "--engine", "onnxruntime", "--batch", "1", "--runs", "2", "--json", str(report)]
    assert main(["engine", *arguments]) == 0
    shown = capsys.readouterr().out
    assert "engine alone" in shown and "slice in, mask out" in shown
    assert json.loads(report.read_text())["engine"] == "onnxruntime-cpu"


def test_the_command_says_what_is_missing_and_what_to_install(capsys: pytest.CaptureFixture[str]) -> None:
    if any(found.engine == "tensorrt" and found.is_available for found in _here()):
        pytest.skip("TensorRT runs here")
    assert main(["engine", "--bundle", str(TINY)]) == 1
    said = capsys.readouterr().err
    assert "TensorRT cannot be used" in said and "JetPack" in said and "neuroscan[gpu]" in said


@pytest.mark.parametrize("arguments", [["--bundle", "nothing-of-this-name"], ["--bundle", str(TINY), "--batch", "0"]])
def test_the_command_refuses_what_it_cannot_use(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["engine", "--engine", "onnxruntime", *arguments]) == 1
    assert "engine:" in capsys.readouterr().err


def test_every_engine_of_the_node_but_auto_can_be_examined() -> None:
    from training.cli import build_parser

    parser = build_parser()
    for name in select.OPENERS:
        assert parser.parse_args(["engine", "--bundle", "b", "--engine", name]).engine == name


def _here() -> Any:
    from neuroscan_core.inference.availability import engines_here

    return engines_here(SegmenterConfig())
