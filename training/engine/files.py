"""Makes sure that a bundle has the ONNX file which an engine of some precision needs."""

from __future__ import annotations

from pathlib import Path

from neuroscan_core.config import SegmenterConfig
from neuroscan_core.domain.errors import EngineUnavailable
from neuroscan_core.inference.bundle import Bundle, load_bundle
from neuroscan_core.inference.tensorrt.generation import Generation


def needs_fp16_file(bundle: Bundle, config: SegmenterConfig, tensorrt_version: str) -> bool:
    """Whether this TensorRT takes FP16 from the graph alone, FP16 is wanted, and the bundle has no such file."""
    wants_fp16 = config.precision in ("auto", "fp16")
    has_file = bool(bundle.card.variants_for("tensorrt", "fp16"))
    return wants_fp16 and not has_file and not Generation.of(tensorrt_version).is_weakly_typed


def with_fp16_files(folder: Path) -> Bundle:
    """Add the FP16 files to a bundle: as a whole, and with convolutions in groups left in FP32.

    Raises
    ------
    EngineUnavailable
        The package `onnx` is missing.
    """
    try:
        from training.bundle.variants import add_fp16
    except ImportError as exc:
        raise EngineUnavailable(
            f"The FP16 file cannot be made: {exc}.", remedy="pip install 'neuroscan[training]', or --precision fp32."
        ) from exc
    add_fp16(folder)
    return load_bundle(folder)
