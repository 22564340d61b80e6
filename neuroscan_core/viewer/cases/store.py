"""All cases by their identifiers: opened when somebody looks, kept within a bound of memory, recovered from the bus."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from neuroscan_core.domain.errors import BusError, CaseNotFound
from neuroscan_core.domain.events import Event, GatewayHeartbeat, SeriesEvent, SeriesProgress
from neuroscan_core.domain.model_card import ModelCard
from neuroscan_core.domain.requests import GetIdentity, Identity, ListSeries
from neuroscan_core.lifetime import Runs
from neuroscan_core.log import get_logger
from neuroscan_core.ports import MessageBus
from neuroscan_core.viewer.case_ids import series_case_id
from neuroscan_core.viewer.cases.case import Case
from neuroscan_core.viewer.cases.loader import SeriesLoader
from neuroscan_core.viewer.cases.masks import MaskSet
from neuroscan_core.viewer.cases.resampled import Resampled, SequenceThread
from neuroscan_core.viewer.cases.revisions import Revisions
from neuroscan_core.viewer.cases.series import Fetch, SeriesCase

log = get_logger(__name__)

DEFAULT_MAX_BYTES = 256 << 20
MAX_OPEN = 32
MAX_ADDED = 16  # cases whose compared segmentations outlive their slices
WATCHED_S = 20.0  # a browser asks five times a second whether something changed
FIRST_WAIT_S = 3.0
ASK_TIMEOUT_S = 2.0
IDLE_S = 0.5
_FULL = (
    "There is no memory for all images of this series. Close other cases, or raise viewer.max_case_bytes in the "
    "configuration."
)

Finder = Callable[[str], Case | None]


@dataclass
class _Entry:
    loader: SeriesLoader
    touched_at_s: float

    @property
    def case(self) -> SeriesCase:
        return self.loader.case


class CaseStore(Runs):
    """Finds cases. Thread-safe.

    Parameters
    ----------
    bus : MessageBus
    cards : mapping of str to ModelCard
        Cards of the models by name.
    max_bytes : int
        What slices, masks and resampled sequences of all series together may take; those nobody looks at go first.
    clock : callable
        Seconds that never go back.
    """

    def __init__(
        self,
        bus: MessageBus,
        cards: Mapping[str, ModelCard] | None = None,
        *,
        max_bytes: int = DEFAULT_MAX_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bus, self.cards, self._max_bytes, self._clock = bus, dict(cards or {}), max_bytes, clock
        self._next_revision = Revisions().next
        self._uids: dict[str, str] = {}
        self._progress: dict[str, SeriesProgress] = {}
        self._entries: OrderedDict[str, _Entry] = OrderedDict()  # the one looked at last is last
        self._added: OrderedDict[str, dict[str, MaskSet]] = OrderedDict()
        self._finders: list[Finder] = []
        self._lock = threading.Lock()
        self._work = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="viewer-cases", daemon=True)
        self._sequences = SequenceThread()

    # --------------------------------------------------------------------------------------------------- life cycle

    def start(self) -> None:
        """Begin to load what is looked at."""
        self._thread.start()
        self._sequences.start()

    def stop(self) -> None:
        """End."""
        self._stopping.set()
        self._work.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=5)
        self._sequences.stop()

    # ------------------------------------------------------------------------------------------------- what is told

    def add_finder(self, find: Finder) -> None:
        """Let another part of the viewer have cases, too; `find` gives None for what it does not know, quickly."""
        self._finders.append(find)

    def apply(self, event: Event) -> None:
        """Take in what was published."""
        if isinstance(event, GatewayHeartbeat):
            self.merge(event.open_series)
            return
        uid = getattr(event, "series_instance_uid", "")
        if uid and isinstance(event, SeriesEvent):
            with self._lock:
                self._uids.setdefault(series_case_id(uid), uid)
        now_s = self._clock()
        for entry in self._all():
            if uid in (entry.case.uid, entry.case.pixel_uid):
                entry.loader.offer(event, is_watched=now_s - entry.touched_at_s < WATCHED_S)
                self._work.set()

    def merge(self, progress: Iterable[SeriesProgress]) -> None:
        """Take in the gateway's list, or a part of it."""
        with self._lock:
            for one in progress:
                self._uids[series_case_id(one.series_instance_uid)] = one.series_instance_uid
                self._progress[one.series_instance_uid] = one
        for entry in self._all():
            for uid in {entry.case.uid, entry.case.pixel_uid}:
                if uid in self._progress:
                    entry.loader.note_progress(self._progress[uid])
        self._work.set()

    # ----------------------------------------------------------------------------------------------------- who asks

    def revision(self, case_id: str) -> int | None:
        """Number that grows with every change of a case, None for one that is not known.

        Quick. Whoever calls it again and again watches the case: it is loaded, and stays in memory.
        """
        entry = self._touch(case_id)
        if entry is not None:
            return entry.case.revision
        found = self._found(case_id)
        return found.revision if found is not None else None

    def get(self, case_id: str) -> Case:
        """A case, with something to show if that can be had within a few seconds.

        Raises
        ------
        CaseNotFound
            There is none.
        """
        entry = self._touch(case_id)
        if entry is None:
            found = self._found(case_id)
            if found is not None:
                return found
            self._list()
            entry = self._touch(case_id)
        if entry is None:
            raise CaseNotFound(
                "There is no such case.", remedy="It was deleted, or its time is over. Go back to the list."
            )
        case, loader = entry.case, entry.loader
        with case.lock:
            case.changed.wait_for(lambda: loader.has_begun or self._stopping.is_set(), FIRST_WAIT_S)
        return case

    def identity(self, case_id: str) -> Identity:
        """Who the patient of a series is; the caller has made sure that it may be shown.

        Raises
        ------
        CaseNotFound
            It is no series of the node.
        BusError
            The gateway does not answer, or does not have it.
        """
        with self._lock:
            uid = self._uids.get(case_id)
        if uid is None:
            raise CaseNotFound("This case has no identity.")
        return self._bus.request(GetIdentity(uid), timeout_s=ASK_TIMEOUT_S)

    def _list(self) -> None:
        """A viewer that has just begun knows no series yet."""
        try:
            self.merge(self._bus.request(ListSeries(), timeout_s=ASK_TIMEOUT_S).series)
        except BusError as exc:
            log.debug("the list of series cannot be had", error=str(exc))

    def _found(self, case_id: str) -> Case | None:
        return next((case for find in self._finders if (case := find(case_id)) is not None), None)

    def _touch(self, case_id: str) -> _Entry | None:
        """Entry of a series, opened where it is not."""
        now_s = self._clock()
        with self._lock:
            entry = self._entries.get(case_id)
            if entry is None:
                uid = self._uids.get(case_id)
                if uid is None:
                    return None
                entry = self._open(case_id, uid, now_s)
            entry.touched_at_s = now_s
            self._entries.move_to_end(case_id)
        return entry

    def _open(self, case_id: str, uid: str, now_s: float) -> _Entry:
        case = SeriesCase(uid, self._bus, self.cards, self._next_revision, self._resampled)
        for name, masks in self._added.pop(case_id, {}).items():
            case.restore(name, masks)
        loader = SeriesLoader(case, self._bus, clock=self._clock, has_room=lambda: self._has_room(case_id))
        entry = self._entries[case_id] = _Entry(loader, now_s)
        if uid in self._progress:
            loader.note_progress(self._progress[uid])
        self._work.set()
        return entry

    def _resampled(self, fetch: Fetch, changed: Callable[[], None]) -> Resampled:
        return Resampled(fetch, self._sequences, has_room=self._has_room_for, clock=self._clock, changed=changed)

    def _all(self) -> list[_Entry]:
        with self._lock:
            return list(self._entries.values())

    # ------------------------------------------------------------------------------------------------------- memory

    @property
    def num_bytes(self) -> int:
        """Memory that all series take."""
        return sum(entry.case.num_bytes for entry in self._all())

    @property
    def num_open(self) -> int:
        """Series in memory."""
        return len(self._entries)

    def _has_room(self, case_id: str) -> bool:
        """Whether a case may take more slices; where it may not, it says so."""
        fits = self.num_bytes < self._max_bytes
        entry = self._entries.get(case_id)
        if entry is not None and (not fits or entry.case.note == _FULL):
            entry.case.say("" if fits else _FULL)
        return fits

    def _has_room_for(self, num_bytes: int) -> bool:
        """Whether a further sequence of a study fits, when what nobody looks at has gone."""
        self._make_room(num_bytes)
        return self.num_bytes + num_bytes <= self._max_bytes

    def _make_room(self, num_bytes: int = 0) -> None:
        """Close what nobody looks at, the oldest first, while memory, with so many bytes more, or number is exceeded.

        Sequences that no browser reads at present go before whole cases: they can be fetched again.
        """
        while self.num_bytes + num_bytes >= self._max_bytes:
            read = [(at_s, one) for one in self._all() if (at_s := one.case.resampled.read_last()) is not None]
            if not read:
                break
            min(read, key=lambda pair: pair[0])[1].case.resampled.forget_one()
        now_s = self._clock()
        with self._lock:
            entries = list(self._entries.items())
        for case_id, entry in entries:
            if self.num_bytes + num_bytes < self._max_bytes and len(self._entries) <= MAX_OPEN:
                return
            if now_s - entry.touched_at_s >= WATCHED_S or len(self._entries) > MAX_OPEN:
                self._close(case_id, entry)

    def _close(self, case_id: str, entry: _Entry) -> None:
        with self._lock:
            if self._entries.get(case_id) is not entry:
                return
            del self._entries[case_id]
            entry.case.resampled.close()
            added = entry.case.added()
            if added:
                self._added[case_id] = added
                while len(self._added) > MAX_ADDED:
                    self._added.popitem(last=False)

    # -------------------------------------------------------------------------------------------------- its thread

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                is_busy = self._step()
            except Exception:
                log.exception("cases cannot be loaded; the viewer goes on")
                is_busy = False
            if not is_busy:
                self._work.wait(IDLE_S)
                self._work.clear()

    def _step(self) -> bool:
        """Load a piece of the case that was looked at last; whether there was anything to do."""
        self._make_room()
        now_s = self._clock()
        for entry in reversed(self._all()):
            if now_s - entry.touched_at_s < WATCHED_S and entry.loader.is_behind:
                entry.loader.step()
                self._note_sources(entry)
                return True
        return False

    def _note_sources(self, entry: _Entry) -> None:
        """How many events the reference of a study has is in the list already."""
        with self._lock:
            progress = self._progress.get(entry.case.pixel_uid)
        if progress is not None and entry.case.pixel_uid != entry.case.uid:
            entry.loader.note_progress(progress)
