"""Each version of TensorRT is asked for FP16 and INT8 in its own way, and addressed in its own way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from neuroscan_core.domain.errors import EngineUnavailable
from neuroscan_core.inference.bundle import load_bundle
from neuroscan_core.inference.tensorrt.builder import PlanNotBuilt
from neuroscan_core.inference.tensorrt.generation import Generation
from tests.inference.tensorrt.fake_tensorrt import GENERATIONS
from tests.inference.tensorrt.world import Machine, bundle_with_variants
from tests.inference.test_bundle import change_card
from tests.inference.tiny_model import TINY

BY_FLAG = ("8.2.1.9", "8.6.1", "10.3.0", "10.11.0.33")
BY_GRAPH = ("10.12.0.36", "10.16.1.11", "11.2.1.2", "11.4.0.106")


@pytest.mark.parametrize("version", GENERATIONS)
@pytest.mark.parametrize("graphs", [False, True])
def test_every_generation_computes_what_the_reference_says(version: str, graphs: bool, tmp_path: Path) -> None:
    machine = Machine(tmp_path / "plans", version, graphs=graphs)
    bundle = load_bundle(TINY)
    image, logits = bundle.reference.image_NCHW, bundle.reference.logits_NLHW
    with machine.open(bundle) as engine:
        for _ in range(3):
            assert np.allclose(engine.run(image), logits, atol=1e-5)  # float32 sums in another order
            assert np.allclose(engine.run(image[:1]), logits[:1], atol=1e-5)
    assert machine.gpu.num_open == 0


@pytest.mark.parametrize("version", BY_FLAG)
def test_before_10_12_a_flag_of_the_builder_allows_fp16(version: str) -> None:
    machine = Machine(None, version)
    with machine.open() as engine:
        assert engine.name == "tensorrt-fp16"
    [build] = machine.faults.builds
    assert "FP16" in build.flags and "STRONGLY_TYPED" not in build.network_flags
    assert ("EXPLICIT_BATCH" in build.network_flags) == version.startswith("8.")


@pytest.mark.parametrize("version", BY_GRAPH)
def test_from_10_12_on_the_graph_itself_is_in_fp16(version: str, tmp_path: Path) -> None:
    bundle = bundle_with_variants(tmp_path / "bundle", "fp16")
    machine = Machine(None, version)
    with machine.open(bundle) as engine:
        assert engine.name == "tensorrt-fp16"
    [build] = machine.faults.builds
    assert build.network_flags == {"STRONGLY_TYPED"} and "FP16" not in build.flags
    assert build.sha256 == bundle.card.variants[0].sha256


@pytest.mark.parametrize("version", BY_GRAPH)
def test_without_an_fp16_file_auto_builds_fp32_and_fp16_is_refused(version: str) -> None:
    machine = Machine(None, version)
    with machine.open() as engine:
        assert engine.name == "tensorrt-fp32"
    with pytest.raises(EngineUnavailable, match="no fp16 file"):
        machine.open(precision="fp16")


@pytest.mark.parametrize("version", GENERATIONS)
def test_fp32_leaves_no_flag_that_shortens_numbers(version: str) -> None:
    machine = Machine(None, version)
    with machine.open(precision="fp32") as engine:
        assert engine.name == "tensorrt-fp32"
    assert machine.faults.builds[0].flags == set()


@pytest.mark.parametrize(("version", "flags"), [("8.6.1", {"TF32", "FP16", "INT8"}), ("11.4.0.106", {"TF32"})])
def test_int8_is_a_quantised_file_and_a_flag_where_there_is_one(version: str, flags: set[str], tmp_path: Path) -> None:
    bundle = bundle_with_variants(tmp_path / "bundle", "int8")
    machine = Machine(None, version)
    with machine.open(bundle, precision="int8") as engine:
        assert engine.name == "tensorrt-int8"
    [build] = machine.faults.builds
    assert (build.flags, build.sha256) == (flags, bundle.card.variants[0].sha256)
    with pytest.raises(EngineUnavailable, match="no int8 file"):
        machine.open(precision="int8")


@pytest.mark.parametrize("version", GENERATIONS)
def test_profile_and_workspace_are_those_of_the_configuration(version: str) -> None:
    machine = Machine(None, version)
    machine.open(max_batch=6, tensorrt={"workspace_mib": 64}).close()
    [build] = machine.faults.builds
    assert build.shapes == [[1, 3, 32, 32], [1, 3, 32, 32], [6, 3, 32, 32]]
    assert build.workspace == 64 << 20


def test_where_a_kernel_is_missing_the_next_file_is_built(tmp_path: Path) -> None:
    bundle = bundle_with_variants(tmp_path / "bundle", "fp16", "fp16")
    machine = Machine(tmp_path / "plans", "11.2.1.2")
    whole, spared = (variant.sha256 for variant in bundle.card.variants)
    machine.faults.no_kernel_for = {whole}
    with machine.open(bundle, precision="fp16") as engine:
        assert engine.name == "tensorrt-fp16"
    assert [build.sha256 for build in machine.faults.builds] == [whole, spared]
    machine.faults.no_kernel_for = {whole, spared}
    machine.plan_dir = None
    with machine.open(bundle) as engine:
        assert engine.name == "tensorrt-fp32"
    with pytest.raises(PlanNotBuilt, match="node_223_Conv") as refusal:
        machine.open(bundle, precision="fp16")
    assert refusal.value.lacks_kernel and "training engine" in refusal.value.remedy
    assert machine.gpu.num_open == 0


def test_a_network_that_cannot_be_read_is_refused_with_the_parsers_words() -> None:
    with pytest.raises(PlanNotBuilt, match="Unsupported ONNX opset") as refusal:
        Machine(None, "8.2.1.9", cannot_parse=True).open()
    assert "13" in refusal.value.remedy


@pytest.mark.parametrize("version", ["7.1.3", "8.0.1.6", "unknown"])
def test_versions_that_are_too_old_are_unavailable(version: str) -> None:
    with pytest.raises(EngineUnavailable, match="too old"):
        Generation.of(version)


@pytest.mark.parametrize(("opset", "is_taken"), [(8, False), (9, True), (20, True), (25, True), (26, False)])
def test_from_11_on_the_opset_is_limited(opset: int, is_taken: bool) -> None:
    assert Generation.of("11.0.0.114").takes_opset(opset) == is_taken
    assert Generation.of("10.16.1.11").takes_opset(opset)


def test_an_opset_that_the_version_does_not_read_is_said_before_the_build(tmp_path: Path) -> None:
    bundle = bundle_with_variants(tmp_path / "bundle")
    change_card(bundle.folder, lambda card: card["onnx"].update(opset=8))
    machine = Machine(None, "11.0.0.114")
    with pytest.raises(EngineUnavailable, match="opset 8"):
        machine.open(load_bundle(bundle.folder))
    assert machine.faults.builds == []
