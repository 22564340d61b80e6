"""A bundle on TensorRT: which file to build in which precision, load or build, gate, serve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from neuroscan_core.config import SegmenterConfig
from neuroscan_core.domain.errors import EngineRefused, EngineUnavailable
from neuroscan_core.domain.model_card import ModelCard, ModelKind
from neuroscan_core.inference.bundle import Bundle
from neuroscan_core.inference.gate import Agreement, check_against_reference, keeps_items_apart, limits_for
from neuroscan_core.inference.tensorrt.builder import BuildRequest, BuiltPlan, PlanNotBuilt, Profile, build_plan
from neuroscan_core.inference.tensorrt.cuda import CudaThread, GraphNotRecorded, load_driver_library
from neuroscan_core.inference.tensorrt.generation import Generation
from neuroscan_core.inference.tensorrt.kept_plans import KeptPlans
from neuroscan_core.inference.tensorrt.network import NetworkFile, networks_to_try
from neuroscan_core.inference.tensorrt.plan_cache import Device, PlanKey
from neuroscan_core.inference.tensorrt.runtime import PlanRuntime
from neuroscan_core.lifetime import Closes
from neuroscan_core.log import get_logger

log = get_logger(__name__)


@dataclass(frozen=True)
class Libraries:
    """The foreign modules, passed down so that tests put others in their place.

    Parameters
    ----------
    trt, driver : module
        `tensorrt` and `pycuda.driver`.
    driver_library : ctypes.CDLL, optional
        libcuda, for CUDA graphs.
    """

    trt: Any
    driver: Any
    driver_library: Any = None

    @classmethod
    def load(cls, *, with_graphs: bool) -> Libraries:
        """Import them.

        Raises
        ------
        EngineUnavailable
            One is not installed.
        """
        try:
            import pycuda.driver as driver
            import tensorrt as trt
        except ImportError as exc:
            raise EngineUnavailable(f"TensorRT cannot be used: {exc}.", remedy=INSTALL) from exc
        try:
            library = load_driver_library() if with_graphs else None
        except GraphNotRecorded as exc:
            raise EngineUnavailable(f"There is no CUDA driver: {exc}", remedy=INSTALL) from exc
        return cls(trt, driver, library)


INSTALL = (
    "On a Jetson, TensorRT comes with JetPack: let the environment see it (python3 -m venv --system-site-packages) and "
    "`pip install pycuda`. On x86-64 with an NVIDIA driver: pip install 'neuroscan[gpu]'."
)


class TensorRtEngine(Closes):
    """A network on TensorRT; adapter of `ports.InferenceEngine`.

    Parameters
    ----------
    bundle : Bundle
    config : SegmenterConfig
    libraries : Libraries, optional

    Raises
    ------
    EngineUnavailable
        TensorRT, pycuda or a GPU is missing, or the bundle has no file for the precision that was asked for.
    EngineRefused
        The engine cannot be built, or differs from the reference of its bundle.
    """

    def __init__(self, bundle: Bundle, config: SegmenterConfig, libraries: Libraries | None = None) -> None:
        self._bundle, self._config = bundle, config
        self._libraries = libraries or Libraries.load(with_graphs=config.tensorrt.cuda_graphs)
        self._runtime: PlanRuntime | None = None
        self._profile = Profile(bundle.reference.image_NCHW.shape[1:], _largest_batch(bundle, config))
        self._items_per_run = self._profile.max_batch
        version = str(self._libraries.trt.__version__)
        networks = networks_to_try(bundle, config.precision, Generation.of(version))
        self._cuda = CudaThread(self._libraries.driver)
        try:
            device = Device(self._cuda.gpu, self._cuda.compute_capability, version)
            self._network = self._open_first(networks, device, KeptPlans(config.tensorrt.plan_dir))
            self.agreement: Agreement = check_against_reference(
                self, bundle.reference, limits_for(self._network.precision)
            )
            if self._profile.max_batch > 1 and not keeps_items_apart(self, bundle.reference):
                self._items_per_run = 1
        except BaseException:
            self.close()
            raise

    @property
    def card(self) -> ModelCard:
        """Card of the bundle."""
        return self._bundle.card

    @property
    def name(self) -> str:
        """What executes."""
        return f"tensorrt-{self._network.precision}"

    def run(self, image_NCHW: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Logits for a batch, shape (N, outputs, ...).

        Raises
        ------
        EngineUnavailable
            The GPU failed.
        """
        runtime, step = self._runtime, self._items_per_run
        assert runtime is not None
        parts = [image_NCHW[n : n + step] for n in range(0, len(image_NCHW), step)]
        return np.concatenate(self._cuda.call(lambda: [runtime.run(part) for part in parts]))

    def close(self) -> None:
        """Release the engine."""
        runtime, self._runtime = self._runtime, None
        try:
            self._cuda.close(runtime.close if runtime is not None else lambda: None)
        except EngineUnavailable as exc:
            log.warning("the GPU did not let go of an engine", model=self.card.name, reason=str(exc))

    def _open_first(self, networks: tuple[NetworkFile, ...], device: Device, kept: KeptPlans) -> NetworkFile:
        """Load or build the first network for which this GPU has all kernels."""
        for network, is_last in zip(networks, (*[False] * (len(networks) - 1), True), strict=True):
            try:
                self._runtime = self._open(network, device, kept)
                return network
            except PlanNotBuilt as exc:
                if is_last or not exc.lacks_kernel:
                    raise
                log.warning("TensorRT lacks a kernel; another file of the bundle is tried", file=network.path.name)
        raise AssertionError("there is at least one network")

    def _open(self, network: NetworkFile, device: Device, kept: KeptPlans) -> PlanRuntime:
        key = PlanKey(self.card.name, network.sha256, network.precision, self._profile, device)
        plan = kept.load(key)
        if plan is not None:
            try:
                return self._load(plan)
            except EngineRefused as exc:
                log.warning("a stored engine is not taken and is built anew", model=key.model, reason=str(exc))
        built = self._build(network, kept.timing(device))
        runtime = self._load(built.plan)
        kept.keep(key, built)
        return runtime

    def _load(self, plan: bytes) -> PlanRuntime:
        names, libraries = (self.card.input_name, self.card.output_name), self._libraries
        return self._cuda.call(
            lambda: PlanRuntime(libraries.trt, libraries.driver, plan, self._profile, names, libraries.driver_library)
        )

    def _build(self, network: NetworkFile, timing: bytes) -> BuiltPlan:
        log.info("an engine is built; this takes minutes", model=self.card.name, precision=network.precision)
        request = BuildRequest(
            onnx=network.path.read_bytes(),
            input_name=self.card.input_name,
            precision=network.precision,
            profile=self._profile,
            workspace_bytes=self._config.tensorrt.workspace_mib << 20,
            timing_cache=timing,
        )
        return self._cuda.call(lambda: build_plan(self._libraries.trt, request))


def _largest_batch(bundle: Bundle, config: SegmenterConfig) -> int:
    """Patches of volumes are large; they run one by one."""
    return 1 if bundle.card.kind is ModelKind.VOLUME3D else config.max_batch
