"""What can be made of a SEG before its series is complete, kept per series until it is."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from pydicom.dataset import Dataset

from dicom_gateway.results.headers import SourceHeaders
from dicom_gateway.results.seg import shell
from dicom_gateway.results.seg_bytes import SliceParts, slice_parts
from dicom_gateway.results.sources import SourceSlice, slice_of
from neuroscan_core.domain.errors import UnreadableObject
from neuroscan_core.domain.volume import FrameKey

MAX_SLICES_PER_CALL = 16  # about 10 ms


@dataclass
class PreparedSeries:
    """Slices read and encoded so far, and the object around them."""

    slices: dict[FrameKey, SourceSlice] = field(default_factory=dict)
    parts: dict[FrameKey, SliceParts] = field(default_factory=dict)
    unusable: set[FrameKey] = field(default_factory=set)
    shell_of: SourceSlice | None = None
    shell: Dataset | None = None

    def parts_of(self, source: SourceSlice) -> SliceParts:
        """Encoded part of a slice; made now where it was not prepared from this very slice."""
        if self.slices.get(source.key) is source and source.key in self.parts:
            return self.parts[source.key]
        return slice_parts(source)

    def take_shell(self, first: SourceSlice) -> Dataset:
        """Object around the frames, to be filled and not used again; made now where this slice's is not there."""
        ready, self.shell = self.shell if self.shell_of is first else None, None
        self.shell_of = None
        return shell(first) if ready is None else ready


class Preparations:
    """Work done ahead for the series that are open. Thread-safe.

    Parameters
    ----------
    headers : SourceHeaders
    capacity : int
        Series kept; the one not used for longest is forgotten.
    """

    def __init__(self, headers: SourceHeaders, *, capacity: int = 16) -> None:
        self._headers = headers
        self._capacity = capacity
        self._lock = threading.Lock()
        self._series: OrderedDict[str, PreparedSeries] = OrderedDict()

    def advance(self, series_uid: str) -> int:
        """Do a bounded piece of work for a series.

        Returns
        -------
        int
            Slices prepared by this call.
        """
        with self._lock:
            prepared = self._get(series_uid)
            new = [
                (key, header)
                for header in self._headers.known(series_uid)
                for key in _keys(header)
                if key not in prepared.slices and key not in prepared.unusable
            ][:MAX_SLICES_PER_CALL]
            for key, header in new:
                _prepare_slice(prepared, key, header)
            if new and prepared.slices:
                _prepare_shell(prepared)
            return len(new)

    def take(self, series_uid: str) -> PreparedSeries:
        """What is there for a series; empty where nothing was prepared."""
        with self._lock:
            return self._get(series_uid)

    def forget(self, series_uid: str) -> None:
        """Drop a series."""
        with self._lock:
            self._series.pop(series_uid, None)

    def _get(self, series_uid: str) -> PreparedSeries:
        prepared = self._series.setdefault(series_uid, PreparedSeries())
        self._series.move_to_end(series_uid)
        while len(self._series) > self._capacity:
            self._series.popitem(last=False)
        return prepared


def _keys(header: Dataset) -> list[FrameKey]:
    num_frames = len(header.get("PerFrameFunctionalGroupsSequence", ())) or 1
    return [FrameKey(str(header.SOPInstanceUID), k + 1) for k in range(num_frames)]


def _prepare_slice(prepared: PreparedSeries, key: FrameKey, header: Dataset) -> None:
    try:
        source = slice_of(key, header)
    except UnreadableObject:
        prepared.unusable.add(key)  # said when the series completes, if it matters then
        return
    prepared.slices[key] = source
    prepared.parts[key] = slice_parts(source)


def _prepare_shell(prepared: PreparedSeries) -> None:
    """Build the object around the frames from the slice that would now be the first."""
    first = min(prepared.slices.values(), key=lambda source: source.offset_mm)
    if first is not prepared.shell_of:
        try:
            prepared.shell, prepared.shell_of = shell(first), first
        except UnreadableObject:
            prepared.unusable.add(first.key)
