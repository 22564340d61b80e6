"""The GPU through pycuda: one thread that owns context, stream and memory, and CUDA graphs, which pycuda lacks.

pycuda ties a context to the thread that made it, and can free what belongs to the context on that thread alone. So an
engine has a thread of its own, and everything that touches the GPU happens there.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from neuroscan_core.domain.errors import EngineUnavailable

T = TypeVar("T")

CAPTURE_THREAD_LOCAL = 1  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: other threads' calls do not spoil the recording


class CudaThread:
    """A thread with the primary context of one GPU.

    Parameters
    ----------
    driver : module
        `pycuda.driver`.
    ordinal : int
        Which GPU.

    Raises
    ------
    EngineUnavailable
        There is no GPU, or its driver does not answer.
    """

    def __init__(self, driver: Any, ordinal: int = 0) -> None:
        self._driver = driver
        self._context: Any = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tensorrt")
        try:
            self.gpu, self.compute_capability = self.call(lambda: self._enter(ordinal))
        except EngineUnavailable:
            self._thread.shutdown()
            raise

    def call(self, function: Callable[[], T]) -> T:
        """Run a function on the thread and wait for it.

        Raises
        ------
        EngineUnavailable
            CUDA failed.
        """
        return self._thread.submit(self._translate, function).result()

    def close(self, before: Callable[[], None]) -> None:
        """Call `before`, which frees what is on the GPU, leave the context and end the thread."""
        try:
            self.call(lambda: self._leave(before))
        finally:
            self._thread.shutdown()

    def _translate(self, function: Callable[[], T]) -> T:
        try:
            return function()
        except self._driver.Error as exc:
            raise EngineUnavailable(
                f"CUDA failed: {exc}.", remedy="Look at `nvidia-smi` or `tegrastats` and the kernel log; restart."
            ) from exc

    def _enter(self, ordinal: int) -> tuple[str, tuple[int, int]]:
        self._driver.init()
        device = self._driver.Device(ordinal)
        major, minor = device.compute_capability()
        name = str(device.name())
        # Last: pycuda ends the process with a thread that dies before it has left its context.
        self._context = device.retain_primary_context()
        self._context.push()
        return name, (int(major), int(minor))

    def _leave(self, before: Callable[[], None]) -> None:
        try:
            before()
        finally:
            self._driver.Context.pop()
            self._context.detach()


class CudaGraph:
    """Work on a stream, recorded once and started again with one call.

    Parameters
    ----------
    driver_library : ctypes.CDLL
        libcuda.
    stream_handle : int
    enqueue : callable
        Puts the work on the stream.

    Raises
    ------
    GraphNotRecorded
        The work cannot be recorded.
    """

    def __init__(self, driver_library: Any, stream_handle: int, enqueue: Callable[[], None]) -> None:
        self._library, self._stream = driver_library, ctypes.c_void_p(stream_handle)
        self._executable = self._instantiate(self._record(enqueue))

    def launch(self) -> None:
        """Put the recorded work on the stream."""
        self._check("cuGraphLaunch", self._executable, self._stream)

    def close(self) -> None:
        """Free it."""
        self._check("cuGraphExecDestroy", self._executable)

    def _record(self, enqueue: Callable[[], None]) -> ctypes.c_void_p:
        graph = ctypes.c_void_p()
        self._check("cuStreamBeginCapture_v2", self._stream, ctypes.c_int(CAPTURE_THREAD_LOCAL))
        try:
            enqueue()
        finally:
            # A recording that failed must be ended too, or the stream stays unusable.
            status = self._library.cuStreamEndCapture(self._stream, ctypes.byref(graph))
        if status != 0 or not graph:
            raise GraphNotRecorded(f"cuStreamEndCapture answered {status}.")
        return graph

    def _instantiate(self, graph: ctypes.c_void_p) -> ctypes.c_void_p:
        executable = ctypes.c_void_p()
        if hasattr(self._library, "cuGraphInstantiateWithFlags"):  # CUDA 11.4
            arguments: tuple[Any, ...] = (graph, ctypes.c_ulonglong(0))
            status = self._library.cuGraphInstantiateWithFlags(ctypes.byref(executable), *arguments)
        else:
            arguments = (graph, None, None, ctypes.c_size_t(0))
            status = self._library.cuGraphInstantiate(ctypes.byref(executable), *arguments)
        self._library.cuGraphDestroy(graph)
        if status != 0:
            raise GraphNotRecorded(f"cuGraphInstantiate answered {status}.")
        return executable

    def _check(self, name: str, *arguments: Any) -> None:
        status = getattr(self._library, name)(*arguments)
        if status != 0:
            raise GraphNotRecorded(f"{name} answered {status}.")


class GraphNotRecorded(EngineUnavailable):
    """A CUDA graph cannot be recorded, and the same work runs without it; or not started or freed: the GPU failed."""


def load_driver_library() -> Any:
    """Open libcuda, which comes with the GPU's driver.

    Raises
    ------
    GraphNotRecorded
        It is not there.
    """
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError as exc:
        raise GraphNotRecorded(f"libcuda.so.1 cannot be opened: {exc}.") from exc
