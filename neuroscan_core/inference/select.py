"""Chooses the engine that executes a bundle, as the configuration says and the machine allows."""

from __future__ import annotations

from neuroscan_core.config import SegmenterConfig
from neuroscan_core.domain.errors import EngineUnavailable
from neuroscan_core.inference.bundle import Bundle
from neuroscan_core.ports import InferenceEngine


def open_engine(bundle: Bundle, config: SegmenterConfig) -> InferenceEngine:
    """Open the engine that `config.engine` names.

    Raises
    ------
    EngineUnavailable
        It cannot run on this machine.
    InvalidBundle, EngineRefused
        The network cannot be loaded, or computes something else than its reference.
    """
    if config.engine in ("auto", "onnxruntime"):
        from neuroscan_core.inference.onnxruntime import OnnxRuntimeEngine

        return OnnxRuntimeEngine(bundle, config.threads)
    if config.engine == "triton":
        from neuroscan_core.inference.triton import TritonEngine

        return TritonEngine(bundle, config.triton)
    raise EngineUnavailable(
        f"There is no engine {config.engine} on this machine.", remedy="Set segmenter.engine: auto."
    )
