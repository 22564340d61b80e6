"""What executes the network: TensorRT with the plan of `convert.py`; to try things out, others with the ONNX file."""

import json
import sys
import time

import cv2
import numpy as np
from card import CannotRun, has, input_shape, path_of
from cuda import Cuda

ONNX, OLD_ONNX, HALF_ONNX = "model.onnx", "model-opset13.onnx", "model-fp16.onnx"
ENGINES = ("tensorrt", "opencv", "onnxruntime")
PLAN, PLAN_NOTE = "model.plan", "model.plan.json"


def open_engine(name, card):
    """Open one of `ENGINES`."""
    if name == "tensorrt":
        return TensorRtEngine(card, import_tensorrt())
    return OpenCvEngine(card) if name == "opencv" else OnnxRuntimeEngine(card)


def import_tensorrt():
    """Return the module `tensorrt`."""
    try:
        import tensorrt
    except ImportError as error:
        raise CannotRun(f"TensorRT's Python module is not here ({error}). Without it: --engine opencv.") from error
    return tensorrt


def version_of(tensorrt):
    """Return major and minor version of TensorRT as numbers."""
    major, minor = tensorrt.__version__.split(".")[:2]
    return int(major), int(minor)


def make_logger(tensorrt):
    """Return a logger that prints warnings and errors."""

    class Logger(tensorrt.ILogger):
        def __init__(self):
            tensorrt.ILogger.__init__(self)

        def log(self, severity, msg):
            if severity in (tensorrt.ILogger.INTERNAL_ERROR, tensorrt.ILogger.ERROR, tensorrt.ILogger.WARNING):
                print(f"TensorRT: {msg}", file=sys.stderr)

    return Logger()


class OpenCvEngine:
    """The ONNX file on the processor, by OpenCV; slow, for trying things out.

    What OpenCV reads differs much between its versions, so files and importers are tried until one works.
    """

    def __init__(self, card):
        self.name = f"OpenCV {cv2.__version__} on the processor"
        self.seconds = []
        self._output = card["output_name"]
        reasons = []
        for name in (ONNX, OLD_ONNX):
            # From 5 on there is a new importer, and the classic one beside it.
            for options in ((), (getattr(cv2.dnn, "ENGINE_CLASSIC", None),)):
                if has(name) and options != (None,):
                    try:
                        self._network = cv2.dnn.readNetFromONNX(str(path_of(name)), *options)
                        self._forward(np.zeros((1, *input_shape(card)), dtype=np.float32))
                        return
                    except cv2.error as error:
                        reasons.append(f"{name}: {str(error).strip().splitlines()[0]}")
        raise CannotRun(
            "OpenCV {} cannot run this network; --engine onnxruntime or tensorrt can. {}".format(
                cv2.__version__, " ".join(reasons)
            )
        )

    def infer(self, image):
        """Return the logits of a batch of one."""
        start = time.perf_counter()
        logits = self._forward(image)
        self.seconds.append(time.perf_counter() - start)
        return np.array(logits, dtype=np.float32)

    def _forward(self, image):
        self._network.setInput(image)
        try:
            return self._network.forward(self._output)
        except cv2.error:
            # Older versions name outputs after the layer; there is one output only.
            return self._network.forward()


class OnnxRuntimeEngine:
    """The ONNX file on the processor, by ONNX Runtime where that is installed: for what OpenCV cannot run."""

    def __init__(self, card):
        try:
            import onnxruntime
        except ImportError as error:
            raise CannotRun(f"ONNX Runtime is not here ({error}). Without it: --engine opencv.") from error
        self.name = f"ONNX Runtime {onnxruntime.__version__} on the processor"
        self.seconds = []
        self._session = onnxruntime.InferenceSession(str(path_of(ONNX)), providers=["CPUExecutionProvider"])
        self._input, self._output = card["input_name"], card["output_name"]

    def infer(self, image):
        """Return the logits of a batch of one."""
        start = time.perf_counter()
        [logits] = self._session.run([self._output], {self._input: image})
        self.seconds.append(time.perf_counter() - start)
        return logits


class TensorRtEngine:
    """The plan on the GPU.

    Parameters
    ----------
    card : dict
    tensorrt : module
    cuda : Cuda, optional
        Default: the GPU of this machine.
    """

    def __init__(self, card, tensorrt, cuda=None):
        self._cuda = cuda if cuda is not None else Cuda()
        self.name = f"TensorRT {tensorrt.__version__} on {self._cuda.name}"
        self.seconds = []
        plan = read_plan(card, tensorrt.__version__, self._cuda.name)
        logger = make_logger(tensorrt)
        engine = tensorrt.Runtime(logger).deserialize_cuda_engine(plan)
        if engine is None:
            raise CannotRun(f"TensorRT does not take {PLAN}. Run convert.py again.")
        self._engine, self._logger = engine, logger
        self._context = engine.create_execution_context()
        self._names = (card["input_name"], card["output_name"])
        self._is_named = version_of(tensorrt) >= (8, 5)
        shape = (1, *input_shape(card))
        self._host_in = self._cuda.pinned(shape)
        self._host_out = self._cuda.pinned(self._set_shape(shape))
        self._gpu_in, self._gpu_out = (self._cuda.allocate(a.nbytes) for a in (self._host_in, self._host_out))
        if self._is_named:
            self._context.set_tensor_address(self._names[0], self._gpu_in)
            self._context.set_tensor_address(self._names[1], self._gpu_out)

    def infer(self, image):
        """Return the logits of a batch of one."""
        start = time.perf_counter()
        self._host_in[...] = image
        self._cuda.to_gpu(self._gpu_in, self._host_in)
        if not self._execute(self._cuda.stream.value or 0):
            raise CannotRun("TensorRT failed to execute the plan.")
        self._cuda.from_gpu(self._host_out, self._gpu_out)
        self._cuda.wait()
        self.seconds.append(time.perf_counter() - start)
        return self._host_out.copy()

    def _set_shape(self, shape):
        """Set the input's shape; the output's."""
        if self._is_named:
            self._context.set_input_shape(self._names[0], shape)
            return tuple(self._context.get_tensor_shape(self._names[1]))
        numbers = self._numbers()
        self._context.set_binding_shape(numbers[0], shape)
        return tuple(self._context.get_binding_shape(numbers[1]))

    def _numbers(self):
        """Return the numbers of input and output, by which TensorRT knew tensors before 8.5."""
        names = [self._engine.get_binding_name(n) for n in range(self._engine.num_bindings)]
        return [names.index(name) for name in self._names]

    def _execute(self, stream):
        if self._is_named:
            return self._context.execute_async_v3(stream)
        bindings = [0, 0]
        for number, address in zip(self._numbers(), (self._gpu_in, self._gpu_out)):  # noqa: B905 - Python 3.6
            bindings[number] = address
        return self._context.execute_async_v2(bindings, stream)


def read_plan(card, version, gpu):
    """Return the plan's bytes, if it was built here from this model: a plan holds native code of one GPU."""
    if not (has(PLAN) and has(PLAN_NOTE)):
        raise CannotRun(f"There is no {PLAN}. Run convert.py first.")
    note = json.loads(path_of(PLAN_NOTE).read_text(encoding="utf-8"))
    wanted = {"tensorrt": version, "gpu": gpu, "model": card["onnx_sha256"]}
    other = [f"{key}: {note.get(key)} instead of {value}" for key, value in wanted.items() if note.get(key) != value]
    if other:
        raise CannotRun("{} was not built for this ({}). Run convert.py again.".format(PLAN, "; ".join(other)))
    return path_of(PLAN).read_bytes()
