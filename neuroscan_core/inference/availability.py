"""Which engines this machine has, and why not the others; nothing is built and no network is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec

from neuroscan_core.config import SegmenterConfig
from neuroscan_core.domain.errors import EngineUnavailable

Probe = Callable[[SegmenterConfig], str]


@dataclass(frozen=True)
class Availability:
    """What is known of one engine.

    Parameters
    ----------
    engine : str
        As in `segmenter.engine`.
    is_available : bool
    detail : str
        Version and device, or what is missing.
    remedy : str
        What to do to have it.
    """

    engine: str
    is_available: bool
    detail: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.engine}: {self.detail}" if self.is_available else f"{self.engine}: not here. {self.detail}"


def engines_here(config: SegmenterConfig, probes: Mapping[str, Probe] | None = None) -> tuple[Availability, ...]:
    """Probe all engines."""
    found = []
    for engine, probe in (PROBES if probes is None else probes).items():
        try:
            found.append(Availability(engine, True, probe(config)))
        except EngineUnavailable as exc:
            found.append(Availability(engine, False, exc.message, exc.remedy))
    return tuple(found)


def _processor(config: SegmenterConfig) -> str:
    import onnxruntime

    from neuroscan_core.inference.onnxruntime import multiplies_bytes, num_processors

    threads = f"{onnxruntime.__version__} on {config.threads or num_processors()} threads"
    return f"{threads}; made for INT8" if multiplies_bytes() else threads


def _cuda(config: SegmenterConfig) -> str:
    import onnxruntime

    from neuroscan_core.inference.onnxruntime_cuda import require_provider

    require_provider()
    return f"{onnxruntime.__version__} with CUDA"


def _tensorrt(config: SegmenterConfig) -> str:
    from neuroscan_core.inference.tensorrt.cuda import CudaThread
    from neuroscan_core.inference.tensorrt.engine import Libraries
    from neuroscan_core.inference.tensorrt.generation import Generation

    libraries = Libraries.load(with_graphs=False)
    Generation.of(libraries.trt.__version__)
    device = CudaThread(libraries.driver)
    try:
        major, minor = device.compute_capability
        return f"{libraries.trt.__version__} on {device.gpu} (compute capability {major}.{minor})"
    finally:
        device.close(lambda: None)


def _triton(config: SegmenterConfig) -> str:
    if find_spec("tritonclient") is None:
        raise EngineUnavailable("The client library is not installed.", remedy="pip install 'neuroscan[triton]'")
    return f"client is installed; the server would be {config.triton.url} ({config.triton.protocol})"


PROBES: Mapping[str, Probe] = {
    "onnxruntime": _processor,
    "onnxruntime-cuda": _cuda,
    "tensorrt": _tensorrt,
    "triton": _triton,
}
