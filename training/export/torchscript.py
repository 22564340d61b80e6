"""A network as TorchScript, for the classifier alone: PyTorch itself calls this format deprecated.

It is a second file of a bundle for programs that run PyTorch; the node never reads it.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from training.export.errors import ExportError
from training.export.folding import fold_batch_norm
from training.export.onnx_file import MAX_LOGIT_DIFFERENCE

TORCHSCRIPT_FILE = "model.torchscript.pt"


def export_torchscript(
    network: nn.Module,
    path: Path,
    inputs_NCHW: npt.NDArray[np.float32],
    logits_NL: npt.NDArray[np.float32],
    tolerance: float = MAX_LOGIT_DIFFERENCE,
) -> float:
    """Write a traced network, after comparing it with reference logits.

    Parameters
    ----------
    path : pathlib.Path
        Replaced only when the comparison passes.

    Returns
    -------
    float
        Largest absolute difference of a logit.

    Raises
    ------
    ExportError
        If it exceeds the tolerance.
    """
    temporary = path.with_suffix(".part")
    try:
        with warnings.catch_warnings():
            # PyTorch calls all of TorchScript deprecated.
            warnings.simplefilter("ignore", DeprecationWarning)
            with torch.inference_mode():
                traced = torch.jit.trace(fold_batch_norm(network), torch.from_numpy(inputs_NCHW[:1]))
            torch.jit.save(traced, temporary)
        difference = check_torchscript(temporary, inputs_NCHW, logits_NL, tolerance)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return difference


def check_torchscript(
    path: Path,
    inputs_NCHW: npt.NDArray[np.float32],
    logits_NL: npt.NDArray[np.float32],
    tolerance: float = MAX_LOGIT_DIFFERENCE,
) -> float:
    """Load a file and compare it with reference logits, in one batch; see `export_torchscript`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with torch.inference_mode():
            found = torch.jit.load(path, map_location="cpu")(torch.from_numpy(inputs_NCHW)).numpy()
    difference = float(np.abs(found - logits_NL).max())
    if not difference <= tolerance:
        raise ExportError(f"TorchScript: logits differ by {difference:.2e} > {tolerance:.0e}.")
    return difference
