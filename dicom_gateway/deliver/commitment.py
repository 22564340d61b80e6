"""Storage commitment (PS3.4 annex J): its data sets, and this node as the one who commits to what a scanner sent.

Asking archives for commitment of results, and what follows from their reports, is in `courier` and `outbox`.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pynetdicom.association import Association
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance  # type: ignore[attr-defined]

from dicom_gateway.journal import Journal, SeriesState
from neuroscan_core.domain.errors import DeliveryError, DestinationUnreachable, UnreadableObject
from neuroscan_core.log import get_logger

log = get_logger(__name__)

# PS3.4 J.3.3: Event Type ID.
ALL_COMMITTED = 1
FAILURES_EXIST = 2

# PS3.3 C.14.1.1: Failure Reason.
PROCESSING_FAILURE = 0x0110
NO_SUCH_OBJECT = 0x0112
CLASS_INSTANCE_CONFLICT = 0x0119
SOP_CLASS_NOT_SUPPORTED = 0x0122
PERMANENT_REASONS = frozenset({CLASS_INSTANCE_CONFLICT, SOP_CLASS_NOT_SUPPORTED})
_REASONS = {
    PROCESSING_FAILURE: "it failed while it processed the request",
    NO_SUCH_OBJECT: "it does not have the object",
    CLASS_INSTANCE_CONFLICT: "SOP class and SOP instance do not belong together",
    SOP_CLASS_NOT_SUPPORTED: "it does not support the SOP class",
    0x0131: "the transaction UID was used before",
    0x0213: "it is out of resources",
}

Reference = tuple[str, str]


def explain_reason(reason: int) -> str:
    """A sentence about a Failure Reason."""
    return (
        f"The archive does not commit to keep it (0x{reason:04X}): {_REASONS.get(reason, 'it gives no known reason')}."
    )


def commitment_request(transaction_uid: str, references: Iterable[Reference]) -> Dataset:
    """Action Information of N-ACTION: which objects (SOP class, SOP instance) shall be kept."""
    ds = Dataset()
    ds.TransactionUID = transaction_uid
    ds.ReferencedSOPSequence = Sequence([_reference(*reference) for reference in references])
    return ds


def _reference(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class_uid
    item.ReferencedSOPInstanceUID = sop_instance_uid
    return item


@dataclass(frozen=True)
class CommitmentReport:
    """What an SCP of storage commitment says about one transaction.

    Parameters
    ----------
    committed : tuple of (str, str)
        SOP class and instance of objects that it keeps.
    failed : tuple of ((str, str), int)
        Objects that it does not keep, with the Failure Reason.
    """

    transaction_uid: str
    committed: tuple[Reference, ...]
    failed: tuple[tuple[Reference, int], ...] = ()

    @property
    def event_type(self) -> int:
        """Event Type ID."""
        return FAILURES_EXIST if self.failed else ALL_COMMITTED

    def to_dataset(self) -> Dataset:
        """Event Information of N-EVENT-REPORT."""
        ds = commitment_request(self.transaction_uid, self.committed)
        if not self.committed:
            del ds.ReferencedSOPSequence
        if self.failed:
            items = []
            for reference, reason in self.failed:
                item = _reference(*reference)
                item.FailureReason = reason
                items.append(item)
            ds.FailedSOPSequence = Sequence(items)
        return ds


def _references(ds: Dataset, keyword: str) -> list[tuple[Reference, int]]:
    return [
        (
            (str(item.ReferencedSOPClassUID), str(item.ReferencedSOPInstanceUID)),
            int(item.get("FailureReason", 0x0110) or 0),
        )
        for item in ds.get(keyword) or []
    ]


def parse_report(ds: Dataset) -> CommitmentReport:
    """Read the Event Information of an N-EVENT-REPORT, or the Action Information of an N-ACTION (nothing failed).

    Raises
    ------
    UnreadableObject
        A required attribute is missing.
    """
    try:
        return CommitmentReport(
            str(ds.TransactionUID),
            tuple(reference for reference, _ in _references(ds, "ReferencedSOPSequence")),
            tuple(_references(ds, "FailedSOPSequence")),
        )
    except (AttributeError, ValueError, TypeError) as exc:
        raise UnreadableObject(f"A storage commitment message lacks a required attribute: {exc}") from exc


class Holdings(Protocol):
    """Who knows what is kept."""

    def failure(self, sop_class_uid: str, sop_instance_uid: str) -> int | None:
        """Failure Reason why this object is not committed to, or None where it is."""
        ...


class JournalHoldings:
    """What this node holds: journaled objects of series that are not purged."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def failure(self, sop_class_uid: str, sop_instance_uid: str) -> int | None:
        """See `Holdings`."""
        record = self._journal.instance(sop_instance_uid)
        series = self._journal.series(record.series_uid) if record is not None else None
        if record is None or series is None or series.state is SeriesState.PURGED:
            return NO_SUCH_OBJECT
        return None if record.sop_class_uid == sop_class_uid else CLASS_INSTANCE_CONFLICT


def assess(request: CommitmentReport, holdings: Holdings) -> CommitmentReport:
    """The report that answers a request."""
    judged = [(reference, holdings.failure(*reference)) for reference in request.committed]
    return CommitmentReport(
        request.transaction_uid,
        tuple(reference for reference, reason in judged if reason is None),
        tuple((reference, reason) for reference, reason in judged if reason is not None),
    )


@dataclass(frozen=True)
class _Errand:
    assoc: Association
    caller: str
    report: CommitmentReport
    on_new_association: bool


class Reporter:
    """Thread that sends N-EVENT-REPORTs, on the association of the request or else on a new one.

    Parameters
    ----------
    call : callable
        Opens an association with an application entity, in the role of SCP of storage commitment, by its AE title.
        Raises `DestinationUnreachable` where it has no address or does not answer.
    name : str
        Of the thread.
    """

    # The response to N-ACTION is written by pynetdicom after our handler has returned; a report must come after it.
    GRACE_S = 0.05

    def __init__(self, call: Callable[[str], Association], *, name: str) -> None:
        self._call = call
        self._errands: queue.Queue[_Errand | None] = queue.Queue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """End after the report under way; the requestor will ask again for what was not reported."""
        self._stopping.set()
        self._errands.put(None)
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def send(
        self, assoc: Association, caller: str, report: CommitmentReport, *, on_new_association: bool = False
    ) -> None:
        """Report as soon as the request on `assoc` is answered."""
        self._errands.put(_Errand(assoc, caller, report, on_new_association))

    def _run(self) -> None:
        while (errand := self._errands.get()) is not None and not self._stopping.is_set():
            self._stopping.wait(self.GRACE_S)
            try:
                self._report(errand)
            except DeliveryError as exc:
                log.warning("storage commitment cannot be reported", caller=errand.caller, error=str(exc))
            except Exception:
                log.exception("the reporter of storage commitment failed; it goes on")

    def _report(self, errand: _Errand) -> None:
        if not errand.on_new_association and errand.assoc.is_established:
            try:
                return send_report(errand.assoc, errand.report)
            except DestinationUnreachable:
                log.info("the requestor has left; reporting on a new association", caller=errand.caller)
        assoc = self._call(errand.caller)
        try:
            send_report(assoc, errand.report)
        finally:
            if assoc.is_established:
                assoc.release()


def send_report(assoc: Association, report: CommitmentReport) -> None:
    """N-EVENT-REPORT on an open association.

    Raises
    ------
    DestinationUnreachable
        It broke, or the requestor did not take the report.
    """
    try:
        answer, _ = assoc.send_n_event_report(
            report.to_dataset(), report.event_type, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
        )
    except (RuntimeError, ValueError) as exc:
        raise DestinationUnreachable(f"The report cannot be sent: {exc}") from exc
    if answer.get("Status") != 0x0000:
        raise DestinationUnreachable("The requestor did not take the report.")
