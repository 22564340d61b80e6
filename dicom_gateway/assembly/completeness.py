"""The signs by which a series is known to be whole, strongest first, and when to look for them again.

Whether its slices form a stack without gaps is asked of the stack, not here.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from dicom_gateway.assembly.associations import Associations
from dicom_gateway.assembly.series import Assembly, Phase
from neuroscan_core.config import SeriesConfig


class Completeness:
    """Thread-safe watch over announced numbers, releases and silence.

    Parameters
    ----------
    config : SeriesConfig
    associations : Associations
    """

    def __init__(self, config: SeriesConfig, associations: Associations) -> None:
        self._config, self._associations = config, associations
        self._lock = threading.Lock()
        self._heard_at_s: dict[str, float] = {}

    def hear(self, series_uids: Iterable[str], now_s: float) -> None:
        """Note that something of these series arrived, or that listening begins now."""
        with self._lock:
            self._heard_at_s.update(dict.fromkeys(series_uids, now_s))

    def forget(self, series_uid: str) -> None:
        """Drop a series that is at rest."""
        self._associations.forget(series_uid)
        with self._lock:
            self._heard_at_s.pop(series_uid, None)

    def reason(self, assembly: Assembly, now_s: float) -> str:
        """Why the series may count as complete: ``object``, ``count``, ``release`` or ``quiet``; empty for no reason.

        The announced number counts only if exactly as many slices are there: more than announced means that it was
        not to be trusted, and a version per further slice would follow.
        """
        if assembly.num_expected is not None and len(assembly.recorded) == assembly.num_expected:
            if assembly.is_multi_frame:
                return "object"
            if self._config.complete_on_count:
                return "count"
        if self._config.complete_on_release and self._associations.are_all_released(assembly.series_uid):
            return "release"
        return "quiet" if self._silence_s(assembly, now_s) >= self._config.quiet_s else ""

    def is_given_up(self, assembly: Assembly, now_s: float) -> bool:
        """Whether a series with gaps is no longer waited for."""
        return self._silence_s(assembly, now_s) >= self._config.give_up_s

    def next_look_s(self, assembly: Assembly, now_s: float) -> float | None:
        """When silence will say something new; None where nothing is waited for."""
        if assembly.phase is not Phase.RECEIVING:
            return None
        silence_s = self._silence_s(assembly, now_s)
        wait_s = self._config.quiet_s if silence_s < self._config.quiet_s else self._config.give_up_s
        return now_s - silence_s + wait_s

    def _silence_s(self, assembly: Assembly, now_s: float) -> float:
        with self._lock:
            return now_s - self._heard_at_s.setdefault(assembly.series_uid, now_s)
