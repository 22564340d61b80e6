"""A Triton backend that runs ONNX Runtime: stands in for the one of NVIDIA's container where that is not installed.

The server reads this file as `backends/onnxruntime/model.py` (a Python-based backend of the Python backend), so that a
repository written for the real backend is served as it is, with the server's own batching, checks and protocols. It
needs NumPy and ONNX Runtime of the interpreter that the server was started for, and nothing of NeuroScan.
"""

from __future__ import annotations

import ctypes
import json
import os

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils

_clear_destructor = ctypes.pythonapi.PyCapsule_SetDestructor
_clear_destructor.argtypes = [ctypes.py_object, ctypes.c_void_p]


class _Lent:
    """An array that Triton takes over through DLPack.

    The stub of the server was built for NumPy 1 and misreads arrays of NumPy 2; DLPack is the same for both. It also
    names used capsules in its own way, at which NumPy's destructor of the capsule would complain; the array itself is
    released by the DLPack deleter, which the stub calls.
    """

    def __init__(self, array):
        self._array = array

    def __dlpack__(self, **_):
        capsule = self._array.__dlpack__()
        _clear_destructor(capsule, None)
        return capsule

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()


class TritonPythonModel:
    """One instance of a model; the server calls the methods by name."""

    def initialize(self, args):
        """Load the network; `args` are strings of the server."""
        config = json.loads(args["model_config"])
        self._input, self._output = config["input"][0]["name"], config["output"][0]["name"]
        threads = config.get("parameters", {}).get("intra_op_thread_count", {}).get("string_value", "0")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(threads)
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        path = os.path.join(args["model_repository"], args["model_version"], config["default_model_filename"])  # noqa: PTH118
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def execute(self, requests):
        """Answer a batch of requests, each with one array of one or more inputs."""
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        image = np.from_dlpack(pb_utils.get_input_tensor_by_name(request, self._input))
        # Item by item: a result must not depend on what else is asked at the time.
        logits = np.concatenate(
            [self._session.run([self._output], {self._input: image[n : n + 1]})[0] for n in range(len(image))]
        )
        return pb_utils.InferenceResponse([pb_utils.Tensor.from_dlpack(self._output, _Lent(logits))])
