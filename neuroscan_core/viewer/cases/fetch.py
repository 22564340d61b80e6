"""Volumes of the series that a study was segmented from, asked of the gateway when they are to be seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from neuroscan_core.domain.errors import BusError, CaseConflict
from neuroscan_core.domain.events import StudySource
from neuroscan_core.domain.requests import ReplayedEvents, ReplaySeries
from neuroscan_core.domain.volume import Volume
from neuroscan_core.ports import MessageBus

REPLAY_LIMIT = 16
REQUEST_TIMEOUT_S = 10.0


def _go_on(share: float) -> None:
    """Tell nobody."""


def fetch_volume(bus: MessageBus, source: StudySource, progress: Callable[[float], None] = _go_on) -> Volume:
    """Voxels of a series of a study.

    Parameters
    ----------
    progress : callable
        Told between requests which share of the slices is there, 0..1; may raise.

    Raises
    ------
    CaseConflict
        The gateway does not answer, or does not keep all of them.
    """
    index = {key: k for k, key in enumerate(source.manifest)}
    voxels_kji = np.zeros(source.geometry.shape, np.float32)
    missing = set(index)
    progress(0.0)
    try:
        for events in replayed(bus, source.series_instance_uid, timeout_s=REQUEST_TIMEOUT_S):
            for event in events.slices:
                if event.key in missing:
                    voxels_kji[index[event.key]] = event.pixels_ji
                    missing.discard(event.key)
            if not missing:
                return Volume(source.geometry, source.manifest, voxels_kji)
            progress(1 - len(missing) / len(index))
    except BusError as error:
        raise CaseConflict("The images of the study cannot be had.", remedy=error.message) from error
    raise CaseConflict("The images of the study are not kept any more.", remedy="They were purged.")


def replayed(bus: MessageBus, series_instance_uid: str, *, timeout_s: float) -> Iterator[ReplayedEvents]:
    """Everything that the gateway keeps of a series, a few events at a time, each asked for when it is wanted.

    Raises
    ------
    BusError
        The gateway does not answer.
    """
    sequence = 0
    while True:
        events = bus.request(ReplaySeries(series_instance_uid, sequence, REPLAY_LIMIT), timeout_s=timeout_s)
        if not events.in_order:
            return
        yield events
        sequence = events.in_order[-1].sequence + 1
