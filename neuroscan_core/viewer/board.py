"""What the status page knows of each series, put together from events and from the gateway's list.

No bus and no HTTP here: `Viewer` feeds it, `app` reads it. UIDs, SeriesDescription and numbers only.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.events import (
    Event,
    GatewayHeartbeat,
    MaskReady,
    ResultDelivered,
    SegmentationFailed,
    SegmentationReady,
    SeriesCompleted,
    SeriesEvent,
    SeriesOpened,
    SeriesProgress,
    SeriesRejected,
    SliceReceived,
)
from neuroscan_core.domain.requests import DeliveryProgress, SeriesDetail
from neuroscan_core.domain.volume import FrameKey
from neuroscan_core.viewer.case_ids import series_case_id
from neuroscan_core.viewer.picture import grey_levels

MAX_SERIES = 50
MAX_HELD_BYTES = 32 << 20  # per series: grey pictures of slices whose masks are not there yet, 500 of 256x256
MAX_EARLY_MASKS = 64  # masks and slices come from two processes, so that a mask may overtake its slice
ENDED_STATES = frozenset(
    {"delivered", "committed", "purged", "rejected", "failed", "dead-letter", "ignored", "collected"}
)


RESULT_STATES = frozenset({"segmented", "delivering", "delivered", "committed", "dead-letter"})
RETRYABLE_STATES = frozenset({"rejected", "failed", "dead-letter"})
ARRIVING_STATES = frozenset({"receiving", "complete", "segmenting"})
READ_BACK = -1  # revision of masks that come from the files: whatever the segmenter publishes is newer
THERE = frozenset({"delivered", "committed"})  # states of deliveries


@dataclass(frozen=True, eq=False)
class Overlay:
    """A slice and its mask, ready to be drawn.

    Parameters
    ----------
    pixels_ji : ndarray of uint8, shape (rows, columns)
        Grey values.
    labels_ji : ndarray of uint8, shape (rows, columns)
    """

    pixels_ji: npt.NDArray[np.uint8]
    labels_ji: npt.NDArray[np.uint8]


@dataclass
class _Series:
    uid: str
    state: str = "receiving"
    modality: str = ""
    description: str = ""
    model: str = ""
    reason: str = ""
    remedy: str = ""
    opened_at_s: float = 0.0
    num_slices: int = 0
    num_expected: int | None = None
    version: int = 0
    volume_ml: float | None = None
    finding: str | None = None
    latency_ms: float | None = None
    seen: set[FrameKey] = field(default_factory=set)
    masks: dict[FrameKey, int] = field(default_factory=dict)
    latencies_ms: list[float] = field(default_factory=list)
    rule: str = ""
    rank: int = 0
    is_retryable: bool = False
    deliveries: dict[tuple[str, str], DeliveryProgress] = field(default_factory=dict)
    held: OrderedDict[FrameKey, npt.NDArray[np.uint8]] = field(default_factory=OrderedDict)
    held_bytes: int = 0
    early_masks: dict[FrameKey, npt.NDArray[np.uint8]] = field(default_factory=dict)
    overlay: Overlay | None = None
    overlay_area: int = -1
    overlay_number: int = 0
    case_id: str = field(init=False)

    def __post_init__(self) -> None:
        self.case_id = series_case_id(self.uid)

    @property
    def lacks_masks(self) -> bool:
        return len(self.masks) < self.num_slices


class Board:
    """Thread-safe picture of the node's series, newest first.

    Parameters
    ----------
    max_series : int
        The oldest are forgotten beyond it.
    """

    def __init__(self, max_series: int = MAX_SERIES) -> None:
        self._max_series = max_series
        self._series: OrderedDict[str, _Series] = OrderedDict()
        self._lock = threading.Lock()
        self._revision = 0

    @property
    def revision(self) -> int:
        """Changes with everything that `snapshot` would show."""
        return self._revision

    def apply(self, event: Event) -> None:
        """Take in one event; events that were seen before change nothing."""
        with self._lock:
            self._revision += 1
            if isinstance(event, GatewayHeartbeat):
                for progress in event.open_series:
                    self._merge(progress)
            elif isinstance(event, MaskReady):
                self._add_mask(self._of(event.series_instance_uid), event)
            elif isinstance(event, SeriesEvent):
                self._apply_gateway(self._of(event.series_instance_uid), event)
            elif isinstance(event, SegmentationReady):
                series = self._of(event.series_instance_uid)
                series.volume_ml = _volume_ml(event)
            elif isinstance(event, SegmentationFailed):
                series = self._of(event.series_instance_uid)
                series.state, series.reason = "failed", event.message
            elif isinstance(event, ResultDelivered):
                self._take_delivery(event)

    def _take_delivery(self, event: ResultDelivered) -> None:
        """Keep when a result was stored; that it was committed to later says nothing of how fast it was there."""
        deliveries = self._of(event.series_instance_uid).deliveries
        key = (event.modality, event.destination)
        stored = deliveries.get(key)
        is_same = stored is not None and stored.state in THERE and stored.sop_instance_uid == event.sop_instance_uid
        deliveries[key] = DeliveryProgress(
            event.sop_instance_uid,
            event.modality,
            event.destination,
            "committed" if event.is_committed else "delivered",
            delay_s=stored.delay_s if stored is not None and event.is_committed and is_same else event.delay_s,
        )

    def describe(self, details: tuple[SeriesDetail, ...]) -> None:
        """Take in what the gateway knows of series beside their state."""
        with self._lock:
            for detail in details:
                series = self._series.get(detail.series_instance_uid)
                if series is not None:
                    _describe(series, detail)
            self._revision += 1

    def merge(self, progress: tuple[SeriesProgress, ...]) -> None:
        """Take in the gateway's list, which is newest first; it is right where it differs."""
        with self._lock:
            for entry in reversed(progress[: self._max_series]):
                self._merge(entry)
            self._revision += 1

    def unsummarised(self, limit: int) -> list[str]:
        """Newest series that have a result of which nothing is known, as after a restart of the viewer."""
        with self._lock:
            uids = [
                series.uid
                for series in reversed(self._series.values())
                if series.state in RESULT_STATES and series.volume_ml is None and series.finding is None
            ]
            return uids[:limit]

    def summarise(self, uid: str, finding: str) -> None:
        """Keep what the gateway says was found in a series."""
        with self._lock:
            if uid in self._series:
                self._series[uid].finding = finding
                self._revision += 1

    @property
    def is_delivering(self) -> bool:
        """Whether a result is on its way: no event tells of an attempt that failed, nor that it was the last one."""
        with self._lock:
            return any(one.state == "queued" for series in self._series.values() for one in series.deliveries.values())

    @property
    def is_idle(self) -> bool:
        """Whether no series arrives or is segmented."""
        with self._lock:
            return not any(series.state in ARRIVING_STATES for series in self._series.values())

    def undrawn(self, tried: Collection[tuple[str, int]] = ()) -> tuple[str, int] | None:
        """UID and version of the newest series that has a result, but no picture or not all masks here.

        None while others arrive.
        """
        if not self.is_idle:
            return None
        with self._lock:
            lacking = (
                (series.uid, series.version)
                for series in reversed(self._series.values())
                if series.state in RESULT_STATES and (series.overlay is None or series.lacks_masks)
            )
            return next((one for one in lacking if one not in tried), None)

    def restore(
        self,
        result: SegmentationReady,
        pixels_ji: npt.NDArray[np.generic] | None,
        labels_ji: npt.NDArray[np.uint8],
    ) -> None:
        """Take in a result that was read back from its files, and the slice that shows most of it, where it is kept."""
        with self._lock:
            series = self._series.get(result.series_instance_uid)
            if series is None:
                return
            series.volume_ml = _volume_ml(result)
            for key in result.segmentation.keys:
                series.masks.setdefault(key, READ_BACK)
            if pixels_ji is not None:
                _draw(series, grey_levels(pixels_ji), labels_ji)
            _let_go(series)
            self._revision += 1

    def overlay(self, case_id: str) -> Overlay | None:
        """The picture to show for a case: the newest mask, the largest once the series is whole."""
        with self._lock:
            series = self._find(case_id)
            return series.overlay if series else None

    def series_of(self, case_id: str) -> str | None:
        """UID of the series that a case stands for."""
        with self._lock:
            series = self._find(case_id)
            return series.uid if series else None

    def snapshot(self) -> list[dict[str, Any]]:
        """Everything that the page shows, JSON-ready, newest series first."""
        with self._lock:
            return [_as_json(series) for series in reversed(self._series.values())]

    def _find(self, case_id: str) -> _Series | None:
        return next((series for series in self._series.values() if series.case_id == case_id), None)

    def _of(self, uid: str) -> _Series:
        series = self._series.get(uid)
        if series is None:
            series = self._series[uid] = _Series(uid)
            while len(self._series) > self._max_series:
                self._series.popitem(last=False)
        return series

    def _merge(self, progress: SeriesProgress) -> None:
        series = self._of(progress.series_instance_uid)
        series.state, series.version = progress.state, progress.version
        series.model, series.modality = progress.model or series.model, progress.modality or series.modality
        series.description = progress.description or series.description
        series.rank = progress.priority
        if progress.is_open and not (progress.message or progress.reason):
            series.reason = series.remedy = ""
        series.reason = series.reason or progress.message or progress.reason
        series.opened_at_s = progress.opened_at_s or series.opened_at_s
        series.num_slices = max(series.num_slices, progress.num_slices)
        # The list may be quicker than the last masks: what they are drawn on stays until they are there.
        if series.state in ENDED_STATES and not (series.state in RESULT_STATES and series.lacks_masks):
            _let_go(series)

    def _apply_gateway(self, series: _Series, event: SeriesEvent) -> None:
        if isinstance(event, SeriesOpened):
            if event.sequence > 0:
                _begin_anew(series)
            series.rank = event.priority
            series.model, series.modality, series.description = event.model, event.modality, event.description
            series.num_expected, series.opened_at_s = event.num_expected, event.opened_at_s
        elif isinstance(event, SliceReceived):
            series.seen.add(event.key)
            series.num_slices = max(series.num_slices, len(series.seen))
            self._hold(series, event)
        elif isinstance(event, SeriesCompleted):
            series.num_slices = series.num_expected = len(event.manifest)
            series.version = event.version
            if series.state == "receiving":
                series.state = "complete"
        elif isinstance(event, SeriesRejected):
            series.state, series.reason, series.remedy = "rejected", event.message, event.remedy

    def _hold(self, series: _Series, event: SliceReceived) -> None:
        if event.key in series.held:
            return
        early = series.early_masks.pop(event.key, None)
        if early is not None:
            _draw(series, grey_levels(event.pixels_ji), early)
        if series.masks.get(event.key, READ_BACK) > READ_BACK:
            return
        series.held[event.key] = grey_levels(event.pixels_ji)
        series.held_bytes += series.held[event.key].nbytes
        while series.held_bytes > MAX_HELD_BYTES:
            _, dropped = series.held.popitem(last=False)
            series.held_bytes -= dropped.nbytes

    def _add_mask(self, series: _Series, mask: MaskReady) -> None:
        if series.masks.get(mask.key, READ_BACK) >= mask.revision:
            return
        series.masks[mask.key] = mask.revision
        series.latency_ms = mask.latency_ms
        series.latencies_ms.append(mask.latency_ms)
        series.model = mask.model.name
        pixels_ji = series.held.get(mask.key)
        if pixels_ji is not None:
            _draw(series, pixels_ji, mask.labels_ji)
        elif len(series.early_masks) < MAX_EARLY_MASKS:
            series.early_masks[mask.key] = mask.labels_ji


def _begin_anew(series: _Series) -> None:
    """The series is judged again: what was said of it, and its slices, count no more."""
    series.state, series.reason, series.remedy, series.is_retryable = "receiving", "", "", False
    series.seen.clear()
    series.num_slices, series.volume_ml, series.finding = 0, None, None


def _describe(series: _Series, detail: SeriesDetail) -> None:
    series.rule, series.is_retryable = detail.rule, detail.is_retryable
    series.num_expected = detail.num_expected if detail.num_expected is not None else series.num_expected
    series.deliveries = {(one.modality, one.destination): one for one in detail.deliveries}
    series.remedy = detail.remedy or series.remedy
    if series.remedy and series.reason != series.remedy:  # the journal keeps both as one sentence
        series.reason = series.reason.removesuffix(series.remedy).rstrip()


def _let_go(series: _Series) -> None:
    """Nothing more is to be drawn."""
    series.held.clear()
    series.early_masks.clear()
    series.held_bytes = 0


def _volume_ml(result: SegmentationReady) -> float:
    return sum(region.volume_ml for region in result.segmentation.measurements)


def _draw(series: _Series, pixels_ji: npt.NDArray[np.uint8], labels_ji: npt.NDArray[np.uint8]) -> None:
    """Show this slice if no slice with a larger mask was shown before."""
    area = int(np.count_nonzero(labels_ji))
    if area >= series.overlay_area:
        series.overlay, series.overlay_area = Overlay(pixels_ji, labels_ji), area
        series.overlay_number += 1


def _as_json(series: _Series) -> dict[str, Any]:
    latencies_ms = sorted(series.latencies_ms)
    return {
        "case": series.case_id,
        "series": series.uid,
        "state": series.state,
        "modality": series.modality,
        "description": series.description,
        "model": series.model,
        "version": series.version,
        "opened_at_s": series.opened_at_s,
        "num_slices": series.num_slices,
        "num_expected": series.num_expected,
        "num_masks": len(series.masks),
        "latency_ms": series.latency_ms,
        "median_latency_ms": latencies_ms[len(latencies_ms) // 2] if latencies_ms else None,
        "volume_ml": series.volume_ml,
        "finding": series.finding or "",
        "reason": series.reason,
        "remedy": series.remedy,
        "rule": series.rule,
        "priority": series.rank,
        "can_retry": series.is_retryable or series.state in RETRYABLE_STATES,
        "overlay_number": series.overlay_number,
        "picture": f"api/cases/{series.case_id}/overlay.png" if series.overlay is not None else "",
        "deliveries": [
            {
                "modality": one.modality,
                "destination": one.destination,
                "state": "retrying" if one.state == "queued" and one.num_attempts else one.state,
                "is_committed": one.state == "committed",
                "num_attempts": one.num_attempts,
                "error": one.message,
                "delay_s": one.delay_s,
                "sop_instance_uid": one.sop_instance_uid,
            }
            for _, one in sorted(series.deliveries.items())
        ],
    }
