"""Several series of one study on one grid. How series are chosen, matched and resampled is decided elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.geometry import StackGeometry
from neuroscan_core.domain.volume import FrameKey

SEQUENCES = ("T1", "T1ce", "T2", "FLAIR")  # channels of models of several sequences, in this order everywhere


@dataclass(frozen=True, eq=False)
class StudyVolume:
    """Co-registered series of one patient, brought onto the grid of one of them, the reference series.

    Parameters
    ----------
    geometry : StackGeometry
        Of the reference series; results lie on this grid.
    keys : tuple of FrameKey
        Slices of the reference series, ordered along the normal.
    channels : tuple of str
        What each channel is, e.g. `SEQUENCES`; no name twice.
    voxels_CKJI : ndarray of float32, shape (channels, slices, rows, columns)
        Intensities after the modality rescale, finite; 0 where a series does not reach.
    """

    geometry: StackGeometry
    keys: tuple[FrameKey, ...]
    channels: tuple[str, ...]
    voxels_CKJI: npt.NDArray[np.float32]  # noqa: N815 - shape suffix

    def __post_init__(self) -> None:
        assert self.voxels_CKJI.shape == (len(self.channels), *self.geometry.shape)
        assert len(self.keys) == self.geometry.num_slices
        assert len(set(self.channels)) == len(self.channels)

    def channel(self, name: str) -> npt.NDArray[np.float32]:
        """Voxels (slices, rows, columns) of one sequence, a view."""
        return np.asarray(self.voxels_CKJI[self.channels.index(name)])
