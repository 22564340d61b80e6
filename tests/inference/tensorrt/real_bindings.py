"""NVIDIA's own Python bindings without NVIDIA's libraries: downloaded, given empty libraries, and asked for their API.

The bindings link to a dozen functions of libnvinfer and its kin. Libraries that have these functions and nothing else
are enough to import them, and pybind11 then tells every class, method and parameter. Nothing of this is kept.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

PACKAGES = {"8.6.1": "tensorrt_bindings", "default": "tensorrt-cu12-bindings"}
REPOSITORY = Path(__file__).parents[3]
TIMEOUT_S = 180

DESCRIBE = """
import json, sys
import tensorrt_bindings as trt
from neuroscan_core.domain.errors import EngineUnavailable
from neuroscan_core.inference.tensorrt.builder import BuildRequest, Profile, _bits, build_plan, make_logger
from neuroscan_core.inference.tensorrt.generation import Generation

classes, enums = json.loads(sys.argv[1]), json.loads(sys.argv[2])
generation, logger = Generation.of(trt.__version__), make_logger(trt)
logger.log(trt.ILogger.ERROR, "told")
try:
    build_plan(trt, BuildRequest(b"", "image", "fp16", Profile((3, 32, 32), 1), 1 << 20))
    start = "starts"
except EngineUnavailable as exc:
    start = exc.message
print(json.dumps({
    "version": trt.__version__,
    "classes": {name: {a: getattr(getattr(trt, name), a).__doc__ or "" for a in dir(getattr(trt, name))}
                for name in classes},
    "enums": {name: sorted(getattr(trt, name).__members__) for name in enums},
    "start": start,
    "logger": [isinstance(logger, trt.ILogger), logger.errors],
    "network_flags": _bits(trt.NetworkDefinitionCreationFlag, generation.network_flags()),
    "builder_flags": [int(getattr(trt.BuilderFlag, flag)) for flag in generation.builder_flags("int8")],
}))
"""


def download(folder: Path, requirement: str, *options: str) -> Path:
    """Fetch one file with pip; the test is skipped where that cannot be done."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", *options, "-d", str(folder), requirement]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode != 0:
        pytest.skip(f"{requirement} cannot be downloaded: {done.stderr.strip().splitlines()[-1:]}")
    [path] = (path for path in folder.iterdir() if path.suffix in (".whl", ".gz"))
    return path


def describe(version: str, folder: Path, classes: list[str], enums: list[str]) -> dict[str, Any]:
    """Import the bindings of a version in a process of their own; what they have."""
    package = PACKAGES.get(version, PACKAGES["default"])
    wheel = download(folder, f"{package}=={version}", "--only-binary=:all:")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    libraries = folder / "empty"
    make_empty_libraries(folder / "tensorrt_bindings" / "tensorrt.so", libraries)
    environment = dict(os.environ) | {
        "LD_LIBRARY_PATH": str(libraries), "PYTHONPATH": os.pathsep.join((str(folder), str(REPOSITORY))),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DESCRIBE, json.dumps(classes), json.dumps(enums)],
        capture_output=True, text=True, timeout=TIMEOUT_S, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def make_empty_libraries(bindings: Path, folder: Path) -> None:
    """Libraries with the names and functions that the bindings need; the functions answer null."""
    folder.mkdir()
    dynamic = _tool("readelf", "-d", str(bindings))
    undefined = re.findall(r"^\s+U (\w+)$", _tool("nm", "-D", "--undefined-only", str(bindings)), re.MULTILINE)
    functions = [
        name for name in undefined if re.search(r"Infer|NvOnnx|PluginRegistry|NvInferPlugins|nvuff|nvcaffe", name)
    ]
    source = "".join(f"void *{name}(void) {{ return 0; }}\n" for name in functions)
    for name in re.findall(r"\[(libnv[^\]]+)\]", dynamic):
        _tool("cc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(folder / name), f"-Wl,-soname,{name}", text=source)


def pycuda_sources(version: str, folder: Path) -> str:
    """Source of pycuda's bindings to the CUDA driver."""
    path = download(folder, f"pycuda=={version}", "--no-binary=:all:", "--no-build-isolation")
    with tarfile.open(path) as archive:
        member = archive.extractfile(f"pycuda-{version}/src/wrapper/wrap_cudadrv.cpp")
        assert member is not None
        return member.read().decode()


def cuda_header(folder: Path) -> str:
    """`cuda.h` of CUDA 12."""
    wheel = download(folder, "nvidia-cuda-runtime-cu12==12.6.77", "--only-binary=:all:")
    with zipfile.ZipFile(wheel) as archive:
        return archive.read("nvidia/cuda_runtime/include/cuda.h").decode()


def parameters_of(doc: str) -> list[list[tuple[str, bool]]]:
    """Of a pybind11 docstring: for each overload the parameters after self, with whether they may be left out."""
    overloads = []
    for signature in re.findall(r"^(?:\d+\. )?\w+\(self: [^,)]+(?:, )?(.*)\) -> ", doc, re.MULTILINE):
        parts = re.findall(r"(\w+): (?:[^,\[\]=]|\[[^\]]*\]+)*?(= [^,]+)?(?:, |$)", signature)
        overloads.append([(name, bool(default)) for name, default in parts])
    return overloads


def _tool(*command: str, text: str | None = None) -> str:
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    except FileNotFoundError:
        pytest.skip(f"{command[0]} is not installed")
    return done.stdout
