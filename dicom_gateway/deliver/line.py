"""The line to one destination: an association that is opened when needed, kept for a while, and its circuit breaker.

Knows nothing of the journal; `courier` decides what is sent.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from pydicom.dataset import Dataset

from dicom_gateway.deliver.backoff import Backoff, BreakerState, CircuitBreaker
from dicom_gateway.deliver.metrics import DeliveryMetrics
from dicom_gateway.deliver.scu import Peer, StoreScu
from dicom_gateway.deliver.store import StoredObject
from neuroscan_core.config import DestinationConfig
from neuroscan_core.domain.errors import DestinationUnreachable, NeuroScanError
from neuroscan_core.log import get_logger

log = get_logger(__name__)

HOLD_S = 5.0  # an idle association is kept this long for the next result
REPORT_HOLD_S = 30.0  # and this long for a report on storage commitment: many archives report on the same association
BREAKER_THRESHOLD = 3
LONGEST_PROBE_S = 60.0

_SEG, _LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"
_ENHANCED_SR, _COMPREHENSIVE_SR = "1.2.840.10008.5.1.4.1.1.88.22", "1.2.840.10008.5.1.4.1.1.88.33"
_COMPREHENSIVE_3D_SR = "1.2.840.10008.5.1.4.1.1.88.34"
_SECONDARY_CAPTURE, _MULTIFRAME_COLOUR = "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.7.4"
_EXPLICIT, _RLE = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5"
# What an association that is opened in advance can carry.
USUAL_CONTEXTS = (
    *((uid, _EXPLICIT) for uid in (_SEG, _LABEL_MAP, _ENHANCED_SR, _COMPREHENSIVE_SR, _COMPREHENSIVE_3D_SR,
                                   _SECONDARY_CAPTURE, _MULTIFRAME_COLOUR)),
    (_SEG, _RLE), (_LABEL_MAP, _RLE),
)  # fmt: skip


class Line:
    """Keeps an association with one destination. One thread at a time.

    Parameters
    ----------
    ae_title : str
        Of this node.
    on_report : callable
        Gets reports on storage commitment; returns the DIMSE status.
    """

    def __init__(
        self,
        destination: DestinationConfig,
        ae_title: str,
        *,
        clock: Callable[[], float],
        source: random.Random,
        metrics: DeliveryMetrics,
        on_report: Callable[[Dataset], int],
    ) -> None:
        self._destination, self._clock, self._metrics, self._on_report = destination, clock, metrics, on_report
        self._peer = Peer.of(destination, ae_title)
        self._breaker = CircuitBreaker(
            BREAKER_THRESHOLD,
            Backoff(destination.backoff_s, min(destination.max_backoff_s, LONGEST_PROBE_S), source),
        )
        self._contexts = dict.fromkeys(USUAL_CONTEXTS)
        self._scu: StoreScu | None = None
        self._has_stored = False
        self._used_at_s = 0.0
        self._is_cut = False
        self.last_error = ""

    @property
    def state(self) -> BreakerState:
        """State of the circuit breaker."""
        return self._breaker.state

    @property
    def is_usable(self) -> bool:
        """Whether a try, or a probe, may be made now."""
        return not self._is_cut and self._breaker.permits(self._clock())

    def connect(self, item: StoredObject | None = None) -> bool:
        """Have an association that can carry `item`; False where the destination cannot be reached."""
        if item is not None:
            self._contexts.setdefault(item.context)
        if self._scu is not None and self._scu.is_open and (item is None or item.context in self._scu.offered):
            self._used_at_s = self._clock()
            return True
        if not self.is_usable:
            return False
        self.close()
        return self._open()

    def _open(self) -> bool:
        is_probe = self._breaker.state is not BreakerState.CLOSED
        self._breaker.probe()
        try:
            self._scu = StoreScu(
                self._peer,
                self._contexts,
                commitment=self._destination.storage_commitment,
                on_report=self._on_report,
            )
            if is_probe:
                self._scu.echo()
        except NeuroScanError as exc:
            self._unreachable(exc)
            return False
        if is_probe:
            log.info("destination answers again", destination=self._destination.name)
        self._breaker.succeeded()
        self._has_stored = False
        self._used_at_s = self._clock()
        return True

    def _unreachable(self, error: NeuroScanError) -> None:
        is_news = self._breaker.state is BreakerState.CLOSED
        self.last_error = str(error)
        self._breaker.failed(self._clock())
        self._metrics.attempts.labels(self._destination.name, "unreachable").inc()
        self.close()
        if is_news:
            log.warning("destination cannot be reached", destination=self._destination.name, error=str(error))

    def store(self, item: StoredObject) -> tuple[int, str]:
        """C-STORE on the association that `connect` made; see `StoreScu.store`."""
        assert self._scu is not None
        started_s = time.perf_counter()
        try:
            try:
                answer = self._scu.store(item)
            except DestinationUnreachable:
                if not self._has_stored or not self.connect(item):
                    raise
                # The peer may have closed a kept association just now; that says nothing about the object.
                answer = self._scu.store(item)
        finally:
            self._used_at_s = self._clock()
        self._has_stored = True
        self._metrics.store_s.labels(self._destination.name).observe(time.perf_counter() - started_s)
        return answer

    def request_commitment(self, action_information: Dataset) -> int:
        """N-ACTION on the association that `connect` made; see `StoreScu.request_commitment`."""
        assert self._scu is not None
        try:
            return self._scu.request_commitment(action_information)
        finally:
            self._used_at_s = self._clock()

    def release_idle(self, *, awaits_report: bool) -> None:
        """Release the association where it was not used for a while."""
        hold_s = REPORT_HOLD_S if awaits_report else HOLD_S
        if self._scu is not None and (not self._scu.is_open or self._clock() - self._used_at_s >= hold_s):
            self.close()

    def cut(self) -> None:
        """Fail what is under way and open nothing any more; any thread may call."""
        self._is_cut = True
        if (scu := self._scu) is not None:
            scu.cut()

    def close(self) -> None:
        """Release the association."""
        if self._scu is not None:
            self._scu.close()
            self._scu = None
