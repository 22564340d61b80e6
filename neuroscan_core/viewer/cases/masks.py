"""Masks of one segmentation, cut to what is labelled, each with the revision in which it changed last."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.segmentation import ModelIdentity, Segmentation
from neuroscan_core.domain.volume import FrameKey
from neuroscan_core.viewer.cases.case import MaskUpdate
from neuroscan_core.viewer.label_volume import filled_box

STREAMING, FINAL, RUNNING, FAILED = "streaming", "final", "running", "failed"


@dataclass(frozen=True, eq=False)
class _Kept:
    revision: int
    origin_ji: tuple[int, int]
    labels_ji: npt.NDArray[np.uint8]

    def is_same(self, origin_ji: tuple[int, int], labels_ji: npt.NDArray[np.uint8]) -> bool:
        return (origin_ji == self.origin_ji or not labels_ji.size) and np.array_equal(labels_ji, self.labels_ji)


@dataclass(frozen=True, eq=False)
class PackedMap:
    """An array of a whole volume, compressed: probabilities, of which most are 0.

    Parameters
    ----------
    keys : tuple of FrameKey
        Slices, ordered along the normal.
    """

    keys: tuple[FrameKey, ...]
    shape: tuple[int, ...]
    compressed: bytes

    @classmethod
    def of(cls, keys: tuple[FrameKey, ...], values_kji: npt.NDArray[np.uint8]) -> PackedMap:
        """Compress an array."""
        return cls(keys, values_kji.shape, zlib.compress(np.ascontiguousarray(values_kji).tobytes(), 1))

    def values_kji(self) -> npt.NDArray[np.uint8]:
        """The array."""
        return np.frombuffer(zlib.decompress(self.compressed), np.uint8).reshape(self.shape)


@dataclass
class MaskSet:
    """One segmentation of a case. For one thread at a time.

    Parameters
    ----------
    id : str
    next_revision : callable
        Hands out growing numbers.
    model : ModelIdentity or None
        None until the first mask says it.
    """

    id: str
    next_revision: Callable[[], int]
    model: ModelIdentity | None = None
    state: str = STREAMING
    revision: int = 0
    version: int = 0
    segmentation: Segmentation | None = None  # measured; its label map is not kept
    probabilities: PackedMap | None = None
    latencies_ms: list[float] = field(default_factory=list)
    reason: str = ""
    progress: float = 0.0  # of one that is being computed elsewhere
    _masks: dict[FrameKey, _Kept] = field(default_factory=dict)
    _counts: dict[FrameKey, npt.NDArray[np.int64]] = field(default_factory=dict)

    @property
    def num_masks(self) -> int:
        """Slices that have a mask, empty or not."""
        return len(self._masks)

    @property
    def num_bytes(self) -> int:
        """Memory that it takes, about."""
        packed = len(self.probabilities.compressed) if self.probabilities else 0
        return packed + sum(kept.labels_ji.nbytes + 200 for kept in self._masks.values())

    @property
    def latency_ms(self) -> float | None:
        """Median of the masks that were streamed."""
        ordered = sorted(self.latencies_ms)
        return ordered[len(ordered) // 2] if ordered else None

    def put(self, key: FrameKey, labels_ji: npt.NDArray[np.uint8]) -> bool:
        """Take the mask of a slice; whether it is another one than before."""
        rows, columns = filled_box(labels_ji)
        origin_ji, cut_ji = (rows.start, columns.start), labels_ji[rows, columns].copy()
        former = self._masks.get(key)
        if former is not None and former.is_same(origin_ji, cut_ji):
            return False
        self.revision = self.next_revision()
        self._masks[key] = _Kept(self.revision, origin_ji, cut_ji)
        self._counts[key] = np.bincount(cut_ji.reshape(-1), minlength=2)
        return True

    def touch(self, key: FrameKey) -> bool:
        """Tell of a mask once more, as its slice is known only now; whether there is one."""
        kept = self._masks.get(key)
        if kept is None:
            return False
        self.revision = self.next_revision()
        self._masks[key] = _Kept(self.revision, kept.origin_ji, kept.labels_ji)
        return True

    def finish(self, segmentation: Segmentation, model: ModelIdentity) -> None:
        """Replace what was streamed by the final label map; only slices that differ count as changed."""
        for key, labels_ji in zip(segmentation.keys, segmentation.labels_kji, strict=True):
            self.put(key, labels_ji)
        for key in self._masks.keys() - set(segmentation.keys):
            del self._masks[key], self._counts[key]
        nothing = np.broadcast_to(np.uint8(0), segmentation.labels_kji.shape)
        self.segmentation = Segmentation(
            segmentation.geometry, segmentation.keys, nothing, segmentation.measurements, segmentation.composites,
            segmentation.warnings, segmentation.triage,
        )  # fmt: skip
        if self.model is not None and model.engine == "" and self.model.name == model.name:
            model = ModelIdentity(model.name, model.version, model.sha256, self.model.engine)
        self.model, self.state, self.revision = model, FINAL, self.next_revision()

    def copied(self, segmentation_id: str) -> MaskSet:
        """The beginning of the next version: masks stay until they are replaced."""
        copy = MaskSet(segmentation_id, self.next_revision, self.model)
        copy._masks, copy._counts = dict(self._masks), dict(self._counts)
        copy.revision = self.revision
        return copy

    def changed(self, since: int, number_of: Mapping[FrameKey, int], shape_ji: tuple[int, int]) -> MaskUpdate:
        """Masks of known slices that changed after a revision."""
        changed = [
            (number_of[key], kept) for key, kept in self._masks.items() if kept.revision > since and key in number_of
        ]
        changed.sort(key=lambda pair: pair[0])
        labels_nji = np.zeros((len(changed), *shape_ji), np.uint8)
        for n, (_, kept) in enumerate(changed):
            _paste(labels_nji[n], kept)
        return MaskUpdate(self.revision, tuple(number for number, _ in changed), labels_nji)

    def labels_kji(self, keys: Iterable[FrameKey | None], shape_ji: tuple[int, int]) -> npt.NDArray[np.uint8]:
        """Label map of slices in this order; None, and slices without a mask, are empty."""
        ordered = list(keys)
        labels_kji = np.zeros((len(ordered), *shape_ji), np.uint8)
        for k, key in enumerate(ordered):
            kept = self._masks.get(key) if key is not None else None
            if kept is not None:
                _paste(labels_kji[k], kept)
        return labels_kji

    def voxel_counts(self) -> npt.NDArray[np.int64]:
        """Voxels of each label so far, by its value."""
        total = np.zeros(256, np.int64)
        for counts in self._counts.values():
            total[: len(counts)] += counts
        return total


def _paste(target_ji: npt.NDArray[np.uint8], kept: _Kept) -> None:
    rows, columns = kept.labels_ji.shape
    j, i = kept.origin_ji
    target_ji[j : j + rows, i : i + columns] = kept.labels_ji
