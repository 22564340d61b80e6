"""The numbered masks of recent series, kept so that a viewer that missed some can have them again."""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np

from neuroscan_core.domain.events import MaskReady
from neuroscan_core.domain.requests import ReplayedMasks, ReplayMasks
from neuroscan_core.domain.segmentation import ModelIdentity
from neuroscan_core.domain.volume import FrameKey
from neuroscan_core.pipeline.streaming import SliceMask

MAX_REPLAYED = 64


class MaskLog:
    """Numbers masks per series without gaps, and keeps those of the series used last. Thread-safe.

    Parameters
    ----------
    max_series, max_bytes : int
        Series that are remembered, and what their label maps may take; those not yet released always stay.
    """

    def __init__(self, max_series: int = 16, max_bytes: int = 256 << 20) -> None:
        self._max_series, self._max_bytes = max_series, max_bytes
        self._num_bytes = 0
        self._masks: OrderedDict[str, list[MaskReady]] = OrderedDict()
        self._last: dict[str, dict[FrameKey, MaskReady]] = {}
        self._released: set[str] = set()
        self._lock = threading.Lock()

    def append(self, uid: str, mask: SliceMask, latency_ms: float, model: ModelIdentity) -> MaskReady | None:
        """Number a mask; None where the slice has this very mask already, as after a replay."""
        with self._lock:
            masks, last_of_slice = self._of(uid)
            last = last_of_slice.get(mask.key)
            if last is not None and last.model == model and np.array_equal(last.labels_ji, mask.labels_ji):
                return None
            revision = 0 if last is None else last.revision + 1
            ready = MaskReady(uid, len(masks), mask.key, mask.labels_ji, latency_ms, model, revision)
            masks.append(ready)
            last_of_slice[mask.key] = ready
            self._num_bytes += ready.labels_ji.nbytes
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
            return ReplayedMasks(tuple(masks[start : start + min(request.limit, MAX_REPLAYED)]))

    def _of(self, uid: str) -> tuple[list[MaskReady], dict[FrameKey, MaskReady]]:
        masks = self._masks.setdefault(uid, [])
        self._masks.move_to_end(uid)
        self._released.discard(uid)
        return masks, self._last.setdefault(uid, {})

    def _forget_oldest(self) -> None:
        self._released &= self._masks.keys()
        for uid in [uid for uid in self._masks if uid in self._released]:
            if len(self._masks) <= self._max_series and self._num_bytes <= self._max_bytes:
                return
            self._num_bytes -= sum(mask.labels_ji.nbytes for mask in self._masks.pop(uid))
            del self._last[uid]
