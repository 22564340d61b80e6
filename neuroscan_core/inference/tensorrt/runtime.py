"""Executes a plan: buffers, shapes, launches. Everything here runs on the engine's `CudaThread`."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.errors import EngineRefused, EngineUnavailable
from neuroscan_core.inference.tensorrt.builder import Profile, make_logger, start
from neuroscan_core.inference.tensorrt.cuda import CudaGraph, GraphNotRecorded
from neuroscan_core.inference.tensorrt.generation import Generation
from neuroscan_core.log import get_logger

log = get_logger(__name__)

MAX_RECORDINGS = 4  # each has a context with memory of its own


class Tensors(Protocol):
    """How one generation of TensorRT addresses an engine's input and output."""

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Set the shape of the input; shape of the output that follows."""
        ...

    def use(self, input_address: int, output_address: int) -> None:
        """Set where input and output lie on the GPU."""
        ...

    def enqueue(self, stream_handle: int) -> bool:
        """Put the execution on a stream; False where it cannot be done."""
        ...


class NamedTensors:
    """Tensors by name: TensorRT 8.5 and newer."""

    def __init__(self, trt: Any, engine: Any, context: Any, input_name: str, output_name: str) -> None:
        self._context, self._input, self._output = context, input_name, output_name
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        types = {engine.get_tensor_dtype(name) for name in names}
        _require_tensors(names, (input_name, output_name), all(found == trt.DataType.FLOAT for found in types))

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """See `Tensors`."""
        _require(self._context.set_input_shape(self._input, input_shape), input_shape)
        return tuple(self._context.get_tensor_shape(self._output))

    def use(self, input_address: int, output_address: int) -> None:
        """See `Tensors`."""
        self._context.set_tensor_address(self._input, input_address)
        self._context.set_tensor_address(self._output, output_address)

    def enqueue(self, stream_handle: int) -> bool:
        """See `Tensors`."""
        return bool(self._context.execute_async_v3(stream_handle))


class NumberedTensors:
    """Tensors by the number of their binding: TensorRT 8.2 to 8.4."""

    def __init__(self, trt: Any, engine: Any, context: Any, input_name: str, output_name: str) -> None:
        self._context = context
        names = [engine.get_binding_name(index) for index in range(engine.num_bindings)]
        types = {engine.get_binding_dtype(index) for index in range(engine.num_bindings)}
        _require_tensors(names, (input_name, output_name), all(found == trt.DataType.FLOAT for found in types))
        self._input, self._output = names.index(input_name), names.index(output_name)
        self._addresses = [0] * len(names)

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """See `Tensors`."""
        _require(self._context.set_binding_shape(self._input, input_shape), input_shape)
        return tuple(self._context.get_binding_shape(self._output))

    def use(self, input_address: int, output_address: int) -> None:
        """See `Tensors`."""
        self._addresses[self._input], self._addresses[self._output] = input_address, output_address

    def enqueue(self, stream_handle: int) -> bool:
        """See `Tensors`."""
        return bool(self._context.execute_async_v2(self._addresses, stream_handle))


class PlanRuntime:
    """A plan on the GPU with buffers for its largest batch, one stream, and a context for each shape that is recorded.

    Parameters
    ----------
    trt, driver : module
        `tensorrt` and `pycuda.driver`.
    plan : bytes
    profile : Profile
        What the plan was built for.
    names : tuple of 2 str
        Names of input and output.
    driver_library : ctypes.CDLL, optional
        libcuda, for CUDA graphs; None: without them.

    Raises
    ------
    EngineRefused
        TensorRT does not take the plan, or its tensors are others.
    EngineUnavailable
        TensorRT does not start, or the GPU's memory is full.
    """

    def __init__(
        self, trt: Any, driver: Any, plan: bytes, profile: Profile, names: tuple[str, str], driver_library: Any = None
    ) -> None:
        self._trt, self._driver, self._names = trt, driver, names
        generation = Generation.of(trt.__version__)
        self._is_one_shape = profile.max_batch == 1
        self._library = driver_library if generation.shares_profiles or self._is_one_shape else None
        self._kind = NamedTensors if generation.has_named_tensors else NumberedTensors
        self._logger = make_logger(trt)
        self._engine = start(trt.Runtime, self._logger).deserialize_cuda_engine(plan)
        if self._engine is None:
            raise EngineRefused(f"TensorRT does not take the plan: {self._reason()}.")
        self._tensors = self._open_context()
        self._stream = driver.Stream()
        self._recordings: dict[int, tuple[Tensors, CudaGraph]] = {}
        self._allocate((profile.max_batch, *profile.item_shape))

    def run(self, image_NC: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Logits of at most `max_batch` items."""
        num = len(image_NC)
        self._host_in[:num] = image_NC
        graph = self._graph(image_NC.shape)
        if graph is not None:
            graph.launch()
        else:
            self._set_shape(image_NC.shape)
            self._enqueue(self._tensors, num)
        self._stream.synchronize()
        return np.array(self._host_out[:num])

    def close(self) -> None:
        """Free everything, contexts before the engine."""
        for _, graph in self._recordings.values():
            graph.close()
        self._recordings.clear()
        del self._tensors, self._engine
        self._device_in.free()
        self._device_out.free()
        del self._host_in, self._host_out, self._stream

    def _open_context(self) -> Tensors:
        context = self._engine.create_execution_context()
        if context is None:
            raise EngineUnavailable(f"TensorRT opens no context: {self._reason()}.", remedy="Free GPU memory.")
        return self._kind(self._trt, self._engine, context, *self._names)

    def _allocate(self, largest: tuple[int, ...]) -> None:
        output_shape = self._tensors.output_shape(largest)
        self._host_in = self._driver.pagelocked_empty(largest, np.float32)
        self._host_out = self._driver.pagelocked_empty(output_shape, np.float32)
        self._device_in = self._driver.mem_alloc(self._host_in.nbytes)
        self._device_out = self._driver.mem_alloc(self._host_out.nbytes)
        self._tensors.use(int(self._device_in), int(self._device_out))
        self._shape = largest

    def _set_shape(self, shape: tuple[int, ...]) -> None:
        if shape != self._shape:
            self._tensors.output_shape(shape)
            self._shape = shape

    def _enqueue(self, tensors: Tensors, num: int) -> None:
        self._driver.memcpy_htod_async(self._device_in, self._host_in[:num], self._stream)
        if not tensors.enqueue(self._stream.handle):
            raise EngineUnavailable(f"TensorRT does not execute: {self._reason()}.")
        self._driver.memcpy_dtoh_async(self._host_out[:num], self._device_out, self._stream)

    def _graph(self, shape: tuple[int, ...]) -> CudaGraph | None:
        """The recording for a batch size, made at its first use."""
        if shape[0] in self._recordings:
            return self._recordings[shape[0]][1]
        if self._library is None or len(self._recordings) >= MAX_RECORDINGS:
            return None
        try:
            self._recordings[shape[0]] = self._record(shape)
        except (GraphNotRecorded, EngineUnavailable, self._driver.Error) as exc:
            log.warning("no CUDA graph; the engine runs without", reason=str(exc))
            self._library = None
            return None
        return self._recordings[shape[0]][1]

    def _record(self, shape: tuple[int, ...]) -> tuple[Tensors, CudaGraph]:
        """Execute once, as TensorRT asks for, then record; a context must not change once it was recorded."""
        tensors = self._tensors if self._is_one_shape else self._open_context()
        tensors.output_shape(shape)
        tensors.use(int(self._device_in), int(self._device_out))
        self._enqueue(tensors, shape[0])
        self._stream.synchronize()
        return tensors, CudaGraph(self._library, self._stream.handle, lambda: self._enqueue(tensors, shape[0]))

    def _reason(self) -> str:
        return "; ".join(self._logger.errors[-1:]) or "no reason given"


def _require(is_taken: Any, shape: tuple[int, ...]) -> None:
    if not is_taken:
        raise EngineRefused(f"The engine does not take the shape {shape}.", remedy="Remove the plan; it is built anew.")


def _require_tensors(found: list[str], wanted: tuple[str, str], is_float: bool) -> None:
    if set(found) != set(wanted) or not is_float:
        raise EngineRefused(
            f"The engine's tensors are {', '.join(found)}{'' if is_float else ', not all float32'}; "
            f"{' and '.join(wanted)} of float32 are wanted.",
            remedy="Export the bundle again, with float32 inputs and outputs.",
        )
