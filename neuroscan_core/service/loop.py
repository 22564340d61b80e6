"""The loop of the segmentation service: receive, batch, execute, publish, hand over.

One thread does all of it, so that a series has one state and no locks; results leave through the submitter's thread.
The service keeps nothing that it cannot get back: after a restart the feed brings the open series again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Protocol

from prometheus_client import CollectorRegistry

from neuroscan_core import crashpoints
from neuroscan_core.config import SegmenterConfig
from neuroscan_core.domain.errors import SeriesRejection
from neuroscan_core.domain.events import (
    Event,
    SegmentationFailed,
    SegmentationReady,
    SeriesCompleted,
    SeriesEvent,
    SeriesOpened,
    SeriesRejected,
    SliceReceived,
    StudyReady,
)
from neuroscan_core.domain.model_card import ModelKind
from neuroscan_core.domain.requests import (
    GetProbabilities,
    GetSegmenterHealth,
    Health,
    ReplayMasks,
    SubmitFailure,
    SubmitSegmentation,
)
from neuroscan_core.domain.segmentation import ModelIdentity
from neuroscan_core.lifetime import Runs
from neuroscan_core.log import get_logger, series_context
from neuroscan_core.pipeline.streaming import SliceMask, Window, segment_windows
from neuroscan_core.ports import InferenceEngine, MessageBus
from neuroscan_core.service.masks import MaskLog
from neuroscan_core.service.metrics import SegmenterMetrics
from neuroscan_core.service.models import STREAMING_KINDS, ModelSource, replacements
from neuroscan_core.service.probabilities import ProbabilityDesk
from neuroscan_core.service.series import INTERNAL_ERROR, SeriesWork
from neuroscan_core.service.study import Outcome, StudySegmenter
from neuroscan_core.service.submit import Submission, Submitter

log = get_logger(__name__)

IDLE_S = 0.2
MAX_EVENTS_PER_STEP = 32  # a slice that waits in the feed may have to be replayed; one that is taken is only kept


class EventFeed(Protocol):
    """Every numbered event of every open series exactly once, per series in order; see `bus.feed.SeriesFeed`."""

    def receive(self, timeout_s: float | None = None) -> Event | None:
        """Wait for the next event."""
        ...

    def forget(self, series_instance_uid: str) -> None:
        """Drop a series; should it get a new event, the whole series comes again."""
        ...

    def restart(self, series_instance_uid: str) -> None:
        """Hand out all events of a series again."""
        ...

    def is_outdated(self, event: SeriesEvent) -> bool:
        """Whether later events of the same series are known to exist."""
        ...


class SegmentationService(Runs):
    """Segments every open series while it arrives.

    Parameters
    ----------
    bus : MessageBus
    bundles : mapping of str to ModelSource
        Models by name.
    config : SegmenterConfig
    feed : EventFeed
        Brings the events of the gateway; the caller closes it after `stop`.
    clock : callable
        Unix time in seconds.
    registry : CollectorRegistry, optional
        Receives the metrics.
    """

    def __init__(
        self,
        bus: MessageBus,
        bundles: Mapping[str, ModelSource],
        config: SegmenterConfig,
        *,
        feed: EventFeed,
        clock: Callable[[], float] = time.time,
        registry: CollectorRegistry | None = None,
    ) -> None:
        self._bus, self._bundles, self._config = bus, bundles, config
        self._feed, self._clock = feed, clock
        self._metrics = SegmenterMetrics(registry or CollectorRegistry())
        self._masks = MaskLog(max_series=2 * config.max_open_series)
        self._submitter = Submitter(bus, monotonic=time.monotonic)
        self._engines: dict[str, InferenceEngine] = {}
        self._studies = StudySegmenter(
            bus, bundles, config, hand_over=self._hand_over_study, is_busy=lambda: self._is_at_work
        )
        self._probabilities = ProbabilityDesk(bus, self._engines, lambda: self._is_at_work)
        self._is_at_work = False
        self._open: dict[str, SeriesWork] = {}
        self._waiting: dict[str, SeriesOpened] = {}
        self._stopping = threading.Event()
        self._serving = ExitStack()
        self._thread = threading.Thread(target=self._run, name="segmenter", daemon=True)

    # -------------------------------------------------------------------------------------------------- life cycle

    def start(self) -> None:
        """Open the engines, serve requests and begin.

        Raises
        ------
        InvalidBundle, EngineRefused
            A model cannot be executed here.
        """
        for name, bundle in self._bundles.items():
            if bundle.card.kind in STREAMING_KINDS:
                self._engines[name] = bundle.open_engine(self._config)
        self._serving.enter_context(self._bus.serve(ReplayMasks, self._masks.replay))
        self._serving.enter_context(self._bus.serve(GetProbabilities, self._probabilities.answer))
        self._serving.enter_context(self._bus.serve(GetSegmenterHealth, lambda _: self.health()))
        self._submitter.start()
        self._studies.start()
        self._thread.start()
        log.info("segmenter is ready", models=sorted(self._bundles))

    def stop(self, drain_s: float = 10.0) -> None:
        """Finish the batch in hand, hand over what is done, release the engines."""
        self._stopping.set()
        self._probabilities.stop()
        self._thread.join(timeout=drain_s)
        self._studies.stop(drain_s)
        self._submitter.stop(drain_s)
        self._serving.close()
        for engine in self._engines.values():
            engine.close()
        log.info("segmenter has stopped")

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._step()
            except Exception:
                log.exception("the segmenter's loop failed; it goes on")

    def _step(self) -> None:
        self._is_at_work = self._is_busy()
        timeout_s = 0.0 if self._is_at_work or self._probabilities.has_work else IDLE_S
        for _ in range(MAX_EVENTS_PER_STEP):
            event = self._feed.receive(timeout_s)
            if event is None:
                break
            self._is_at_work = True
            if isinstance(event, StudyReady):
                self._studies.take(event)
            elif isinstance(event, SeriesEvent):
                self._take(event)
            timeout_s = 0.0
        self._segment_batch()
        if not self._is_at_work:
            self._probabilities.step()
        self._update_gauges()

    def _is_busy(self) -> bool:
        return any(work.num_due for work in self._open.values())

    # ------------------------------------------------------------------------------------------------------ events

    def _take(self, event: SeriesEvent) -> None:
        if isinstance(event, SeriesCompleted | SeriesRejected) and self._feed.is_outdated(event):
            return  # a late slice came, or the series was judged again: its end is another one
        with series_context(event.series_instance_uid):
            work = self._open.get(event.series_instance_uid)
            try:
                if isinstance(event, SeriesOpened):
                    self._begin(event)
                elif isinstance(event, SeriesRejected):
                    self._drop(event.series_instance_uid)
                elif work is not None:
                    self._advance(work, event)
            except SeriesRejection as rejection:
                assert work is not None
                self._give_up(work, rejection.code.value, str(rejection))
            except Exception as error:
                log.exception("an event could not be handled")
                if work is not None:
                    self._give_up(work, INTERNAL_ERROR, f"The segmentation failed: {type(error).__name__}.")
            if work is not None and work.is_done:
                self._finish(work)

    def _begin(self, opened: SeriesOpened) -> None:
        uid = opened.series_instance_uid
        if not opened.model:
            return  # kept for its study, which asks for it when it is complete
        if uid not in self._open and not self._has_place():
            # Its events pass by unused; when a place is free the feed brings them again.
            self._waiting[uid] = opened
            log.info("series waits", num_open=len(self._open))
            return
        self._waiting.pop(uid, None)
        engine = self._engines.get(opened.model)
        fits = engine is not None and engine.card.kind is ModelKind.SLICE25D
        self._open[uid] = SeriesWork(opened, engine.card if engine is not None and fits else None)

    def _advance(self, work: SeriesWork, event: SeriesEvent) -> None:
        if isinstance(event, SliceReceived):
            self._metrics.slices.inc()
            work.add(event, self._clock())
        elif isinstance(event, SeriesCompleted):
            work.complete(event)
            log.info("series is complete", num_slices=len(event.manifest), num_due=work.num_due)

    def _drop(self, uid: str) -> None:
        self._open.pop(uid, None)
        self._waiting.pop(uid, None)
        self._masks.release(uid)
        self._feed.forget(uid)
        self._admit_waiting()

    def _admit_waiting(self) -> None:
        if self._waiting and self._has_place():
            first = min(self._waiting.values(), key=lambda opened: (-opened.priority, opened.opened_at_s))
            del self._waiting[first.series_instance_uid]
            self._feed.restart(first.series_instance_uid)

    def _has_place(self) -> bool:
        """Whether one more series fits into memory; a failed one that waits for its end holds nothing."""
        return sum(work.segmenter is not None for work in self._open.values()) < self._config.max_open_series

    # ------------------------------------------------------------------------------------------------------ batches

    def _segment_batch(self) -> None:
        batch = self._next_batch()
        if not batch:
            return
        try:
            self._segment(batch)
        except Exception:
            # One bad series must not take others with it.
            log.exception("a batch failed; its series are tried one by one")
            for work in dict.fromkeys(work for work, _ in batch):
                self._segment_alone(work, [pair for pair in batch if pair[0] is work])

    def _next_batch(self) -> list[tuple[SeriesWork, Window]]:
        """Windows of one model, of the series that come first."""
        batch: list[tuple[SeriesWork, Window]] = []
        for work in sorted((work for work in self._open.values() if work.num_due), key=lambda work: work.rank):
            free = self._config.max_batch - len(batch)
            same_model = not batch or work.opened.model == batch[0][0].opened.model
            if free > 0 and same_model and work.segmenter is not None:
                batch += [(work, window) for window in work.segmenter.ready(free)]
        return batch

    def _segment_alone(self, work: SeriesWork, batch: list[tuple[SeriesWork, Window]]) -> None:
        with series_context(work.uid):
            try:
                self._segment(batch)
            except Exception as error:
                log.exception("the network failed")
                self._give_up(work, INTERNAL_ERROR, f"The network failed: {type(error).__name__}.")
                if work.is_done:
                    self._finish(work)

    def _segment(self, batch: list[tuple[SeriesWork, Window]]) -> None:
        engine = self._engines[batch[0][0].opened.model]
        with self._metrics.engine_s.time():
            labels = segment_windows(engine, [window for _, window in batch])
        for (work, window), labels_ji in zip(batch, labels, strict=True):
            if work.segmenter is not None:
                for mask in work.segmenter.accept(window, labels_ji):
                    self._publish_mask(work, window, mask)
        for work in dict.fromkeys(work for work, _ in batch):
            if work.is_done and work.uid in self._open:
                self._finish(work)

    # ------------------------------------------------------------------------------------------------------ results

    def _finish(self, work: SeriesWork) -> None:
        with series_context(work.uid):
            try:
                self._hand_over(work)
            except Exception as error:
                log.exception("the result could not be made")
                self._give_up(work, INTERNAL_ERROR, f"The result could not be made: {type(error).__name__}.")
                self._hand_over(work)
        self._drop(work.uid)

    def _give_up(self, work: SeriesWork, code: str, message: str) -> None:
        log.warning("series is given up", code=code, reason=message)
        work.fail(code, message)

    def _hand_over(self, work: SeriesWork) -> None:
        failure = work.failure
        if failure is not None:
            self._submit(SubmitFailure(failure), outcome=failure.code)
            self._bus.publish(failure)
            return
        assert work.segmenter is not None
        segmentation = work.result(self._engines.get(work.opened.triage))
        result = SegmentationReady(work.uid, work.version, segmentation, self._identity(work.opened.model))
        delay_s = max(0.0, self._clock() - work.last_received_at_s)
        self._metrics.last_image_to_result_s.observe(delay_s)
        volume_ml = [round(measured.volume_ml, 2) for measured in result.segmentation.measurements]
        log.info("series is segmented", version=work.version, delay_s=round(delay_s, 3), volume_ml=volume_ml)
        crashpoints.reach("segmenter.before-submit")
        self._submit(SubmitSegmentation(result), outcome="empty" if result.segmentation.is_empty else "segmented")
        self._bus.publish(result)

    def _hand_over_study(self, outcome: Outcome) -> None:
        """Comes from the thread of the studies."""
        if isinstance(outcome, SegmentationFailed):
            self._submit(SubmitFailure(outcome), outcome=outcome.code)
        else:
            is_empty = outcome.segmentation.is_empty
            self._submit(SubmitSegmentation(outcome), outcome="empty" if is_empty else "segmented")
        self._bus.publish(outcome)

    def _submit(self, submission: Submission, *, outcome: str) -> None:
        self._metrics.series.labels(outcome).inc()
        self._submitter.submit(submission)

    def _publish_mask(self, work: SeriesWork, window: Window, mask: SliceMask) -> None:
        latency_ms = work.latency_ms(window, self._clock())
        event = self._masks.append(work.uid, mask, latency_ms, self._identity(work.opened.model))
        if event is None:
            return
        self._bus.publish(event)
        self._metrics.masks.inc()
        self._metrics.slice_to_mask_s.observe(latency_ms / 1000.0)
        crashpoints.reach("segmenter.mid-series")

    def _identity(self, model: str) -> ModelIdentity:
        engine = self._engines[model]
        return ModelIdentity.of(engine.card, engine.name)

    # ------------------------------------------------------------------------------------------------------ health

    @property
    def engines(self) -> Mapping[str, str]:
        """Name of the engine that executes each model that is open."""
        engines = (*self._engines.values(), *self._studies.engines)
        return {engine.card.name: engine.name for engine in engines}

    def health(self) -> Health:
        """How it is."""
        problems = []
        if not self._thread.is_alive():
            problems.append("The segmentation thread has ended.")
        if not self._bundles:
            problems.append("There is no model.")
        return Health(not problems, (*problems, *self._replacements()), self._metrics.text())

    def _replacements(self) -> list[str]:
        """Why engines serve that were not chosen."""
        return replacements((*self._engines.values(), *self._studies.engines))

    def _update_gauges(self) -> None:
        self._metrics.open_series.set(len(self._open))
        self._metrics.waiting_series.set(len(self._waiting))
        self._metrics.due_windows.set(sum(work.num_due for work in self._open.values()))
        self._metrics.unacknowledged.set(self._submitter.num_pending)
        self._metrics.replaced_engines.set(len(self._replacements()))
