"""Execution on ONNX Runtime, on the processor: the reference engine of the node.

Each slice is computed by one thread, several slices at once. Measured on two cores with the bundled network, that
takes a fifth less processor time per slice than one slice on two threads, because threads never wait for each other;
and a slice's logits cannot depend on what else is in the batch. A patch of a volume is large enough, and takes memory
enough, that all threads work on one. Worker threads sleep when idle (no spinning): the gateway shares the processor.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.errors import EngineRefused, EngineUnavailable, InvalidBundle, ModelError
from neuroscan_core.domain.model_card import ModelCard, ModelKind
from neuroscan_core.inference.bundle import Bundle
from neuroscan_core.inference.gate import check_against_reference, limits_for
from neuroscan_core.inference.variants import variant_path
from neuroscan_core.lifetime import Closes
from neuroscan_core.log import get_logger

log = get_logger(__name__)

DOT_PRODUCTS = frozenset({"avx512_vnni", "avx_vnni", "asimddp"})


class OnnxRuntimeEngine(Closes):
    """A network on ONNX Runtime; adapter of `ports.InferenceEngine`.

    Parameters
    ----------
    bundle : Bundle
    threads : int
        Slices computed at once, or threads for one patch of a volume; 0: as many as there are processors.
    precision : str
        ``int8`` takes the bundle's quantised file, ``auto`` does where the bundle has one that can be used and the
        processor multiplies bytes (see `multiplies_bytes`); anything else computes in FP32, which is the most exact.

    Raises
    ------
    EngineUnavailable
        The bundle has no quantised file.
    InvalidBundle
        ONNX Runtime cannot load the file, or its inputs and outputs are not those of the card.
    EngineRefused
        It computes something else than the bundle's reference.
    """

    def __init__(self, bundle: Bundle, threads: int = 0, *, precision: str = "fp32") -> None:
        self._card = bundle.card
        is_chosen = precision == "auto" and has_quantised_file(bundle) and multiplies_bytes()
        threads = threads or num_processors()
        is_volume = bundle.card.kind is ModelKind.VOLUME3D
        self._session_threads, pool_threads = (threads, 1) if is_volume else (1, threads)
        self._pool = ThreadPoolExecutor(pool_threads, thread_name_prefix="onnxruntime")
        try:
            if not (is_chosen and self._open_quantised(bundle)):
                self._open(bundle, "int8" if precision == "int8" else "fp32")
        except ModelError:
            self.close()
            raise

    @property
    def card(self) -> ModelCard:
        """Card of the bundle."""
        return self._card

    @property
    def name(self) -> str:
        """What executes."""
        return "onnxruntime-cpu" if self._precision == "fp32" else f"onnxruntime-cpu-{self._precision}"

    def run(self, image_NCHW: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Logits for a batch, shape (N, outputs, ...)."""
        items = [image_NCHW[n : n + 1] for n in range(len(image_NCHW))]
        if len(items) == 1:
            return self._run_one(items[0])
        return np.concatenate(list(self._pool.map(self._run_one, items)))

    def close(self) -> None:
        """Release the engine."""
        self._pool.shutdown()

    def _open_quantised(self, bundle: Bundle) -> bool:
        """Open the INT8 file that nobody asked for; False where it cannot be used."""
        try:
            self._open(bundle, "int8")
        except (EngineRefused, InvalidBundle) as exc:
            log.error("the quantised network cannot be used; FP32 serves", model=self._card.name, reason=str(exc))
            return False
        return True

    def _open(self, bundle: Bundle, precision: str) -> None:
        self._precision = precision
        path = quantised_file(bundle) if precision == "int8" else bundle.onnx_path
        self._session = open_session(bundle, "CPUExecutionProvider", threads=self._session_threads, path=path)
        check_against_reference(self, bundle.reference, limits_for(precision))

    def _run_one(self, image_1CHW: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        feed = {self._card.input_name: np.ascontiguousarray(image_1CHW, dtype=np.float32)}
        return np.asarray(self._session.run([self._card.output_name], feed)[0], dtype=np.float32)


def num_processors() -> int:
    """Count the processors that this process may use, fewer than the machine has inside a container."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def multiplies_bytes(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor has dot products of bytes, without which INT8 is no faster than FP32.

    Measured with the bundled network, one thread: 2.2 times as fast with AVX512-VNNI. Processors are asked by the
    names that Linux gives their features: VNNI of AVX-512 and of AVX on x86-64, DotProd on Arm.
    """
    try:
        text = cpuinfo.read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return not DOT_PRODUCTS.isdisjoint(text.split())


def has_quantised_file(bundle: Bundle) -> bool:
    """Whether the bundle holds the same network in INT8 for ONNX Runtime."""
    return bool(bundle.card.variants_for("onnxruntime", "int8"))


def quantised_file(bundle: Bundle) -> Path:
    """File of the same network in INT8 for ONNX Runtime.

    Raises
    ------
    EngineUnavailable
        The bundle has none.
    """
    variants = bundle.card.variants_for("onnxruntime", "int8")
    if not variants:
        raise EngineUnavailable(
            f"{bundle.card.name} has no int8 file for ONNX Runtime.", remedy="Set segmenter.precision: auto."
        )
    return variant_path(bundle, variants[0])


def open_session(  # onnxruntime has no type information
    bundle: Bundle, *providers: Any, threads: int, path: Path | None = None
) -> Any:
    """Load a bundle's network.

    Parameters
    ----------
    providers : str or (str, dict)
        Execution providers with their options, as ONNX Runtime names them.
    path : Path, optional
        Another file of the bundle.

    Raises
    ------
    InvalidBundle
        ONNX Runtime cannot load the file, or its inputs and outputs are not those of the card.
    """
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as failures

    path = path or bundle.onnx_path
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=list(providers))
    except (failures.Fail, failures.InvalidGraph, failures.InvalidProtobuf, failures.NotImplemented) as exc:
        raise InvalidBundle(f"ONNX Runtime cannot load {path}: {exc}.") from exc
    _check_tensors(session, bundle)
    return session


def _check_tensors(session: Any, bundle: Bundle) -> None:
    card, reference = bundle.card, bundle.reference
    wanted = {
        card.input_name: list(reference.image_NCHW.shape[1:]),
        card.output_name: list(reference.logits_NLHW.shape[1:]),
    }
    found = {tensor.name: list(tensor.shape)[1:] for tensor in (*session.get_inputs(), *session.get_outputs())}
    types = {tensor.type for tensor in (*session.get_inputs(), *session.get_outputs())}
    fits = found.keys() == wanted.keys() and all(_fits(found[name], shape) for name, shape in wanted.items())
    if not fits or types != {"tensor(float)"}:
        raise InvalidBundle(
            f"Tensors of {card.name} are {found} of {', '.join(sorted(types))}; the card says {wanted}, float32.",
            remedy="Export the bundle again.",
        )


def _fits(found: list[int | str], wanted: list[int]) -> bool:
    """Whether shapes agree; a symbolic dimension fits any size."""
    return len(found) == len(wanted) and all(
        not isinstance(f, int) or f == w for f, w in zip(found, wanted, strict=True)
    )
