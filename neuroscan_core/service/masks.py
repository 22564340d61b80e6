"""The numbered masks of recent series, kept so that a viewer that missed some can have them again."""

from __future__ import annotations

import threading
import zlib
from collections import OrderedDict
from dataclasses import dataclass
from dataclasses import replace as changed

import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.events import MaskReady
from neuroscan_core.domain.requests import ReplayedMasks, ReplayMasks
from neuroscan_core.domain.segmentation import ModelIdentity
from neuroscan_core.domain.volume import FrameKey
from neuroscan_core.pipeline.streaming import SliceMask

MAX_REPLAYED = 64


@dataclass(frozen=True, eq=False)
class _Kept:
    """A published mask; its labels compressed, as most of a mask is background."""

    event: MaskReady
    compressed: bytes

    def restored(self) -> MaskReady:
        labels = np.frombuffer(zlib.decompress(self.compressed), np.uint8)
        return changed(self.event, labels_ji=labels.reshape(self.event.labels_ji.shape))


def _nothing_of(shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """An array of a shape that holds no memory of that size."""
    return np.broadcast_to(np.uint8(0), shape)


class MaskLog:
    """Numbers masks per series without gaps, and keeps those of the series used last. Thread-safe.

    Parameters
    ----------
    max_series, max_bytes : int
        Series that are remembered, and what their compressed label maps may take; those not yet released always stay.
    """

    def __init__(self, max_series: int = 16, max_bytes: int = 64 << 20) -> None:
        self._max_series, self._max_bytes = max_series, max_bytes
        self._num_bytes = 0
        self._masks: OrderedDict[str, list[_Kept]] = OrderedDict()
        self._last: dict[str, dict[FrameKey, _Kept]] = {}
        self._released: set[str] = set()
        self._lock = threading.Lock()

    def append(self, uid: str, mask: SliceMask, latency_ms: float, model: ModelIdentity) -> MaskReady | None:
        """Number a mask; None where the slice has this very mask already, as after a replay."""
        compressed = zlib.compress(mask.labels_ji.tobytes(), 1)
        with self._lock:
            masks, last_of_slice = self._of(uid)
            last = last_of_slice.get(mask.key)
            if last is not None and last.event.model == model and last.compressed == compressed:
                return None
            revision = 0 if last is None else last.event.revision + 1
            ready = MaskReady(uid, len(masks), mask.key, mask.labels_ji, latency_ms, model, revision)
            kept = _Kept(changed(ready, labels_ji=_nothing_of(mask.labels_ji.shape)), compressed)
            masks.append(kept)
            last_of_slice[mask.key] = kept
            self._num_bytes += len(compressed)
            return ready

    def release(self, uid: str) -> None:
        """The series is finished: it may be forgotten when room is needed."""
        with self._lock:
            self._released.add(uid)
            self._forget_oldest()

    def replay(self, request: ReplayMasks) -> ReplayedMasks:
        """Answer with masks from the one asked for."""
        with self._lock:
            masks = self._masks.get(request.series_instance_uid, [])
            start = max(0, request.from_sequence)
            wanted = masks[start : start + min(request.limit, MAX_REPLAYED)]
        return ReplayedMasks(tuple(kept.restored() for kept in wanted))

    def _of(self, uid: str) -> tuple[list[_Kept], dict[FrameKey, _Kept]]:
        masks = self._masks.setdefault(uid, [])
        self._masks.move_to_end(uid)
        self._released.discard(uid)
        return masks, self._last.setdefault(uid, {})

    def _forget_oldest(self) -> None:
        self._released &= self._masks.keys()
        for uid in [uid for uid in self._masks if uid in self._released]:
            if len(self._masks) <= self._max_series and self._num_bytes <= self._max_bytes:
                return
            self._num_bytes -= sum(len(kept.compressed) for kept in self._masks.pop(uid))
            del self._last[uid]
