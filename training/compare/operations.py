"""Multiply-accumulate operations of an ONNX file, counted from its graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


def count_gmac(path: Path) -> float:
    """Return the billions of multiply-accumulate operations for one input (batch 1) of an ONNX file.

    Convolutions, transposed convolutions and matrix products are counted, quantised ones too; what else there is
    takes a few per cent at most. Fixed input sizes are needed.
    """
    import onnx
    from onnx import shape_inference

    model = onnx.load(str(path))
    for tensor in (*model.graph.input, *model.graph.output):
        for dim in tensor.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.ClearField("dim_param")
                dim.dim_value = 1
    graph = shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for tensor in (*graph.input, *graph.value_info, *graph.output):
        shapes[tensor.name] = tuple(dim.dim_value for dim in tensor.type.tensor_type.shape.dim)
    return sum(_macs(node, shapes) for node in graph.node) / 1e9


_WEIGHT_INPUT = {"Conv": 1, "ConvTranspose": 1, "ConvInteger": 1, "QLinearConv": 3}


def _macs(node: Any, shapes: dict[str, tuple[int, ...]]) -> float:
    if node.op_type in _WEIGHT_INPUT:
        weight = shapes.get(node.input[_WEIGHT_INPUT[node.op_type]], ())
        # A product per weight of a filter for each value that comes out; for a transposed one, that goes in.
        around = shapes.get(node.input[0] if node.op_type == "ConvTranspose" else node.output[0], ())
        return float(np.prod(weight[1:])) * float(np.prod(around)) if weight and around else 0.0
    if node.op_type in ("MatMul", "Gemm"):
        first, output = shapes.get(node.input[0], ()), shapes.get(node.output[0], ())
        return float(np.prod(output)) * first[-1] if first and output else 0.0
    return 0.0
