"""What changes between versions of TensorRT: how FP16 is asked for, how tensors are addressed, what ONNX may hold.

Nothing here imports TensorRT.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from neuroscan_core.domain.errors import EngineUnavailable

Precision = Literal["fp32", "fp16", "int8"]

OLDEST = (8, 2)
NEWEST_OPSET = 25
OLDEST_OPSET = 9


@dataclass(frozen=True)
class Generation:
    """The rules of one version.

    Parameters
    ----------
    major, minor : int
    """

    major: int
    minor: int

    @classmethod
    def of(cls, version: str) -> Generation:
        """Rules of the version that ``tensorrt.__version__`` states.

        Raises
        ------
        EngineUnavailable
            It is older than 8.2, or no version.
        """
        match = re.match(r"(\d+)\.(\d+)", version)
        if match is None or (int(match[1]), int(match[2])) < OLDEST:
            raise EngineUnavailable(
                f"TensorRT {version} is too old; 8.2 is the first that is supported.",
                remedy="Install JetPack 4.6 or newer, or set segmenter.engine: onnxruntime.",
            )
        return cls(int(match[1]), int(match[2]))

    @property
    def is_weakly_typed(self) -> bool:
        """FP16 and INT8 are allowed by a flag of the builder; later versions take the types of the ONNX graph."""
        return (self.major, self.minor) < (10, 12)

    @property
    def wants_explicit_batch(self) -> bool:
        """Networks have a batch axis only if a flag says so."""
        return self.major < 10

    @property
    def has_named_tensors(self) -> bool:
        """Tensors are addressed by name; before, by the number of their binding."""
        return (self.major, self.minor) >= (8, 5)

    @property
    def has_memory_pools(self) -> bool:
        """The limit of the workspace is one of several pools' limits."""
        return (self.major, self.minor) >= (8, 4)

    @property
    def shares_profiles(self) -> bool:
        """Several execution contexts may use one optimisation profile."""
        return self.major >= 10

    def builder_flags(self, precision: Precision) -> tuple[str, ...]:
        """Names of the `BuilderFlag` members to set."""
        if not self.is_weakly_typed:
            return ()
        # What is not quantised in an INT8 network may run in FP16.
        return {"fp32": (), "fp16": ("FP16",), "int8": ("FP16", "INT8")}[precision]

    def network_flags(self) -> tuple[str, ...]:
        """Names of the `NetworkDefinitionCreationFlag` members to set."""
        if self.wants_explicit_batch:
            return ("EXPLICIT_BATCH",)
        return () if self.is_weakly_typed else ("STRONGLY_TYPED",)

    def takes_opset(self, opset: int) -> bool:
        """Whether its parser reads this ONNX opset, as far as the version states limits."""
        return self.major < 11 or OLDEST_OPSET <= opset <= NEWEST_OPSET

    def file_precision(self, precision: Precision) -> Precision:
        """Precision that the ONNX file itself must have."""
        return "fp32" if precision == "fp16" and self.is_weakly_typed else precision
