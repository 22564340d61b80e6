"""Studies of several series in the service: a thread of its own that gives way to series which are arriving.

A study is told of when all its series are complete; their voxels are asked of the gateway series by series, as a replay
is, brought onto one grid and segmented. Between any two pieces of that the thread waits while the streaming loop has
work, and the operating system runs it at a lower priority. Nothing is kept: after a restart the study is told again.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

import numpy as np
import numpy.typing as npt

from neuroscan_core import crashpoints
from neuroscan_core.config import SegmenterConfig
from neuroscan_core.domain.errors import BusError, ModelError, RejectionCode, RequestRefused, SeriesRejection
from neuroscan_core.domain.events import SegmentationFailed, SegmentationReady, StudyReady, StudySource
from neuroscan_core.domain.model_card import ModelKind
from neuroscan_core.domain.requests import ReplaySeries
from neuroscan_core.domain.segmentation import ModelIdentity, Segmentation, Triage
from neuroscan_core.domain.study import StudyVolume
from neuroscan_core.domain.volume import FrameKey, Volume
from neuroscan_core.log import get_logger, series_context
from neuroscan_core.pipeline.classify import with_opinion
from neuroscan_core.pipeline.study import STUDY_KINDS, bring_together, classify_study, segment_study
from neuroscan_core.ports import InferenceEngine, MessageBus
from neuroscan_core.service.models import ModelSource
from neuroscan_core.service.series import INTERNAL_ERROR

log = get_logger(__name__)

REQUEST_TIMEOUT_S = 10.0
REPLAY_LIMIT = 8  # slices per request: what the gateway decodes at once while a scanner may be sending
MAX_REFUSALS = 5
RETRY_S = 1.0
NICENESS = 10
MAX_PAUSE_S = 0.5  # per piece, so that a node which never rests still finishes its studies
PAUSE_STEP_S = 0.01

Outcome = SegmentationReady | SegmentationFailed


class _Stopped(Exception):
    """The study in hand is not wanted any more."""


class StudySegmenter:
    """Segments studies one after the other, higher priority first.

    Parameters
    ----------
    bus : MessageBus
    bundles : mapping of str to ModelSource
    config : SegmenterConfig
    hand_over : callable
        Takes each result or failure; must not block.
    is_busy : callable
        Whether the streaming loop has work.
    """

    def __init__(
        self,
        bus: MessageBus,
        bundles: Mapping[str, ModelSource],
        config: SegmenterConfig,
        *,
        hand_over: Callable[[Outcome], None],
        is_busy: Callable[[], bool],
    ) -> None:
        self._bus, self._bundles = bus, bundles
        # One thread of the engine: the others belong to the series that are arriving.
        self._config = config.model_copy(update={"threads": 1})
        self._hand_over, self._is_busy = hand_over, is_busy
        self._engines: dict[str, InferenceEngine] = {}
        self._waiting: dict[str, StudyReady] = {}
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="segmenter-studies", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """End between two pieces of work; the gateway tells of the study again to the next service."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join(timeout=timeout_s)
        for engine in self._engines.values():
            engine.close()

    @property
    def num_waiting(self) -> int:
        """Studies that are not begun."""
        with self._changed:
            return len(self._waiting)

    @property
    def engines(self) -> tuple[InferenceEngine, ...]:
        """Engines that were needed so far; may be asked from any thread."""
        return tuple(self._engines.values())

    def take(self, study: StudyReady) -> None:
        """Take a study, or a newer version of one that waits or is in hand. Returns at once."""
        with self._changed:
            self._waiting[study.series_instance_uid] = study
            self._changed.notify_all()

    # --------------------------------------------------------------------------------------------------- its thread

    def _run(self) -> None:
        with suppress(OSError, AttributeError):  # Linux sets the priority of single threads
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        while (study := self._next()) is not None:
            with series_context(study.series_instance_uid):
                try:
                    self._finish(study)
                except _Stopped:
                    continue
                except Exception:
                    log.exception("the studies' loop failed; it goes on")

    def _next(self) -> StudyReady | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._stopping.is_set())
            if self._stopping.is_set():
                return None
            first = max(self._waiting.values(), key=lambda study: study.priority)
            return self._waiting.pop(first.series_instance_uid)

    def _finish(self, study: StudyReady) -> None:
        try:
            outcome = self._segment(study)
        except _Stopped:
            raise
        except SeriesRejection as rejection:
            outcome = self._failure(study, rejection.code.value, str(rejection))
        except ModelError as error:
            log.exception("the model of a study cannot be used")
            outcome = self._failure(study, INTERNAL_ERROR, str(error))
        except RequestRefused as refusal:
            sentence = f"The images of the study cannot be read again: {refusal}"
            outcome = self._failure(study, INTERNAL_ERROR, sentence)
        except Exception as error:
            log.exception("a study could not be segmented")
            outcome = self._failure(study, INTERNAL_ERROR, f"The segmentation failed: {type(error).__name__}.")
        if isinstance(outcome, SegmentationFailed) and self._stopping.is_set():
            raise _Stopped  # `stop` does not wait for ever: the engine may have been closed in the middle of it
        self._hand_over(outcome)

    def _failure(self, study: StudyReady, code: str, message: str) -> Outcome:
        log.warning("study is given up", code=code, reason=message)
        return SegmentationFailed(study.series_instance_uid, study.version, code, message)

    def _segment(self, study: StudyReady) -> Outcome:
        began_s = time.monotonic()
        engine = self._engine(study.model, STUDY_KINDS)
        volumes = {source.sequence_name: self._volume(study, source) for source in study.sources}
        fetched_s = time.monotonic()

        def pause() -> None:
            self._pause(study)

        together = bring_together(volumes, study.reference, pause=pause, channels=engine.card.channels)
        del volumes

        def progress(done: int, of: int) -> None:
            crashpoints.reach("segmenter.mid-study")
            pause()

        segmentation = segment_study(together, engine, progress=progress, warnings=study.warnings, batch=1)
        if study.triage:
            segmentation = self._judged(segmentation, study.triage, together)
        now_s = time.monotonic()
        log.info("study is segmented", version=study.version, fetch_s=round(fetched_s - began_s, 2),
                 segment_s=round(now_s - fetched_s, 2))  # fmt: skip
        identity = ModelIdentity.of(engine.card, engine.name)
        return SegmentationReady(study.series_instance_uid, study.version, segmentation, identity)

    def _judged(self, segmentation: Segmentation, classifier: str, study: StudyVolume) -> Segmentation:
        def judge() -> Triage:
            return classify_study(study, self._engine(classifier, (ModelKind.CLASSIFIER,)), segmentation)

        return with_opinion(segmentation, classifier, judge)

    def _engine(self, model: str, kinds: tuple[ModelKind, ...]) -> InferenceEngine:
        """Engine of a model, opened in this thread when it is needed first, so that its threads give way, too."""
        if model not in self._engines:
            bundle = self._bundles.get(model)
            if bundle is None or bundle.card.kind not in kinds:
                raise SeriesRejection(
                    RejectionCode.NO_RULE, f"The segmentation service has no model {model} that could do this.",
                    remedy="Gateway and segmenter need the same models_dir.",
                )  # fmt: skip
            self._engines[model] = bundle.open_engine(self._config)
        return self._engines[model]

    # --------------------------------------------------------------------------------------------------- its voxels

    def _volume(self, study: StudyReady, source: StudySource) -> Volume:
        """Voxels of a series, from the gateway's spool."""
        index = {key: k for k, key in enumerate(source.manifest)}
        voxels_kji = np.empty(source.geometry.shape, dtype=np.float32)
        missing = set(source.manifest)
        sequence = 0
        while missing:
            last = self._replay(study, source, sequence, missing, index, voxels_kji)
            if last < sequence:
                raise RequestRefused(f"The series lacks {len(missing)} of {len(index)} slices.")
            sequence = last + 1
        return Volume(source.geometry, source.manifest, voxels_kji)

    def _replay(
        self,
        study: StudyReady,
        source: StudySource,
        sequence: int,
        missing: set[FrameKey],
        index: Mapping[FrameKey, int],
        voxels_kji: npt.NDArray[np.float32],
    ) -> int:
        """Ask for a few events and keep their slices; the last sequence number that came, -1 for none."""
        request = ReplaySeries(source.series_instance_uid, sequence, REPLAY_LIMIT)
        num_refusals = 0
        while True:
            self._pause(study)
            try:
                events = self._bus.request(request, timeout_s=REQUEST_TIMEOUT_S)
                break
            except RequestRefused:
                num_refusals += 1
                if num_refusals >= MAX_REFUSALS:
                    raise
            except BusError as error:
                log.info("the gateway does not answer", reason=str(error))
            self._stopping.wait(RETRY_S)
        for event in events.slices:
            if event.key in missing:
                voxels_kji[index[event.key]] = event.pixels_ji
                missing.discard(event.key)
        return max((event.sequence for event in events.in_order), default=-1)

    def _pause(self, study: StudyReady) -> None:
        """Wait while series are arriving, for a while; stop where the study is not wanted any more."""
        deadline_s = time.monotonic() + MAX_PAUSE_S
        while self._is_busy() and time.monotonic() < deadline_s:
            if self._stopping.wait(PAUSE_STEP_S):
                break
        if self._stopping.is_set() or study.series_instance_uid in self._waiting:
            raise _Stopped
