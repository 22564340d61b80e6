"""Heads pass, anything else does not."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from neuroscan_core.domain.errors import RejectionCode, SeriesRejection
from neuroscan_core.domain.volume import FrameKey
from neuroscan_core.phantom import Weighting, head_phantom
from neuroscan_core.pipeline.brainlike import require_brain
from neuroscan_core.pipeline.grid import InPlaneGrid
from neuroscan_core.pipeline.normalise import slice_scale
from neuroscan_core.pipeline.window25d import PreparedSlice

J, I = np.mgrid[:256, :256]  # noqa: E741
NUM_SLICES = 24
Image = npt.NDArray[np.float32]


def prepared(images: list[Image]) -> list[PreparedSlice]:
    grid = InPlaneGrid(256, 256)
    return [PreparedSlice(FrameKey(str(k)), grid, 3.0 * k, True, image, slice_scale(image))
            for k, image in enumerate(images)]  # fmt: skip


def noise(rng: np.random.Generator, blur: float = 0.0) -> Image:
    image = np.abs(rng.normal(0, 100, (256, 256))).astype(np.float32)
    return cv2.GaussianBlur(image, (0, 0), blur) if blur else image


def disc(radius: int) -> npt.NDArray[np.bool_]:
    return np.asarray(np.hypot(I - 128, J - 128) < radius)


NOT_HEADS: dict[str, Callable[[np.random.Generator], npt.NDArray[np.generic]]] = {
    "nothing": lambda rng: np.zeros((256, 256)),
    "constant": lambda rng: np.full((256, 256), 100.0),
    "noise": noise,
    "smooth noise": lambda rng: noise(rng, 4.0),
    "blotches": lambda rng: cv2.GaussianBlur(rng.normal(0, 1, (256, 256)).astype(np.float32), (0, 0), 16) * 1e4 + 50,
    "cube": lambda rng: 1000.0 * ((abs(I - 128) < 60) & (abs(J - 128) < 60)),
    "noisy cube": lambda rng: noise(rng) / 5 + 1000.0 * ((abs(I - 128) < 60) & (abs(J - 128) < 60)),
    "bottle": lambda rng: noise(rng) / 5 + 1000.0 * disc(80),
    "lines": lambda rng: 500.0 * ((I // 8) % 2),
    "fine lines": lambda rng: 500.0 * ((I // 2) % 2),
    "one line": lambda rng: 500.0 * (abs(I - 128) < 4),
    "waves": lambda rng: 500.0 * (1 + np.sin(I / 12)),
    "chequers": lambda rng: 500.0 * ((I // 16 + J // 16) % 2),
    "ramp": lambda rng: I * 1.0,
    "grid phantom": lambda rng: 500.0 * (disc(90) & (I % 16 > 3) & (J % 16 > 3)),
    "marble": lambda rng: 500.0 * disc(15),
}


@pytest.mark.parametrize("what", NOT_HEADS)
def test_what_is_no_head_is_refused(what: str) -> None:
    rng = np.random.default_rng(0)
    stack = prepared([np.asarray(NOT_HEADS[what](rng), dtype=np.float32) for _ in range(NUM_SLICES)])
    with pytest.raises(SeriesRejection) as refusal:
        require_brain(stack)
    assert refusal.value.code is RejectionCode.NOT_BRAIN_LIKE


@pytest.mark.parametrize("weighting", list(Weighting))
def test_a_generated_head_passes(weighting: Weighting) -> None:
    voxels_kji = head_phantom(num_slices=NUM_SLICES).image(weighting).astype(np.float32)
    require_brain(prepared(list(voxels_kji)))


def test_a_few_odd_slices_do_not_refuse_a_head() -> None:
    images = list(head_phantom(num_slices=NUM_SLICES).image(Weighting.FLAIR).astype(np.float32))
    for k in (1, 2, 8, 9, 10, 14, 23):
        images[k] = noise(np.random.default_rng(k))
    require_brain(prepared(images))


def test_the_sentence_says_what_was_missing() -> None:
    with pytest.raises(SeriesRejection, match="uniform inside"):
        require_brain(prepared([(1000.0 * disc(80)).astype(np.float32)] * NUM_SLICES))
