"""Inputs from which ranges of activations are learned: slices of training patients, as the network sees them.

Shape legend: N batch, C channels, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.model_card import ModelKind
from neuroscan_core.pipeline.normalise import normalise_window
from training.data.cache import ArrayCache, CachedCase
from training.data.sampling import window_at
from training.export.errors import ExportError

KINDS = (ModelKind.SLICE25D, ModelKind.MULTIMODAL2D)


def calibration_inputs(
    cache: ArrayCache, cases: Sequence[CachedCase], kind: ModelKind, seed: int = 42
) -> npt.NDArray[np.float32]:
    """Return two slices of each case: the one with the largest tumour, and one at random.

    Parameters
    ----------
    cases : sequence of CachedCase
        Of the training part only.

    Raises
    ------
    ExportError
        There are no cases, or the kind does not see slices.
    """
    if kind not in KINDS:
        raise ExportError(f"Quantisation is offered for networks that see slices; this one is {kind.value}.")
    if not cases:
        raise ExportError("There are no training cases to calibrate on.", remedy="Give the split of the training.")
    rng = np.random.default_rng(seed)
    inputs = []
    for case in cases:
        tumour_S = np.count_nonzero(cache.labels_SHW[case.start : case.stop], axis=(1, 2))
        offsets = [int(tumour_S.argmax()), int(rng.integers(case.num_slices))]
        is_study = kind is ModelKind.MULTIMODAL2D
        inputs += list(cache.normalised(case, offsets)) if is_study else _windows(cache, case, offsets)
    return np.stack(inputs)


def _windows(cache: ArrayCache, case: CachedCase, offsets: Sequence[int]) -> list[npt.NDArray[np.float32]]:
    windows = (window_at(case, offset) for offset in offsets)
    return [
        normalise_window([cache.images_SCHW[index, 0] for index in (window.below, window.centre, window.above)])
        for window in windows
    ]
