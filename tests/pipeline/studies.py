"""Small studies of four sequences with a nested tumour, in any orientation, and engines that find it by intensity."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.geometry import SliceGeometry, StackGeometry
from neuroscan_core.domain.model_card import ModelCard
from neuroscan_core.domain.study import SEQUENCES, StudyVolume
from neuroscan_core.domain.volume import FrameKey
from tests.pipeline.stacks import AXIAL

CENTRE_MM = np.array((3.0, -4.0, 6.0))  # of the tumour, left, back and above of the head's centre
RADII_MM = {2: 9.0, 1: 6.0, 3: 3.5}  # oedema outside, then necrotic core, then the enhancing part
TISSUE = 100.0
# What each label adds to the tissue in T1, T1ce, T2, FLAIR.
CONTRAST = {2: (0, 0, 60, 120), 1: (0, -60, 60, 120), 3: (0, 140, 60, 120)}


def geometry(
    shape: tuple[int, int, int] = (24, 40, 32),
    spacing_mm: tuple[float, float, float] = (2.0, 1.0, 1.0),
    orientation: tuple[float, float, float, float, float, float] = AXIAL,
) -> StackGeometry:
    """Stack centred at the origin of the patient's frame; spacing between slices, rows, columns."""
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    normal = np.cross(row, column)
    half = [(n - 1) / 2 * mm for n, mm in zip(shape, spacing_mm, strict=True)]
    x, y, z = (float(c) for c in -(half[0] * normal + half[1] * column + half[2] * row))
    first = SliceGeometry((x, y, z), orientation, spacing_mm[1:], shape[1:], "1.2.3")
    return StackGeometry(first, spacing_mm[0], shape[0])


def positions_mm(stack: StackGeometry) -> npt.NDArray[np.float64]:
    """Patient positions of all voxels, shape (slices, rows, columns, 3)."""
    k, j, i = np.indices(stack.shape)
    return np.stack([i, j, k, np.ones_like(i)], axis=-1) @ stack.affine_lps[:3].T


def truth(stack: StackGeometry) -> npt.NDArray[np.uint8]:
    """Label map of three nested balls."""
    distance_mm = np.linalg.norm(positions_mm(stack) - CENTRE_MM, axis=-1)
    labels_kji = np.zeros(stack.shape, np.uint8)
    for value, radius_mm in RADII_MM.items():
        labels_kji[distance_mm < radius_mm] = value
    return labels_kji


def study(stack: StackGeometry | None = None, *, noise: float = 1.0) -> StudyVolume:
    """A head-like ball of tissue with the tumour in it."""
    stack = stack or geometry()
    labels_kji = truth(stack)
    is_head = np.linalg.norm(positions_mm(stack) / (15.0, 18.0, 22.0), axis=-1) < 1
    rng = np.random.default_rng(0)
    voxels = np.zeros((4, *stack.shape), np.float32)
    for c in range(4):
        voxels[c][is_head] = TISSUE
        for value in RADII_MM:
            voxels[c][labels_kji == value] = TISSUE + CONTRAST[value][c]
        voxels[c] += rng.normal(0.0, noise, stack.shape).astype(np.float32) * is_head
    keys = tuple(FrameKey(f"1.2.{k}") for k in range(stack.num_slices))
    return StudyVolume(stack, keys, SEQUENCES, voxels)


class ContrastEngine:
    """Finds the parts of the tumour by the differences of FLAIR and T1ce to T1, voxel by voxel."""

    def __init__(self, card: ModelCard) -> None:
        self.card = card
        self.name = "contrast"
        self.batches: list[int] = []

    def run(self, image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        assert image.dtype == np.float32 and image.flags.c_contiguous
        assert image.shape[1:] == self.card.input_shape
        self.batches.append(len(image))
        t1, t1ce, _, flair = (image[:, c] for c in range(4))
        # Channels are z-scores: tissue lies near 0, tumour several deviations off in FLAIR.
        is_tumour = flair - 1.5
        is_core = np.minimum(is_tumour, np.abs(t1ce) - 1.5)
        is_enhancing = np.minimum(is_tumour, t1ce - 1.5)
        if self.card.activation == "sigmoid":
            return np.stack([is_tumour, is_core, is_enhancing], axis=1) * np.float32(4)
        necrotic = np.minimum(is_core, -t1ce)
        oedema = np.minimum(is_tumour, 1.5 - np.abs(t1ce))
        return np.stack([np.zeros_like(t1), necrotic, oedema, is_enhancing], axis=1) * np.float32(8)

    def close(self) -> None:
        pass


def accept_any_study(_: StudyVolume) -> None:
    """In place of the check for a head."""


def dice(found: npt.NDArray[np.bool_], wanted: npt.NDArray[np.bool_]) -> float:
    return float(2 * (found & wanted).sum() / (found.sum() + wanted.sum()))
