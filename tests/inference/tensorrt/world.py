"""A bundle, a GPU and TensorRT of some version."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

from neuroscan_core.config import SegmenterConfig
from neuroscan_core.inference.bundle import Bundle, load_bundle
from neuroscan_core.inference.tensorrt.engine import Libraries, TensorRtEngine
from tests.inference.tensorrt.fake_gpu import FakeLibcuda, Gpu, fake_driver
from tests.inference.tensorrt.fake_tensorrt import Faults, fake_tensorrt
from tests.inference.test_bundle import change_card
from tests.inference.tiny_model import TINY


class Machine:
    """One GPU with libraries; engines are opened with a folder for plans."""

    def __init__(self, plan_dir: Path | None, version: str = "10.3.0", *, graphs: bool = False, **noise: Any) -> None:
        self.gpu, self.faults = Gpu(), Faults(**noise)
        self.version, self.plan_dir = version, plan_dir
        self.libcuda = FakeLibcuda(self.gpu) if graphs else None

    def open(self, bundle: Bundle | None = None, **settings: Any) -> TensorRtEngine:
        config = SegmenterConfig.model_validate({"tensorrt": {"plan_dir": self.plan_dir}, **settings})
        libraries = Libraries(fake_tensorrt(self.version, self.gpu, self.faults), fake_driver(self.gpu), self.libcuda)
        return TensorRtEngine(bundle or load_bundle(TINY), config, libraries)


def bundle_with_variants(folder: Path, *precisions: str) -> Bundle:
    """The tiny bundle with more files; each holds the same network with a remark that makes it another file."""
    shutil.copytree(TINY, folder)
    variants = []
    for number, precision in enumerate(precisions):
        doc_string = f"{precision} {number}".encode()
        contents = (TINY / "model.onnx").read_bytes() + b"\x32" + bytes([len(doc_string)]) + doc_string
        name = f"model.{precision}.{number}.onnx"
        (folder / name).write_bytes(contents)
        digest = hashlib.sha256(contents).hexdigest()
        variants.append({"file": name, "sha256": digest, "precision": precision, "engine": "tensorrt"})
    change_card(folder, lambda card: card.update(variants=variants))
    return load_bundle(folder)
