"""A candidate of a comparison: one bundle on one engine with one precision; and which candidates a machine has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from neuroscan_core.config import SegmenterConfig, TensorRtConfig
from neuroscan_core.domain.model_card import ModelKind
from neuroscan_core.inference.availability import engines_here
from neuroscan_core.inference.bundle import Bundle, load_bundle

ENGINES = ("onnxruntime", "onnxruntime-cuda", "tensorrt")
PRECISIONS = {"onnxruntime": ("fp32", "int8"), "onnxruntime-cuda": ("fp32",), "tensorrt": ("fp16", "fp32")}


@dataclass(frozen=True)
class Candidate:
    """One row of the comparison.

    Parameters
    ----------
    folder : Path
        Of the bundle.
    name : str
        Of the network.
    kind : ModelKind
    engine, precision : str
        As in `SegmenterConfig`.
    threads : int
        Of the processor; 0: all.
    plan_dir : Path, optional
        Where TensorRT keeps its plans.
    """

    folder: Path
    name: str
    kind: ModelKind
    engine: str
    precision: str
    threads: int = 1
    plan_dir: Path | None = None

    @property
    def label(self) -> str:
        """Name, engine and precision."""
        return f"{self.name}, {self.engine} {self.precision}"

    @property
    def config(self) -> SegmenterConfig:
        """Configuration of the node that runs it."""
        return SegmenterConfig(
            engine=self.engine,  # type: ignore[arg-type]  # checked by the model
            precision=self.precision,  # type: ignore[arg-type]
            threads=self.threads,
            tensorrt=TensorRtConfig(plan_dir=self.plan_dir),
        )


def candidates_here(
    folders: Sequence[Path], engines: Sequence[str] = (), threads: int = 1, plan_dir: Path | None = None
) -> tuple[list[Candidate], list[str]]:
    """Return the candidates that this machine can run, and why it cannot run the others.

    Parameters
    ----------
    engines : sequence of str
        Only these; empty: all that are here.

    Raises
    ------
    InvalidBundle
        A bundle is damaged.
    """
    wanted = tuple(engines) or ENGINES
    here = {entry.engine: entry for entry in engines_here(SegmenterConfig()) if entry.engine in wanted}
    left_out = [str(entry) for entry in here.values() if not entry.is_available]
    candidates = []
    for folder in folders:
        bundle = load_bundle(folder)
        for engine in wanted:
            if engine in here and here[engine].is_available:
                candidates += [
                    Candidate(folder, bundle.card.name, bundle.card.kind, engine, precision, threads, plan_dir)
                    for precision in PRECISIONS[engine]
                    if _has_file(bundle, engine, precision)
                ]
    return candidates, left_out


def _has_file(bundle: Bundle, engine: str, precision: str) -> bool:
    """Whether the bundle has what an engine needs for a precision; TensorRT makes its own FP16."""
    return engine != "onnxruntime" or precision == "fp32" or bool(bundle.card.variants_for(engine, precision))


def file_of(bundle: Bundle, candidate: Candidate) -> Path:
    """Return the ONNX file that a candidate executes or builds from."""
    variants = bundle.card.variants_for(candidate.engine, candidate.precision)
    return bundle.folder / variants[0].file if variants else bundle.onnx_path
