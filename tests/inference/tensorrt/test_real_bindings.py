"""What the fakes have, NVIDIA's bindings and pycuda have too, under the same names and with the same parameters."""

from __future__ import annotations

import inspect
import platform
from enum import EnumMeta
from pathlib import Path
from typing import Any

import pytest

from neuroscan_core.inference.tensorrt.cuda import CAPTURE_THREAD_LOCAL
from tests.inference.tensorrt.fake_gpu import Gpu
from tests.inference.tensorrt.fake_tensorrt import fake_tensorrt
from tests.inference.tensorrt.real_bindings import cuda_header, describe, parameters_of, pycuda_sources

VERSIONS = ("8.6.1", "10.3.0", "10.11.0.33", "10.12.0.36", "10.16.1.11", "11.2.1.2", "11.4.0.106")
CONSTRUCTED = ("Builder", "ILogger", "OnnxParser", "Runtime")
ONE_GENERATION_ONLY = {  # there must be none of these where a fake has none
    "ICudaEngine": ("num_bindings", "get_binding_name", "num_io_tensors", "get_tensor_name"),
    "IExecutionContext": ("execute_async_v2", "set_binding_shape", "execute_async_v3", "set_input_shape"),
    "BuilderFlag": ("FP16", "INT8", "TF32"),
    "NetworkDefinitionCreationFlag": ("EXPLICIT_BATCH", "STRONGLY_TYPED"),
}


def parts_of(module: Any) -> tuple[dict[str, type], dict[str, list[str]]]:
    everything = {name: value for name, value in vars(module).items() if isinstance(value, type)}
    enums = {name: list(value.__members__) for name, value in everything.items() if isinstance(value, EnumMeta)}
    return {name: value for name, value in everything.items() if name not in enums}, enums


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="these wheels are for x86-64")
@pytest.mark.parametrize("version", VERSIONS)
def test_the_fake_of_a_version_has_nothing_that_the_real_one_lacks(version: str, tmp_path: Path) -> None:
    fake = fake_tensorrt(version, Gpu())
    classes, enums = parts_of(fake)
    real = describe(version, tmp_path, list(classes), list(enums))
    assert real["version"] == version and real["logger"] == [True, ["told"]]
    assert real["start"].startswith("TensorRT does not start")
    for name, members in enums.items():
        assert set(members) <= set(real["enums"][name]), name
    for name, cls in classes.items():
        for attribute, value in vars(cls).items():
            if not attribute.startswith("_") or (attribute == "__init__" and name in CONSTRUCTED):
                check_attribute(f"{name}.{attribute}", value, real["classes"][name].get(attribute))
    for name, features in ONE_GENERATION_ONLY.items():
        has = real["enums"].get(name) or real["classes"][name].keys()
        fakes = enums.get(name) or vars(classes[name]).keys()
        assert {one for one in features if one in has} == {one for one in features if one in fakes}, name


def check_attribute(name: str, fake: Any, doc: str | None) -> None:
    assert doc is not None, f"{name} does not exist"
    if not inspect.isfunction(fake):
        return
    wanted = list(inspect.signature(fake).parameters)[1:]
    overloads = parameters_of(doc)
    assert any(
        [parameter for parameter, _ in overload[: len(wanted)]] == wanted
        and all(is_optional for _, is_optional in overload[len(wanted) :])
        for overload in overloads
    ), f"{name}({', '.join(wanted)}): {doc}"


@pytest.mark.slow
@pytest.mark.parametrize("version", ["2024.1", "2026.1"])
def test_pycuda_has_what_the_fake_driver_has(version: str, tmp_path: Path) -> None:
    source = pycuda_sources(version, tmp_path)
    for exported in (
        'py::class_<cl>("Device", py::no_init)', '.def("retain_primary_context", &cl::retain_primary_context,',
        ".DEF_SIMPLE_METHOD(compute_capability)", ".DEF_SIMPLE_METHOD(name)", '.def("push", context_push)',
        ".DEF_SIMPLE_METHOD(pop)\n      .staticmethod(\"pop\")", ".DEF_SIMPLE_METHOD(detach)",
        '("Stream", py::init<unsigned int>(py::arg("flags")=0))', ".DEF_SIMPLE_METHOD(synchronize)",
        '.add_property("handle", &cl::handle_int)', '"DeviceAllocation"', "DECLARE_EXC(Error, NULL);",
        '.DEF_SIMPLE_METHOD(free)',
        '(py::arg("shape"), py::arg("dtype"), py::arg("order")="C",', 'py::def("mem_alloc", mem_alloc_wrap,',
        'py::def("memcpy_htod_async", py_memcpy_htod_async,\n'
        '      (py::args("dest"), py::arg("src"), py::arg("stream")=py::object()));',
        'py::def("memcpy_dtoh_async", py_memcpy_dtoh_async,\n'
        '      (py::args("dest"), py::arg("src"), py::arg("stream")=py::object()));',
    ):  # fmt: skip
        assert exported in source, exported


@pytest.mark.slow
def test_the_cuda_driver_has_the_functions_of_graphs_with_these_parameters(tmp_path: Path) -> None:
    header = cuda_header(tmp_path)
    for declaration in (
        "cuStreamBeginCapture(CUstream hStream, CUstreamCaptureMode mode);",
        "#define cuStreamBeginCapture                __CUDA_API_PTSZ(cuStreamBeginCapture_v2)",
        "cuStreamEndCapture(CUstream hStream, CUgraph *phGraph);",
        "#define cuGraphInstantiate                  cuGraphInstantiateWithFlags",
        "cuGraphInstantiate(CUgraphExec *phGraphExec, CUgraph hGraph, unsigned long long flags);",
        "cuGraphInstantiate(CUgraphExec *phGraphExec, CUgraph hGraph, CUgraphNode *phErrorNode, char *logBuffer, "
        "size_t bufferSize);",
        "cuGraphLaunch(CUgraphExec hGraphExec, CUstream hStream);",
        "cuGraphExecDestroy(CUgraphExec hGraphExec);",
        "cuGraphDestroy(CUgraph hGraph);",
        f"CU_STREAM_CAPTURE_MODE_THREAD_LOCAL = {CAPTURE_THREAD_LOCAL},",
    ):
        assert declaration in header, declaration


def test_parameters_are_read_from_the_text_of_pybind11() -> None:
    doc = (
        "set_flag(*args, **kwargs)\nOverloaded function.\n\n"
        "1. set_flag(self: trt.Config, flag: trt.Flag, names: list[int] = [], path: str = None) -> None\n\n"
        "2. set_flag(self: trt.Config) -> bool\n"
    )
    assert parameters_of(doc) == [[("flag", False), ("names", True), ("path", True)], []]
