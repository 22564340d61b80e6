"""The series assembler: what the receiver stores becomes numbered slice events, and series that are known to be whole.

A series is complete, in this order: when all frames of its multi-frame object are there (``object``), when as many
slices as announced are there (``count``), when every association that contributed was released (``release``), or after
a silence (``quiet``); each only if the slices form a regular stack without gaps. After a long silence a series with
gaps is judged as it is. A late slice reopens a series: its completion is repeated with a higher version.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

from prometheus_client import CollectorRegistry, Gauge
from pydicom.dataset import Dataset

from dicom_gateway.assembly.associations import Associations
from dicom_gateway.assembly.completeness import Completeness
from dicom_gateway.assembly.intake import Intake, OnHeader, StoredObject
from dicom_gateway.assembly.ledger import Ledger
from dicom_gateway.assembly.messages import Arrived, Draft, JudgeAgain, Look, Message, SpooledObject
from dicom_gateway.assembly.progress import progress_of
from dicom_gateway.assembly.replay import Replay
from dicom_gateway.assembly.series import Assembly, Phase, load_assembly
from dicom_gateway.assembly.strands import StrandPool
from dicom_gateway.journal import OPEN_STATES, InstanceRecord, Journal, SeriesRecord, SeriesState
from dicom_gateway.reading import CURABLE, ImageObject, SliceStack
from dicom_gateway.reading.attributes import MODALITY, SERIES_DESCRIPTION, string
from dicom_gateway.reading.sandbox import Sandbox
from dicom_gateway.rules import Decision, RuleSet
from neuroscan_core.config import NodeConfig
from neuroscan_core.domain.errors import RejectionCode, SeriesRejection, StorageError
from neuroscan_core.domain.events import (
    Event,
    GatewayHeartbeat,
    SeriesCompleted,
    SeriesProgress,
    SliceReceived,
)
from neuroscan_core.domain.requests import ReplayedEvents
from neuroscan_core.lifetime import Closes
from neuroscan_core.log import get_logger, series_context

log = get_logger(__name__)

TakesPart = Callable[[str, Dataset], bool]

MAX_BATCH = 4  # objects of one series that share a transaction of the journal
MAX_EVENTS = 16  # events that share one, so that a large multi-frame object is published as it is decoded
MAX_IN_MEMORY = 128  # waiting objects that keep their bytes; more are read from disk again
MAX_AT_REST = 64  # finished series kept ready for late slices
JUDGED = (SeriesState.REJECTED, SeriesState.FAILED)


class SeriesAssembler(Closes):
    """Sink of the receiver, source of the gateway's series events.

    Any thread may call; everything about one series happens in order on one worker thread at a time.

    Parameters
    ----------
    config : NodeConfig
    journal : Journal
    publish : callable
        Of the message bus; must not block.
    rules : RuleSet
    clock : callable
        Unix time in seconds.
    registry : CollectorRegistry
    on_header : callable, optional
        Told of series UID and header of every accepted object, before its slices are published.
    takes_part : callable, optional
        Whether a new series, by its UID and first header, is needed for a study, whatever the rules say.
    """

    def __init__(
        self,
        config: NodeConfig,
        journal: Journal,
        publish: Callable[[Event], None],
        rules: RuleSet,
        *,
        clock: Callable[[], float] = time.time,
        registry: CollectorRegistry,
        on_header: OnHeader | None = None,
        takes_part: TakesPart | None = None,
    ) -> None:
        self._config, self._journal, self._clock = config, journal, clock
        self._takes_part = takes_part
        # One process more than threads, so that a replay does not wait for an arriving series.
        self._sandbox = Sandbox(config.gateway.workers + 1)
        self._intake = Intake(config, rules, on_header, self._sandbox.decode)
        self._ledger = Ledger(journal, publish, clock=clock, registry=registry)
        self._replay = Replay(journal, config.spool_dir, self._sandbox.decode)
        self._associations = Associations()
        self._completeness = Completeness(config.series, self._associations)
        self._lock = Lock()
        self._assemblies: OrderedDict[str, Assembly] = OrderedDict()
        self._pool: StrandPool[Message] = StrandPool(
            self._handle, num_workers=config.gateway.workers, name="assembly", max_batch=MAX_BATCH
        )
        backlog = Gauge("neuroscan_assembly_backlog", "Stored objects not assembled yet", registry=registry)
        backlog.set_function(lambda: self._pool.num_waiting)

    def close(self) -> None:
        """Stop the worker threads; what still waits is assembled after the next start."""
        self._pool.close()
        self._sandbox.close()

    def drain(self, timeout_s: float) -> bool:
        """Wait until everything stored is assembled; whether that came about in time."""
        return self._pool.drain(timeout_s)

    # ----------------------------------------------------------------------------------------- sink of the receiver

    def association_opened(self, association: str, calling_ae: str) -> None:
        """A sender associated."""
        log.debug("association is open", association=association, calling_ae=calling_ae)

    def stored(self, stored: StoredObject) -> None:
        """Take an object that is durable. Returns at once."""
        series_uid = stored.record.series_uid
        if stored.encoded is not None and self._pool.num_waiting >= MAX_IN_MEMORY:
            stored = SpooledObject(stored.record, stored.path)
        self._associations.contribute(stored.record.association, series_uid)
        self._completeness.hear([series_uid], self._clock())
        self._pool.post(series_uid, Arrived(stored))

    def association_closed(self, association: str, *, released: bool) -> None:
        """An association ended, orderly or not."""
        for series_uid in self._associations.close(association, released=released):
            if released and self._config.series.complete_on_release:
                self._pool.post(series_uid, Look(self._clock()))

    # --------------------------------------------------------------------------------------------- timers and start

    def tick(self, now_s: float) -> None:
        """Look at series that have been silent long enough; call a few times a second."""
        self._pool.resume()
        with self._lock:
            due = [a for a in self._assemblies.values() if a.deadline_s is not None and a.deadline_s <= now_s]
            for assembly in due:
                assembly.deadline_s = None
        for assembly in due:
            self._pool.post(assembly.series_uid, Look(now_s))

    def judge_again(self, series_uid: str) -> None:
        """Begin a rejected or failed series anew, by the rules and the policy of today. Returns at once."""
        self._pool.post(series_uid, JudgeAgain())

    def recover(self) -> None:
        """Finish what a former process left: objects without events, series without a verdict.

        Its associations count as closed but not released, and silence counts from now on only, since nobody listened
        before.
        """
        now_s = self._clock()
        open_series = self._journal.all_series(OPEN_STATES)
        unassembled = self._journal.unassembled()
        waiting = {record.sop_uid for record in unassembled}
        for row in open_series:
            self._associations.distrust(row.series_uid)
            self._intake.show_headers(r for r in self._journal.instances(row.series_uid) if r.sop_uid not in waiting)
        self._completeness.hear([row.series_uid for row in open_series], now_s)
        self._completeness.hear([record.series_uid for record in unassembled], now_s)
        for record in unassembled:
            self._associations.distrust(record.series_uid)
            self._pool.post(record.series_uid, Arrived(self._spooled(record)))
        for row in open_series:
            if row.state is SeriesState.RECEIVING:
                self._pool.post(row.series_uid, Look(now_s))
        if open_series or unassembled:
            log.info("recovering", num_series=len(open_series), num_objects=len(unassembled))

    # ------------------------------------------------------------------------------------------------------ answers

    def replay(self, series_uid: str, from_sequence: int, limit: int) -> ReplayedEvents:
        """Events of a series again, from the journal and the spool; see `Replay.events`."""
        return self._replay.events(series_uid, from_sequence, limit)

    def completed(self, series_uid: str) -> SeriesCompleted:
        """The newest completion of a series; see `Replay.completed`."""
        return self._replay.completed(series_uid)

    def progress(self, open_only: bool = False) -> tuple[SeriesProgress, ...]:
        """Series of the journal, newest first."""
        return tuple(self._progress_of(row) for row in self._journal.all_series(OPEN_STATES if open_only else ()))

    def heartbeat(self) -> GatewayHeartbeat:
        """Open series with the number of their events."""
        return GatewayHeartbeat(self.progress(open_only=True))

    def _progress_of(self, row: SeriesRecord) -> SeriesProgress:
        with self._lock:
            assembly = self._assemblies.get(row.series_uid)
        return progress_of(row, self._journal.num_events(row.series_uid), assembly)

    # --------------------------------------------------------------------------------------- on the worker threads

    def _handle(self, series_uid: str, messages: list[Message]) -> None:
        with series_context(series_uid):
            assembly = self._assembly(series_uid)
            try:
                if any(isinstance(message, JudgeAgain) for message in messages):
                    assembly = self._begin_anew(assembly)
                self._advance(assembly, messages)
            except BaseException:
                with self._lock:  # the next message finds what the journal says
                    self._assemblies.pop(series_uid, None)
                raise
            self._rest(assembly)
        self._forget_some()

    def _advance(self, assembly: Assembly, messages: list[Message]) -> None:
        draft = Draft()
        now_s = self._clock()
        for message in messages:
            if isinstance(message, Arrived):
                self._take(assembly, draft, message.stored)
            elif isinstance(message, Look):
                now_s = max(now_s, message.now_s)
        self._flush(assembly, draft)
        if not self._pool.has_more(assembly.series_uid):
            self._consider(assembly, now_s)

    def _begin_anew(self, former: Assembly) -> Assembly:
        """An assembly with its first object, where the series may be judged again; its other objects follow.

        The event that opens it once more and the mark that its objects are to be assembled are one transaction: a
        process that dies in between leaves the old verdict, or a series that the next process goes on with.
        """
        uid = former.series_uid
        row, records = self._journal.series(uid), self._journal.instances(uid)
        if row is None or row.state not in JUDGED or not records:
            return former
        log.info("series is judged again", former=row.reason, num_objects=len(records))
        for record in records:
            self._pool.post(uid, Arrived(self._spooled(record)))
        self._pool.post(uid, Look(self._clock()))
        assembly = Assembly(
            uid, SliceStack(self._config.series), num_events=self._journal.num_events(uid), version=row.version,
            last_received_at_s=row.last_received_at_s,
        )  # fmt: skip
        draft = Draft(is_again=True)
        self._take(assembly, draft, self._spooled(records[0]))
        self._flush(assembly, draft)
        self._journal.audit(self._clock(), "retry", uid, "judged again")
        return assembly

    def _spooled(self, record: InstanceRecord) -> SpooledObject:
        return SpooledObject(record, self._config.spool_dir / record.path)

    def _take(self, assembly: Assembly, draft: Draft, stored: StoredObject) -> None:
        record = stored.record
        assembly.last_received_at_s = max(assembly.last_received_at_s, record.received_at_s)
        if assembly.phase.is_over:
            draft.assembled.append(record.sop_uid)
            return
        try:
            self._take_fit(assembly, draft, stored)
        except SeriesRejection as rejection:
            self._reject(assembly, draft, record.sop_uid, rejection)
        except StorageError:
            raise
        except Exception:
            log.exception("an object cannot be assembled", sop=record.sop_uid)
            unknown = SeriesRejection(RejectionCode.UNDECODABLE, "An image cannot be read.", remedy="See the log.")
            self._reject(assembly, draft, record.sop_uid, unknown)

    def _reject(self, assembly: Assembly, draft: Draft, sop_uid: str, rejection: SeriesRejection) -> None:
        self._flush(assembly, draft)
        self._ledger.reject(assembly, rejection, assembled=[sop_uid], identity=draft.identity)

    def _take_fit(self, assembly: Assembly, draft: Draft, stored: StoredObject) -> None:
        obj = self._intake.open(stored)
        decision = self._decide(assembly, draft, obj) if assembly.phase is Phase.NEW else None
        frames = self._intake.examine(assembly, obj)
        if decision is not None:
            opened = self._intake.introduce(assembly, obj, frames, decision, self._clock())
            assembly.num_expected, assembly.is_wanted_alone = opened.num_expected, bool(opened.model)
            self._ledger.write(
                assembly, [opened], reassemble=draft.is_again, state=SeriesState.RECEIVING, reason="", message="",
                finished_at_s=None, **draft.identity,
            )  # fmt: skip
        elif assembly.phase is not Phase.RECEIVING:
            self._flush(assembly, draft)
            if not self._intake.is_new(assembly, obj, frames):
                draft.assembled.append(stored.record.sop_uid)
                return
            self._reopen(assembly)
        assembly.is_multi_frame = assembly.is_multi_frame or len(frames) > 1
        for one in self._intake.slices(assembly, obj, frames):
            sequence = assembly.num_events + len(draft.events)
            draft.events.append(
                SliceReceived(
                    assembly.series_uid, sequence, one.key, one.geometry, one.pixels_ji, stored.record.received_at_s
                )
            )
            if len(draft.events) >= MAX_EVENTS:
                self._flush(assembly, draft)
        draft.assembled.append(stored.record.sop_uid)

    def _decide(self, assembly: Assembly, draft: Draft, obj: ImageObject) -> Decision:
        """Rules come before the policy: a series that nobody wants is ignored, whatever may be wrong with it."""
        decision = self._intake.decide(obj)
        draft.identity = {
            "rule": decision.rule or "",
            "model": decision.model or "",
            "priority": decision.priority,
            "modality": string(obj.header, MODALITY),
            "description": string(obj.header, SERIES_DESCRIPTION),
        }
        takes_part = self._takes_part is not None and self._takes_part(assembly.series_uid, obj.header)
        if decision.model is None and not takes_part:
            raise SeriesRejection(RejectionCode.NO_RULE, decision.reason)
        return decision

    def _reopen(self, assembly: Assembly) -> None:
        """A late slice: what was said of the series no longer holds."""
        log.info("series is reopened by a late slice", version=assembly.version)
        self._ledger.write(assembly, [], state=SeriesState.RECEIVING, reason="", message="", finished_at_s=None)
        assembly.phase = Phase.RECEIVING

    def _flush(self, assembly: Assembly, draft: Draft) -> None:
        self._ledger.write(assembly, draft.events, assembled=draft.assembled)
        draft.events, draft.assembled = [], []

    def _consider(self, assembly: Assembly, now_s: float) -> None:
        """Complete or reject the series if it is time."""
        if assembly.phase is not Phase.RECEIVING:
            return
        is_given_up = self._completeness.is_given_up(assembly, now_s)
        reason = self._completeness.reason(assembly, now_s)
        if not reason and not is_given_up:
            return
        try:
            geometry, manifest = assembly.stack.judge()
        except SeriesRejection as rejection:
            if is_given_up or rejection.code not in CURABLE:
                self._ledger.reject(assembly, rejection)
            return
        self._ledger.complete(assembly, geometry, manifest, reason)

    def _rest(self, assembly: Assembly) -> None:
        """Set the timer of a series and keep it for the next message."""
        deadline_s = self._completeness.next_look_s(assembly, self._clock())
        with self._lock:
            assembly.deadline_s = deadline_s
            self._assemblies[assembly.series_uid] = assembly

    def _assembly(self, series_uid: str) -> Assembly:
        with self._lock:
            assembly = self._assemblies.get(series_uid)
            if assembly is not None:
                self._assemblies.move_to_end(series_uid)
        if assembly is not None and not self._is_outdated(assembly):
            return assembly
        assembly = load_assembly(self._journal, series_uid, self._config.series)
        with self._lock:
            self._assemblies[series_uid] = assembly
        return assembly

    def _is_outdated(self, assembly: Assembly) -> bool:
        """Whether a series at rest was purged since."""
        is_at_rest = assembly.phase is not Phase.RECEIVING
        return is_at_rest and self._journal.num_events(assembly.series_uid) != assembly.num_events

    def _forget_some(self) -> None:
        """Keep memory bounded: what is at rest longest is read from the journal if a late slice comes."""
        with self._lock:
            if len(self._assemblies) <= MAX_AT_REST:
                return
            at_rest = [
                a for a in self._assemblies.values() if a.phase is not Phase.RECEIVING and a.phase is not Phase.NEW
            ]
            for assembly in at_rest[: max(0, len(at_rest) - MAX_AT_REST)]:
                del self._assemblies[assembly.series_uid]
                self._completeness.forget(assembly.series_uid)
