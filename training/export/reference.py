"""Inputs on which engines are compared with the network: made of the phantom, of no patient.

Values lie on a coarse grid, so that the file compresses well and float16 holds them exactly.

Shape legend: N batch, C channels, D slices, H rows, W columns.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.model_card import ModelKind
from neuroscan_core.domain.study import SEQUENCES
from neuroscan_core.phantom import BRAIN, HeadPhantom, Weighting, head_phantom
from neuroscan_core.pipeline.normalise import normalise_volume
from neuroscan_core.pipeline.picture import picture_from_slice
from training.export.errors import ExportError
from training.export.phantom import reference_windows

Array = npt.NDArray[np.float32]
# Slices, pictures and patches of 64^3 stay far below 3 MB; a patch of 128^3 has eight times the values of the latter.
MAX_BYTES = 8 * 10**6
QUANTUM = np.float32(1 / 32)
# Above this many logits they are stored as float16 and rounded, so that a probability moves by 0.001 at most.
MAX_EXACT_LOGITS = 2**19
LOGIT_QUANTUM, COARSE_LOGIT_QUANTUM, COARSE_FROM = np.float32(1 / 128), np.float32(1 / 16), 4.0
# Above this many voxels, patches are made at half the resolution.
MAX_FINE_VOXELS = 2**20
HEAD_MM, HEAD_WIDTH_MM = 155.0, 240.0
NUM_THICK_SLICES = 24


def reference_inputs(kind: ModelKind, size: tuple[int, ...], spacing_mm: float = 1.0) -> Array:
    """Return inputs for a kind of network, [N, C, ...].

    Parameters
    ----------
    size : tuple of int
        Rows and columns; slices, rows and columns for ``volume3d``.
    spacing_mm : float
        Of the voxels of ``volume3d``.

    Raises
    ------
    ExportError
        The size is not one that the kind has.
    """
    if kind is ModelKind.SLICE25D:
        windows = reference_windows()
        _expect(windows.shape[2:] == tuple(size), kind, size)
        return windows
    if kind is ModelKind.MULTIMODAL2D:
        _expect(len(size) == 2 and size[0] == size[1], kind, size)
        return _multimodal_slices(size[0])
    if kind is ModelKind.VOLUME3D:
        _expect(len(size) == 3 and min(size) >= 8, kind, size)
        return _patch((size[0], size[1], size[2]), spacing_mm)
    _expect(len(size) == 2 and size[0] == size[1], kind, size)
    return _pictures(size[0])


def save_reference(path: Path, image_NC_any: Array, logits_NL_any: Array) -> None:
    """Write inputs with their logits, for `neuroscan_core.inference.bundle`.

    Raises
    ------
    ExportError
        The file would exceed `MAX_BYTES`.
    """
    image = image_NC_any.astype(np.float16)
    assert np.array_equal(image.astype(np.float32), image_NC_any), "the inputs are not rounded"
    logits = np.round(logits_NL_any, 4).astype(np.float32)
    if logits.size > MAX_EXACT_LOGITS:
        quantum = np.where(np.abs(logits) < COARSE_FROM, LOGIT_QUANTUM, COARSE_LOGIT_QUANTUM)
        logits = (np.round(logits_NL_any / quantum) * quantum).astype(np.float16)
    np.savez_compressed(path, image=image, logits=logits)
    if path.stat().st_size > MAX_BYTES:
        size = path.stat().st_size
        path.unlink()
        raise ExportError(
            f"The reference inputs take {size / 1e6:.1f} MB, more than {MAX_BYTES / 1e6:.0f} MB.",
            remedy="Train with a smaller patch.",
        )


def _multimodal_slices(size: int) -> Array:
    """Two slices of a skull-stripped head: through the tumour, and far from it."""
    head = head_phantom(num_slices=NUM_THICK_SLICES, size=size, spacing_mm=256.0 / size)
    volume_CDHW = _stripped(head)
    tumour_D = head.tumour_kji.sum(axis=(1, 2))
    brain_D = np.isin(head.tissue_kji, BRAIN).sum(axis=(1, 2)) * (tumour_D == 0)
    chosen = [int(tumour_D.argmax()), int(brain_D.argmax())]
    return _on_grid(volume_CDHW[:, chosen].swapaxes(0, 1))


def _patch(size: tuple[int, int, int], spacing_mm: float) -> Array:
    """One patch around the tumour of a skull-stripped head, without noise."""
    if np.prod(size) > MAX_FINE_VOXELS and not any(n % 2 for n in size):
        halves = _patch((size[0] // 2, size[1] // 2, size[2] // 2), 2 * spacing_mm)
        return np.ascontiguousarray(halves.repeat(2, axis=2).repeat(2, axis=3).repeat(2, axis=4))
    head = head_phantom(
        num_slices=max(2, round(HEAD_MM / spacing_mm)),
        size=int(np.ceil(HEAD_WIDTH_MM / spacing_mm)),
        spacing_mm=spacing_mm,
    )
    volume_CDHW = _stripped(head, noise=0.0)
    # Beyond the head there is air, which the normalisation made one value per channel.
    padding = [(0, 0), *((n, n) for n in size)]
    padded_CDHW = np.pad(volume_CDHW, padding, mode="edge")
    centre = (round(float(axis.mean())) for axis in np.nonzero(head.tumour_kji))
    starts = [c - n // 2 + n for c, n in zip(centre, size, strict=True)]
    d, h, w = (slice(start, start + n) for start, n in zip(starts, size, strict=True))
    return _on_grid(padded_CDHW[:, d, h, w][None])


def _pictures(size: int) -> Array:
    """Pictures of slices through the tumour and of one without, in several weightings."""
    head = head_phantom(num_slices=NUM_THICK_SLICES)
    tumour_D = head.tumour_kji.sum(axis=(1, 2))
    within, without = int(tumour_D.argmax()), int(np.flatnonzero(tumour_D == 0)[len(tumour_D) // 4])
    chosen = [(Weighting.T1CE, within), (Weighting.FLAIR, within), (Weighting.T2, without), (Weighting.T1CE, without)]
    return _on_grid(np.stack([picture_from_slice(head.image(weighting)[k], size) for weighting, k in chosen]))


def _stripped(head: HeadPhantom, noise: float = 0.01) -> Array:
    """All sequences of the brain alone, [C, D, H, W], normalised as the node does."""
    is_brain = np.isin(head.tissue_kji, BRAIN)
    images = [head.image(Weighting(name), noise=noise) * is_brain for name in SEQUENCES]
    return np.stack([normalise_volume(image) for image in images])


def _on_grid(values: Array) -> Array:
    return np.asarray(np.round(values / QUANTUM) * QUANTUM, dtype=np.float32)


def _expect(fits: bool, kind: ModelKind, size: tuple[int, ...]) -> None:
    if not fits:
        raise ExportError(f"There are no reference inputs of size {list(size)} for a {kind.value} network.")
