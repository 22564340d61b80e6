"""TensorRT as far as NeuroScan uses it, for each generation; what it builds computes with ONNX Runtime.

A generation lacks what the real one lacks: FP16 flags from 11 on, numbered bindings from 10 on, named tensors before
8.5. `test_real_bindings` holds every class, attribute and parameter here against NVIDIA's own bindings.
"""

from __future__ import annotations

import base64
import hashlib
import json
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime

from tests.inference.tensorrt.fake_gpu import Gpu

GENERATIONS = ("8.2.1.9", "8.6.1", "10.3.0", "10.12.0.36", "10.16.1.11", "11.2.1.2", "11.4.0.106")
LACKS_KERNEL = "Error Code 10: Internal Error (Could not find any implementation for node node_223_Conv.)"


class Faults:
    """What goes wrong, and what was asked for.

    Parameters
    ----------
    no_kernel_for : set of str
        SHA-256 of the ONNX files that cannot be built.
    noise : float
        Added to each logit.
    leaks_batch : bool
        An item's logits depend on the batch.
    """

    def __init__(self, *, noise: float = 0.0, leaks_batch: bool = False, cannot_parse: bool = False) -> None:
        self.no_kernel_for: set[str] = set()
        self.noise, self.leaks_batch, self.cannot_parse = noise, leaks_batch, cannot_parse
        self.builds: list[SimpleNamespace] = []
        self.timing_known: list[bytes] = []


def fake_tensorrt(version: str, gpu: Gpu, faults: Faults | None = None) -> Any:
    """The module `tensorrt` of a version over a GPU."""
    faults = faults or Faults()
    number = tuple(int(part) for part in version.split(".")[:2])
    has_names, has_numbers = number >= (8, 5), number < (10, 0)

    class ILogger:
        INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

        def __init__(self) -> None:
            self.is_constructed = True

        def log(self, severity: Any, msg: str) -> None:
            raise NotImplementedError

    flags = {"TF32": 7} | ({} if number >= (11, 0) else {"FP16": 0, "INT8": 1})
    network_flags = ({"STRONGLY_TYPED": 1} if number >= (10, 0) else {}) | (
        {"EXPLICIT_BATCH": 0} if number < (11, 0) else {}
    )
    builder_flag = IntEnum("BuilderFlag", flags)
    creation_flag = IntEnum("NetworkDefinitionCreationFlag", network_flags)
    data_type = IntEnum("DataType", {"FLOAT": 0, "HALF": 1})

    class IOptimizationProfile:
        def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
            self.input, self.shapes = input, [list(min), list(opt), list(max)]

    class ITimingCache:
        def __init__(self, contents: bytes) -> None:
            self.contents = contents

        def serialize(self) -> bytearray:
            return bytearray(f"timing {gpu.name}".encode())

    class IBuilderConfig:
        def __init__(self) -> None:
            self.flags: set[str] = {"TF32"}
            self.profiles: list[IOptimizationProfile] = []
            self.workspace = 0
            self.cache: ITimingCache | None = None

        def set_flag(self, flag: Any) -> None:
            self.flags.add(flag.name)

        def clear_flag(self, flag: Any) -> None:
            self.flags.discard(flag.name)

        def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
            self.profiles.append(profile)
            return len(self.profiles) - 1

        def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache:
            return ITimingCache(serialized_timing_cache)

        def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
            self.cache = cache
            return cache.contents in (b"", f"timing {gpu.name}".encode())

    if number >= (8, 4):

        def set_memory_pool_limit(self: Any, pool: Any, pool_size: int) -> None:
            self.workspace = pool_size

        IBuilderConfig.set_memory_pool_limit = set_memory_pool_limit  # type: ignore[attr-defined]
    else:
        IBuilderConfig.max_workspace_size = property(  # type: ignore[attr-defined]
            lambda self: self.workspace, lambda self, value: setattr(self, "workspace", value)
        )

    class INetworkDefinition:
        _onnx = b""

    class ParserError:
        def desc(self) -> str:
            return "Unsupported ONNX opset"

    class OnnxParser:
        def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
            self.network = network

        @property
        def num_errors(self) -> int:
            return int(faults.cannot_parse)

        def get_error(self, index: int) -> ParserError:
            return ParserError()

        def parse(self, model: bytes) -> bool:
            self.network._onnx = model
            return not faults.cannot_parse

    class Builder:
        def __init__(self, logger: Any) -> None:
            assert logger.is_constructed
            gpu.note("Builder")
            self.logger = logger

        def create_network(self, flags: int) -> INetworkDefinition:
            self.network_flags = {member.name for member in creation_flag if flags & (1 << int(member))}
            return INetworkDefinition()

        def create_builder_config(self) -> IBuilderConfig:
            return IBuilderConfig()

        def create_optimization_profile(self) -> IOptimizationProfile:
            return IOptimizationProfile()

        def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> bytearray | None:
            gpu.note("build_serialized_network")
            assert config.cache is not None
            faults.timing_known.append(config.cache.contents)
            faults.builds.append(
                SimpleNamespace(
                    flags=set(config.flags), network_flags=self.network_flags, shapes=config.profiles[0].shapes,
                    workspace=config.workspace, sha256=hashlib.sha256(network._onnx).hexdigest(),
                )
            )  # fmt: skip
            if faults.builds[-1].sha256 in faults.no_kernel_for:
                self.logger.log(ILogger.ERROR, LACKS_KERNEL)
                return None
            onnx = base64.b64encode(network._onnx).decode()
            return bytearray(json.dumps({"onnx": onnx, "max": config.profiles[0].shapes[2]}).encode())

    class IExecutionContext:
        def __init__(self, engine: ICudaEngine) -> None:
            self.engine, self.shape, self.is_recorded = engine, [-1], False
            self.addresses: dict[str, int] = {}

        def _set_shape(self, shape: Any) -> bool:
            gpu.note("set shape")
            assert not self.is_recorded or self.shape == list(shape), "a recorded context must not change"
            self.shape = list(shape)
            return self.shape[1:] == self.engine.max[1:] and self.shape[0] <= self.engine.max[0]

        def _output_shape(self) -> list[int]:
            return [self.shape[0], *self.engine.session.get_outputs()[0].shape[1:]]

        def _execute(self, addresses: dict[str, int], stream_handle: int) -> bool:
            gpu.note("execute")
            self.is_recorded = self.is_recorded or gpu.recording is not None
            shape = tuple(self.shape)
            source, target = (addresses[name] for name in self.engine.names)
            size = int(np.prod(shape)) * 4

            def work() -> None:
                gpu.num_items += shape[0]
                image = gpu.memory[source][:size].view(np.float32).reshape(shape)
                logits = self.engine._compute(image)
                gpu.memory[target][: logits.nbytes] = logits.reshape(-1).view(np.uint8)

            gpu.streams[stream_handle].put(work)  # type: ignore[attr-defined]
            return True

    class ICudaEngine:
        def __init__(self, plan: dict[str, Any]) -> None:
            self.session = onnxruntime.InferenceSession(base64.b64decode(plan["onnx"]))
            self.names = [tensor.name for tensor in (*self.session.get_inputs(), *self.session.get_outputs())]
            self.max = plan["max"]
            self.num_contexts = 0

        def _compute(self, image: np.ndarray) -> np.ndarray:
            logits = self.session.run(None, {self.names[0]: image})[0] + np.float32(faults.noise)
            return np.ascontiguousarray(logits + np.float32(1e-6 * len(image) if faults.leaks_batch else 0.0))

        def create_execution_context(self) -> IExecutionContext | None:
            self.num_contexts += 1
            if number < (10, 0) and self.num_contexts > 1:
                return None  # Profile 0 has been chosen by another IExecutionContext.
            return IExecutionContext(self)

    if has_names:
        ICudaEngine.num_io_tensors = property(lambda self: len(self.names))  # type: ignore[attr-defined]
        ICudaEngine.get_tensor_name = lambda self, index: self.names[index]  # type: ignore[attr-defined]
        ICudaEngine.get_tensor_dtype = lambda self, name: data_type.FLOAT  # type: ignore[attr-defined]
        IExecutionContext.set_input_shape = lambda self, name, shape: self._set_shape(shape)  # type: ignore[attr-defined]
        IExecutionContext.get_tensor_shape = lambda self, name: self._output_shape()  # type: ignore[attr-defined]
        IExecutionContext.set_tensor_address = (  # type: ignore[attr-defined]
            lambda self, name, memory: self.addresses.update({name: memory}) is None
        )
        IExecutionContext.execute_async_v3 = (  # type: ignore[attr-defined]
            lambda self, stream_handle: self._execute(self.addresses, stream_handle)
        )
    if has_numbers:
        ICudaEngine.num_bindings = property(lambda self: len(self.names))  # type: ignore[attr-defined]
        ICudaEngine.get_binding_name = lambda self, index: self.names[index]  # type: ignore[attr-defined]
        ICudaEngine.get_binding_dtype = lambda self, index: data_type.FLOAT  # type: ignore[attr-defined]
        IExecutionContext.set_binding_shape = lambda self, binding, shape: self._set_shape(shape)  # type: ignore[attr-defined]
        IExecutionContext.get_binding_shape = lambda self, binding: self._output_shape()  # type: ignore[attr-defined]
        IExecutionContext.execute_async_v2 = (  # type: ignore[attr-defined]
            lambda self, bindings, stream_handle: self._execute(
                dict(zip(self.engine.names, bindings, strict=True)), stream_handle
            )
        )

    class Runtime:
        def __init__(self, logger: Any) -> None:
            gpu.note("Runtime")
            self.logger = logger

        def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
            try:
                plan = json.loads(serialized_engine)
            except ValueError:
                self.logger.log(ILogger.ERROR, "Serialization assertion magicTag == kMAGIC_TAG failed")
                return None
            return ICudaEngine(plan)

    classes = (
        ILogger, IOptimizationProfile, ITimingCache, IBuilderConfig, INetworkDefinition, ParserError, OnnxParser,
        Builder, IExecutionContext, ICudaEngine, Runtime,
    )  # fmt: skip
    module = SimpleNamespace(**{cls.__name__: cls for cls in classes})
    module.__version__ = version
    module.BuilderFlag, module.NetworkDefinitionCreationFlag, module.DataType = builder_flag, creation_flag, data_type
    if number >= (8, 4):
        module.MemoryPoolType = IntEnum("MemoryPoolType", {"WORKSPACE": 0})
    return module
