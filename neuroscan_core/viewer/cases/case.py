"""The interface of a case: voxels, masks, surfaces and files of something that the browser can open.

Slices are numbered by their arrival, from 0: the number of a slice never changes while a case grows. Where slices lie
along their normal is in `meta` (``positions_mm``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.errors import CaseNotFound
from neuroscan_core.domain.model_card import ModelCard
from neuroscan_core.domain.segmentation import ModelIdentity, Segmentation
from neuroscan_core.domain.volume import Volume

if TYPE_CHECKING:  # SciPy takes 20 MB, and not every viewer is asked for a surface
    from neuroscan_core.pipeline.surface import SurfacePart

SERIES, DIAGNOSIS = "series", "diagnosis"
MAX_BLOCK_BYTES = 32 << 20


@dataclass(frozen=True, eq=False)
class MaskUpdate:
    """Masks that changed.

    Parameters
    ----------
    revision : int
        Of the segmentation, after these changes.
    slices : tuple of int
        Arrival numbers.
    labels_nji : ndarray of uint8, shape (len(slices), rows, columns)
    """

    revision: int
    slices: tuple[int, ...]
    labels_nji: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class SliceBlock:
    """Slices that came one after the other.

    Parameters
    ----------
    content : bytes
        uint16, little-endian, rows x columns of each slice; its value is ``stored * slope + intercept``.
    num_slices : int
    pixels_revision : int
        Changes where slope and intercept changed, and with them everything stored.
    """

    content: bytes
    num_slices: int
    pixels_revision: int = 0

    @classmethod
    def of(
        cls,
        stored_nji: Sequence[npt.NDArray[np.uint16]] | npt.NDArray[np.uint16],
        start: int,
        count: int,
        revision: int = 0,
    ) -> SliceBlock:
        """At most `count` slices from a number on; fewer where they would exceed `MAX_BLOCK_BYTES`."""
        start = max(0, start)
        most = max(1, MAX_BLOCK_BYTES // max(1, stored_nji[0].nbytes)) if len(stored_nji) else 0
        taken = stored_nji[start : start + min(max(0, count), most)]
        return cls(b"".join(one_ji.astype("<u2", copy=False).tobytes() for one_ji in taken), len(taken), revision)


@dataclass(frozen=True)
class Download:
    """A file for a person to keep.

    Parameters
    ----------
    name : str
        Without any identifier of a patient.
    media_type : str
    content : bytes
    """

    name: str
    media_type: str
    content: bytes


class Case(ABC):
    """Something that can be opened. Thread-safe; every method may block for a moment.

    Raises
    ------
    CaseNotFound
        By any method with an argument: there is no such segmentation, or nothing of the kind (yet).
    """

    @property
    @abstractmethod
    def id(self) -> str:
        """Opaque identifier, see `viewer.case_ids`."""

    @property
    @abstractmethod
    def revision(self) -> int:
        """Grows with every change of `meta`."""

    @abstractmethod
    def meta(self) -> dict[str, Any]:
        """Everything of `GET /api/cases/{id}`, JSON-ready, ``identity`` as None."""

    @abstractmethod
    def slices(self, start: int, count: int) -> SliceBlock:
        """At most `count` slices from arrival number `start` on.

        Fewer, maybe none, where there are not so many, or where they would exceed `MAX_BLOCK_BYTES`.
        """

    @abstractmethod
    def masks(self, segmentation_id: str, since: int) -> MaskUpdate:
        """Masks that changed after a revision of the segmentation; all of them for -1."""

    @abstractmethod
    def probabilities(self, segmentation_id: str) -> npt.NDArray[np.uint8]:
        """Probability that a voxel is labelled at all, 0..255 = 0..1, shape (slices by arrival, rows, columns).

        Raises
        ------
        CaseNotReady
            They are being computed.
        """

    @abstractmethod
    def surface(self, segmentation_id: str) -> list[SurfacePart]:
        """Closed surface of every label that is there; may take a second."""

    @abstractmethod
    def head_surface(self) -> list[SurfacePart]:
        """Coarse surface of the head, one part; may take a second."""

    @abstractmethod
    def download(self, kind: str, segmentation_id: str | None = None, slice_number: int | None = None) -> Download:
        """File of a kind that ``downloads`` of `meta` lists: SEG, SR, NIfTI, volume, PNG or others.

        Parameters
        ----------
        segmentation_id : str, optional
            Default: the newest.
        slice_number : int, optional
            Arrival number, for PNG; default: the slice with the largest labelled area.
        """

    @abstractmethod
    def volume(self) -> Volume:
        """The complete volume, to be segmented by another model.

        Raises
        ------
        CaseConflict
            It is not complete.
        """

    @property
    def sequences(self) -> tuple[str, ...]:
        """Names of the series of a study, e.g. T1ce, that `sources` will give; empty for a single series."""
        return ()

    def sources(self) -> Mapping[str, Volume]:
        """Volumes of a study by the name of their sequence, the one that is shown first; may take seconds.

        Raises
        ------
        CaseConflict
            They are not kept.
        """
        return {}

    def sequence_slices(self, name: str, start: int, count: int) -> SliceBlock:
        """Slices of one series of a study on the grid of those of `slices`, with the same numbers.

        Its own scale and window are in ``sources`` of `meta`. Voxels that the series does not reach are 0.

        Parameters
        ----------
        name : str
            One of `sequences`.

        Raises
        ------
        CaseNotFound
            There is no such sequence.
        CaseNotReady
            It is being fetched.
        CaseConflict
            It cannot be had: it is not kept any more, or there is no memory for it.
        """
        raise CaseNotFound("There is no such sequence.", remedy="Load the case again.")

    @abstractmethod
    def announce(self, model: str, version: str) -> str:
        """Say that another model is run; the identifier of what will be its segmentation."""

    @abstractmethod
    def note_added(self, segmentation_id: str, progress: float) -> None:
        """Say how far an announced segmentation is, 0..1."""

    @abstractmethod
    def fail_added(self, segmentation_id: str, reason: str) -> None:
        """Say why an announced segmentation will not come."""

    @abstractmethod
    def add_segmentation(
        self,
        segmentation: Segmentation,
        identity: ModelIdentity,
        card: ModelCard | None,
        probabilities_kji: npt.NDArray[np.uint8] | None,
        segmentation_id: str,
    ) -> None:
        """Keep an announced segmentation of the complete volume.

        Parameters
        ----------
        card : ModelCard, optional
            Names and colours of its labels.
        probabilities_kji : ndarray of uint8, optional
            0..255 = 0..1, slices ordered along the normal.
        segmentation_id : str
            What `announce` gave.
        """
