# ruff: noqa: N802 - names of the CUDA driver API
"""libcuda as far as a deploy folder uses it, over the GPU that the fake TensorRT computes on; work waits to be done."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.inference.tensorrt.fake_gpu import Gpu

STREAM = 55


class FakeDriver:
    """Functions of the CUDA driver API; `fails` names one that answers with an error."""

    def __init__(self, gpu: Gpu, fails: str = "") -> None:
        self.gpu, self.fails = gpu, fails
        self.queue: list[Callable[[], None]] = []
        self.pinned: list[Any] = []
        gpu.streams = {STREAM: self}  # type: ignore[attr-defined]

    def put(self, work: Callable[[], None]) -> None:
        """Queue what TensorRT enqueues."""
        self.queue.append(work)

    def __getattr__(self, name: str) -> Callable[..., int]:
        function = getattr(type(self), f"_{name}", None)
        if function is None:
            raise AttributeError(f"libcuda has no {name}")
        return lambda *arguments: 719 if name == self.fails else (function(self, *arguments) or 0)

    def _cuInit(self, flags: Any) -> None:
        assert flags.value == 0

    def _cuDeviceGet(self, device: Any, ordinal: Any) -> None:
        device._obj.value = ordinal.value

    def _cuDeviceGetName(self, text: Any, length: Any, device: Any) -> None:
        text.value = self.gpu.name.encode()[: length.value]

    def _cuDevicePrimaryCtxRetain(self, context: Any, device: Any) -> None:
        context._obj.value = 11

    def _cuCtxSetCurrent(self, context: Any) -> None:
        assert context.value == 11
        self.gpu.owner = threading.get_ident()

    def _cuStreamCreate(self, stream: Any, flags: Any) -> None:
        stream._obj.value = STREAM

    def _cuMemAlloc_v2(self, address: Any, size: Any) -> None:
        address._obj.value = 4096 * (1 + len(self.gpu.memory))
        self.gpu.memory[address._obj.value] = np.zeros(size.value, np.uint8)

    def _cuMemAllocHost_v2(self, address: Any, size: Any) -> None:
        memory = np.full(size.value, 255, np.uint8)
        self.pinned.append(memory)
        address._obj.value = memory.ctypes.data

    def _cuMemcpyHtoDAsync_v2(self, target: Any, source: Any, size: Any, stream: Any) -> None:
        assert stream.value == STREAM
        content = np.frombuffer((ctypes.c_char * size.value).from_address(source.value), np.uint8)
        self.queue.append(lambda: np.copyto(self.gpu.memory[target.value][: size.value], content))

    def _cuMemcpyDtoHAsync_v2(self, target: Any, source: Any, size: Any, stream: Any) -> None:
        assert stream.value == STREAM
        content = np.frombuffer((ctypes.c_char * size.value).from_address(target.value), np.uint8)
        self.queue.append(lambda: np.copyto(content, self.gpu.memory[source.value][: size.value]))

    def _cuStreamSynchronize(self, stream: Any) -> None:
        queue, self.queue = self.queue, []
        for work in queue:
            work()
