"""Studies in the node: which series take part, when all that a model needs are there, and what is then told.

The desk keeps nothing but a list of what to look at: everything follows from the journal, so it can be asked again
after a crash and says the same. A study is looked at when one of its series opens, completes or ends, and when it has
been silent for as long as missing sequences are waited for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from pydicom.dataset import Dataset

from dicom_gateway.assembly.payload import decode_payload, encode_payload
from dicom_gateway.journal import EventRecord, Journal, RecordKind, SeriesRecord, SeriesState, StudySeriesRecord
from dicom_gateway.reading.attributes import STUDY_INSTANCE_UID, string
from dicom_gateway.rules import RuleSet
from dicom_gateway.study.candidates import acquired_at, is_original, job_uid, series_name
from dicom_gateway.study.choice import Candidate, Choice, choose
from dicom_gateway.study.roles import RoleVerdict, role_of
from neuroscan_core import crashpoints
from neuroscan_core.config import RuleConfig, StudyConfig
from neuroscan_core.domain.errors import JournalError, RejectionCode, SeriesRejection
from neuroscan_core.domain.events import Event, SeriesCompleted, StudyReady, StudySource
from neuroscan_core.domain.geometry import StackGeometry
from neuroscan_core.log import get_logger
from neuroscan_core.pipeline.study import match_series

log = get_logger(__name__)

GONE = (SeriesState.REJECTED, SeriesState.PURGED, SeriesState.IGNORED)
"""Series in these states cannot take part."""


class Completions(Protocol):
    """Gives the newest completion of a series; see `SeriesAssembler.completed`."""

    def __call__(self, series_uid: str) -> SeriesCompleted:
        """The event."""
        ...


class StudyDesk:
    """Decides about studies. Any thread may note; one thread at a time ticks.

    Parameters
    ----------
    studies : sequence of StudyConfig
    channels : mapping of str to sequence of str
        Model -> sequences that it needs.
    journal : Journal
    publish : callable
        Of the message bus.
    completed : callable
        Newest completion of a series.
    clock : callable
        Unix time in seconds.
    """

    def __init__(
        self,
        studies: Sequence[StudyConfig],
        channels: Mapping[str, Sequence[str]],
        journal: Journal,
        publish: Callable[[Event], None],
        completed: Completions,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._studies = {study.name: study for study in studies}
        self._requires = {study.name: tuple(channels[study.model]) for study in studies}
        self._conditions = {
            study.name: RuleSet([RuleConfig(name=study.name, when=study.when, model=study.model)]) for study in studies
        }
        self._journal, self._publish, self._completed, self._clock = journal, publish, completed, clock
        self._lock = threading.Lock()
        self._changed: set[str] = set(journal.studies_at_hand()) if studies else set()
        self._deadlines_s: dict[str, float] = {}
        self._end_forgotten()

    # --------------------------------------------------------------------------------------------------- from outside

    def takes(self, series_uid: str, header: Dataset) -> bool:
        """Whether a series, by its first header, is needed for a study; keeps what it shows if so."""
        fitting = [name for name, rules in self._conditions.items() if rules.decide(header).model is not None]
        if not fitting:
            return False
        verdict = role_of(header)
        names = tuple(name for name in fitting if verdict.role in self._requires[name])
        # Why is in the journal: it may quote the description, which logs never hold.
        log.info("series is judged for studies", series=series_uid, role=verdict.role)
        if not names:
            return False
        study_uid = string(header, STUDY_INSTANCE_UID)
        self._journal.add_study_series(
            StudySeriesRecord(
                series_uid, study_uid, names, verdict.role, verdict.why, series_name(header), is_original(header),
                acquired_at(header),
            )
        )  # fmt: skip
        self._mark(study_uid)
        return True

    def note(self, series_uid: str) -> None:
        """Something about a series changed."""
        if self._studies and (record := self._journal.study_series(series_uid)) is not None:
            self._mark(record.study_uid)

    def look_again(self, row: SeriesRecord) -> None:
        """Judge a study that was given up again."""
        self._journal.advance(row.series_uid, [SeriesState.REJECTED], SeriesState.WAITING)
        self._mark(row.study_uid)

    def tick(self, now_s: float) -> None:
        """Look at the studies that changed, or that were silent long enough; call a few times a second."""
        with self._lock:
            due = self._changed | {uid for uid, at_s in self._deadlines_s.items() if at_s <= now_s}
            self._changed = set()
            for study_uid in due:
                self._deadlines_s.pop(study_uid, None)
        pending = sorted(due)
        try:
            while pending:
                study_uid = pending.pop(0)
                try:
                    self._look(study_uid, now_s)
                except JournalError:
                    pending.append(study_uid)
                    raise
        finally:  # one that fails must not take the others with it
            for study_uid in pending:
                self._mark(study_uid)

    def ready(self, uid: str) -> StudyReady:
        """What was told last of a study's segmentation.

        Raises
        ------
        JournalError
            Nothing was.
        """
        event = self._last(uid)
        if event is None:
            raise JournalError(f"The study {uid} was never complete.", remedy="It may have been purged.")
        return event

    def completed(self, row: SeriesRecord) -> SeriesCompleted:
        """The newest state of a study's segmentation in the form of a series on the reference's grid."""
        event = self.ready(row.series_uid)
        source = event.reference_source
        return SeriesCompleted(
            row.series_uid, event.sequence, source.manifest, source.geometry, event.version, "study",
            row.last_received_at_s,
        )  # fmt: skip

    # --------------------------------------------------------------------------------------------------- from inside

    def _mark(self, study_uid: str) -> None:
        with self._lock:
            self._changed.add(study_uid)

    def _look(self, study_uid: str, now_s: float) -> None:
        members = self._journal.series_of_study(study_uid)
        rows = {m.series_uid: row for m in members if (row := self._journal.series(m.series_uid)) is not None}
        for name, study in self._studies.items():
            taking_part = [m for m in members if name in m.studies and m.series_uid in rows]
            job = self._journal.series(job_uid(study_uid, name))
            is_waiting = job is not None and job.state is SeriesState.WAITING  # it ends, too, if all were refused
            if taking_part and (is_waiting or any(rows[m.series_uid].state not in GONE for m in taking_part)):
                self._look_at_one(study_uid, study, taking_part, rows, now_s)

    def _look_at_one(
        self,
        study_uid: str,
        study: StudyConfig,
        members: list[StudySeriesRecord],
        rows: Mapping[str, SeriesRecord],
        now_s: float,
    ) -> None:
        uid = job_uid(study_uid, study.name)
        last_s = max(rows[m.series_uid].last_received_at_s for m in members)
        first_s = min(rows[m.series_uid].opened_at_s for m in members)
        if self._journal.series(uid) is None:
            self._journal.open_study(
                uid, study_uid, name=study.name, model=study.model, priority=study.priority,
                modality=rows[members[0].series_uid].modality, opened_at_s=first_s,
            )  # fmt: skip
        if any(rows[m.series_uid].state is SeriesState.RECEIVING for m in members):
            return  # its end is noted
        whole = {m.series_uid: self._completed(m.series_uid) for m in members if _is_whole(rows[m.series_uid])}
        candidates = [
            _candidate(m, rows[m.series_uid], whole[m.series_uid].geometry) for m in members if m.series_uid in whole
        ]
        choice = choose(candidates, self._requires[study.name])
        if not choice.missing:
            self._match(uid, study, choice, whole, last_s)
        elif now_s >= last_s + study.wait_s:
            self._end(uid, _missing(choice, members, rows, is_final=True))
        else:
            self._wait(uid, _missing(choice, members, rows, is_final=False))
            with self._lock:
                deadline_s = last_s + study.wait_s
                self._deadlines_s[study_uid] = min(deadline_s, self._deadlines_s.get(study_uid, deadline_s))

    def _match(
        self, uid: str, study: StudyConfig, choice: Choice, whole: Mapping[str, SeriesCompleted], last_s: float
    ) -> None:
        try:
            match = match_series(
                {role: candidate.geometry for role, candidate in choice.chosen.items()},
                references=study.references,
                min_overlap=study.min_overlap,
                allow_different_frames=study.allow_different_frames,
            )
        except SeriesRejection as rejection:
            self._end(uid, rejection)
            return
        sources = tuple(_source(role, whole[one.series_instance_uid]) for role, one in choice.chosen.items())
        last, row = self._last(uid), self._journal.series(uid)
        if last is not None and _versions(last.sources) == _versions(sources):
            return
        assert row is not None, "a study that is looked at has a row"
        self._tell(
            StudyReady(
                uid, 0, study.model, sources, match.reference, row.version + 1, study.priority,
                study.triage or "", match.warnings,
            ),
            last_s,
        )  # fmt: skip
        log.info("study is brought together", study=uid, reason=match.why)
        for reason in choice.reasons:
            self._journal.audit(self._clock(), "series-chosen", uid, reason)

    def _tell(self, event: StudyReady, last_received_at_s: float) -> None:
        """Record, then publish; what is lost on the way is asked for again by its number."""
        crashpoints.reach("study.before-record")
        sequence = self._journal.record(
            event.series_instance_uid, [EventRecord(StudyReady.__name__, payload=encode_payload(event))],
            state=SeriesState.COMPLETE, version=event.version, num_slices=event.reference_source.geometry.num_slices,
            reason="", message="", last_received_at_s=last_received_at_s, finished_at_s=None,
        )  # fmt: skip
        crashpoints.reach("study.after-record")
        self._publish(replace(event, sequence=sequence))
        log.info("study is complete", study=event.series_instance_uid, version=event.version)

    def _last(self, uid: str) -> StudyReady | None:
        for record in reversed(self._journal.events(uid)):
            event = decode_payload(record.kind, uid, record.sequence, record.payload)
            if isinstance(event, StudyReady):
                return event
        return None

    def _wait(self, uid: str, why: SeriesRejection) -> None:
        row = self._journal.series(uid)
        if row is None or not _is_fresh(row):
            return
        if (row.state, row.message) != (SeriesState.WAITING, why.message):
            self._journal.record(
                uid, state=SeriesState.WAITING, reason=why.code.value, message=why.message, finished_at_s=None
            )

    def _end(self, uid: str, rejection: SeriesRejection) -> None:
        """Give a study up, unless it was segmented before; series that come later begin anew."""
        row = self._journal.series(uid)
        if row is None or not _is_fresh(row) or (row.state, row.message) == (SeriesState.REJECTED, str(rejection)):
            return
        now_s = self._clock()
        self._journal.record(
            uid, state=SeriesState.REJECTED, reason=rejection.code.value, message=str(rejection), finished_at_s=now_s
        )
        self._journal.audit(now_s, "not-segmented", uid, rejection.code.value)
        log.warning("study is not segmented", study=uid, code=rejection.code.value)

    def _end_forgotten(self) -> None:
        """Give up studies that a former configuration waited for; their series would be kept for ever."""
        for row in self._journal.all_series([SeriesState.WAITING]):
            if row.kind is RecordKind.STUDY and row.rule not in self._studies:
                sentence = f"The study '{row.rule}' is not in the configuration any more; it is not waited for."
                remedy = "Configure it again, then send one of its series again."
                self._end(row.series_uid, SeriesRejection(RejectionCode.NO_RULE, sentence, remedy=remedy))


def _is_fresh(row: SeriesRecord) -> bool:
    """Whether nothing was made of a study yet, or nothing is left of it."""
    return row.version == 0 or row.state in (SeriesState.PURGED, SeriesState.WAITING)


def _is_whole(row: SeriesRecord) -> bool:
    """Whether a series is complete and was not refused."""
    return row.version > 0 and row.state not in GONE


def _candidate(member: StudySeriesRecord, row: SeriesRecord, geometry: StackGeometry) -> Candidate:
    return Candidate(
        row.series_uid,
        RoleVerdict(member.role, (member.why,)),
        geometry,
        is_original=member.is_original,
        acquired=(member.acquired_at, row.opened_at_s),
        name=member.name,
    )


def _source(role: str, event: SeriesCompleted) -> StudySource:
    return StudySource(role, event.series_instance_uid, event.version, event.manifest, event.geometry)


def _versions(sources: Sequence[StudySource]) -> set[tuple[str, str, int]]:
    return {(source.sequence_name, source.series_instance_uid, source.version) for source in sources}


def _missing(
    choice: Choice, members: Sequence[StudySeriesRecord], rows: Mapping[str, SeriesRecord], *, is_final: bool
) -> SeriesRejection:
    """What is missing, what is there, and what was refused, as one reason."""
    there = ", ".join(f"{role} ({candidate.name})" for role, candidate in choice.chosen.items()) or "nothing"
    refused = [
        f" {m.role} ({m.name}) was refused: {rows[m.series_uid].message}"
        for m in members
        if rows[m.series_uid].state is SeriesState.REJECTED and m.role in choice.missing
    ]
    verb = "never came" if is_final else "is waited for"
    sentence = f"{' and '.join(choice.missing)} {verb}; there is {there}.{''.join(refused)}"
    remedy = "Send the missing series; the study is then segmented." if is_final else ""
    return SeriesRejection(RejectionCode.MISSING_SEQUENCE, sentence, remedy=remedy)
