"""Headers of the series that are open: what results copy from their source.

Kept in memory without pixels, private attributes and other weight, so that the SEG need not read the spool again.
What a slice's geometry is lives in `sources`.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable

from pydicom.dataset import Dataset

from neuroscan_core.domain.errors import UnreadableObject
from neuroscan_core.domain.volume import FrameKey

_FIRST_TAG, _END_TAG = 0x0008_0000, 0x0042_0000  # identification to procedure step: all that results copy
_FUNCTIONAL_GROUPS = (0x5200_9229, 0x5200_9230)


def trimmed(ds: Dataset) -> Dataset:
    """Copy of the attributes that results need; values are shared with `ds`, not converted."""
    header = ds[_FIRST_TAG:_END_TAG]
    for tag in [tag for tag in header.keys() if tag.is_private]:  # noqa: SIM118 - iteration would convert values
        del header[tag]
    for group in _FUNCTIONAL_GROUPS:
        if group in ds:
            header[group] = ds[group]
    return header


class SourceHeaders:
    """Headers of the most recent series; others are read again where they are needed.

    Parameters
    ----------
    read_series : callable
        Reads the headers of all objects of a series from the spool, with or without pixels.
    capacity : int
        Series kept; the one not used for longest is forgotten.
    """

    def __init__(self, read_series: Callable[[str], Iterable[Dataset]], *, capacity: int = 16) -> None:
        self._read_series = read_series
        self._capacity = capacity
        self._lock = threading.Lock()
        self._series: OrderedDict[str, dict[str, Dataset]] = OrderedDict()

    def add(self, series_uid: str, ds: Dataset) -> None:
        """Keep the header of an object that was received. Thread-safe; the same object twice does no harm."""
        header = trimmed(ds)
        with self._lock:
            self._touch(series_uid)[str(ds.SOPInstanceUID)] = header

    def for_manifest(self, series_uid: str, manifest: Iterable[FrameKey]) -> dict[str, Dataset]:
        """Headers of all objects that the manifest names, in its order.

        Returns
        -------
        dict
            SOP Instance UID to header; one entry per object, also where several frames of it are named.

        Raises
        ------
        UnreadableObject
            The spool does not hold an object of the manifest.
        """
        wanted = dict.fromkeys(key.sop_instance_uid for key in manifest)
        if not wanted.keys() <= {str(header.SOPInstanceUID) for header in self.known(series_uid)}:
            for ds in self._read_series(series_uid):
                self.add(series_uid, ds)
        with self._lock:
            known = dict(self._touch(series_uid))
        lost = [sop_uid for sop_uid in wanted if sop_uid not in known]
        if lost:
            raise UnreadableObject(
                f"The spool lacks {len(lost)} of {len(wanted)} objects that were segmented, first {lost[0]}.",
                remedy="Send the series again.",
            )
        return {sop_uid: known[sop_uid] for sop_uid in wanted}

    def known(self, series_uid: str) -> list[Dataset]:
        """Headers of a series that are here now, in order of arrival."""
        with self._lock:
            return list(self._series.get(series_uid, {}).values())

    def forget(self, series_uid: str) -> None:
        """Drop a series."""
        with self._lock:
            self._series.pop(series_uid, None)

    def _touch(self, series_uid: str) -> dict[str, Dataset]:
        headers = self._series.setdefault(series_uid, {})
        self._series.move_to_end(series_uid)
        while len(self._series) > self._capacity:
            self._series.popitem(last=False)
        return headers
