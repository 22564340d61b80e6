"""Images with geometry: one slice, and a stack of slices as a volume."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.errors import SeriesRejection
from neuroscan_core.domain.geometry import SliceGeometry, StackGeometry


@dataclass(frozen=True, order=True)
class FrameKey:
    """Identity of one slice: the SOP instance and, for multi-frame objects, the frame.

    Parameters
    ----------
    sop_instance_uid : str
    frame_number : int
        From 1, as DICOM counts frames; 1 for single-frame objects. For a mosaic: the tile, from 1.
    """

    sop_instance_uid: str
    frame_number: int = 1


@dataclass(frozen=True, eq=False)
class Slice:
    """One slice with its pixels.

    Parameters
    ----------
    key : FrameKey
    geometry : SliceGeometry
    pixels_ji : ndarray of float32, shape (rows, columns)
        Values after the modality rescale.
    """

    key: FrameKey
    geometry: SliceGeometry
    pixels_ji: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        assert self.pixels_ji.shape == self.geometry.shape, (self.pixels_ji.shape, self.geometry.shape)


@dataclass(frozen=True, eq=False)
class Volume:
    """A regular stack of slices.

    Parameters
    ----------
    geometry : StackGeometry
    keys : tuple of FrameKey
        One per slice, ordered along the normal.
    voxels_kji : ndarray of float32, shape (slices, rows, columns)
    """

    geometry: StackGeometry
    keys: tuple[FrameKey, ...]
    voxels_kji: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        assert self.voxels_kji.shape == self.geometry.shape
        assert len(self.keys) == self.geometry.num_slices


class VolumeOrRejection:
    """Base of series as they were read: a volume, or why it is none.

    Attributes
    ----------
    volume : Volume or None
    rejection : SeriesRejection or None
        Exactly one of the two is None.
    """

    volume: Volume | None
    rejection: SeriesRejection | None

    def __post_init__(self) -> None:
        assert (self.volume is None) != (self.rejection is None)

    def require_volume(self) -> Volume:
        """The volume.

        Raises
        ------
        SeriesRejection
            The series is none.
        """
        if self.rejection is not None:
            raise self.rejection
        assert self.volume is not None
        return self.volume
