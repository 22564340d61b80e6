"""An ONNX file in FP16 for TensorRT 10.12 and later, which takes the types from the graph (strongly typed).

Inputs and outputs stay FP32. Normalisation and means over a whole image stay FP32, too: they sum over 10^4 to 10^6
values, more than the 11 bits of FP16 hold. The conversion is ONNX Runtime's, which needs no GPU. (NVIDIA's AutoCast
does the same with more choice, but its package binds the versions of ONNX and CuPy.)
"""

from __future__ import annotations

import warnings
from collections.abc import Collection
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from neuroscan_core.domain.model_card import ModelCard
from neuroscan_core.inference.gate import MAX_DICE_DIFFERENCE, Agreement, compare
from training.export.errors import ExportError
from training.inference import onnx_predictor

LARGEST_FP16 = 65504.0
SUMS = (
    "GlobalAveragePool",
    "GroupNormalization",
    "InstanceNormalization",
    "LayerNormalization",
    "ReduceMean",
    "ReduceSum",
    "ReduceSumSquare",
)
# A fraction of the probability range; FP16 rounds to 1/2048 of a logit and errors add up over some dozens of layers.
MAX_PROBABILITY_DIFFERENCE = 2e-2


def convert_fp16(source: Path, target: Path, keep_fp32: Collection[str] = ()) -> None:
    """Write an ONNX file in FP16.

    Parameters
    ----------
    source : pathlib.Path
        FP32, with its weights inside.
    target : pathlib.Path
        Replaced only when the result is a valid ONNX file.
    keep_fp32 : collection of str
        Names of nodes that stay FP32, e.g. `grouped_convolutions` for TensorRT 11.2.

    Raises
    ------
    ExportError
        A weight is beyond the range of FP16, a node to keep is not in the file, or it cannot be converted.
    """
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

    model = onnx.load(source)
    unknown = sorted(set(keep_fp32) - {node.name for node in model.graph.node})
    if unknown:
        raise ExportError(f"{source} has no nodes {', '.join(unknown[:3])}.", remedy="Name nodes of this file.")
    _check_range(model, source)
    kept = [*keep_fp32, *_squares(model.graph)]
    with warnings.catch_warnings():
        # It warns of each weight that rounds to the smallest FP16.
        warnings.simplefilter("ignore")
        converted = convert_float_to_float16(
            model, keep_io_types=True, op_block_list=[*DEFAULT_OP_BLOCK_LIST, *SUMS], node_block_list=kept
        )
    # Types of values between nodes are noted wrongly at casts around nodes that stay FP32; they follow from the graph.
    del converted.graph.value_info[:]
    _drop_idle_casts(converted.graph)
    _sort(converted.graph)
    _check(converted, target)
    temporary = target.with_suffix(".part.onnx")
    onnx.save(converted, temporary)
    temporary.replace(target)


def grouped_convolutions(path: Path) -> tuple[str, ...]:
    """Return the names of convolutions in groups; TensorRT 11.2 lacks FP16 kernels for some of them."""
    graph = onnx.load(path, load_external_data=False).graph
    return tuple(
        node.name
        for node in graph.node
        if node.op_type == "Conv" and any(a.name == "group" and a.i > 1 for a in node.attribute)
    )


def check_fp16(source: Path, fp16: Path, inputs_NC_any: npt.NDArray[np.float32], card: ModelCard) -> Agreement:
    """Compare an FP16 file with its source on ONNX Runtime.

    Returns
    -------
    Agreement
        Largest difference of a probability, and of Dice, over the inputs.

    Raises
    ------
    ExportError
        Dice differs by 0.003 or more, or a probability by more than `MAX_PROBABILITY_DIFFERENCE`.
    """
    found, wanted = (onnx_predictor(path) for path in (fp16, source))
    agreement = compare(
        card, *(np.concatenate([predict(item[None]) for item in inputs_NC_any]) for predict in (found, wanted))
    )
    if not (agreement.dice < MAX_DICE_DIFFERENCE and agreement.probability <= MAX_PROBABILITY_DIFFERENCE):
        raise ExportError(
            f"FP16 differs from FP32: {agreement}; Dice may by {MAX_DICE_DIFFERENCE:g}.",
            remedy="Keep more nodes in FP32, or build in FP32.",
        )
    return agreement


def _squares(graph: onnx.GraphProto) -> list[str]:
    """Nodes that square values, as group norm does: beyond 255 that leaves the range of FP16."""
    return [node.name for node in graph.node if node.op_type == "Mul" and node.input[0] == node.input[1]]


def _drop_idle_casts(graph: onnx.GraphProto) -> None:
    """Take out casts of constants to the type that they have: TensorRT wants the scales of a resize as constants."""
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    constants: dict[str, str] = {}
    for node in [node for node in graph.node if node.op_type == "Cast"]:
        if types.get(node.input[0]) == node.attribute[0].i:
            constants[node.output[0]] = node.input[0]
            graph.node.remove(node)
    for node in graph.node:
        node.input[:] = [constants.get(name, name) for name in node.input]


def _sort(graph: onnx.GraphProto) -> None:
    """Put every node behind those that it needs; the converter appends its casts at the end."""
    makers = {name: node for node in graph.node for name in node.output}
    done: set[str] = set()
    ordered: list[onnx.NodeProto] = []
    waiting = list(reversed(graph.node))
    while waiting:
        node = waiting[-1]
        needed = [makers[name] for name in node.input if name in makers and name not in done]
        if needed:
            waiting += needed
            continue
        waiting.pop()
        if not done.issuperset(node.output):
            ordered.append(node)
            done.update(node.output)
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in ordered]
    del graph.node[:]
    graph.node.extend(copies)


def _check_range(model: onnx.ModelProto, source: Path) -> None:
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            largest = float(np.abs(onnx.numpy_helper.to_array(tensor)).max(initial=0.0))
            if not largest <= LARGEST_FP16:
                raise ExportError(f"{tensor.name} of {source} holds {largest:.3g}, beyond the range of FP16.")


def _check(model: onnx.ModelProto, target: Path) -> None:
    ends = (*model.graph.input, *model.graph.output)
    if any(end.type.tensor_type.elem_type != onnx.TensorProto.FLOAT for end in ends):
        raise ExportError(f"Inputs and outputs of {target} are not FP32.")
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as exc:
        raise ExportError(f"The FP16 form is no valid ONNX file: {exc}.") from exc
