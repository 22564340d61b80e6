"""From a trained network to files that engines execute, each proven equal to the network.

`folding` and `group_norm` prepare the network, `onnx_file` and `torchscript` write it, `fp16` and `int8` make files of
fewer bits from the ONNX file, `trained` reads the checkpoint of a run, `reference` makes the inputs on which engines
are compared. Bundles and their cards are made in `training.bundle`.
"""

from __future__ import annotations

from training.export.errors import ExportError
from training.export.folding import fold_batch_norm
from training.export.onnx_file import INPUT_NAME, OPSET, OUTPUT_NAME, check_parity, export_onnx

__all__ = ["INPUT_NAME", "OPSET", "OUTPUT_NAME", "ExportError", "check_parity", "export_onnx", "fold_batch_norm"]
