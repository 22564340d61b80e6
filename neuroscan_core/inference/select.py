"""Chooses the engine that executes a bundle, as the configuration says and the machine allows.

An engine that was asked for and is not there is an error. One that is there and computes something else than the
bundle's reference, or fails while it serves, is replaced by ONNX Runtime on the processor, which says so in log and
health.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from neuroscan_core.config import NodeConfig, SegmenterConfig
from neuroscan_core.domain.errors import EngineRefused, EngineUnavailable, InvalidBundle
from neuroscan_core.inference.bundle import Bundle, find_bundles
from neuroscan_core.inference.watched import WatchedEngine
from neuroscan_core.log import get_logger
from neuroscan_core.ports import InferenceEngine

log = get_logger(__name__)

Opener = Callable[[Bundle, SegmenterConfig], InferenceEngine]
AUTO_ORDER = ("tensorrt", "onnxruntime-cuda")


def bundles_in_use(config: NodeConfig) -> dict[str, Bundle]:
    """Load the bundles that rules and studies of a node name.

    Raises
    ------
    InvalidBundle
        One that can be found, in use or not, is damaged.
    """
    found = find_bundles(config.segmenter.models_dir)
    return {name: bundle for name, bundle in found.items() if name in config.models_in_use}


def open_engine(
    bundle: Bundle, config: SegmenterConfig, openers: Mapping[str, Opener] | None = None
) -> InferenceEngine:
    """Open the engine that `config.engine` names; ``auto``: TensorRT, else CUDA, else the processor.

    Parameters
    ----------
    openers : mapping of str to callable, optional
        What opens each engine.

    Raises
    ------
    EngineUnavailable
        The engine that is named cannot run on this machine.
    InvalidBundle, EngineRefused
        The network cannot be loaded, or even ONNX Runtime computes something else than its reference.
    """
    openers = OPENERS if openers is None else openers

    def reserve() -> InferenceEngine:
        return openers["onnxruntime"](bundle, config.model_copy(update={"precision": "fp32"}))

    for name in AUTO_ORDER if config.engine == "auto" else (config.engine,):
        if name == "onnxruntime":
            break
        try:
            return WatchedEngine(openers[name](bundle, config), reserve)
        except (EngineRefused, InvalidBundle) as exc:  # a bundle that is no good at all is refused by the reserve, too
            return WatchedEngine.replaced(name, str(exc), reserve)
        except EngineUnavailable as exc:
            if config.engine != "auto":
                raise
            log.debug("engine is not available", engine=name, reason=exc.message)
    return openers["onnxruntime"](bundle, config)


def _open_processor(bundle: Bundle, config: SegmenterConfig) -> InferenceEngine:
    from neuroscan_core.inference.onnxruntime import OnnxRuntimeEngine

    return OnnxRuntimeEngine(bundle, config.threads, precision=config.precision)


def _open_cuda(bundle: Bundle, config: SegmenterConfig) -> InferenceEngine:
    from neuroscan_core.inference.onnxruntime_cuda import OnnxRuntimeCudaEngine

    return OnnxRuntimeCudaEngine(bundle, config)


def _open_tensorrt(bundle: Bundle, config: SegmenterConfig) -> InferenceEngine:
    from neuroscan_core.inference.tensorrt.engine import TensorRtEngine

    return TensorRtEngine(bundle, config)


def _open_triton(bundle: Bundle, config: SegmenterConfig) -> InferenceEngine:
    from neuroscan_core.inference.triton import TritonEngine

    return TritonEngine(bundle, config.triton)


OPENERS: Mapping[str, Opener] = {
    "onnxruntime": _open_processor,
    "onnxruntime-cuda": _open_cuda,
    "tensorrt": _open_tensorrt,
    "triton": _open_triton,
}
