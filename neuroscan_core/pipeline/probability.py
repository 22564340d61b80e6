"""Probabilities of a ``slice25d`` model for a complete volume, piece by piece.

The windows are those of `streaming`, so what is above the threshold here is labelled there, before postprocessing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.model_card import ModelKind
from neuroscan_core.domain.volume import Slice, Volume
from neuroscan_core.pipeline.streaming import StreamingSegmenter
from neuroscan_core.pipeline.window25d import PreparedSlice, empty_labels, labels_on_source, stack_window
from neuroscan_core.ports import InferenceEngine


class ProbabilityMap:
    """A volume on its way through a network, for its probabilities.

    Parameters
    ----------
    volume : Volume
    engine : InferenceEngine
        Of a ``slice25d`` model.

    Raises
    ------
    SeriesRejection
        The volume lies in a plane that does not suit.
    """

    def __init__(self, volume: Volume, engine: InferenceEngine) -> None:
        assert engine.card.kind is ModelKind.SLICE25D
        self._engine, self._num_done = engine, 0
        self._segmenter = StreamingSegmenter(engine.card, check=_no_check)
        slices = enumerate(zip(volume.keys, volume.voxels_kji, strict=True))
        self._segmenter.add_all(Slice(key, volume.geometry.slice_geometry(k), image) for k, (key, image) in slices)
        self._segmenter.complete(volume.keys, volume.geometry)
        self._num_windows = self._segmenter.num_due

    @property
    def progress(self) -> float:
        """How much is done, 0..1."""
        return self._num_done / self._num_windows if self._num_windows else 1.0

    @property
    def is_done(self) -> bool:
        """Whether `probabilities_kji` can be had."""
        return self._segmenter.is_done

    def step(self, num_windows: int = 1) -> None:
        """Show a few windows to the network."""
        windows = self._segmenter.ready(num_windows)
        shown = [window for window in windows if not window.is_air]
        if shown:
            image_NCHW = np.stack([stack_window(window.before, window.centre, window.after) for window in shown])
            found = dict(zip(map(id, shown), self._engine.run(image_NCHW), strict=True))
        for window in windows:
            if window.is_air:
                values_ji = empty_labels(window.centre)
            else:
                # A map of 256 steps goes the same way as labels do: nothing is interpolated on it.
                values_ji = labels_on_source(_as_bytes(found[id(window)]), window.centre)
            self._segmenter.accept(window, values_ji)
        self._num_done += len(windows)

    @property
    def probabilities_kji(self) -> npt.NDArray[np.uint8]:
        """That a voxel has any label, 0..255 = 0..1, shape (slices, rows, columns)."""
        return self._segmenter.labels_kji


def _as_bytes(logits_LHW: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """The greatest probability of any label, in 1/255."""
    greatest_HW = logits_LHW.max(axis=0).astype(np.float64)
    return np.asarray(np.rint(255.0 / (1.0 + np.exp(-np.clip(greatest_HW, -40.0, 40.0)))), dtype=np.uint8)


def _no_check(_: Sequence[PreparedSlice]) -> None:
    """Whether it is a head was judged when it was segmented."""
