"""What the live list shows of series beside their state, and what is done when a person asks to try one again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dicom_gateway.assembly import SeriesAssembler
from dicom_gateway.assembly.payload import decode_payload
from dicom_gateway.deliver import Delivery, revive
from dicom_gateway.deliver.outbox import MODALITIES
from dicom_gateway.deliveries import segment_again
from dicom_gateway.journal import DeliveryRecord, DeliveryState, Journal, RecordKind, SeriesRecord, SeriesState
from dicom_gateway.remedies import remedy_for
from dicom_gateway.study.desk import StudyDesk
from neuroscan_core.domain.errors import RequestRefused
from neuroscan_core.domain.events import SeriesOpened, SeriesRejected
from neuroscan_core.domain.requests import (
    DeliveryProgress,
    DescribeSeries,
    Reply,
    Request,
    Retried,
    RetrySeries,
    SeriesDetail,
    SeriesDetails,
)
from neuroscan_core.log import get_logger

log = get_logger(__name__)

MAX_SERIES = 200
_ENDED_BADLY = (SeriesState.REJECTED, SeriesState.FAILED)


class SeriesDesk:
    """Answers `DescribeSeries` and `RetrySeries`.

    Parameters
    ----------
    journal : Journal
    assembler : SeriesAssembler
    studies : StudyDesk
    delivery : Delivery
    clock : callable
        Unix time in seconds.
    """

    def __init__(
        self,
        journal: Journal,
        assembler: SeriesAssembler,
        studies: StudyDesk,
        delivery: Delivery,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._journal, self._assembler, self._studies = journal, assembler, studies
        self._delivery, self._clock = delivery, clock

    def handlers(self) -> tuple[tuple[type[Request[Reply]], Callable[[Any], Reply]], ...]:
        """What to serve on the bus."""
        return ((DescribeSeries, self.describe), (RetrySeries, self.retry))

    def describe(self, request: DescribeSeries) -> SeriesDetails:
        """Details of the newest series."""
        newest = self._journal.all_series()[: max(0, min(request.limit, MAX_SERIES))]
        return SeriesDetails(tuple(self._detail(row) for row in newest))

    def retry(self, request: RetrySeries) -> Retried:
        """Judge a series again, or deliver its results again.

        Raises
        ------
        RequestRefused
            There is nothing to try again.
        """
        row, now_s = self._journal.series(request.series_instance_uid), self._clock()
        if row is None or row.state is SeriesState.PURGED:
            raise RequestRefused("This series is not kept any more.", remedy="Send it again.")
        if row.state in _ENDED_BADLY:
            self._judge_again(row, now_s)
            return Retried(is_judged_again=True)
        num_deliveries = revive(self._journal, row.series_uid, now_s)
        if not num_deliveries:
            raise RequestRefused(
                f"There is nothing to try again: the series is {row.state.value}.", remedy="Nothing is to be done."
            )
        self._delivery.notify()
        return Retried(is_judged_again=False, num_deliveries=num_deliveries)

    def _judge_again(self, row: SeriesRecord, now_s: float) -> None:
        log.info("a person asks to try again", series=row.series_uid, state=row.state.value, code=row.reason)
        if row.kind is RecordKind.SERIES:
            if not self._journal.instances(row.series_uid):
                raise RequestRefused("The images of this series are not kept.", remedy="Send it again.")
            self._assembler.judge_again(row.series_uid)
        elif row.version > 0:
            segment_again(self._journal, row, now_s)
        else:
            self._journal.audit(now_s, "retry", row.series_uid, "judged again")
            self._studies.look_again(row)

    def _detail(self, row: SeriesRecord) -> SeriesDetail:
        deliveries = self._journal.deliveries(series_uid=row.series_uid)
        newest = max((one.result.version for one in deliveries), default=0)
        return SeriesDetail(
            row.series_uid,
            rule=row.rule,
            num_expected=self._num_expected(row),
            remedy=self._remedy(row),
            is_retryable=_is_retryable(row, deliveries),
            deliveries=tuple(_progress(row, one) for one in deliveries if one.result.version == newest),
        )

    def _num_expected(self, row: SeriesRecord) -> int | None:
        if row.version > 0:
            return row.num_slices
        first = self._journal.events(row.series_uid, 0, 1)
        if not first or first[0].kind != SeriesOpened.__name__:
            return None
        opened = decode_payload(first[0].kind, row.series_uid, 0, first[0].payload)
        return opened.num_expected if isinstance(opened, SeriesOpened) else None

    def _remedy(self, row: SeriesRecord) -> str:
        """What to do; of a rejection what its event said, which the journal has as the end of its message only."""
        general = remedy_for(row.state, row.reason)
        if row.state is not SeriesState.REJECTED or row.kind is not RecordKind.SERIES:
            return general
        last = self._journal.events(row.series_uid, max(0, self._journal.num_events(row.series_uid) - 1))
        if not last or last[-1].kind != SeriesRejected.__name__:
            return general
        rejected = decode_payload(last[-1].kind, row.series_uid, last[-1].sequence, last[-1].payload)
        assert isinstance(rejected, SeriesRejected)
        return rejected.remedy or general


def _is_retryable(row: SeriesRecord, deliveries: list[DeliveryRecord]) -> bool:
    if row.state in _ENDED_BADLY:
        return True
    is_kept = row.state is not SeriesState.PURGED
    return is_kept and any(one.state is DeliveryState.DEAD_LETTER for one in deliveries)


def _progress(row: SeriesRecord, delivery: DeliveryRecord) -> DeliveryProgress:
    is_there = delivery.delivered_at_s is not None
    return DeliveryProgress(
        delivery.sop_uid,
        modality=MODALITIES.get(delivery.result.kind, delivery.result.kind),
        destination=delivery.destination,
        state=delivery.state.value,
        num_attempts=delivery.attempts,
        message="" if is_there else delivery.last_error,
        delay_s=max(0.0, delivery.delivered_at_s - row.last_received_at_s) if delivery.delivered_at_s else 0.0,
    )
