"""FP16 and INT8 files of a bundle: types, agreement, and refusal of those that lose too much."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the `training` extra is not installed", exc_type=ImportError)
onnx = pytest.importorskip("onnx", reason="the `training` extra is not installed", exc_type=ImportError)

from onnx import TensorProto, helper, numpy_helper  # noqa: E402 - after the skips

from neuroscan_core.config import SegmenterConfig  # noqa: E402
from neuroscan_core.inference.bundle import load_bundle  # noqa: E402
from neuroscan_core.inference.variants import variant_path  # noqa: E402
from tests.training.tiny import segmentation_cache, write_bundle  # noqa: E402
from training.bundle.variants import INT8_FILES, MAX_INT8_LOSS, add_fp16, add_int8, compare_files  # noqa: E402
from training.data.splits import Split  # noqa: E402
from training.export.calibration import calibration_inputs  # noqa: E402
from training.export.errors import ExportError  # noqa: E402
from training.export.fp16 import check_fp16, convert_fp16, grouped_convolutions  # noqa: E402
from training.export.int8 import Int8Settings, quantise  # noqa: E402
from training.inference import onnx_predictor  # noqa: E402

# The cards of the tiny bundles are written without words for people.
WORDS = {
    "intended_use": "tests",
    "limits": ["all"],
    "training_data": [],
    "metrics": [],
    "postprocessing": {"min_component_ml": 0.0},
}
SPLIT = Split(
    "flair-v1",
    {
        "train": ("TCGA_CS_1_1", "Brats18_CBICA_A_1"),
        "val": ("TCGA_DU_2_1", "Brats18_CBICA_B_1"),
        "test": ("Brats18_TCIA10_C_1",),
    },
)


@pytest.fixture(params=["slice25d", "multimodal2d"])
def tiny(request, tmp_path):
    """Folder of a tiny bundle, and the cache that it finds tumours in."""
    folder = write_bundle(request.param, tmp_path / request.param)
    return _described(folder), segmentation_cache("flair" if request.param == "slice25d" else "multimodal")


def _described(folder):
    import yaml

    path = folder / "model.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | WORDS, sort_keys=False))
    return folder


def graph_file(path, nodes, weights, shape=(1, 4, 8, 8)):
    """A small ONNX file from `image` to `logits`."""
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape[1:]]) for name in ("image", "logits")
    ]
    tensors = [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "small", ends[:1], ends[1:], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
    return path


@pytest.fixture
def depthwise(tmp_path):
    """A convolution in groups, then one without, with a normalisation between."""
    nodes = [
        helper.make_node("Conv", ["image", "a"], ["x"], "depthwise", group=4),
        helper.make_node("InstanceNormalization", ["x", "one", "zero"], ["y"], "norm"),
        helper.make_node("Conv", ["y", "b"], ["logits"], "pointwise"),
    ]
    rng = np.random.default_rng(0)
    weights = {
        "a": rng.normal(0, 1, (4, 1, 1, 1)),
        "b": rng.normal(0, 1, (4, 4, 1, 1)),
        "one": np.ones(4),
        "zero": np.zeros(4),
    }
    return graph_file(tmp_path / "model.onnx", nodes, weights)


def types_of(path):
    model = onnx.shape_inference.infer_shapes(onnx.load(path))
    values = {v.name: v.type.tensor_type.elem_type for v in (*model.graph.value_info, *model.graph.input)}
    return {node.name: values.get(node.input[0]) for node in model.graph.node}


def test_fp16_keeps_inputs_outputs_and_sums_in_fp32(depthwise, tmp_path):
    convert_fp16(depthwise, tmp_path / "half.onnx")
    model = onnx.load(tmp_path / "half.onnx")
    ends = (*model.graph.input, *model.graph.output)
    assert {end.type.tensor_type.elem_type for end in ends} == {TensorProto.FLOAT}
    kinds = types_of(tmp_path / "half.onnx")
    assert kinds["pointwise"] == kinds["depthwise"] == TensorProto.FLOAT16
    assert kinds["norm"] == TensorProto.FLOAT


def test_convolutions_in_groups_can_stay_fp32(depthwise, tmp_path):
    assert grouped_convolutions(depthwise) == ("depthwise",)
    convert_fp16(depthwise, tmp_path / "mixed.onnx", keep_fp32=grouped_convolutions(depthwise))
    kinds = types_of(tmp_path / "mixed.onnx")
    assert (kinds["depthwise"], kinds["pointwise"]) == (TensorProto.FLOAT, TensorProto.FLOAT16)


def test_scales_of_a_resize_stay_constants(tmp_path):
    nodes = [
        helper.make_node("Resize", ["image", "", "scales"], ["x"], "enlarge", mode="linear"),
        helper.make_node("AveragePool", ["x"], ["logits"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
    ]
    path = graph_file(tmp_path / "model.onnx", nodes, {"scales": [1, 1, 2, 2]})
    convert_fp16(path, tmp_path / "half.onnx")
    graph = onnx.load(tmp_path / "half.onnx").graph
    (resize,) = (node for node in graph.node if node.op_type == "Resize")
    constants = {tensor.name: tensor.data_type for tensor in graph.initializer}
    assert constants[resize.input[2]] == TensorProto.FLOAT
    assert types_of(tmp_path / "half.onnx")["enlarge"] == TensorProto.FLOAT16


def test_fp16_is_rounded_and_near(depthwise, tmp_path):
    convert_fp16(depthwise, tmp_path / "half.onnx")
    image = np.random.default_rng(1).standard_normal((2, 4, 8, 8)).astype(np.float32)
    exact, half = (onnx_predictor(path)(image) for path in (depthwise, tmp_path / "half.onnx"))
    difference = np.abs(exact - half).max()
    # 11 bits of values of some units.
    assert 0 < difference < 0.02


def test_weights_beyond_fp16_are_refused(tmp_path):
    node = helper.make_node("Conv", ["image", "w"], ["logits"], "conv")
    path = graph_file(tmp_path / "model.onnx", [node], {"w": np.full((4, 4, 1, 1), 1e5)})
    with pytest.raises(ExportError, match="beyond the range of FP16"):
        convert_fp16(path, tmp_path / "half.onnx")
    assert not (tmp_path / "half.onnx").exists()


def test_nodes_to_keep_must_exist(depthwise, tmp_path):
    with pytest.raises(ExportError, match="no nodes nothing"):
        convert_fp16(depthwise, tmp_path / "half.onnx", keep_fp32=["nothing"])


def test_fp16_files_of_a_bundle_are_in_its_card(tiny):
    folder, _ = tiny
    assert add_fp16(folder) == ["model.fp16.onnx"]
    bundle = load_bundle(folder)
    (variant,) = bundle.card.variants
    assert (variant.precision, variant.engine) == ("fp16", "tensorrt")
    assert variant_path(bundle, variant).name == "model.fp16.onnx"
    assert "`model.fp16.onnx`" in (folder / "README.md").read_text(encoding="utf-8")


def test_fp16_that_finds_something_else_is_refused(tiny, tmp_path):
    folder, _ = tiny
    bundle = load_bundle(folder)
    model = onnx.load(bundle.onnx_path)
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1.5), tensor.name))
    onnx.save(model, tmp_path / "wrong.onnx")
    with pytest.raises(ExportError, match="FP16 differs from FP32"):
        check_fp16(bundle.onnx_path, tmp_path / "wrong.onnx", bundle.reference.image_NCHW, bundle.card)


def test_calibration_sees_training_patients_only(tiny):
    folder, cache = tiny
    kind = load_bundle(folder).card.kind
    inputs = calibration_inputs(cache, cache.select(SPLIT.parts["train"]), kind)
    assert inputs.shape == (4, *load_bundle(folder).card.input_shape)
    others = cache.images_SCHW.copy()
    for case in cache.select([*SPLIT.parts["val"], *SPLIT.parts["test"]]):
        others[case.start : case.stop] = 0
    from dataclasses import replace

    again = calibration_inputs(replace(cache, images_SCHW=others), cache.select(SPLIT.parts["train"]), kind)
    np.testing.assert_array_equal(inputs, again)


def test_calibration_needs_patients(tiny):
    folder, cache = tiny
    with pytest.raises(ExportError, match="no training cases"):
        calibration_inputs(cache, [], load_bundle(folder).card.kind)


@pytest.mark.parametrize("engine", ["onnxruntime", "tensorrt"])
def test_int8_file_that_loses_little_is_kept(tiny, engine):
    folder, cache = tiny
    found = add_int8(folder, cache, SPLIT, Int8Settings(engine))
    assert found.loss < MAX_INT8_LOSS
    assert found.num_patients == 2
    assert found.dice_fp32 > 0.8
    bundle = load_bundle(folder)
    (variant,) = bundle.card.variants
    assert (variant.file, variant.precision, variant.engine) == (INT8_FILES[engine], "int8", engine)
    operators = {node.op_type for node in onnx.load(variant_path(bundle, variant)).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= operators


def test_symmetric_ranges_for_tensorrt(tiny):
    folder, cache = tiny
    add_int8(folder, cache, SPLIT, Int8Settings("tensorrt"))
    model = onnx.load(folder / INT8_FILES["tensorrt"])
    points = [numpy_helper.to_array(t) for t in model.graph.initializer if t.name.endswith("zero_point")]
    assert points
    assert all(point.dtype == np.int8 and not point.any() for point in points)


def test_node_executes_the_int8_file(tiny):
    folder, cache = tiny
    add_int8(folder, cache, SPLIT)
    bundle = load_bundle(folder)
    with bundle.open_engine(SegmenterConfig(engine="onnxruntime", precision="int8", threads=1)) as engine:
        assert engine.name == "onnxruntime-cpu-int8"


def test_int8_file_that_loses_much_is_refused_with_the_figure(tiny):
    folder, cache = tiny
    with pytest.raises(ExportError, match=r"INT8 costs -?\d\.\d+ Dice on 2 validation patients"):
        add_int8(folder, cache, SPLIT, max_loss=-1.0)
    assert load_bundle(folder).card.variants == ()
    assert sorted(path.name for path in folder.iterdir()) == ["model.onnx", "model.yaml", "reference.npz"]


def test_bad_ranges_are_found_out_on_validation_patients(tiny):
    """Calibrated on black pictures, the network is blind to bright tumours."""
    folder, cache = tiny
    bundle = load_bundle(folder)
    quantise(bundle.onnx_path, folder / "blind.onnx", np.full((2, *bundle.card.input_shape), 1e-3, np.float32))
    found = compare_files(bundle, folder / "blind.onnx", cache, cache.select(SPLIT.parts["val"]))
    assert found.loss > 0.1


def test_second_export_replaces_the_first(tiny):
    folder, cache = tiny
    for _ in range(2):
        add_int8(folder, cache, SPLIT)
    assert len(load_bundle(folder).card.variants) == 1


def test_volumes_are_not_quantised(tmp_path):
    folder = _described(write_bundle("volume3d", tmp_path / "volume"))
    with pytest.raises(ExportError, match="see slices"):
        add_int8(folder, segmentation_cache("multimodal"), SPLIT)


def test_unknown_method_is_refused(tiny):
    folder, _ = tiny
    bundle = load_bundle(folder)
    with pytest.raises(ExportError, match="guessing"):
        quantise(bundle.onnx_path, folder / "x.onnx", bundle.reference.image_NCHW, Int8Settings(method="guessing"))
