"""A GPU, pycuda's driver module and libcuda as far as NeuroScan uses them: work is queued, and done when waited for.

It is strict where the real things are: memory and streams belong to the thread that entered the context, a recording
must be ended, a graph must be made before it is started. `test_real_bindings` holds the names against pycuda's sources.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

Work = Callable[[], None]


class Error(Exception):
    """As pycuda's: base of what CUDA answers."""


class Gpu:
    """What driver and TensorRT share."""

    def __init__(self, name: str = "Orin", capability: tuple[int, int] = (8, 7)) -> None:
        self.name, self.capability = name, capability
        self.memory: dict[int, np.ndarray] = {}
        self.owner: int | None = None
        self.recording: list[Work] | None = None
        self.calls: list[str] = []
        self.fail_next = ""
        self.num_open = 0  # allocations, streams, graphs
        self.num_items = 0  # that were computed

    def note(self, call: str) -> None:
        assert self.owner == threading.get_ident(), f"{call} outside the thread with the context"
        if self.fail_next == call:
            self.fail_next = ""
            raise Error(f"{call} failed: an illegal memory access was encountered")
        self.calls.append(call)


def fake_driver(gpu: Gpu) -> Any:
    """`pycuda.driver` over this GPU."""

    class Context:
        def push(self) -> None:
            gpu.owner = threading.get_ident()
            gpu.note("push")

        @staticmethod
        def pop() -> None:
            gpu.note("pop")

        def detach(self) -> None:
            gpu.note("detach")
            gpu.owner = None

    class Device:
        def __init__(self, ordinal: int) -> None:
            if gpu.name == "":
                raise Error("cuDeviceGet failed: no CUDA-capable device is detected")

        def name(self) -> str:
            return gpu.name

        def compute_capability(self) -> tuple[int, int]:
            return gpu.capability

        def retain_primary_context(self) -> Context:
            return Context()

    class Stream:
        def __init__(self) -> None:
            gpu.note("Stream")
            self.queue: list[Work] = []
            self.handle = 77
            streams[self.handle] = self

        def put(self, work: Work) -> None:
            (self.queue if gpu.recording is None else gpu.recording).append(work)

        def synchronize(self) -> None:
            gpu.note("synchronize")
            assert gpu.recording is None, "waiting spoils a recording"
            queue, self.queue = self.queue, []
            for work in queue:
                work()

    class DeviceAllocation:
        def __init__(self, size: int) -> None:
            self.address = 4096 * (1 + len(gpu.memory))
            gpu.memory[self.address] = np.zeros(size, np.uint8)
            gpu.num_open += 1

        def __int__(self) -> int:
            return self.address

        def free(self) -> None:
            gpu.note("free")
            gpu.num_open -= 1

    streams: dict[int, Stream] = {}
    gpu.streams = streams  # type: ignore[attr-defined]

    class Driver:
        pass

    driver = Driver()
    driver.Error, driver.Context, driver.Device, driver.Stream = Error, Context, Device, Stream  # type: ignore[attr-defined]
    driver.DeviceAllocation = DeviceAllocation  # type: ignore[attr-defined]

    def mem_alloc(bytes: int) -> DeviceAllocation:
        gpu.note("mem_alloc")
        return DeviceAllocation(bytes)

    def pagelocked_empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        gpu.note("pagelocked_empty")
        return np.full(shape, np.nan, dtype)

    def memcpy_htod_async(dest: DeviceAllocation, src: np.ndarray, stream: Stream) -> None:
        gpu.note("memcpy_htod_async")
        assert src.flags.c_contiguous

        def copy() -> None:
            gpu.memory[int(dest)][: src.nbytes] = src.reshape(-1).view(np.uint8)

        stream.put(copy)

    def memcpy_dtoh_async(dest: np.ndarray, src: DeviceAllocation, stream: Stream) -> None:
        gpu.note("memcpy_dtoh_async")
        assert dest.flags.c_contiguous

        def copy() -> None:
            dest.reshape(-1).view(np.uint8)[:] = gpu.memory[int(src)][: dest.nbytes]

        stream.put(copy)

    for function in (mem_alloc, pagelocked_empty, memcpy_htod_async, memcpy_dtoh_async):
        setattr(driver, function.__name__, function)
    driver.init = lambda: None  # type: ignore[attr-defined]
    return driver


class FakeLibcuda:
    """libcuda's graphs. `refuses` names a function that answers with an error; `is_old`: CUDA 10.2."""

    def __init__(self, gpu: Gpu, *, refuses: str = "", is_old: bool = False) -> None:
        self._gpu, self._refuses = gpu, refuses
        self._graphs: dict[int, list[Work]] = {}
        if is_old:
            self.cuGraphInstantiate = self._instantiate
        else:
            self.cuGraphInstantiateWithFlags = self._instantiate

    def _status(self, name: str) -> int:
        self._gpu.note(name)
        return 900 if name == self._refuses else 0

    def cuStreamBeginCapture_v2(self, stream: Any, mode: Any) -> int:  # noqa: N802
        status = self._status("cuStreamBeginCapture_v2")
        if status == 0:
            self._gpu.recording = []
        return status

    def cuStreamEndCapture(self, stream: Any, graph: Any) -> int:  # noqa: N802
        assert self._gpu.recording is not None
        recorded, self._gpu.recording = self._gpu.recording, None
        status = self._status("cuStreamEndCapture")
        if status == 0:
            self._graphs[100 + len(self._graphs)] = recorded
            graph._obj.value = 99 + len(self._graphs)
            self._gpu.num_open += 1
        return status

    def _instantiate(self, executable: Any, graph: Any, *flags: Any) -> int:
        status = self._status("cuGraphInstantiate")
        if status == 0:
            executable._obj.value = 1000 + graph.value
            self._gpu.num_open += 1
        return status

    def cuGraphDestroy(self, graph: Any) -> int:  # noqa: N802
        self._gpu.num_open -= 1
        return self._status("cuGraphDestroy")

    def cuGraphExecDestroy(self, executable: Any) -> int:  # noqa: N802
        self._gpu.num_open -= 1
        return self._status("cuGraphExecDestroy")

    def cuGraphLaunch(self, executable: Any, stream: Any) -> int:  # noqa: N802
        status = self._status("cuGraphLaunch")
        for work in self._graphs[executable.value - 1000]:
            self._gpu.streams[stream.value].put(work)  # type: ignore[attr-defined]
        return status
