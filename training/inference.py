"""Running a network over cached cases and pictures: what the node does, in batches.

A predictor maps normalised input to logits; there is one for a PyTorch module
and one for an ONNX file. The functions here turn logits into probabilities of
a whole case. Thresholds, label maps and metrics are not here.

Shape legend: N batch, C channels, S slices (D after resampling), H rows, W columns, L outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from neuroscan_core.domain.model_card import ModelCard, ModelKind
from neuroscan_core.pipeline.normalise import normalise_window, slice_scale
from neuroscan_core.pipeline.picture import picture_from_slice
from neuroscan_core.pipeline.sliding import slide
from neuroscan_core.pipeline.volume3d import at_spacing, head_box, resized
from training.data.sampling import window_at
from training.regions import REGIONS

if TYPE_CHECKING:
    from training.data.cache import ArrayCache, CachedCase

FloatArray = npt.NDArray[np.float32]
Predictor = Callable[[FloatArray], FloatArray]
# Identity, horizontal flip, vertical flip: axes of [..., H, W].
FLIPS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,))


@dataclass(frozen=True)
class CaseOptions:
    """How a volume is fed to a `volume3d` network.

    Parameters
    ----------
    spacing_mm : float
        Isotropic spacing that the network expects.
    patch_size : tuple of 3 int
        Planes, rows and columns of the sliding window.
    overlap : float
        Share of a patch that its neighbour covers too.
    """

    spacing_mm: float = 1.0
    patch_size: tuple[int, int, int] = (128, 128, 128)
    overlap: float = 0.5

    @classmethod
    def from_card(cls, card: ModelCard) -> CaseOptions:
        """Read spacing and patch from the card of a `volume3d` bundle."""
        planes, rows, columns = card.size
        return cls(card.spacing_mm, (planes, rows, columns))


def torch_predictor(network: nn.Module, use_bf16: bool = False, device: str | torch.device = "cpu") -> Predictor:
    """Wrap a module that is on `device`; it is put into evaluation mode for each call."""
    device_type = torch.device(device).type

    @torch.inference_mode()
    def predict(batch: FloatArray) -> FloatArray:
        network.eval()
        tensor = torch.from_numpy(np.ascontiguousarray(batch)).to(device)
        if tensor.ndim == 4:
            tensor = tensor.contiguous(memory_format=torch.channels_last)
        with torch.autocast(device_type, torch.bfloat16, enabled=use_bf16):
            logits = network(tensor)
        return np.asarray(logits.float().cpu().numpy())

    return predict


def onnx_predictor(path: Path, num_threads: int = 2, providers: Sequence[str] = ("CPUExecutionProvider",)) -> Predictor:
    """Wrap an ONNX file with one input and one output.

    Parameters
    ----------
    num_threads : int
        Threads within an operator.
    providers : sequence of str
        Execution providers of ONNX Runtime, the preferred first.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    session = onnxruntime.InferenceSession(str(path), options, providers=list(providers))
    name = session.get_inputs()[0].name

    def predict(batch: FloatArray) -> FloatArray:
        return np.asarray(session.run(None, {name: np.ascontiguousarray(batch)})[0])

    return predict


def predict_case(
    predict: Predictor,
    cache: ArrayCache,
    case: CachedCase,
    kind: ModelKind | str = ModelKind.SLICE25D,
    *,
    options: CaseOptions | ModelCard | None = None,
    tta: bool = False,
    batch_size: int = 16,
) -> FloatArray:
    """Return the probabilities of a whole case.

    Parameters
    ----------
    predict : callable
        Normalised input to logits.
    cache : ArrayCache
        View "flair" for slice25d, "multimodal" for multimodal2d and volume3d.
    options : CaseOptions or ModelCard, optional
        Spacing and patch; needed for volume3d only.
    tta : bool
        Mean over identity, horizontal and vertical flip.
    batch_size : int
        Slices per call; volume3d takes one patch per call.

    Returns
    -------
    numpy.ndarray
        float32 [L, S, H, W] at the cache's resolution; L = 1 tumour (slice25d), 4 classes with
        background (multimodal2d), 3 regions WT, TC, ET (volume3d).

    Raises
    ------
    ValueError
        If the kind has no cases.
    """
    kind = ModelKind(kind)
    flips = FLIPS if tta else FLIPS[:1]
    if kind is ModelKind.SLICE25D:
        return _predict_slices(predict, _Windows(cache, case), sigmoid, flips, batch_size)
    if kind is ModelKind.MULTIMODAL2D:
        return _predict_slices(predict, _MultimodalSlices(cache, case), softmax, flips, batch_size)
    if kind is ModelKind.VOLUME3D:
        if isinstance(options, ModelCard):
            options = CaseOptions.from_card(options)
        return _predict_volume(predict, cache, case, options or CaseOptions(), flips)
    raise ValueError(f"the kind {kind.value} has pictures, not cases: use predict_pictures")


def predict_pictures(
    predict: Predictor,
    cache: ArrayCache,
    indices: Sequence[int],
    size: int,
    *,
    tta: bool = False,
    batch_size: int = 32,
) -> FloatArray:
    """Return class probabilities [N, 4] of pictures of the view "pictures".

    Parameters
    ----------
    indices : sequence of int
        Positions in the cache.
    size : int
        Rows and columns that the network takes.
    """
    flips = FLIPS if tta else FLIPS[:1]
    rows = []
    for start in range(0, len(indices), batch_size):
        chosen = indices[start : start + batch_size]
        batch = np.stack([picture_from_slice(cache.images_SCHW[index, 0], size) for index in chosen])
        rows.append(np.mean([softmax(predict(_flipped(batch, axes))) for axes in flips], axis=0))
    return np.concatenate(rows).astype(np.float32) if rows else np.zeros((0, 4), np.float32)


def sigmoid(logits: FloatArray) -> FloatArray:
    """Return 1 / (1 + exp(-x)) without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits)), dtype=np.float32)


def softmax(logits_NL: FloatArray) -> FloatArray:
    """Return the softmax over axis 1."""
    powers = np.exp(logits_NL - logits_NL.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)


class _Windows:
    """The 2.5D windows of a case, normalised as the node does."""

    def __init__(self, cache: ArrayCache, case: CachedCase) -> None:
        self._case = case
        self._images_SHW = _stored(cache, case)[:, 0]
        self._scales = [slice_scale(image) for image in self._images_SHW]
        self.shape = self._images_SHW.shape

    def __getitem__(self, offset: int) -> FloatArray:
        window = window_at(self._case, offset)
        offsets = [index - self._case.start for index in (window.below, window.centre, window.above)]
        return normalise_window([self._images_SHW[o] for o in offsets], [self._scales[o] for o in offsets])


class _MultimodalSlices:
    """The slices of a case, each channel normalised over its whole volume."""

    def __init__(self, cache: ArrayCache, case: CachedCase) -> None:
        self._volume_SCHW = cache.normalised(case)
        self.shape = (case.num_slices, *self._volume_SCHW.shape[2:])

    def __getitem__(self, offset: int) -> FloatArray:
        return self._volume_SCHW[offset]


def _stored(cache: ArrayCache, case: CachedCase) -> npt.NDArray[np.generic]:
    return np.asarray(cache.images_SCHW[case.start : case.stop])


def _flipped(batch: FloatArray, axes: tuple[int, ...]) -> FloatArray:
    return np.flip(batch, axes) if axes else batch


def _predict_slices(
    predict: Predictor,
    slices: _Windows | _MultimodalSlices,
    activation: Callable[[FloatArray], FloatArray],
    flips: Sequence[tuple[int, ...]],
    batch_size: int,
) -> FloatArray:
    num_slices = slices.shape[0]
    parts = []
    for start in range(0, num_slices, batch_size):
        batch = np.stack([slices[o] for o in range(start, min(start + batch_size, num_slices))])
        views = [_flipped(activation(predict(_flipped(batch, axes))), axes) for axes in flips]
        parts.append(np.mean(views, axis=0, dtype=np.float32))
    return np.ascontiguousarray(np.concatenate(parts).transpose(1, 0, 2, 3))


def _predict_volume(
    predict: Predictor, cache: ArrayCache, case: CachedCase, options: CaseOptions, flips: Sequence[tuple[int, ...]]
) -> FloatArray:
    """Cut out the head, resample, slide, come back: as the node does; there is no tumour outside the head."""
    stored_SCHW = _stored(cache, case)
    channels = [stored_SCHW[:, channel].astype(np.float32) for channel in range(stored_SCHW.shape[1])]
    probabilities_LSHW = np.zeros((len(REGIONS), *channels[0].shape), dtype=np.float32)
    # Sources that do not state their spacing are taken for 1 mm.
    depth_mm, row_mm, column_mm = (float(mm) or 1.0 for mm in case.spacing_mm)
    spacing_mm = (depth_mm, row_mm, column_mm)
    box = head_box(channels, spacing_mm, options.spacing_mm)
    if box is None:
        return probabilities_LSHW
    volume_CDHW = at_spacing(channels, box, spacing_mm, options.spacing_mm)
    views = []
    for axes in flips:
        flipped = np.ascontiguousarray(_flipped(volume_CDHW, axes))
        logits = slide(flipped, predict, options.patch_size, len(REGIONS), overlap=options.overlap)
        views.append(_flipped(sigmoid(logits), axes))
    mean_LDHW = np.asarray(np.mean(views, axis=0, dtype=np.float32))
    inside_LSHW = probabilities_LSHW[(slice(None), *box)]
    inside_LSHW[:] = [resized(np.ascontiguousarray(p), inside_LSHW.shape[1:]) for p in mean_LDHW]
    return probabilities_LSHW
