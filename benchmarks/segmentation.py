"""Slices per second of the node's segmentation beside a bare ONNX Runtime loop over the same network.

Bare means: ready-made inputs, one session, nothing else. The node's figure holds everything from slices as the scanner
sends them to the measured label map: in-plane geometry, normalisation, windows, network, labels, postprocessing and
measurement. Both use one core, so that the figure does not depend on what else the machine does; rounds of both
alternate and the best of each counts. Both run the same file: FP32 and, where the bundle has it, INT8.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from neuroscan_core.domain.model_card import ModelKind
from neuroscan_core.domain.volume import FrameKey, Slice, Volume
from neuroscan_core.inference.bundle import Bundle, find_bundles
from neuroscan_core.inference.onnxruntime import OnnxRuntimeEngine, has_quantised_file, quantised_file
from neuroscan_core.phantom import Weighting, head_phantom
from neuroscan_core.pipeline.streaming import StreamingSegmenter, segment_windows

NUM_SLICES = 155
ROUNDS = 2


def measure(*, num_slices: int = NUM_SLICES, rounds: int = ROUNDS) -> dict[str, Any]:
    """Measure every bundled model of single series.

    Returns
    -------
    dict
        Per model and precision: slices per second and core of both, their ratio, and milliseconds from the last slice
        of a series to its measured segmentation.
    """
    volume = _head(num_slices)
    single = {name: bundle for name, bundle in find_bundles().items() if bundle.card.kind is ModelKind.SLICE25D}
    results = {}
    for name, bundle in single.items():
        for precision in ("fp32", "int8") if has_quantised_file(bundle) else ("fp32",):
            results[f"{name}, {precision}"] = _measure(bundle, precision, volume, rounds)
    return results


def _measure(bundle: Bundle, precision: str, volume: Volume, rounds: int) -> dict[str, Any]:
    slices = [Slice(key, volume.geometry.slice_geometry(k), volume.voxels_kji[k]) for k, key in enumerate(volume.keys)]
    windows_NCHW = [bundle.reference.image_NCHW[n % len(bundle.reference.image_NCHW)][None] for n in range(len(slices))]
    bare_run = _bare(bundle, quantised_file(bundle) if precision == "int8" else bundle.onnx_path)
    bare_s, ours_s, completion_s = [], [], []
    with OnnxRuntimeEngine(bundle, threads=1, precision=precision) as engine:
        for _ in range(rounds):
            bare_s.append(_seconds(lambda: [bare_run(window) for window in windows_NCHW]))
            ours_s.append(_seconds(lambda: completion_s.append(_stream(engine, slices, volume))))
    num = len(slices)
    return {
        "num_slices": num,
        "bare_slices_per_s_per_core": round(num / min(bare_s), 2),
        "slices_per_s_per_core": round(num / min(ours_s), 2),
        "ratio": round(min(bare_s) / min(ours_s), 3),
        "last_slice_to_segmentation_ms": round(1000 * min(completion_s), 1),
    }


def _stream(engine: OnnxRuntimeEngine, slices: list[Slice], volume: Volume) -> float:
    """Stream a series; returns the seconds from its last slice to its measured segmentation."""
    segmenter = StreamingSegmenter(engine.card, slice_spacing_mm=volume.geometry.spacing_mm)
    last_s = 0.0
    for arrived in slices:
        last_s = time.perf_counter()
        segmenter.add(arrived)
        _run_due(engine, segmenter)
    segmenter.complete(volume.keys, volume.geometry)
    _run_due(engine, segmenter)
    segmenter.result()
    return time.perf_counter() - last_s


def _run_due(engine: OnnxRuntimeEngine, segmenter: StreamingSegmenter) -> None:
    windows = segmenter.ready()
    for window, labels_ji in zip(windows, segment_windows(engine, windows), strict=True):
        segmenter.accept(window, labels_ji)


def _bare(bundle: Bundle, path: Path) -> Callable[[Any], Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda window: session.run(None, {bundle.card.input_name: window})


def _seconds(call: Callable[[], Any]) -> float:
    start_s = time.process_time()
    call()
    return time.process_time() - start_s


def _head(num_slices: int) -> Volume:
    phantom = head_phantom(num_slices=num_slices)
    keys = tuple(FrameKey(f"2.25.{k}") for k in range(num_slices))
    return Volume(phantom.geometry, keys, phantom.image(Weighting.FLAIR).astype(np.float32))
