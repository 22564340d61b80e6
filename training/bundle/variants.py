"""Files of fewer bits beside the network of a bundle: made, judged on validation patients, entered in the card.

How files are converted is in `training.export.fp16` and `training.export.int8`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from neuroscan_core.domain.model_card import ModelKind
from neuroscan_core.inference.bundle import Bundle, load_bundle
from training.bundle.card import CARD_FILE
from training.bundle.writing import sha256_of, write_card
from training.data.cache import ArrayCache, CachedCase
from training.data.splits import Split
from training.evaluate.patient import mean_dice, truth_labels, voxel_ml
from training.export.calibration import calibration_inputs
from training.export.errors import ExportError
from training.export.fp16 import check_fp16, convert_fp16, grouped_convolutions
from training.export.int8 import Int8Settings, quantise
from training.inference import onnx_predictor, predict_case
from training.postprocessing import Postprocessing

log = logging.getLogger(__name__)
FP16_FILE, FP16_MIXED_FILE = "model.fp16.onnx", "model.fp16-mixed.onnx"
INT8_FILES = {"onnxruntime": "model.int8.onnx", "tensorrt": "model.int8-tensorrt.onnx"}
MAX_INT8_LOSS = 0.005
NUM_TIMED_RUNS = 20


@dataclass(frozen=True)
class Comparison:
    """A file of fewer bits beside FP32, on the same patients and the same machine.

    Parameters
    ----------
    dice_fp32, dice : float
        Mean over validation patients of the mean over regions.
    num_patients : int
    ms_fp32, ms : float
        Processor time of one input on one thread, ONNX Runtime, median; runs of the two alternate.
    """

    dice_fp32: float
    dice: float
    num_patients: int
    ms_fp32: float
    ms: float

    @property
    def loss(self) -> float:
        """Dice that is lost; negative where some is won."""
        return self.dice_fp32 - self.dice

    @property
    def speed_up(self) -> float:
        """How many times less processor time."""
        return self.ms_fp32 / self.ms


def add_int8(
    folder: Path, cache: ArrayCache, split: Split, settings: Int8Settings | None = None, max_loss: float = MAX_INT8_LOSS
) -> Comparison:
    """Quantise a bundle's network and enter the file in the card, if the loss of Dice is small.

    Parameters
    ----------
    cache : ArrayCache
        Of the view that the network was trained on.
    split : Split
        Of its training: ranges come from the training part, the loss from the validation part.

    Raises
    ------
    ExportError
        The loss is `max_loss` or more, or the kind is not offered; the bundle is as before.
    """
    settings = settings or Int8Settings()
    bundle = load_bundle(folder)
    inputs = calibration_inputs(cache, cache.select(split.parts["train"]), bundle.card.kind)
    path = folder / INT8_FILES[settings.engine]
    temporary = path.with_suffix(".part.onnx")
    try:
        quantise(bundle.onnx_path, temporary, inputs, settings)
        found = compare_files(bundle, temporary, cache, cache.select(split.parts["val"]))
        if not found.loss < max_loss:
            raise ExportError(
                f"INT8 costs {found.loss:.4f} Dice on {found.num_patients} validation patients "
                f"({found.dice_fp32:.4f} to {found.dice:.4f}); less than {max_loss:g} is allowed.",
                remedy="Serve FP32; or quantise with another method, or with nodes left in FP32.",
            )
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    add_variant(folder, path, "int8", settings.engine, _note(found))
    return found


def add_fp16(folder: Path) -> list[str]:
    """Convert a bundle's network to FP16 for TensorRT and enter the files in the card.

    There is one file as a whole and, where the network has convolutions in groups, one that leaves these in FP32, for
    versions of TensorRT that lack kernels for them.

    Returns
    -------
    list of str
        Names of the files.

    Raises
    ------
    ExportError
        A file differs from FP32 on the bundle's reference inputs; see `check_fp16`.
    """
    bundle = load_bundle(folder)
    kept = {FP16_FILE: ()} | ({FP16_MIXED_FILE: groups} if (groups := grouped_convolutions(bundle.onnx_path)) else {})
    for name, keep_fp32 in kept.items():
        temporary = folder / f".{name}"
        try:
            convert_fp16(bundle.onnx_path, temporary, keep_fp32)
            agreement = check_fp16(bundle.onnx_path, temporary, bundle.reference.image_NCHW, bundle.card)
            temporary.replace(folder / name)
        finally:
            temporary.unlink(missing_ok=True)
        add_variant(folder, folder / name, "fp16", "tensorrt", {"note": f"on reference inputs {agreement}"})
    return list(kept)


def add_variant(folder: Path, path: Path, precision: str, engine: str, facts: dict[str, Any]) -> None:
    """Enter a file of the folder in the card, in place of an earlier one of that name."""
    card = yaml.safe_load((folder / CARD_FILE).read_text(encoding="utf-8"))
    entry = {"file": path.name, "sha256": sha256_of(path), "precision": precision, "engine": engine, **facts}
    card["variants"] = [v for v in card.get("variants", ()) if v["file"] != path.name] + [entry]
    write_card(folder, card)
    log.info("%s: added %s", folder, path.name)


def compare_files(
    bundle: Bundle, path: Path, cache: ArrayCache, cases: Sequence[CachedCase], num_threads: int = 1
) -> Comparison:
    """Score a file and the bundle's own on the same patients, and time both.

    Raises
    ------
    ExportError
        There are no patients.
    """
    if not cases:
        raise ExportError("There are no validation patients to compare on.", remedy="Give the split of the training.")
    dice_fp32, dice = (
        float(np.mean([_dice(file, bundle, cache, case, num_threads) for case in cases]))
        for file in (bundle.onnx_path, path)
    )
    ms_fp32, ms = _milliseconds((bundle.onnx_path, path), bundle.reference.image_NCHW[:1])
    return Comparison(dice_fp32, dice, len(cases), ms_fp32, ms)


def _dice(path: Path, bundle: Bundle, cache: ArrayCache, case: CachedCase, num_threads: int) -> float:
    card = bundle.card
    predict = onnx_predictor(path, num_threads)
    options = card if card.kind is ModelKind.VOLUME3D else None
    probabilities = predict_case(predict, cache, case, card.kind, options=options)
    labels = Postprocessing.from_card(card).apply(probabilities, card.kind, voxel_ml(case))
    return mean_dice(labels, truth_labels(cache, case), card.kind)


def _milliseconds(paths: Sequence[Path], image_1C_any: np.ndarray) -> tuple[float, ...]:
    # Processor time on one thread: what else runs on the machine counts less than with a clock on the wall.
    predictors = [onnx_predictor(path, num_threads=1) for path in paths]
    times: list[list[float]] = [[] for _ in paths]
    for _ in range(NUM_TIMED_RUNS):
        for predict, spent in zip(predictors, times, strict=True):
            start = time.process_time()
            predict(image_1C_any)
            spent.append(time.process_time() - start)
    return tuple(1e3 * float(np.median(spent)) for spent in times)


def _note(found: Comparison) -> dict[str, Any]:
    return {
        "dice_loss": round(found.loss, 4),
        "note": f"Dice on {found.num_patients} validation patients {found.dice:.4f}, in FP32 {found.dice_fp32:.4f}",
    }
