"""Probabilities of finished series, computed when somebody asks and nothing else is to be done.

One series at a time. Its voxels are asked of the gateway again, a few slices at a time, in a thread of their own; the
network is run by the loop of the service, one window whenever it has nothing to do. So a live series waits for one
window at most. What was computed last is kept, compressed.
"""

from __future__ import annotations

import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.errors import NeuroScanError, RequestRefused
from neuroscan_core.domain.events import SeriesCompleted, SeriesOpened, SliceReceived
from neuroscan_core.domain.model_card import ModelKind
from neuroscan_core.domain.requests import GetProbabilities, Probabilities, ReplaySeries
from neuroscan_core.domain.volume import FrameKey, Volume
from neuroscan_core.log import get_logger, series_context
from neuroscan_core.pipeline.probability import ProbabilityMap
from neuroscan_core.ports import InferenceEngine, MessageBus

log = get_logger(__name__)

MAX_KEPT = 4
REPLAY_LIMIT = 8
REQUEST_TIMEOUT_S = 10.0
PAUSE_S = 0.02
MAX_PAUSES = 25  # per piece of a replay
COMPUTING, BUSY, READY = "computing", "busy", "ready"


@dataclass(frozen=True, eq=False)
class _Computed:
    """Kept for series whose number of events is still the same."""

    version: int
    num_events: int
    keys: tuple[FrameKey, ...]
    shape: tuple[int, ...]
    compressed: bytes


@dataclass
class _Job:
    uid: str
    num_events: int = 0
    version: int = 0
    keys: tuple[FrameKey, ...] = ()
    map: ProbabilityMap | None = None
    error: NeuroScanError | None = None


class ProbabilityDesk:
    """Takes requests, and does a piece of the work whenever `step` is called.

    Parameters
    ----------
    bus : MessageBus
    engines : mapping of str to InferenceEngine
        Of the service; run by the thread that calls `step`.
    is_busy : callable
        Whether the service has other work.
    """

    def __init__(self, bus: MessageBus, engines: Mapping[str, InferenceEngine], is_busy: Callable[[], bool]) -> None:
        self._bus, self._engines, self._is_busy = bus, engines, is_busy
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, _Computed] = OrderedDict()
        self._job: _Job | None = None
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopping.set()

    @property
    def has_work(self) -> bool:
        """Whether `step` has something to do."""
        job = self._job
        return job is not None and job.map is not None

    def answer(self, request: GetProbabilities) -> Probabilities:
        """Say how far it is, and begin where nothing else is in hand.

        Raises
        ------
        RequestRefused
            Why there can be none.
        """
        uid = request.series_instance_uid
        with self._lock:
            kept = self._kept.get(uid)
        # Asked without the lock, for which the loop of the service would wait.
        if kept is not None and self._is_current(uid, kept):
            return _reply(kept)
        with self._lock:
            job = self._job
            if job is not None and job.uid != uid and job.error is None:
                return _waiting(BUSY, 0.0)
            if job is not None and job.uid == uid and job.error is not None:
                self._job = None
                raise RequestRefused(job.error.message, remedy=job.error.remedy) from job.error
            if job is None or job.uid != uid:
                job = self._job = _Job(uid)
                threading.Thread(target=self._fetch, args=(job,), name="segmenter-voxels", daemon=True).start()
            return _waiting(COMPUTING, job.map.progress if job.map is not None else 0.0)

    def step(self) -> None:
        """Show one window to the network."""
        job = self._job
        if job is None or job.map is None:
            return
        try:
            job.map.step()
            if not job.map.is_done:
                return
            values_kji = job.map.probabilities_kji
            kept = _Computed(
                job.version, job.num_events, job.keys, values_kji.shape, zlib.compress(values_kji.tobytes(), 1)
            )
        except Exception as error:
            log.exception("probabilities cannot be computed")
            self._fail(job, RequestRefused(f"The probabilities cannot be computed: {type(error).__name__}."))
            return
        with self._lock:
            self._job = None
            self._kept[job.uid] = kept
            while len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)

    def _fail(self, job: _Job, error: NeuroScanError) -> None:
        with self._lock:
            job.error, job.map = error, None

    def _is_current(self, uid: str, kept: _Computed) -> bool:
        """Whether nothing was told of the series since."""
        try:
            later = self._bus.request(ReplaySeries(uid, kept.num_events, 1), timeout_s=REQUEST_TIMEOUT_S)
        except NeuroScanError:
            return True
        return not later.in_order

    # ---------------------------------------------------------------------------------------------------- its voxels

    def _fetch(self, job: _Job) -> None:
        with series_context(job.uid):
            try:
                volume, engine = self._volume(job)
                job.map = ProbabilityMap(volume, engine)
            except NeuroScanError as error:
                self._fail(job, error)
            except Exception as error:
                log.exception("the voxels of a series cannot be had")
                self._fail(job, RequestRefused(f"The images cannot be read again: {type(error).__name__}."))

    def _volume(self, job: _Job) -> tuple[Volume, InferenceEngine]:
        engine: InferenceEngine | None = None
        images: dict[FrameKey, npt.NDArray[np.float32]] = {}
        completed: SeriesCompleted | None = None
        while not self._stopping.is_set():
            self._pause()
            request = ReplaySeries(job.uid, job.num_events, REPLAY_LIMIT)
            events = self._bus.request(request, timeout_s=REQUEST_TIMEOUT_S).in_order
            if not events:
                break
            job.num_events = events[-1].sequence + 1
            for event in events:
                if isinstance(event, SeriesOpened):
                    engine = self._engine(event.model)
                elif isinstance(event, SeriesCompleted):
                    completed = event
                elif isinstance(event, SliceReceived):
                    images[event.key] = event.pixels_ji
        if completed is None or engine is None or not set(completed.manifest) <= images.keys():
            raise RequestRefused("The series is not complete.", remedy="Ask again when it is segmented.")
        job.version, job.keys = completed.version, completed.manifest
        voxels_kji = np.stack([images[key] for key in completed.manifest])
        return Volume(completed.geometry, completed.manifest, voxels_kji), engine

    def _engine(self, model: str) -> InferenceEngine:
        engine = self._engines.get(model)
        if engine is None or engine.card.kind is not ModelKind.SLICE25D:
            raise RequestRefused("The model of this series gives no probabilities.")
        return engine

    def _pause(self) -> None:
        """Let a live series go first, for a while."""
        for _ in range(MAX_PAUSES):
            if not self._is_busy() or self._stopping.wait(PAUSE_S):
                return


def _waiting(state: str, progress: float) -> Probabilities:
    return Probabilities(state, progress, 0, (), np.zeros((0, 0, 0), np.uint8))


def _reply(kept: _Computed) -> Probabilities:
    values = np.frombuffer(zlib.decompress(kept.compressed), np.uint8).reshape(kept.shape)
    return Probabilities(READY, 1.0, kept.version, kept.keys, values)
