"""Writing the events of a series: first into the journal, then onto the bus, each exactly once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram

from dicom_gateway.assembly.payload import encode_payload
from dicom_gateway.assembly.series import Assembly
from dicom_gateway.journal import EventRecord, Journal, SeriesState
from neuroscan_core import crashpoints
from neuroscan_core.domain.errors import BusError, RejectionCode, SeriesRejection
from neuroscan_core.domain.events import (
    Event,
    SeriesCompleted,
    SeriesEvent,
    SeriesOpened,
    SeriesRejected,
    SliceReceived,
)
from neuroscan_core.domain.geometry import StackGeometry
from neuroscan_core.domain.volume import FrameKey
from neuroscan_core.log import get_logger

log = get_logger(__name__)


class Ledger:
    """Records and publishes.

    Parameters
    ----------
    journal : Journal
    publish : callable
        Of the message bus.
    clock : callable
        Unix time in seconds.
    registry : CollectorRegistry
    """

    def __init__(
        self,
        journal: Journal,
        publish: Callable[[Event], None],
        *,
        clock: Callable[[], float],
        registry: CollectorRegistry,
    ) -> None:
        self._journal, self._publish, self._clock = journal, publish, clock
        self._slices = Counter("neuroscan_assembly_slices", "Slices published", registry=registry)
        self._series = Counter("neuroscan_assembly_series", "Series that ended", ["outcome"], registry=registry)
        self._delay_s = Histogram(
            "neuroscan_assembly_slice_seconds", "From the durable object to the published slice",
            buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5), registry=registry,
        )  # fmt: skip

    def write(
        self,
        assembly: Assembly,
        events: Sequence[SeriesEvent],
        *,
        assembled: Sequence[str] = (),
        reassemble: bool = False,
        **changes: Any,
    ) -> None:
        """Record events, apply them to the assembly, publish them; see `Journal.record`.

        Raises
        ------
        JournalError
            Nothing was recorded; the assembly must be loaded anew.
        """
        if not (events or assembled or changes):
            return
        crashpoints.reach("assembly.before-record")
        first = self._journal.record(
            assembly.series_uid, [_row(event) for event in events], assembled=assembled, reassemble=reassemble,
            **changes,
        )  # fmt: skip
        assert first == assembly.num_events, (first, assembly.num_events)
        assembly.num_events += len(events)
        for event in events:
            if isinstance(event, SliceReceived):
                assembly.recorded.add(event.key)
            assembly.follow(type(event).__name__, event.code if isinstance(event, SeriesRejected) else None)
        crashpoints.reach("assembly.after-record")
        for event in events:
            self._say(event)
        self._measure(events)

    def complete(
        self, assembly: Assembly, geometry: StackGeometry, manifest: tuple[FrameKey, ...], reason: str
    ) -> SeriesCompleted:
        """Declare a series complete."""
        event = SeriesCompleted(
            assembly.series_uid,
            assembly.num_events,
            manifest=manifest,
            geometry=geometry,
            version=assembly.version + 1,
            reason=reason,
            last_received_at_s=assembly.last_received_at_s,
        )
        # After a power cut the series completes once more, with the same manifest and the same identifiers of results.
        state = SeriesState.COMPLETE if assembly.is_wanted_alone else SeriesState.COLLECTED
        first = self._journal.record(
            assembly.series_uid, [_row(event)], durable=False,
            state=state, version=event.version, num_slices=geometry.num_slices, reason="", message="",
            finished_at_s=None if assembly.is_wanted_alone else self._clock(),
        )  # fmt: skip
        assert first == assembly.num_events, (first, assembly.num_events)
        assembly.num_events += 1
        assembly.version = event.version
        assembly.follow(SeriesCompleted.__name__)
        crashpoints.reach("assembly.after-complete")
        self._say(event)
        self._series.labels("completed").inc()
        log.info("series is complete", reason=reason, version=event.version, num_slices=geometry.num_slices)
        return event

    def reject(
        self,
        assembly: Assembly,
        rejection: SeriesRejection,
        *,
        assembled: Sequence[str] = (),
        identity: Mapping[str, str | int] = MappingProxyType({}),
    ) -> None:
        """Declare a series unfit, or unwanted where no rule wants it.

        Parameters
        ----------
        identity : mapping
            Columns of the series that its opening would have set.
        """
        is_unwanted = rejection.code is RejectionCode.NO_RULE
        event = SeriesRejected(
            assembly.series_uid, assembly.num_events, rejection.code, rejection.message, rejection.remedy
        )
        self.write(
            assembly, [event],
            assembled=assembled,
            state=SeriesState.IGNORED if is_unwanted else SeriesState.REJECTED,
            reason=rejection.code.value,
            message=str(rejection),
            num_slices=len(assembly.recorded),
            finished_at_s=self._clock(),
            **dict[str, Any](identity),
        )  # fmt: skip
        self._series.labels(rejection.code.value).inc()
        if is_unwanted:
            log.info("series is not wanted", reason=rejection.message)
            return
        self._journal.audit(self._clock(), "not-segmented", assembly.series_uid, rejection.code.value)
        log.warning("series is rejected", code=rejection.code.value, reason=rejection.message)

    def _say(self, event: SeriesEvent) -> None:
        """Publish; whoever does not hear it finds it by the heartbeat and asks for a replay."""
        try:
            self._publish(event)
        except BusError:
            log.exception("an event was recorded but not published", sequence=event.sequence)

    def _measure(self, events: Sequence[SeriesEvent]) -> None:
        now_s = self._clock()
        for event in events:
            if isinstance(event, SliceReceived):
                self._slices.inc()
                self._delay_s.observe(max(0.0, now_s - event.received_at_s))
            elif isinstance(event, SeriesOpened):
                log.info("series is opened", model=event.model, num_expected=event.num_expected)


def _row(event: SeriesEvent) -> EventRecord:
    kind = type(event).__name__
    if isinstance(event, SliceReceived):
        return EventRecord(kind, event.key.sop_instance_uid, event.key.frame_number, encode_payload(event))
    return EventRecord(kind, payload=encode_payload(event))
