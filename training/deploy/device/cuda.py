"""GPU memory, a stream and copies, through the driver's own library: nothing beside TensorRT has to be installed.

All calls are of the CUDA driver API and exist from CUDA 10.2 (JetPack 4.6) on.
"""

import ctypes

import numpy as np
from card import CannotRun


class Cuda:
    """The primary context of the first GPU, which TensorRT uses as well.

    Parameters
    ----------
    library : ctypes.CDLL, optional
        Default: the driver of this machine.
    """

    def __init__(self, library=None):
        self._library = library if library is not None else _load()
        self._call("cuInit", ctypes.c_uint(0))
        self._device = ctypes.c_int()
        self._call("cuDeviceGet", ctypes.byref(self._device), ctypes.c_int(0))
        context = ctypes.c_void_p()
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), self._device)
        self._call("cuCtxSetCurrent", context)
        self.stream = ctypes.c_void_p()
        self._call("cuStreamCreate", ctypes.byref(self.stream), ctypes.c_uint(0))

    @property
    def name(self):
        """Name of the GPU."""
        text = ctypes.create_string_buffer(128)
        self._call("cuDeviceGetName", text, ctypes.c_int(len(text)), self._device)
        return text.value.decode()

    def allocate(self, num_bytes):
        """Return the address of memory on the GPU."""
        address = ctypes.c_uint64()
        self._call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(num_bytes))
        return address.value

    def pinned(self, shape):
        """Return a float32 array that the GPU copies from and to without a detour."""
        num_bytes = int(np.prod(shape)) * 4
        address = ctypes.c_void_p()
        self._call("cuMemAllocHost_v2", ctypes.byref(address), ctypes.c_size_t(num_bytes))
        buffer = (ctypes.c_char * num_bytes).from_address(address.value)
        return np.frombuffer(buffer, dtype=np.float32).reshape(shape)

    def to_gpu(self, address, array):
        """Copy a contiguous array to the GPU, on the stream."""
        self._call("cuMemcpyHtoDAsync_v2", ctypes.c_uint64(address), ctypes.c_void_p(array.ctypes.data),
                   ctypes.c_size_t(array.nbytes), self.stream)  # fmt: skip

    def from_gpu(self, array, address):
        """Copy from the GPU into a contiguous array, on the stream."""
        self._call("cuMemcpyDtoHAsync_v2", ctypes.c_void_p(array.ctypes.data), ctypes.c_uint64(address),
                   ctypes.c_size_t(array.nbytes), self.stream)  # fmt: skip

    def wait(self):
        """Wait for all that was put on the stream."""
        self._call("cuStreamSynchronize", self.stream)

    def _call(self, name, *arguments):
        status = getattr(self._library, name)(*arguments)
        if status != 0:
            raise CannotRun(f"The GPU's driver answered {name} with error {status}.")


def _load():
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise CannotRun(f"There is no NVIDIA driver here ({error}). Without a GPU: --engine opencv.") from error
