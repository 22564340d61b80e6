"""A network as one ONNX file that is proven equal to it.

The file carries its weights, batch norm is folded into the convolutions, and opset, names and parity with ONNX Runtime
are checked before the file is kept. Opset 20 is for TensorRT 10 and later and for ONNX Runtime; opset 13, written by
PyTorch's older exporter, is for TensorRT 8.2.

Array suffix `_any`: axes of the kind of network after N and C (none, H W or D H W).
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import nn

from training.export.errors import ExportError
from training.export.folding import fold_batch_norm
from training.export.group_norm import spell_group_norm
from training.inference import onnx_predictor, torch_predictor

OPSET, OPSET_TENSORRT_8 = 20, 13
OPSETS = (OPSET_TENSORRT_8, OPSET)
# PyTorch's exporter through dynamo raises lower opsets silently to this.
LOWEST_OF_DYNAMO = 18
INPUT_NAME, OUTPUT_NAME = "image", "logits"
MAX_LOGIT_DIFFERENCE = 1e-4
MAX_BATCH = 64
# What the file may hold beside four bytes for each weight: the graph, and constants of resizing.
MAX_OVERHEAD_BYTES = 2**20
# A batch of two volumes would only repeat what one shows, slowly.
MAX_VALUES_OF_BATCH_CHECK = 2**22

Array = npt.NDArray[np.float32]


def export_onnx(network: nn.Module, path: Path, check_NC_any: Array, opset: int = OPSET) -> Array:
    """Write a network as ONNX, after checking it.

    Parameters
    ----------
    network : torch.nn.Module
        One float32 input, one output; the batch is free, the other axes are those of `check_NC_any`.
    path : pathlib.Path
        Replaced only when all checks pass.
    check_NC_any : numpy.ndarray
        Inputs on which PyTorch and ONNX Runtime must agree.
    opset : int
        One of `OPSETS`.

    Returns
    -------
    numpy.ndarray
        The network's logits for `check_NC_any` (PyTorch, float32).

    Raises
    ------
    ExportError
        If opset, names, size or logits are not as required.
    """
    if opset not in OPSETS:
        raise ExportError(f"Opset {opset} is not offered.", remedy=f"Choose one of {OPSETS}.")
    temporary = path.with_suffix(".part.onnx")
    try:
        _write(spell_group_norm(fold_batch_norm(network)), temporary, check_NC_any, opset)
        forget_origin(temporary)
        num_weights = sum(p.numel() for p in network.parameters())
        check_file(temporary, opset, max_bytes=int(4.05 * num_weights) + MAX_OVERHEAD_BYTES)
        reference = _logits(network, check_NC_any)
        check_parity(temporary, check_NC_any, reference)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return reference


def _write(network: nn.Module, path: Path, check_NC_any: Array, opset: int) -> None:
    # Two inputs: an example of one would fix the batch dimension.
    example = torch.from_numpy(np.repeat(check_NC_any[:1], 2, axis=0))
    with warnings.catch_warnings(), _without_chatter():
        # The exporters warn about their own insides and, the older one, that it is the older one.
        warnings.simplefilter("ignore")
        if opset < LOWEST_OF_DYNAMO:
            _write_traced(network, path, example, opset)
            return
        torch.onnx.export(
            network,
            (example,),
            path,
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            opset_version=opset,
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=MAX_BATCH)},),
            dynamo=True,
            external_data=False,
            verbose=False,
        )


@contextmanager
def _without_chatter() -> Iterator[None]:
    """Keep the exporter from saying that torchvision, which nothing here needs, is not installed."""
    chatter = logging.getLogger("torch.onnx")
    level = chatter.level
    chatter.setLevel(logging.ERROR)
    try:
        yield
    finally:
        chatter.setLevel(level)


def _write_traced(network: nn.Module, path: Path, example: torch.Tensor, opset: int) -> None:
    torch.onnx.export(
        network,
        (example,),
        path,
        input_names=[INPUT_NAME],
        output_names=[OUTPUT_NAME],
        opset_version=opset,
        dynamic_axes={INPUT_NAME: {0: "batch"}, OUTPUT_NAME: {0: "batch"}},
        dynamo=False,
    )


def forget_origin(path: Path) -> None:
    """Drop what the exporter notes of the source code: stack traces with the paths of the machine."""
    model = onnx.load(path)
    parts = (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output)
    for part in (*parts, *model.graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    onnx.save(model, path)


def check_file(path: Path, opset: int = OPSET, max_bytes: int | None = None) -> None:
    """Check what is in an ONNX file, without executing it.

    Raises
    ------
    ExportError
        It is no valid ONNX file, has another opset or other names, lacks its weights, keeps batch norm or traces of
        the machine that made it, has a fixed batch, or is too large.
    """
    try:
        model = onnx.load(path, load_external_data=False)
        problem = _problem(model, opset) or _hidden_problem(path, max_bytes)
        if not problem:
            onnx.checker.check_model(model, full_check=True)
    except OSError as exc:
        raise ExportError(f"Cannot read {path}: {exc.strerror}.") from exc
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError, TypeError) as exc:
        raise ExportError(f"{path} is no valid ONNX file: {exc}.") from exc
    except Exception as exc:
        # protobuf's DecodeError has no stable place to import it from.
        if type(exc).__name__ != "DecodeError":
            raise
        raise ExportError(f"{path} is no ONNX file.") from exc
    if problem:
        raise ExportError(f"{path} {problem}.", remedy="Report the version of PyTorch; the file was not kept.")


def _problem(model: onnx.ModelProto, opset: int) -> str:
    """What is wrong with the graph; empty where nothing is."""
    found = {entry.domain: entry.version for entry in model.opset_import}.get("")
    if found != opset:
        return f"has opset {found} instead of {opset}"
    graph = model.graph
    names = [[value.name for value in values] for values in (graph.input, graph.output)]
    if names != [[INPUT_NAME], [OUTPUT_NAME]]:
        return f"calls its inputs and outputs {names}"
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in graph.initializer):
        return "keeps its weights in another file"
    if any(node.op_type == "BatchNormalization" for node in graph.node):
        return "still has batch norm"
    if not graph.input[0].type.tensor_type.shape.dim[0].dim_param:
        return "has a fixed batch"
    return ""


def _hidden_problem(path: Path, max_bytes: int | None) -> str:
    content = path.read_bytes()
    if max_bytes is not None and len(content) > max_bytes:
        return f"has {len(content)} bytes, more than {max_bytes}"
    traces = (b'File "', b"site-packages", str(Path.home()).encode() + b"/", str(Path(__file__).parent.parent).encode())
    return next((f"holds {trace!r}, a trace of this machine" for trace in traces if trace in content), "")


def _logits(network: nn.Module, inputs_NC_any: Array) -> Array:
    predict = torch_predictor(network)
    return np.concatenate([predict(item[None]) for item in inputs_NC_any])


def check_parity(
    path: Path, inputs_NC_any: Array, reference_NL_any: Array, tolerance: float = MAX_LOGIT_DIFFERENCE
) -> float:
    """Compare ONNX Runtime with reference logits, one by one and in a batch.

    Returns
    -------
    float
        Largest absolute difference.

    Raises
    ------
    ExportError
        If it exceeds the tolerance.
    """
    predict = onnx_predictor(path)
    difference = float(np.abs(np.concatenate([predict(item[None]) for item in inputs_NC_any]) - reference_NL_any).max())
    if inputs_NC_any[0].size <= MAX_VALUES_OF_BATCH_CHECK:
        doubled, wanted = (np.concatenate([array, array]) for array in (inputs_NC_any, reference_NL_any))
        batched = float(np.abs(predict(doubled) - wanted).max())
        # Not max(): a difference that is no number must not be lost.
        difference = difference if difference >= batched else batched
    if not difference <= tolerance:
        raise ExportError(
            f"PyTorch and ONNX Runtime: logits differ by {difference:.2e} > {tolerance:.0e}.",
            remedy="Do not use this network: train it further, or report the version of PyTorch.",
        )
    return difference
