"""From a trained network to one ONNX file that is proven equal to it.

The file carries its weights, batch norm is folded into the convolutions, and
opset and parity with ONNX Runtime are checked before the file is kept.
"""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from training.inference import onnx_predictor, torch_predictor

OPSET = 20
INPUT_NAME, OUTPUT_NAME = "image", "logits"
MAX_LOGIT_DIFFERENCE = 1e-4
MAX_FILE_BYTES = 12 * 2**20


class ExportError(RuntimeError):
    """The exported file is not what was asked for; nothing was written."""


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode without batch norm.

    Each `BatchNorm2d` that follows a `Conv2d` in a `Sequential` is folded
    into it.
    """
    folded = copy.deepcopy(network).eval()
    for module in folded.modules():
        if not isinstance(module, nn.Sequential):
            continue
        for index in range(len(module) - 1):
            conv, norm = module[index], module[index + 1]
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                module[index] = fuse_conv_bn_eval(conv, norm)
                module[index + 1] = nn.Identity()
    return folded


def export_onnx(network: nn.Module, path: Path, check_windows_NCHW: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Write a network as ONNX, after checking it.

    Parameters
    ----------
    network : torch.nn.Module
        [N, 3, H, W] to [N, 1, H, W].
    path : pathlib.Path
        Replaced only when all checks pass.
    check_windows_NCHW : numpy.ndarray
        Inputs on which PyTorch and ONNX Runtime must agree.

    Returns
    -------
    numpy.ndarray
        The network's logits for `check_windows_NCHW` (PyTorch, float32).

    Raises
    ------
    ExportError
        If opset, names, size or logits are not as required.
    """
    temporary = path.with_suffix(".part.onnx")
    try:
        _write(fold_batch_norm(network), temporary, check_windows_NCHW)
        _forget_origin(temporary)
        _check_file(temporary)
        reference = torch_predictor(network)(check_windows_NCHW)
        check_parity(temporary, check_windows_NCHW, reference)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return reference


def _write(network: nn.Module, path: Path, windows_NCHW: npt.NDArray[np.float32]) -> None:
    # Two windows: an example of one would fix the batch dimension.
    example = torch.from_numpy(np.repeat(windows_NCHW[:1], 2, axis=0))
    torch.onnx.export(
        network,
        (example,),
        path,
        input_names=[INPUT_NAME],
        output_names=[OUTPUT_NAME],
        opset_version=OPSET,
        dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=64)},),
        dynamo=True,
        external_data=False,
        verbose=False,
    )


def _forget_origin(path: Path) -> None:
    """Drop what the exporter notes of the source code: stack traces with the paths of the machine."""
    model = onnx.load(path)
    for part in (
        model,
        model.graph,
        *model.graph.node,
        *model.graph.value_info,
        *model.graph.input,
        *model.graph.output,
    ):
        del part.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""
    onnx.save(model, path)


def _check_file(path: Path) -> None:
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    if opsets.get("") != OPSET:
        raise ExportError(f"opset {opsets.get('')} instead of {OPSET}")
    names = [model.graph.input[0].name, model.graph.output[0].name]
    if names != [INPUT_NAME, OUTPUT_NAME]:
        raise ExportError(f"input and output are called {names}")
    if any(t.data_location == onnx.TensorProto.EXTERNAL for t in model.graph.initializer):
        raise ExportError("weights lie outside the file")
    if any(node.op_type == "BatchNormalization" for node in model.graph.node):
        raise ExportError("batch norm was not folded")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ExportError(f"{path.stat().st_size} bytes, more than {MAX_FILE_BYTES}")


def check_parity(
    path: Path,
    windows_NCHW: npt.NDArray[np.float32],
    reference_NCHW: npt.NDArray[np.float32],
    tolerance: float = MAX_LOGIT_DIFFERENCE,
) -> float:
    """Compare ONNX Runtime with reference logits.

    Returns
    -------
    float
        Largest absolute difference.

    Raises
    ------
    ExportError
        If it exceeds the tolerance, or a batch of one is refused.
    """
    predict = onnx_predictor(path)
    logits = np.concatenate([predict(window[None]) for window in windows_NCHW])
    difference = float(np.abs(logits - reference_NCHW).max())
    batched = float(np.abs(predict(windows_NCHW) - reference_NCHW).max())
    if not max(difference, batched) <= tolerance:
        raise ExportError(f"logits differ by {max(difference, batched):.2e} > {tolerance:.0e}")
    return max(difference, batched)
