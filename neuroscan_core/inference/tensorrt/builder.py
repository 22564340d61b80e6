"""Builds plans: TensorRT's engines for one GPU, as bytes.

The module `tensorrt` is passed in, so that everything but TensorRT itself is tested without a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from neuroscan_core.domain.errors import EngineRefused, EngineUnavailable
from neuroscan_core.inference.tensorrt.generation import Generation, Precision
from neuroscan_core.log import get_logger

log = get_logger(__name__)

_NO_KERNEL = ("Could not find any implementation", "No low-precision conv kernel")


class PlanNotBuilt(EngineRefused):
    """TensorRT could not build an engine.

    Parameters
    ----------
    lacks_kernel : bool
        There is no kernel for a node in this precision, as TensorRT 11.2 has none for grouped convolutions in FP16
        (NVIDIA/TensorRT issue 4838): the network can be built with those nodes in FP32.
    """

    def __init__(self, message: str, *, remedy: str, lacks_kernel: bool = False) -> None:
        super().__init__(message, remedy=remedy)
        self.lacks_kernel = lacks_kernel


@dataclass(frozen=True)
class Profile:
    """Shapes that an engine takes: the batch varies, the rest does not.

    Parameters
    ----------
    item_shape : tuple of int
        Shape of one item: C, H, W or C, D, H, W.
    min_batch, opt_batch, max_batch : int
        Kernels are chosen for `opt_batch`.
    """

    item_shape: tuple[int, ...]
    max_batch: int
    opt_batch: int = 1
    min_batch: int = 1

    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Smallest, optimal and largest shape of the input."""
        low, best, high = ((batch, *self.item_shape) for batch in (self.min_batch, self.opt_batch, self.max_batch))
        return low, best, high


@dataclass(frozen=True)
class BuildRequest:
    """What to build.

    Parameters
    ----------
    onnx : bytes
        The network; for strongly typed generations in the precision that is wanted.
    timing_cache : bytes
        What earlier builds measured; empty where there is none.
    """

    onnx: bytes
    input_name: str
    precision: Precision
    profile: Profile
    workspace_bytes: int
    timing_cache: bytes = b""


@dataclass(frozen=True)
class BuiltPlan:
    """What a build gives: the engine, and what was measured on the way."""

    plan: bytes
    timing_cache: bytes


def build_plan(trt: Any, request: BuildRequest) -> BuiltPlan:
    """Build an engine; takes seconds to minutes.

    Raises
    ------
    PlanNotBuilt
        TensorRT cannot read the network, or cannot build it.
    """
    generation, logger = Generation.of(trt.__version__), make_logger(trt)
    builder = start(trt.Builder, logger)
    network = builder.create_network(_bits(trt.NetworkDefinitionCreationFlag, generation.network_flags()))
    _parse(trt, network, logger, request.onnx)
    config = builder.create_builder_config()
    _configure(trt, config, generation, request)
    profile = builder.create_optimization_profile()
    profile.set_shape(request.input_name, *request.profile.shapes())
    config.add_optimization_profile(profile)
    cache = _use_timing_cache(config, request.timing_cache)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise _not_built(logger.errors)
    return BuiltPlan(bytes(plan), bytes(cache.serialize()))


def start(make: Any, logger: Any) -> Any:
    """Make one of TensorRT's first objects.

    Raises
    ------
    EngineUnavailable
        TensorRT does not start here.
    """
    try:
        return make(logger)
    except (TypeError, RuntimeError) as exc:  # the bindings raise these where the library answers null
        reasons = "; ".join(logger.errors) or str(exc)
        raise EngineUnavailable(
            f"TensorRT does not start: {reasons}.", remedy="Check that driver, CUDA and TensorRT belong together."
        ) from exc


def make_logger(trt: Any) -> Any:
    """A logger that TensorRT accepts; it keeps errors in ``errors`` and hands warnings to our log."""

    class Logger(trt.ILogger):  # type: ignore[misc]  # the base class is known at run time only
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, msg: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(msg)
                log.error("TensorRT reports an error", message=msg)
            elif severity == trt.ILogger.WARNING:
                log.warning("TensorRT warns", message=msg)

    return Logger()


def _bits(enum: Any, names: tuple[str, ...]) -> int:
    bits = 0
    for name in names:
        bits |= 1 << int(getattr(enum, name))
    return bits


def _parse(trt: Any, network: Any, logger: Any, onnx: bytes) -> None:
    parser = trt.OnnxParser(network, logger)
    if parser.parse(onnx):
        return
    errors = "; ".join(parser.get_error(index).desc() for index in range(parser.num_errors))
    raise PlanNotBuilt(
        f"TensorRT {trt.__version__} cannot read the network: {errors or 'no reason given'}.",
        remedy="Export the bundle with an opset that this version knows (13 for TensorRT 8.2).",
    )


def _configure(trt: Any, config: Any, generation: Generation, request: BuildRequest) -> None:
    for name in generation.builder_flags(request.precision):
        config.set_flag(getattr(trt.BuilderFlag, name))
    if request.precision == "fp32":
        config.clear_flag(trt.BuilderFlag.TF32)  # its products have ten bits only
    if generation.has_memory_pools:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, request.workspace_bytes)
    else:
        config.max_workspace_size = request.workspace_bytes


def _use_timing_cache(config: Any, stored: bytes) -> Any:
    cache = config.create_timing_cache(stored)
    # A cache of another GPU or version is not taken; the build then measures anew.
    if not config.set_timing_cache(cache, False):
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    return cache


def _not_built(errors: list[str]) -> PlanNotBuilt:
    lacks_kernel = any(hint in error for error in errors for hint in _NO_KERNEL)
    remedy = "Give the build more memory (segmenter.tensorrt.workspace_mib), or set segmenter.precision: fp32."
    if lacks_kernel:
        remedy = "`python -m training engine` makes an FP16 file that keeps such nodes in FP32."
    return PlanNotBuilt(
        f"TensorRT cannot build the engine: {errors[-1] if errors else 'no reason given'}.",
        remedy=remedy,
        lacks_kernel=lacks_kernel,
    )
