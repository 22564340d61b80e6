"""Volumes as patches: the same as MONAI's sliding window, and tumours found where they are at any spacing."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroscan_core.domain.errors import SeriesRejection
from neuroscan_core.domain.model_card import ModelCard
from neuroscan_core.domain.study import StudyVolume
from neuroscan_core.pipeline.sliding import gaussian_weights, patches_of, slide
from neuroscan_core.pipeline.suitability import SKULL_WARNING
from neuroscan_core.pipeline.volume3d import head_box, resized, segment_volume3d
from tests.pipeline.cards import volume_mapping
from tests.pipeline.stacks import AXIAL, CORONAL, FEET_UP, SAGITTAL
from tests.pipeline.studies import ContrastEngine, accept_any_study, dice, geometry, study, truth
from tests.pipeline.test_orientation import OBLIQUE

PATCH = (16, 16, 16)


def card(spacing_mm: float = 1.0, size: tuple[int, int, int] = PATCH) -> ModelCard:
    mapping = volume_mapping(size)
    return ModelCard.from_mapping(mapping | {"input": mapping["input"] | {"spacing_mm": spacing_mm}})


def position_dependent(patch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """A network whose output depends on where in its patch a voxel lies, as at the borders of real ones."""
    across = np.linspace(-1, 1, patch.shape[-1], dtype=np.float32)
    down = np.linspace(-1, 1, patch.shape[-2], dtype=np.float32)[:, None]
    return np.stack([patch[:, 0] * across, patch[:, 1] + down, patch[:, 0] * patch[:, 1]], axis=1)


@pytest.mark.parametrize(
    ("shape", "patch_size", "overlap"),
    [
        ((16, 16, 16), PATCH, 0.5),
        ((17, 30, 41), PATCH, 0.5),
        ((33, 24, 20), (16, 12, 8), 0.25),
        ((9, 20, 16), PATCH, 0.5),
        ((5, 6, 7), PATCH, 0.5),
    ],
)
def test_blended_patches_are_those_of_monai(
    shape: tuple[int, int, int], patch_size: tuple[int, int, int], overlap: float
) -> None:
    torch = pytest.importorskip("torch")
    inferers = pytest.importorskip("monai.inferers.utils")
    volume = np.random.default_rng(4).normal(size=(2, *shape)).astype(np.float32)
    theirs = inferers.sliding_window_inference(
        torch.from_numpy(volume)[None],
        patch_size,
        1,
        lambda patch: torch.from_numpy(position_dependent(patch.numpy())),
        overlap=overlap,
        mode="gaussian",
        padding_mode="replicate",
    )[0].numpy()
    ours = slide(volume, position_dependent, patch_size, 3, overlap=overlap)
    # float32 sums of up to eight patches, in another order.
    np.testing.assert_allclose(ours, theirs, atol=2e-5)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(*[st.integers(8, 40)] * 3),
    patch_size=st.tuples(*[st.integers(2, 8)] * 3),
    overlap=st.floats(0.0, 0.9),
)
def test_patches_cover_every_voxel_and_stay_inside(
    shape: tuple[int, int, int], patch_size: tuple[int, int, int], overlap: float
) -> None:
    covered = np.zeros(shape, int)
    for patch in patches_of(shape, patch_size, overlap):
        assert covered[patch].shape == patch_size
        covered[patch] += 1
    assert covered.min() >= 1


def test_weights_are_greatest_in_the_middle_and_nowhere_zero() -> None:
    weights = gaussian_weights((16, 9, 5))
    assert weights.shape == (16, 9, 5) and weights.min() >= 1e-3
    assert np.unravel_index(weights.argmax(), weights.shape)[1:] == (4, 2)
    np.testing.assert_allclose(weights, weights[::-1, ::-1, ::-1], rtol=1e-6)  # float32 rounding


@pytest.mark.parametrize("wanted", [(8, 10, 12), (16, 20, 24), (10, 13, 30), (7, 20, 11)])
def test_resizing_is_that_of_training(wanted: tuple[int, int, int]) -> None:
    torch = pytest.importorskip("torch")
    volume = np.random.default_rng(5).normal(size=(16, 20, 24)).astype(np.float32)
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(volume)[None, None], size=wanted, mode="trilinear", align_corners=False
    )[0, 0].numpy()
    ours = resized(volume, wanted)
    if all(2 * n > have or 2 * n == have for n, have in zip(wanted, volume.shape, strict=True)):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)  # float32 rounding
    else:  # shrunk to less than half: averaged here, sampled there
        assert ours.std() < theirs.std()


def test_shrinking_keeps_the_mean() -> None:
    volume = np.random.default_rng(6).gamma(2.0, 1.0, (30, 40, 50)).astype(np.float32)
    assert resized(volume, (10, 8, 10)).mean() == pytest.approx(volume.mean(), rel=1e-4)  # float32 sums


@pytest.mark.parametrize(
    ("orientation", "shape", "spacing_mm", "network_mm", "at_least"),
    [
        (AXIAL, (44, 40, 32), (1.0, 1.0, 1.0), 1.0, 0.99),
        (FEET_UP, (44, 40, 32), (1.0, 1.0, 1.0), 1.0, 0.99),
        (SAGITTAL, (32, 46, 40), (1.0, 1.0, 1.0), 1.0, 0.99),
        (CORONAL, (40, 46, 32), (1.0, 1.0, 1.0), 1.0, 0.99),
        (OBLIQUE, (46, 44, 44), (1.0, 1.0, 1.0), 1.0, 0.99),
        (AXIAL, (24, 57, 40), (2.0, 0.7, 0.8), 1.0, 0.8),
        (AXIAL, (44, 40, 32), (1.0, 1.0, 1.0), 2.0, 0.6),
        (SAGITTAL, (64, 60, 50), (0.5, 0.8, 0.8), 1.0, 0.8),
    ],
)
def test_the_regions_of_a_tumour_are_found_where_they_are(
    orientation: tuple[float, float, float, float, float, float],
    shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
    network_mm: float,
    at_least: float,
) -> None:
    stack = geometry(shape, spacing_mm, orientation)
    found = segment_volume3d(study(stack), ContrastEngine(card(network_mm)), check=accept_any_study)
    wanted = truth(stack)
    for labels in ((1, 2, 3), (1, 3), (3,)):
        # Resampling there and back moves the surface of balls of few voxels.
        assert dice(np.isin(found.labels_kji, labels), np.isin(wanted, labels)) > at_least, labels
    assert found.warnings == (SKULL_WARNING,) and len(found.composites) == 3


def test_progress_counts_patches() -> None:
    told: list[tuple[int, int]] = []
    engine = ContrastEngine(card())
    segment_volume3d(study(), engine, lambda done, of: told.append((done, of)), check=accept_any_study)
    assert told == [(n + 1, len(told)) for n in range(len(told))]
    assert engine.batches == [1] * len(told) and len(told) > 8


def test_regions_that_are_not_nested_are_painted_the_innermost_on_top() -> None:
    class Everything(ContrastEngine):
        def run(self, image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
            logits = super().run(image)
            logits[:, 0] = -9  # no whole tumour anywhere: core and enhancing part stand by themselves
            return logits

    found = segment_volume3d(study(), Everything(card()), check=accept_any_study).labels_kji
    assert set(np.unique(found)) == {0, 1, 3}


def test_an_empty_study_gives_an_empty_result() -> None:
    whole = study()
    empty = StudyVolume(whole.geometry, whole.keys, whole.channels, np.zeros_like(whole.voxels_CKJI))
    engine = ContrastEngine(card())
    assert segment_volume3d(empty, engine, check=accept_any_study).is_empty
    assert engine.batches == []


def test_only_the_head_is_shown_with_some_air_around() -> None:
    volume = np.zeros((60, 60, 60), np.float32)
    volume[20:30, 40:50, 2:50] = 100
    assert head_box([volume], (1.0, 2.0, 4.0), 1.0) == (slice(12, 38), slice(36, 54), slice(0, 52))
    assert head_box([volume], (1.0, 2.0, 4.0), 5.0) == (slice(10, 40), slice(36, 54), slice(0, 52))


def test_what_is_no_head_is_refused() -> None:
    with pytest.raises(SeriesRejection, match="does not look like a head"):
        segment_volume3d(study(), ContrastEngine(card()))
