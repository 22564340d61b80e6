"""Which ONNX file of a bundle is built, and in which precision."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from neuroscan_core.domain.errors import EngineUnavailable
from neuroscan_core.inference.bundle import Bundle
from neuroscan_core.inference.tensorrt.generation import Generation, Precision
from neuroscan_core.inference.variants import variant_path

ENGINE = "tensorrt"


@dataclass(frozen=True)
class NetworkFile:
    """An ONNX file to build.

    Parameters
    ----------
    path : Path
    sha256 : str
        What the card says of it.
    precision : str
        Of the engine.
    """

    path: Path
    sha256: str
    precision: Precision


def networks_to_try(
    bundle: Bundle, precision: Literal["auto", "fp32", "fp16", "int8"], generation: Generation
) -> tuple[NetworkFile, ...]:
    """Files in the order in which they are built; the next one is for where there is no kernel for the one before.

    With ``auto`` that is FP16, then FP32. A bundle may hold several FP16 files: as a whole, and with some nodes left
    in FP32 for versions that lack a kernel for them.

    Raises
    ------
    EngineUnavailable
        The bundle has no file for this precision and version.
    """
    opset = bundle.card.raw["onnx"].get("opset", 0)
    if not generation.takes_opset(opset):
        raise EngineUnavailable(
            f"TensorRT {generation.major}.{generation.minor} does not read opset {opset} of {bundle.card.name}.",
            remedy="Export the bundle with opset 20.",
        )
    wanted: tuple[Precision, ...] = ("fp16", "fp32") if precision == "auto" else (precision,)
    found = tuple(file for each in wanted for file in _files(bundle, each, generation))
    if not found:
        raise EngineUnavailable(
            f"{bundle.card.name} has no {precision} file for TensorRT {generation.major}.{generation.minor}.",
            remedy="`python -m training engine` makes one; or set segmenter.precision: auto.",
        )
    return found


def _files(bundle: Bundle, precision: Precision, generation: Generation) -> Iterator[NetworkFile]:
    if generation.file_precision(precision) == "fp32":
        yield NetworkFile(bundle.onnx_path, bundle.card.onnx_sha256, precision)
        return
    for variant in bundle.card.variants_for(ENGINE, precision):
        yield NetworkFile(variant_path(bundle, variant), variant.sha256, precision)
