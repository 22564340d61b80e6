"""An ONNX file in INT8: quantise and dequantise nodes around each operator (QDQ), ranges learned from training slices.

Weights are symmetric, per output channel. For ONNX Runtime activations are unsigned with an offset, which its kernels
for AVX512-VNNI want; TensorRT takes symmetric ones only. Whether the loss of Dice can be borne is judged in
`training.bundle.variants`, on validation patients.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from training.export.errors import ExportError
from training.export.onnx_file import INPUT_NAME, forget_origin

Engine = Literal["onnxruntime", "tensorrt"]
METHODS = ("minmax", "percentile", "entropy")
# Histograms of all activations of so many inputs are held in memory at once.
INPUTS_AT_ONCE = 8


@dataclass(frozen=True)
class Int8Settings:
    """How a network is quantised.

    Parameters
    ----------
    engine : str
        What it is made for: ``onnxruntime`` or ``tensorrt``.
    method : str
        How a range follows from the values seen; one of `METHODS`.
    exclude : tuple of str
        Nodes that stay FP32.
    """

    engine: Engine = "onnxruntime"
    method: str = "minmax"
    exclude: tuple[str, ...] = ()

    def options(self) -> Mapping[str, Any]:
        """Further options of ONNX Runtime's quantiser."""
        extra: dict[str, Any] = {"CalibMaxIntermediateOutputs": INPUTS_AT_ONCE}
        if self.method == "percentile":
            extra["CalibPercentile"] = 99.99
        if self.engine == "tensorrt":
            extra |= {"ActivationSymmetric": True, "AddQDQPairToWeight": True, "QuantizeBias": False}
        return extra


def quantise(
    source: Path, target: Path, inputs_NC_any: npt.NDArray[np.float32], settings: Int8Settings | None = None
) -> None:
    """Write an ONNX file in INT8.

    Parameters
    ----------
    source : pathlib.Path
        FP32, with its weights inside.
    target : pathlib.Path
        Replaced when all is done.
    inputs_NC_any : numpy.ndarray
        From `calibration_inputs`.

    Raises
    ------
    ExportError
        There are no inputs, the method is unknown, or ONNX Runtime cannot quantise the file.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    settings = settings or Int8Settings()
    methods = {
        "minmax": CalibrationMethod.MinMax,
        "percentile": CalibrationMethod.Percentile,
        "entropy": CalibrationMethod.Entropy,
    }
    if settings.method not in methods or not len(inputs_NC_any):
        raise ExportError(
            f"{len(inputs_NC_any)} inputs and the method {settings.method!r} give no ranges.",
            remedy=f"Give inputs, and one of {', '.join(METHODS)}.",
        )
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".int8-") as folder:
        prepared, quantised = Path(folder) / "prepared.onnx", Path(folder) / "quantised.onnx"
        logging.getLogger("onnxruntime.quantization").setLevel(logging.ERROR)
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(quantised),
            _reader(inputs_NC_any),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8 if settings.engine == "tensorrt" else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=methods[settings.method],
            nodes_to_exclude=list(settings.exclude),
            extra_options=dict(settings.options()),
        )
        forget_origin(quantised)
        quantised.replace(target)


def _reader(inputs_NC_any: npt.NDArray[np.float32]) -> Any:  # a subclass of a class that is imported late
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        """Hands out one input after the other."""

        def __init__(self) -> None:
            self._items = iter(inputs_NC_any)

        def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
            item = next(self._items, None)
            return None if item is None else {INPUT_NAME: item[None]}

    return Reader()
