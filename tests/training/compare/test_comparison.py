"""Candidates in processes of their own, in turns; ratios, sizes, tables."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the `training` extra is not installed", exc_type=ImportError)
pytest.importorskip("monai", reason="the `training` extra is not installed", exc_type=ImportError)
pytest.importorskip("onnx", reason="the `training` extra is not installed", exc_type=ImportError)

import onnx

from neuroscan_core.domain.errors import EngineUnavailable
from neuroscan_core.domain.model_card import ModelKind
from tests.training.tiny import segmentation_cache, write_bundle
from training.compare.candidate import Candidate, candidates_here
from training.compare.measure import Measured, Timing, Worker, measure
from training.compare.operations import count_gmac
from training.compare.study import add_scores, as_records, make_row, processor_name
from training.compare.table import markdown, write_comparison
from training.compare.worker import peak_memory_mib, serve

COUNTS = {"engine": 2, "tta": 1, "pipeline": 2}


def timing(*rounds):
    return Timing([list(entry) for entry in rounds])


@pytest.fixture
def two(tmp_path):
    folders = [write_bundle("slice25d", tmp_path / name, name) for name in ("first", "second")]
    return candidates_here(folders, ["onnxruntime"])[0]


def test_a_ratio_is_formed_within_rounds():
    """The machine was ten times slower in the second round, for both: twice as long is twice as long."""
    first, other = timing([1.0, 1.0], [10.0, 10.0], [1.0, 1.0]), timing([2.0, 2.0], [20.0, 20.0], [2.0, 2.2])
    assert other.ratio_to(first) == pytest.approx(2.0)
    assert first.ratio_to(first) == 1.0
    assert first.percentile_ms(50) == pytest.approx(1000.0)


def test_candidates_run_in_turns_in_processes_of_their_own(two):
    measured, refused = measure(two, num_rounds=2, counts=COUNTS)
    assert refused == []
    assert [entry.candidate.name for entry in measured] == ["first", "second"]
    for entry in measured:
        assert entry.engine == "onnxruntime-cpu"
        assert [len(entry.timings[run].rounds) for run in COUNTS] == [2, 2, 2]
        assert [len(turn) for turn in entry.timings["engine"].rounds] == [2, 2]
        assert all(seconds > 0 for timings in entry.timings.values() for turn in timings.rounds for seconds in turn)
        assert 0 < entry.before_mib < entry.peak_mib


def test_the_measured_process_holds_no_training_library(two):
    """Memory is what the node needs; PyTorch alone would double it. This very process has it loaded."""
    measured, _ = measure(two[:1], num_rounds=1, counts={"engine": 1})
    assert measured[0].before_mib < 0.75 * peak_memory_mib()


def test_a_damaged_bundle_is_left_out_with_the_reason(two):
    (two[1].folder / "model.onnx").write_bytes(b"damaged")
    measured, refused = measure(two, num_rounds=1, counts={"engine": 1})
    assert [entry.candidate.name for entry in measured] == ["first"]
    assert "second, onnxruntime fp32 cannot be measured" in refused[0]
    assert "SHA-256" in refused[0]


def test_a_process_that_dies_is_told_from_one_that_answers(two):
    with Worker(two[0]) as worker:
        worker.warm_up({"engine": 1})
        worker._process.kill()
        worker._process.wait()
        with pytest.raises(EngineUnavailable, match="process ended"):
            worker.turn("engine")


def test_the_worker_answers_line_by_line(two):
    config = two[0].config.model_dump(mode="json")
    lines = [{"folder": str(two[0].folder), "config": config}, {"run": "tta", "count": 3}, {"stop": True}]
    answers = io.StringIO()
    assert serve(io.StringIO("".join(json.dumps(line) + "\n" for line in lines)), answers) == 0
    opened, ran = (json.loads(line) for line in answers.getvalue().splitlines())
    assert opened["engine"] == ran["engine"] == "onnxruntime-cpu"
    assert len(ran["seconds"]) == 3


def test_operations_are_counted_as_by_hand(tmp_path):
    """1x1 convolutions: three channels into one, four into four, over 64 x 64 pixels; four into three over a patch."""
    slices = write_bundle("slice25d", tmp_path / "a") / "model.onnx"
    assert count_gmac(slices) == pytest.approx(64 * 64 * 3 / 1e9)
    assert count_gmac(write_bundle("multimodal2d", tmp_path / "b") / "model.onnx") == pytest.approx(64 * 64 * 16 / 1e9)
    assert count_gmac(write_bundle("volume3d", tmp_path / "c") / "model.onnx") == pytest.approx(8 * 32 * 32 * 12 / 1e9)


def test_transposed_convolutions_and_products_are_counted(tmp_path):
    """2x2 with stride 2 from 3 to 5 channels over 4 x 4 inputs: 16 * 3 * 5 * 4; then 320 values by 7."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    weights = {"w": np.zeros((3, 5, 2, 2), np.float32), "m": np.zeros((320, 7), np.float32)}
    nodes = [
        helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2]),
        helper.make_node("Flatten", ["y"], ["f"]),
        helper.make_node("Gemm", ["f", "m"], ["z"]),
    ]
    tensors = [onnx.numpy_helper.from_array(value, key) for key, value in weights.items()]
    ends = [helper.make_tensor_value_info(*end) for end in (("x", kind, ["n", 3, 4, 4]), ("z", kind, ["n", 7]))]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), tmp_path / "g.onnx")
    assert count_gmac(tmp_path / "g.onnx") == pytest.approx((16 * 3 * 5 * 4 + 320 * 7) / 1e9)


def made(name, kind, engine_ms, folder, tta=False):
    """A row as if measured."""
    measured = Measured(Candidate(folder, name, kind, "onnxruntime", "fp32"), "onnxruntime-cpu", 0.1, 50.0, 99.0)
    for run in ("engine", "tta", "pipeline"):
        measured.timings[run] = timing([engine_ms / 1000.0 * (3 if run == "tta" else 1)])
    row = make_row(measured)
    row.scores = {"val": {"lgg": 0.9}}
    row.tta_scores = {"val": {"lgg": 0.91}} if tta else {}
    return row


def test_kinds_stand_in_tables_of_their_own_and_augmentation_in_rows_with_its_own_speed(tmp_path):
    rows = [
        made("a", ModelKind.SLICE25D, 10.0, write_bundle("slice25d", tmp_path / "a", "a"), tta=True),
        made("b", ModelKind.SLICE25D, 25.0, write_bundle("slice25d", tmp_path / "b", "b")),
        made("c", ModelKind.CLASSIFIER, 5.0, write_bundle("classifier", tmp_path / "c", "c")),
    ]
    records = as_records(rows)
    assert [(r["network"], r["tta"], r["val lgg"]) for r in records] == [
        ("a", 0, 0.9), ("a", 1, 0.91), ("b", 0, 0.9), ("c", 0, 0.9)]  # fmt: skip
    assert [round(r["engine_ratio"], 6) for r in records] == [1.0, 3.0, 2.5, 1.0]
    assert records[1]["pipeline_p50_ms"] is None
    text = markdown(records, ["Processor: test"], 3)
    assert text.index("## slice25d") < text.index("| a + TTA |") < text.index("## classifier")
    assert "accuracy val lgg" in text and "Dice val lgg" in text
    files = write_comparison(records, ["Processor: test"], 3, tmp_path / "out")
    assert [path.name for path in files] == ["comparison.md", "comparison.csv", "comparison.png"]
    with files[1].open() as file:
        assert [row["network"] for row in csv.DictReader(file)] == ["a", "a", "b", "c"]


def test_accuracy_is_that_of_the_engine(two):
    measured, _ = measure(two[:1], num_rounds=1, counts=COUNTS)
    row = make_row(measured[0])
    cache = segmentation_cache("flair")
    add_scores(row, "val", lambda view, part: (cache, cache.cases[:1]), tta=True)
    assert row.scores == {"val": {"lgg": pytest.approx(26 / 27)}}
    assert row.tta_scores == row.scores


def test_the_device_is_named(tmp_path):
    board = tmp_path / "model"
    board.write_text("NVIDIA Jetson Orin Nano\0")
    assert processor_name(device_tree=board) == "NVIDIA Jetson Orin Nano"
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n")
    assert processor_name(cpuinfo, tmp_path / "no") == "Some CPU @ 2 GHz"
    assert processor_name(tmp_path / "no", tmp_path / "no")


def test_only_engines_that_are_asked_for_take_part(tmp_path):
    folder = write_bundle("slice25d", tmp_path / "a")
    found, _ = candidates_here([folder], ["onnxruntime"])
    assert [(entry.engine, entry.precision) for entry in found] == [("onnxruntime", "fp32")]
    assert isinstance(found[0].folder, Path)
