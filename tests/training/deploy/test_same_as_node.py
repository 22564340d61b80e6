"""What the programs of a deploy folder compute is what the node computes, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from neuroscan_core.domain.geometry import SliceGeometry, StackGeometry
from neuroscan_core.domain.study import SEQUENCES, StudyVolume
from neuroscan_core.domain.volume import FrameKey, Volume
from neuroscan_core.inference.bundle import Bundle
from neuroscan_core.inference.gate import compare
from neuroscan_core.inference.onnxruntime import OnnxRuntimeEngine
from neuroscan_core.offline import segment_volume
from neuroscan_core.pipeline import normalise, sliding
from neuroscan_core.pipeline.grid import InPlaneGrid
from neuroscan_core.pipeline.multimodal import segment_multimodal
from neuroscan_core.pipeline.picture import picture_from_slice
from neuroscan_core.pipeline.volume3d import segment_volume3d
from tests.pipeline.stacks import AXIAL, accept_anything
from tests.pipeline.studies import accept_any_study

Load = Callable[[Path], SimpleNamespace]


@pytest.fixture
def device(load_programs: Load, folders: dict[str, Path]) -> SimpleNamespace:
    return load_programs(folders["slice25d"])


def image_of(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """A bright block in noise, with values below zero."""
    rng = np.random.default_rng(seed)
    image = rng.normal(10, 20, shape)
    inner = tuple(slice(n // 4, n - n // 4) for n in shape)
    image[inner] += rng.gamma(3.0, 100.0, image[inner].shape)
    return image.astype(np.float32)


@pytest.mark.parametrize("seed", range(12))
def test_slices_go_to_the_network_and_back_alike(device: SimpleNamespace, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(20, 400, 2))
    spacing_mm = tuple(float(s) for s in rng.choice([0.4, 0.47, 0.9, 1.0, 1.1, 1.6], 2))
    theirs = InPlaneGrid(*shape, spacing_mm, size=(256, 240))
    ours = device.preprocess.Grid(shape, spacing_mm, (256, 240), 1.0, 0.15)
    image = image_of(shape, seed)
    assert np.array_equal(ours.to_model(image), theirs.to_model(image))
    mask = rng.integers(0, 4, (256, 240)).astype(np.uint8)
    assert np.array_equal(ours.from_model(mask), theirs.from_model(mask))


@pytest.mark.parametrize("case", ["head", "air", "constant", "negative"])
def test_intensities_are_normalised_alike(device: SimpleNamespace, case: str) -> None:
    volume = {
        "head": image_of((7, 61, 50), 3), "air": np.zeros((4, 20, 20)), "constant": np.full((4, 20, 20), 7.0),
        "negative": np.full((4, 20, 20), -3.0),
    }[case]  # fmt: skip
    ours = device.preprocess
    scales = [normalise.slice_scale(volume[z]) for z in range(3)]
    assert [ours.slice_scale(volume[z]) for z in range(3)] == scales
    assert np.array_equal(ours.normalise_window(list(volume[:3]), scales), normalise.normalise_window(volume[:3]))
    statistics = normalise.volume_statistics(volume)
    assert ours.volume_statistics(volume) == statistics
    assert np.array_equal(ours.normalise_volume(volume, statistics), normalise.normalise_volume(volume))


@pytest.mark.parametrize("shape", [(24, 24), (31, 50), (400, 300), (10, 10)])
def test_pictures_are_made_alike(device: SimpleNamespace, shape: tuple[int, int]) -> None:
    images = [image_of(shape, 5), np.full(shape, 3.0), image_of(shape, 6).astype(np.uint8)]
    images.append(np.where(image_of(shape, 7) > 400, np.nan, image_of(shape, 7)))
    for image in images:
        assert np.array_equal(
            device.preprocess.picture_from_slice(image, (24, 30)), picture_from_slice(image, (24, 30))
        )


@pytest.mark.parametrize("shape", [(16, 16, 16), (9, 40, 21), (33, 17, 50)])
def test_volumes_are_cut_and_blended_alike(device: SimpleNamespace, shape: tuple[int, int, int]) -> None:
    volume = np.random.default_rng(1).normal(size=(4, *shape)).astype(np.float32)

    def predict(patch: np.ndarray) -> np.ndarray:
        return patch[:, :3] * 2 + patch[:, 1:4].mean()

    ours = device.preprocess.slide(volume, predict, (16, 16, 16), 3)
    theirs = sliding.slide(volume, predict, (16, 16, 16), 3)
    assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("kind", ["slice25d", "multimodal2d", "volume3d", "classifier"])
def test_the_gate_measures_alike(
    device: SimpleNamespace, bundles: dict[str, Bundle], folders: dict[str, Path], load_programs: Load, kind: str
) -> None:
    card = load_programs(folders[kind]).card.load_card()
    wanted = bundles[kind].reference.logits_NLHW
    for noise in (0.0, 0.01, 3.0):
        found = (wanted + noise * np.random.default_rng(2).normal(size=wanted.shape)).astype(np.float32)
        theirs = compare(bundles[kind].card, found, wanted)
        ours = device.labels.agreement(found, wanted, card)
        assert ours == pytest.approx((theirs.probability, theirs.dice), abs=1e-12)
    assert device.labels.agreement(np.full_like(wanted, np.nan), wanted, card) == (np.inf, np.inf)
    assert device.labels.agreement(wanted[:1], wanted, card) == (np.inf, np.inf)


class Borrowed:
    """The node's engine where a program expects its own."""

    def __init__(self, engine: OnnxRuntimeEngine) -> None:
        self.infer = engine.run
        self.seconds: list[float] = []


def stack(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> StackGeometry:
    return StackGeometry(SliceGeometry((0.0, 0.0, 0.0), AXIAL, spacing_mm[1:], shape[1:]), spacing_mm[0], shape[0])


@pytest.mark.parametrize(("shape", "spacing_mm"), [((9, 32, 32), (3.0, 1.0, 1.0)), ((7, 60, 51), (4.0, 0.5, 0.6))])
def test_a_series_gets_the_masks_of_the_node(
    bundles: dict[str, Bundle], folders: dict[str, Path], load_programs: Load, shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
) -> None:  # fmt: skip
    programs, geometry = load_programs(folders["slice25d"]), stack(shape, spacing_mm)
    image = image_of(shape, 8)
    image[2] = -1.0  # air
    volume = Volume(geometry, tuple(FrameKey(str(k)) for k in range(shape[0])), image)
    with OnnxRuntimeEngine(bundles["slice25d"], 1) as engine:
        ours = programs.run.Pipeline(Borrowed(engine), programs.card.load_card()).segment(image, spacing_mm)
        theirs = segment_volume(volume, without_postprocessing(engine), check=accept_anything)
    assert 0 < ours.mean() < 1
    assert np.array_equal(ours, theirs.labels_kji)


@pytest.mark.parametrize(
    ("kind", "shape", "spacing_mm"),
    [
        ("multimodal2d", (6, 32, 30), (3.0, 1.0, 1.0)),
        ("multimodal2d", (5, 60, 51), (4.0, 0.5, 0.6)),
        ("volume3d", (30, 41, 38), (2.0, 2.0, 2.0)),
        ("volume3d", (12, 20, 14), (2.0, 2.0, 2.0)),
    ],
)
def test_a_study_gets_the_masks_of_the_node(
    bundles: dict[str, Bundle], folders: dict[str, Path], load_programs: Load, kind: str, shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
) -> None:  # fmt: skip
    programs, geometry = load_programs(folders[kind]), stack(shape, spacing_mm)
    image = np.stack([image_of(shape, seed) for seed in range(4)])
    study = StudyVolume(geometry, tuple(FrameKey(str(k)) for k in range(shape[0])), SEQUENCES, image)
    segment = segment_multimodal if kind == "multimodal2d" else segment_volume3d
    with OnnxRuntimeEngine(bundles[kind], 1) as engine:
        ours = programs.run.Pipeline(Borrowed(engine), programs.card.load_card()).segment(image, spacing_mm)
        theirs = segment(study, without_postprocessing(engine), check=accept_any_study)
    assert len(np.unique(ours)) > 2
    assert np.array_equal(ours, theirs.labels_kji)


def without_postprocessing(engine: OnnxRuntimeEngine) -> SimpleNamespace:
    """The engine with a card that keeps every part, however small."""
    return SimpleNamespace(card=replace(engine.card, min_component_ml=0.0), name=engine.name, run=engine.run)
