"""Opens an engine as the node would, holds it against ONNX Runtime here and now, and times it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from neuroscan_core.config import SegmenterConfig
from neuroscan_core.inference.bundle import Bundle
from neuroscan_core.inference.gate import Agreement, compare, keeps_items_apart
from neuroscan_core.inference.onnxruntime import OnnxRuntimeEngine
from neuroscan_core.inference.select import OPENERS, Opener
from neuroscan_core.ports import InferenceEngine
from training.engine.latency import Latency, engine_latency, result_latency


@dataclass(frozen=True)
class Examination:
    """What was found.

    Parameters
    ----------
    engine : str
        What executes.
    agreement : Agreement
        With ONNX Runtime in FP32 on this machine's processor, on the bundle's reference inputs.
    keeps_items_apart : bool
        An item's logits are the same bits alone and in a batch.
    opening_s : float
        To load the engine, or to build it; with the gate.
    latencies : tuple of Latency
        Empty where only the gate was asked for.
    """

    model: str
    engine: str
    agreement: Agreement
    keeps_items_apart: bool
    opening_s: float
    latencies: tuple[Latency, ...]

    def as_json(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        return asdict(self)


def examine(
    bundle: Bundle,
    config: SegmenterConfig,
    batches: Sequence[int],
    num_runs: int,
    *,
    openers: Mapping[str, Opener] = OPENERS,
    clock: Callable[[], float] = time.perf_counter,
) -> Examination:
    """Open, compare and time the engine that `config.engine` names.

    Parameters
    ----------
    batches : sequence of int
        Sizes for the engine alone; none: nothing is timed.
    num_runs : int
        Timed runs of each size.

    Raises
    ------
    EngineUnavailable
        The engine cannot run on this machine.
    EngineRefused
        It cannot be built, or differs from the bundle's reference by more than is allowed.
    """
    start = clock()
    engine = openers[config.engine](bundle, config)
    opening_s = clock() - start
    try:
        latencies = [engine_latency(engine, bundle, batch, num_runs, clock) for batch in batches]
        if batches:
            latencies.append(result_latency(engine, num_runs, clock=clock))
        return Examination(
            model=bundle.card.name,
            engine=engine.name,
            agreement=_agreement(engine, bundle),
            keeps_items_apart=keeps_items_apart(engine, bundle.reference),
            opening_s=opening_s,
            latencies=tuple(latencies),
        )
    finally:
        engine.close()


def _agreement(engine: InferenceEngine, bundle: Bundle) -> Agreement:
    image = bundle.reference.image_NCHW
    with OnnxRuntimeEngine(bundle) as reference:
        return compare(bundle.card, engine.run(image), reference.run(image))
