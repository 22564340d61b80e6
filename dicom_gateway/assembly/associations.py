"""Which associations contributed to which series, and how they ended."""

from __future__ import annotations

import threading


class Associations:
    """Thread-safe record of associations and the series that they contributed to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._series_of: dict[str, set[str]] = {}
        self._open: dict[str, set[str]] = {}
        self._unreleased: set[str] = set()

    def contribute(self, association: str, series_uid: str) -> None:
        """Note that an object of the series came on the association."""
        with self._lock:
            self._series_of.setdefault(association, set()).add(series_uid)
            self._open.setdefault(series_uid, set()).add(association)

    def close(self, association: str, *, released: bool) -> set[str]:
        """End an association; the series that it contributed to."""
        with self._lock:
            series_uids = self._series_of.pop(association, set())
            for series_uid in series_uids:
                self._open.get(series_uid, set()).discard(association)
                if not released:
                    self._unreleased.add(series_uid)
            return series_uids

    def distrust(self, series_uid: str) -> None:
        """Treat the contributors of a former process as aborted."""
        with self._lock:
            self._open.setdefault(series_uid, set())
            self._unreleased.add(series_uid)

    def are_all_released(self, series_uid: str) -> bool:
        """Whether every association that contributed ended with a release: the sender says that it has no more."""
        with self._lock:
            is_known = series_uid in self._open
            return is_known and not self._open[series_uid] and series_uid not in self._unreleased

    def forget(self, series_uid: str) -> None:
        """Drop a series to which no open association contributes."""
        with self._lock:
            if not self._open.get(series_uid):
                self._open.pop(series_uid, None)
                self._unreleased.discard(series_uid)
