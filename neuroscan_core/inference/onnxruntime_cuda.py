"""Execution on ONNX Runtime with CUDA: for GPUs without TensorRT."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from neuroscan_core.config import SegmenterConfig
from neuroscan_core.domain.errors import EngineUnavailable
from neuroscan_core.domain.model_card import ModelCard, ModelKind
from neuroscan_core.inference.bundle import Bundle
from neuroscan_core.inference.gate import check_against_reference, keeps_items_apart
from neuroscan_core.inference.onnxruntime import num_processors, open_session
from neuroscan_core.lifetime import Closes

PROVIDER = "CUDAExecutionProvider"
OPTIONS = {
    "cudnn_conv_algo_search": "HEURISTIC",  # an exhaustive search takes seconds for each new batch size
    "arena_extend_strategy": "kSameAsRequested",  # on a Jetson, GPU and processor share the memory
    "use_tf32": "0",  # its products have ten bits only
}


class OnnxRuntimeCudaEngine(Closes):
    """A network on ONNX Runtime's CUDA provider; adapter of `ports.InferenceEngine`.

    Parameters
    ----------
    bundle : Bundle
    config : SegmenterConfig

    Raises
    ------
    EngineUnavailable
        The installed ONNX Runtime has no CUDA provider, or it does not start here.
    InvalidBundle
        ONNX Runtime cannot load the file, or its inputs and outputs are not those of the card.
    EngineRefused
        It computes something else than the bundle's reference.
    """

    def __init__(self, bundle: Bundle, config: SegmenterConfig) -> None:
        require_provider()
        if config.precision not in ("auto", "fp32"):
            raise EngineUnavailable(
                f"onnxruntime-cuda computes in fp32, not {config.precision}.", remedy="Set segmenter.precision: fp32."
            )
        self._card = bundle.card
        threads = config.threads or num_processors()
        self._session = open_session(bundle, (PROVIDER, OPTIONS), "CPUExecutionProvider", threads=threads)
        if PROVIDER not in self._session.get_providers():
            raise EngineUnavailable(
                "ONNX Runtime's CUDA provider does not start here.",
                remedy="Check the GPU's driver, CUDA and cuDNN against the table of onnxruntime-gpu's versions.",
            )
        self._items_per_run = 1 if bundle.card.kind is ModelKind.VOLUME3D else config.max_batch
        check_against_reference(self, bundle.reference)
        if self._items_per_run > 1 and not keeps_items_apart(self, bundle.reference):
            self._items_per_run = 1

    @property
    def card(self) -> ModelCard:
        """Card of the bundle."""
        return self._card

    @property
    def name(self) -> str:
        """What executes."""
        return "onnxruntime-cuda"

    def run(self, image_NCHW: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Logits for a batch, shape (N, outputs, ...)."""
        starts = range(0, len(image_NCHW), self._items_per_run)
        return np.concatenate([self._run_part(image_NCHW[n : n + self._items_per_run]) for n in starts])

    def close(self) -> None:
        """Release the engine."""
        self._session = None

    def _run_part(self, image_NCHW: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        from onnxruntime.capi import onnxruntime_pybind11_state as failures

        feed = {self._card.input_name: np.ascontiguousarray(image_NCHW, dtype=np.float32)}
        try:
            return np.asarray(self._session.run([self._card.output_name], feed)[0], dtype=np.float32)
        except (failures.Fail, failures.RuntimeException) as exc:
            raise EngineUnavailable(
                f"ONNX Runtime failed on the GPU: {exc}.", remedy="Look at the kernel log."
            ) from exc


def require_provider() -> None:
    """Check that the installed ONNX Runtime was built with CUDA.

    Raises
    ------
    EngineUnavailable
        It was not.
    """
    import onnxruntime

    if PROVIDER not in onnxruntime.get_available_providers():
        raise EngineUnavailable(
            f"The installed ONNX Runtime {onnxruntime.__version__} has no CUDA.",
            remedy="pip uninstall onnxruntime && pip install onnxruntime-gpu; on a Jetson, NVIDIA's wheel for JetPack.",
        )
