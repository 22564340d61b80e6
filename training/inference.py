"""Running a network over a cached case: the node's windows, in batches.

A predictor maps normalised windows [N, 3, H, W] to logits [N, 1, H, W]; there
is one for a PyTorch module and one for an ONNX file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from neuroscan_core.pipeline.normalise import normalise_window, slice_scale
from training.data.cache import CachedCase, SliceCache
from training.data.sampling import window_at

Predictor = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]


def torch_predictor(network: nn.Module, use_bf16: bool = False) -> Predictor:
    """Wrap a module; it is put into evaluation mode for each call."""

    @torch.inference_mode()
    def predict(windows_NCHW: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        network.eval()
        batch = torch.from_numpy(windows_NCHW).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=use_bf16):
            logits = network(batch)
        return np.asarray(logits.float().numpy())

    return predict


def onnx_predictor(path: Path, num_threads: int = 2) -> Predictor:
    """Wrap an ONNX file with one input and one output (ONNX Runtime, CPU)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def predict(windows_NCHW: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return np.asarray(session.run(None, {name: windows_NCHW})[0])

    return predict


def slice_scales(cache: SliceCache, case: CachedCase) -> list[float]:
    """Return the tissue scale of each slice of a case."""
    return [slice_scale(cache.images_SHW[index]) for index in range(case.start, case.stop)]


def normalised_window(
    cache: SliceCache, case: CachedCase, offset: int, scales: Sequence[float]
) -> npt.NDArray[np.float32]:
    """Return the network's input for one slice of a case."""
    window = window_at(case, offset)
    indices = (window.below, window.centre, window.above)
    return normalise_window(
        [cache.images_SHW[index] for index in indices],
        [scales[index - case.start] for index in indices],
    )


def predict_case(
    predict: Predictor, cache: SliceCache, case: CachedCase, batch_size: int = 16
) -> npt.NDArray[np.float32]:
    """Return tumour probabilities of a case, [S, H, W] float32."""
    scales = slice_scales(cache, case)
    probabilities = np.empty((case.num_slices, *cache.images_SHW.shape[1:]), dtype=np.float32)
    for start in range(0, case.num_slices, batch_size):
        offsets = range(start, min(start + batch_size, case.num_slices))
        windows = np.stack([normalised_window(cache, case, o, scales) for o in offsets])
        logits = predict(windows)[:, 0]
        probabilities[offsets.start : offsets.stop] = 1.0 / (1.0 + np.exp(-logits))
    return probabilities
