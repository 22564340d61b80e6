"""Test-time views: the network sees the images as they are and mirrored, and what it says is turned back.

The mirrored axes are the last two of the network's input: columns (left and right) and rows (front and back), as in
the evaluation of the models. What the views say is averaged as probabilities.

Shape legend: N batch, V views, L outputs; further axes are those of the network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from neuroscan_core.diagnosis.case import View

Array = npt.NDArray[np.float32]
Run = Callable[[Array], Array]

IDENTITY = "identity"
MIRRORED = {IDENTITY: None, "left-right": -1, "front-back": -2}


def views_for(tta: bool) -> tuple[str, ...]:
    """Names of the views; `IDENTITY` first."""
    return tuple(MIRRORED) if tta else (IDENTITY,)


def in_views(run: Run, views: tuple[str, ...]) -> Run:
    """Return a function from a batch (N, C, ...) to the logits of all views, turned back, (N, V, L, ...)."""

    def run_all(images: Array) -> Array:
        found = []
        for view in views:
            axis = MIRRORED[view]
            if axis is None:
                found.append(run(images))
            else:
                found.append(np.flip(run(np.ascontiguousarray(np.flip(images, axis))), axis))
        return np.stack(found, axis=1)

    return run_all


def sigmoid(logits: Array) -> Array:
    """Probabilities of logits, without overflow."""
    return np.asarray(np.float32(0.5) * (np.float32(1) + np.tanh(np.float32(0.5) * logits)))


def log_odds(probability: Array) -> Array:
    """Logits of probabilities; finite also for 0 and 1."""
    clipped = np.clip(probability, 1e-7, 1 - 1e-7)
    return np.asarray(np.log(clipped) - np.log1p(-clipped), dtype=np.float32)


def softmax(logits: Array, axis: int) -> Array:
    """Probabilities of classes along an axis."""
    powers = np.exp(logits - logits.max(axis=axis, keepdims=True))
    return np.asarray(powers / powers.sum(axis=axis, keepdims=True))


def as_bytes(probability: Array) -> npt.NDArray[np.uint8]:
    """Probabilities as 0 to 255."""
    return np.asarray(np.rint(np.clip(probability, 0.0, 1.0) * 255.0), dtype=np.uint8)


@dataclass
class Tally:
    """Counts, slice by slice, how far views agree with what became of their mean.

    Parameters
    ----------
    views : tuple of str
    """

    views: tuple[str, ...]

    def __post_init__(self) -> None:
        self._both = np.zeros(len(self.views), dtype=np.int64)
        self._each = np.zeros(len(self.views), dtype=np.int64)
        self._final = 0
        self._entropy, self._num_marked = 0.0, 0

    def add(self, marked_V: npt.NDArray[np.bool_], final: npt.NDArray[np.bool_], probability: Array) -> None:
        """Take in a slice or a volume.

        Parameters
        ----------
        marked_V : ndarray of bool, shape (V, ...)
            What each view marks as tumour of any kind.
        final : ndarray of bool
            What the mean of all views marks.
        probability : ndarray of float32
            Mean probability of any tumour.
        """
        axes = tuple(range(1, marked_V.ndim))
        self._both += np.count_nonzero(marked_V & final, axis=axes)
        self._each += np.count_nonzero(marked_V, axis=axes)
        self._final += int(np.count_nonzero(final))
        union = marked_V.any(axis=0) | final
        p = np.clip(probability[union].astype(np.float64), 1e-7, 1 - 1e-7)
        self._entropy -= float((p * np.log2(p) + (1 - p) * np.log2(1 - p)).sum())
        self._num_marked += int(np.count_nonzero(union))

    def result(self, voxel_ml: float) -> tuple[tuple[View, ...], float]:
        """Agreement of each view, and the mean entropy in bits of the voxels that any view marked."""
        views = []
        for name, both, each in zip(self.views, self._both, self._each, strict=True):
            together = int(each) + self._final
            dice = 1.0 if together == 0 else 2.0 * int(both) / together
            views.append(View(name, round(dice, 4), round(int(each) * voxel_ml, 3)))
        return tuple(views), self._entropy / self._num_marked if self._num_marked else 0.0


def dice(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_]) -> float:
    """Overlap of two masks; 1 where both are empty (Dice 1945, 10.2307/1932409)."""
    total = int(np.count_nonzero(a)) + int(np.count_nonzero(b))
    return 1.0 if total == 0 else 2.0 * int(np.count_nonzero(a & b)) / total
