"""The study: speed and memory measured in turns, accuracy per engine, sizes; one row per candidate."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neuroscan_core.config import SegmenterConfig
from neuroscan_core.domain.model_card import ModelKind
from neuroscan_core.inference.availability import engines_here
from neuroscan_core.inference.bundle import Bundle, load_bundle
from training.compare.candidate import Candidate, file_of
from training.compare.measure import Measured
from training.compare.operations import count_gmac
from training.data.cache import ArrayCache, CachedCase
from training.evaluate.bundle import evaluate_model
from training.evaluate.model import model_of_card

MIB = 2**20
CasesOf = Callable[[str, str], tuple[ArrayCache, Sequence[CachedCase]]]


@dataclass
class Row:
    """Everything about a candidate.

    Parameters
    ----------
    scores : dict of str to dict
        Per part, mean Dice (or accuracy) of each set.
    tta_scores : dict of str to dict
        The same with test-time augmentation.
    engine_mib : float, optional
        Size of the plan that TensorRT built.
    """

    measured: Measured
    parameters: int | None
    gmac: float | None
    onnx_mib: float
    engine_mib: float | None = None
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    tta_scores: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def candidate(self) -> Candidate:
        """What was measured."""
        return self.measured.candidate


def make_row(measured: Measured) -> Row:
    """Add sizes to what was measured."""
    candidate = measured.candidate
    bundle = load_bundle(candidate.folder)
    plan = newest_plan(candidate.plan_dir) if candidate.engine == "tensorrt" else None
    parameters = bundle.card.raw["onnx"].get("parameters")
    return Row(
        measured,
        None if parameters is None else int(parameters),
        gmac_of(bundle),
        file_of(bundle, candidate).stat().st_size / MIB,
        None if plan is None else plan.stat().st_size / MIB,
    )


def gmac_of(bundle: Bundle) -> float | None:
    """Return the operations of a bundle's network; None where the package that counts them is missing."""
    try:
        return count_gmac(bundle.onnx_path)
    except ImportError:
        return None


def newest_plan(folder: Path | None) -> Path | None:
    """Return the plan that was written last."""
    plans = [path for path in folder.rglob("*") if path.suffix in (".plan", ".engine")] if folder else []
    return max(plans, key=lambda path: path.stat().st_mtime, default=None)


def add_scores(row: Row, part: str, cases_of: CasesOf, *, tta: bool) -> None:
    """Evaluate a candidate on its own engine.

    Parameters
    ----------
    cases_of : callable
        View of the data and part to cache and cases.
    """
    candidate = row.candidate
    bundle = load_bundle(candidate.folder)
    with closing(bundle.open_engine(candidate.config)) as engine:
        model = model_of_card(bundle.card, engine.run, engine.name)
        cache, cases = cases_of(model.view, part)
        results = evaluate_model(model, cache, cases, part, tta=tta)
    key = "accuracy" if candidate.kind is ModelKind.CLASSIFIER else "dice_mean"
    row.scores[part] = {name: summary[key] for name, summary in results["sets"].items()}
    if tta:
        row.tta_scores[part] = {name: summary[key] for name, summary in results["tta"]["sets"].items()}


def device_lines(threads: int) -> list[str]:
    """Return what the machine is, in words."""
    import onnxruntime

    lines = [
        f"Processor: {processor_name()}, {os.cpu_count()} logical processors, {threads or 'all'} used per engine",
        f"Python {platform.python_version()}, ONNX Runtime {onnxruntime.__version__}, {platform.platform()}",
    ]
    on_gpu = ("onnxruntime-cuda", "tensorrt")
    return lines + [str(entry) for entry in engines_here(SegmenterConfig()) if entry.engine in on_gpu]


def processor_name(cpuinfo: Path = Path("/proc/cpuinfo"), device_tree: Path = Path("/proc/device-tree/model")) -> str:
    """Return the name of the board or the processor."""
    if device_tree.is_file():
        return device_tree.read_text(encoding="ascii", errors="replace").strip("\0\n ")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def by_kind(rows: Sequence[Row]) -> Mapping[ModelKind, list[Row]]:
    """Group rows: networks of different kinds do different things."""
    groups: dict[ModelKind, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.candidate.kind, []).append(row)
    return groups


def as_records(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return flat records, two per candidate where it was evaluated with augmentation at test time too."""
    records = []
    for group in by_kind(rows).values():
        first = group[0].measured.timings
        for row in group:
            records.append(_record(row, first, tta=False))
            if row.tta_scores:
                records.append(_record(row, first, tta=True))
    return records


def _record(row: Row, first: Mapping[str, Any], *, tta: bool) -> dict[str, Any]:
    candidate, timings = row.candidate, row.measured.timings
    alone, whole = timings["tta" if tta else "engine"], timings["pipeline"]
    scores = row.tta_scores if tta else row.scores
    record: dict[str, Any] = {
        "kind": candidate.kind.value,
        "network": candidate.name,
        "engine": row.measured.engine,
        "precision": candidate.precision,
        "tta": int(tta),
        "parameters": row.parameters,
        "gmac": row.gmac,
    }
    for part, sets in scores.items():
        record |= {f"{part} {name}": value for name, value in sets.items()}
    record |= {
        "engine_p50_ms": alone.percentile_ms(50),
        "engine_p99_ms": alone.percentile_ms(99),
        "engine_per_s": 1000.0 / alone.percentile_ms(50),
        "engine_ratio": alone.ratio_to(first["engine"]),
        # The node runs without augmentation, so there is no way from slice to mask with it.
        "pipeline_p50_ms": None if tta else whole.percentile_ms(50),
        "pipeline_p99_ms": None if tta else whole.percentile_ms(99),
        "pipeline_ratio": None if tta else whole.ratio_to(first["pipeline"]),
        "onnx_mib": row.onnx_mib,
        "engine_mib": row.engine_mib,
        "peak_memory_mib": row.measured.peak_mib,
        "memory_before_mib": row.measured.before_mib,
        "open_s": row.measured.open_s,
    }
    return record
