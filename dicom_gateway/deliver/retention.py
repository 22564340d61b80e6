"""Retention: what is finished is forgotten after a while. Never what is open, undelivered or not committed.

Order of a purge: the series becomes ``purged`` in the journal, then its files go, then their rows. A process that dies
in between leaves a purged series that still has rows; the next purge finds it and goes on. Files first would leave
rows without files in a series that counts as kept; rows first would leave files that nobody knows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from dicom_gateway.journal import (
    OPEN_STATES,
    DeliveryRecord,
    DeliveryState,
    InstanceRecord,
    Journal,
    RecordKind,
    SeriesRecord,
    SeriesState,
)
from neuroscan_core.config import NodeConfig
from neuroscan_core.domain.errors import StorageError
from neuroscan_core.log import get_logger, series_context

log = get_logger(__name__)

FINISHED = (SeriesState.SEGMENTED, SeriesState.DELIVERED, SeriesState.COMMITTED, SeriesState.IGNORED,
            SeriesState.COLLECTED)  # fmt: skip
UNHAPPY = (SeriesState.REJECTED, SeriesState.FAILED, SeriesState.DEAD_LETTER)


@dataclass(frozen=True)
class PurgeReport:
    """What a purge did.

    Parameters
    ----------
    num_series, num_files, num_bytes : int
        Purged.
    num_uncommitted : int
        Series old enough, but kept because an archive has not committed to keep their results.
    """

    num_series: int = 0
    num_files: int = 0
    num_bytes: int = 0
    num_uncommitted: int = 0


class Retention:
    """Purges by the rules of the configuration. One thread at a time."""

    def __init__(self, config: NodeConfig, journal: Journal, *, clock: Callable[[], float] = time.time) -> None:
        self._config, self._journal, self._clock = config, journal, clock
        self._is_interrupted = True  # until looked
        self._promising = {d.name for d in config.destinations if d.storage_commitment}

    def purge(self, now_s: float | None = None) -> PurgeReport:
        """Purge all that is old enough; a series whose files cannot be removed is logged and tried again."""
        at_s = self._clock() if now_s is None else now_s
        doomed, num_uncommitted = self._interrupted(), 0
        needed = self._needed_studies()
        for series in self._old(at_s):
            if series.study_uid in needed:
                continue
            deliveries = self._journal.deliveries(series_uid=series.series_uid)
            if not self._is_settled(series, deliveries):
                continue
            if self._is_committed(series, deliveries):
                doomed.extend(self._mark(series, at_s))
            else:
                num_uncommitted += 1
        return self._remove_all(doomed, num_uncommitted)

    def _needed_studies(self) -> set[str]:
        """Studies whose series are still to be segmented together."""
        unfinished = self._journal.all_series([*OPEN_STATES, SeriesState.WAITING])
        return {row.study_uid for row in unfinished if row.kind is RecordKind.STUDY}

    def _mark(self, series: SeriesRecord, at_s: float) -> list[SeriesRecord]:
        """Make a series purged in the journal; empty where it changed in the meantime.

        `finished_at_s` becomes the time of its last object: what comes later is a new beginning.
        """
        if not self._journal.advance(
            series.series_uid, [series.state], SeriesState.PURGED, finished_at_s=series.last_received_at_s
        ):
            return []
        self._journal.audit(at_s, "purged", series.series_uid, series.state.value)
        return [replace(series, state=SeriesState.PURGED, finished_at_s=series.last_received_at_s)]

    def _remove_all(self, doomed: list[SeriesRecord], num_uncommitted: int) -> PurgeReport:
        num_series = num_files = num_bytes = 0
        self._is_interrupted = False
        for series in doomed:
            try:
                files, size = self._remove(series)
            except StorageError as exc:
                self._is_interrupted = True
                log.error("a series cannot be purged", series=series.series_uid, error=str(exc))
                continue
            num_series, num_files, num_bytes = num_series + 1, num_files + files, num_bytes + size
        return PurgeReport(num_series, num_files, num_bytes, num_uncommitted)

    def _interrupted(self) -> list[SeriesRecord]:
        """Purged series whose objects are still known: a former process died over them, or a file could not go."""
        if not self._is_interrupted:
            return []
        return [series for series in self._journal.all_series([SeriesState.PURGED]) if self._doomed(series)]

    def _doomed(self, series: SeriesRecord) -> list[InstanceRecord]:
        """Objects of a purged series; what came after the purge began is a new beginning and stays."""
        until_s = _finished_at_s(series)
        return [record for record in self._journal.instances(series.series_uid) if record.received_at_s <= until_s]

    def _old(self, now_s: float) -> Iterator[SeriesRecord]:
        retention = self._config.retention
        for states, hours in ((FINISHED, retention.keep_hours), (UNHAPPY, retention.keep_undelivered_hours)):
            for series in self._journal.all_series(states):
                if now_s - max(_finished_at_s(series), series.last_received_at_s) >= hours * 3600.0:
                    yield series

    def _is_settled(self, series: SeriesRecord, deliveries: list[DeliveryRecord]) -> bool:
        """Nothing is still on its way, and nothing was given up that the operator could still send."""
        states = {delivery.state for delivery in deliveries}
        if DeliveryState.QUEUED in states:
            return False
        return series.state in UNHAPPY or DeliveryState.DEAD_LETTER not in states

    def _is_committed(self, series: SeriesRecord, deliveries: list[DeliveryRecord]) -> bool:
        if not self._config.retention.require_commitment or series.state in UNHAPPY:
            return True
        return all(
            delivery.state is DeliveryState.COMMITTED
            for delivery in deliveries
            if delivery.destination in self._promising
        )

    def _remove(self, series: SeriesRecord) -> tuple[int, int]:
        paths = [self._config.spool_dir / record.path for record in self._doomed(series)]
        paths += [self._config.results_dir / result.path for result in self._journal.results(series.series_uid)]
        num_files = num_bytes = 0
        for path in paths:
            size = _unlink(path)
            if size is not None:
                num_files, num_bytes = num_files + 1, num_bytes + size
        for root in (self._config.spool_dir, self._config.results_dir):
            _remove_empty(root, {path.parent for path in paths if path.is_relative_to(root)})
        self._journal.forget_instances(series.series_uid, _finished_at_s(series))
        with series_context(series.series_uid):
            log.info("series is purged", num_files=num_files, num_bytes=num_bytes)
        return num_files, num_bytes


def _finished_at_s(series: SeriesRecord) -> float:
    return series.last_received_at_s if series.finished_at_s is None else series.finished_at_s


def _unlink(path: Path) -> int | None:
    """Remove a file; its size, or None where it is gone already."""
    try:
        size = path.stat().st_size
        path.unlink()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise StorageError(f"{path.name} cannot be removed: {exc.strerror}.", remedy="Check rights and disk.") from exc
    return size


def _remove_empty(root: Path, folders: set[Path]) -> None:
    """Remove folders below `root` that are empty now, and their parents."""
    for folder in folders:
        while folder != root and folder.is_dir() and not any(folder.iterdir()):
            try:
                folder.rmdir()
            except OSError:  # a new file came in between
                return
            folder = folder.parent
