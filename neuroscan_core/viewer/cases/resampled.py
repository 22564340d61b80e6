"""Series of a study on the grid of its reference, so that a person sees each of them under one mask, at one place.

They are fetched and resampled when somebody asks, one after the other, in a thread of their own: nobody else waits.
"""

from __future__ import annotations

import math
import queue
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from neuroscan_core.domain.errors import CaseConflict, CaseError, CaseNotReady, NeuroScanError
from neuroscan_core.domain.events import StudyReady, StudySource
from neuroscan_core.domain.geometry import StackGeometry
from neuroscan_core.domain.volume import Volume
from neuroscan_core.log import get_logger
from neuroscan_core.viewer.cases.pixels import StoredVolume

log = get_logger(__name__)

READY, LOADING, KEPT, FAILED = "ready", "loading", "kept", "failed"
FETCHING = 0.9  # share of the work; the rest is resampling
READ_S = 3.0  # whoever reads a sequence asks again within this time

Progress = Callable[[float], None]


class SequenceThread:
    """Does one piece of work after the other. `start` may be called once, `stop` at any time."""

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="viewer-sequences", daemon=True)

    @property
    def is_stopping(self) -> bool:
        """Whether work in hand should end."""
        return self._stopping.is_set()

    def submit(self, work: Callable[[], None]) -> None:
        """Queue a piece of work that raises nothing."""
        self._work.put(work)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; what waits is not done."""
        self._stopping.set()
        self._work.put(None)
        if self._thread.ident is not None:
            self._thread.join(timeout=5)

    def _run(self) -> None:
        while not self._stopping.is_set():
            work = self._work.get()
            if work is None:
                return
            work()


@dataclass(eq=False)
class _Sequence:
    """One of them, on its way or here."""

    revision: int
    asked_at_s: float
    progress: float = 0.0
    volume: StoredVolume | None = None
    failure: CaseError | None = None
    is_told: bool = False

    @property
    def state(self) -> str:
        if self.failure is not None:
            return FAILED
        return LOADING if self.volume is None else READY


class Resampled:
    """Series of one study, apart from its reference, on the grid of that. Thread-safe.

    Parameters
    ----------
    fetch : callable
        Gives the volume of a series and tells how far it is; may take seconds.
    thread : SequenceThread
    has_room : callable
        Whether so many bytes more may be kept in memory.
    clock : callable
        Seconds that never go back.
    changed : callable
        Told when what `entry` says has changed.
    """

    def __init__(
        self,
        fetch: Callable[[StudySource, Progress], Volume],
        thread: SequenceThread,
        *,
        has_room: Callable[[int], bool],
        clock: Callable[[], float],
        changed: Callable[[], None],
    ) -> None:
        self._fetch, self._thread, self._has_room = fetch, thread, has_room
        self._clock, self._changed = clock, changed
        self._sequences: dict[str, _Sequence] = {}
        self._is_closed = False
        self._lock = threading.Lock()

    @property
    def num_bytes(self) -> int:
        """Memory that they take."""
        with self._lock:
            return sum(one.volume.stored_kji.nbytes for one in self._sequences.values() if one.volume is not None)

    def get(self, study: StudyReady, name: str) -> StoredVolume:
        """A series on the grid of the reference; the first who asks makes it be fetched.

        Raises
        ------
        CaseNotReady
            It is being fetched.
        CaseConflict
            It could not be had. Said once for each attempt: whoever asks after that starts another one.
        """
        source = next(one for one in study.sources if one.sequence_name == name)
        revision = revision_of(study, source)
        with self._lock:
            found = self._sequences.get(name)
            if found is None or found.revision != revision or found.is_told:
                found = self._sequences[name] = _Sequence(revision, self._clock())
                self._thread.submit(partial(self._load, found, source, study.reference_source.geometry))
            found.asked_at_s = self._clock()
            if found.failure is not None:
                found.is_told = True
                raise found.failure
            if found.volume is None:
                raise CaseNotReady(f"{name} is being fetched.", progress=found.progress)
            return found.volume

    def entry(self, study: StudyReady, source: StudySource) -> dict[str, Any]:
        """What `meta` says of a series: whether it is here, or why it cannot be had; once it is, how it is stored."""
        revision = revision_of(study, source)
        with self._lock:
            found = self._sequences.get(source.sequence_name)
            if found is None or found.revision != revision:
                found = None
        volume, failure = (found.volume, found.failure) if found else (None, None)
        return {
            "state": found.state if found else KEPT,
            "reason": str(failure) if failure else "",
            "scale": volume.scale.as_json() if volume else None,
            "window": volume.window if volume else None,
            "pixels_revision": revision,
        }

    def read_last(self) -> float | None:
        """When that was read which `forget_one` would forget; None where there is nothing that nobody reads."""
        with self._lock:
            idle = self._idle()
            return self._sequences[idle].asked_at_s if idle else None

    def forget_one(self) -> None:
        """Give back the memory of the one read longest ago, if nobody reads it: browsers have their own copy."""
        with self._lock:
            idle = self._idle()
            if idle:
                del self._sequences[idle]

    def close(self) -> None:
        """Forget all of them, and do not go on fetching."""
        with self._lock:
            self._is_closed = True
            self._sequences.clear()

    def _idle(self) -> str:
        now_s = self._clock()
        here = {
            one.asked_at_s: name
            for name, one in self._sequences.items()
            if one.volume is not None and now_s - one.asked_at_s > READ_S
        }
        return here[min(here)] if here else ""

    def _load(self, sequence: _Sequence, source: StudySource, target: StackGeometry) -> None:
        name = source.sequence_name
        if self._sequences.get(name) is not sequence:
            return  # another series has taken its place
        volume, failure = None, None
        try:
            volume = self._make(sequence, source, target)
        except CaseError as error:
            failure = error
        except NeuroScanError as error:
            failure = CaseConflict(f"{name} cannot be had. {error.message}", remedy=error.remedy)
        except Exception as error:
            log.exception("a sequence could not be brought onto the grid of another one")
            failure = CaseConflict(f"{name} could not be brought onto this grid: {type(error).__name__}.")
        with self._lock:
            sequence.volume, sequence.failure = volume, failure
        self._changed()

    def _make(self, sequence: _Sequence, source: StudySource, target: StackGeometry) -> StoredVolume:
        if not self._has_room(2 * math.prod(target.shape)):
            raise CaseConflict(
                f"There is no memory for {source.sequence_name} now.",
                remedy="Close other cases, or raise viewer.max_case_bytes in the configuration.",
            )

        def go_on(share: float) -> None:
            if self._thread.is_stopping or self._is_closed:
                raise CaseConflict("The case was closed.", remedy="Open it again.")
            sequence.progress = max(sequence.progress, share)

        volume = self._fetch(source, lambda share: go_on(FETCHING * share))
        from neuroscan_core.pipeline.resample import resample  # SciPy takes 20 MB

        values_kji = resample(volume.voxels_kji, volume.geometry, target, pause=lambda: go_on(FETCHING))
        del volume
        return StoredVolume.of(values_kji)


def revision_of(study: StudyReady, source: StudySource) -> int:
    """Another number where another series, or another grid, makes other voxels."""
    reference = study.reference_source
    parts = [f"{one.series_instance_uid} {one.version}" for one in (source, reference)]
    return zlib.crc32(" ".join(parts).encode()) & 0x7FFFFFFF
