"""The gateway process: storage SCP, series assembly, result writing and delivery, composed around one journal.

This module wires and serves; what the parts do is in `ingest`, `assembly`, `results` and `deliver`.
"""

from __future__ import annotations

import random
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from pydicom.dataset import Dataset

from dicom_gateway.arrivals import Arrivals
from dicom_gateway.assembly import SeriesAssembler
from dicom_gateway.deliver import Delivery, Retention, queue_for
from dicom_gateway.ingest import Spool, StorageScp
from dicom_gateway.inquiries import Inquiries
from dicom_gateway.journal import (
    OPEN_STATES,
    DeliveryState,
    Journal,
    RecordKind,
    ResultRecord,
    SeriesRecord,
    SeriesState,
)
from dicom_gateway.originals import Originals
from dicom_gateway.results import ResultWriter, SourceHeaders
from dicom_gateway.rules import RuleSet, check_kinds
from dicom_gateway.series_details import SeriesDesk
from dicom_gateway.study.desk import StudyDesk
from neuroscan_core import crashpoints
from neuroscan_core.config import NodeConfig, SegFormat
from neuroscan_core.domain.errors import (
    ConfigurationError,
    NeuroScanError,
    RejectionCode,
    RequestRefused,
    StorageError,
)
from neuroscan_core.domain.events import Event, MaskReady, SegmentationReady, SeriesCompleted, SeriesRejected
from neuroscan_core.domain.requests import (
    Acknowledged,
    GetGatewayHealth,
    Health,
    ListSeries,
    ReplayedEvents,
    ReplaySeries,
    SeriesList,
    SubmitFailure,
    SubmitSegmentation,
)
from neuroscan_core.inference.bundle import Bundle, find_bundles
from neuroscan_core.lifetime import Runs
from neuroscan_core.log import get_logger, series_context
from neuroscan_core.ports import MessageBus

log = get_logger(__name__)

TICK_S = 0.2
HEARTBEAT_S = 1.0
RETENTION_S = 60.0
SEG_FIRST_S = 0.25  # the report is not begun while the SEG is on its way, as long as that takes no longer than this
AWAITING_RESULT = (SeriesState.COMPLETE, SeriesState.SEGMENTING)


class Gateway(Runs):
    """Everything between the scanner and the archive, except the segmentation.

    Parameters
    ----------
    config : NodeConfig
    bus : MessageBus
        Opened for the role ``gateway``; the caller closes it.
    clock : callable
        Unix time in seconds.

    Raises
    ------
    ConfigurationError, JournalError, InvalidBundle
        The node cannot start like this; the message says what to do.
    """

    def __init__(self, config: NodeConfig, bus: MessageBus, *, clock: Callable[[], float] = time.time) -> None:
        self._config, self._bus, self._clock = config, bus, clock
        for folder in (config.state_dir, config.spool_dir, config.results_dir):
            _make_folder(folder)
        self.registry = CollectorRegistry()
        self._bundles: dict[str, Bundle] = find_bundles(config.segmenter.models_dir)
        rules = RuleSet(config.rules)
        rules.check_models(self._bundles)
        check_kinds(config, {name: bundle.card.kind for name, bundle in self._bundles.items()})
        with ExitStack() as opened:
            self._journal = Journal(config.journal_path)
            opened.callback(self._journal.close)
            self._compose(config, bus, rules, clock, opened)
            opened.pop_all()

    def _compose(
        self, config: NodeConfig, bus: MessageBus, rules: RuleSet, clock: Callable[[], float], opened: ExitStack
    ) -> None:
        """Put the parts together; those with threads are closed by `opened` where a later one cannot be made."""
        self._spool = Spool(config.spool_dir)
        self._originals = Originals(self._journal, self._spool, lambda uid: self._desk.ready(uid))
        self._headers = SourceHeaders(self._originals.headers)
        self._assembler = SeriesAssembler(
            config, self._journal, self._say, rules, clock=clock, registry=self.registry, on_header=self._keep_header,
            takes_part=self._takes_part,
        )  # fmt: skip
        opened.callback(self._assembler.close)
        channels = {name: bundle.card.channels for name, bundle in self._bundles.items()}
        self._desk = StudyDesk(
            config.studies, channels, self._journal, bus.publish, self._assembler.completed, clock=clock
        )
        self._writer = ResultWriter(
            config.results, config.gateway, config.results_dir, self._headers, clock=clock, registry=self.registry
        )
        self._arrivals = Arrivals(bus.publish)
        self._delivery = Delivery(
            config, self._journal, self._arrivals.announce, clock=clock, registry=self.registry, random=random.Random()
        )
        self._series_desk = SeriesDesk(self._journal, self._assembler, self._desk, self._delivery, clock=clock)
        self._retention = Retention(config, self._journal, clock=clock)
        self._inquiries = Inquiries(
            self._journal, config.results_dir, {name: bundle.card for name, bundle in self._bundles.items()},
            completed_study=self._desk.completed, headers=self._originals.headers, clock=clock,
        )  # fmt: skip
        self._scp = StorageScp(
            config.gateway, self._spool, self._journal, self._assembler, clock=clock, registry=self.registry,
            extra_contexts=self._delivery.association_contexts(), extra_handlers=self._delivery.handlers(),
        )  # fmt: skip
        self._results_lock = threading.Lock()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._serving = ExitStack()
        self._masks = bus.subscribe(MaskReady)
        self._define_metrics()

    def _define_metrics(self) -> None:
        registry = self.registry
        self._results_total = Counter("neuroscan_results", "Results made", ["kind"], registry=registry)
        self._last_to_result_s = Histogram(
            "neuroscan_last_image_to_result_seconds", "From the last image to the SEG on disk",
            buckets=(0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5, 10, 30), registry=registry,
        )  # fmt: skip
        free = Gauge("neuroscan_spool_free_bytes", "Free space of the spool's disk", registry=registry)
        free.set_function(lambda: shutil.disk_usage(self._config.spool_dir).free)
        dead = Gauge("neuroscan_dead_letters", "Deliveries that were given up", registry=registry)
        dead.set_function(lambda: len(self._journal.deliveries(states=[DeliveryState.DEAD_LETTER])))

    @property
    def address(self) -> tuple[str, int]:
        """Host and port on which the SCP listens."""
        return self._scp.address

    # -------------------------------------------------------------------------------------------------- life cycle

    def start(self) -> None:
        """Recover what a former process left, then listen."""
        self._spool.recover(self._journal)
        self._assembler.recover()
        for request_type, handler in (
            (ReplaySeries, self._replay),
            (ListSeries, self._list_series),
            (SubmitSegmentation, self._accept_segmentation),
            (SubmitFailure, self._accept_failure),
            (GetGatewayHealth, lambda _: self.health()),
            *self._inquiries.handlers(),
            *self._series_desk.handlers(),
        ):
            self._serving.enter_context(self._bus.serve(request_type, handler))  # type: ignore[arg-type]
        self._delivery.start()
        self._scp.start()
        for name, target in (("gateway-clock", self._run_clock), ("gateway-masks", self._watch_masks)):
            thread = threading.Thread(target=target, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)
        host, port = self.address
        log.info("gateway is ready", host=host, port=port, ae_title=self._config.gateway.ae_title)

    def stop(self, drain_s: float = 10.0) -> None:
        """Take no more associations, finish what is acknowledged, close."""
        self._scp.stop(drain_s)
        self._assembler.drain(drain_s)
        self._stopping.set()
        self._masks.close()
        for thread in self._threads:
            thread.join(timeout=drain_s)
        self._serving.close()
        self._delivery.stop(drain_s)
        self._assembler.close()
        self._journal.close()
        log.info("gateway has stopped")

    def _run_clock(self) -> None:
        next_heartbeat_s = next_retention_s = 0.0
        while not self._stopping.wait(TICK_S):
            now_s = self._clock()
            try:
                self._assembler.tick(now_s)
                self._desk.tick(now_s)
                self._get_ready()
                if now_s >= next_heartbeat_s:
                    next_heartbeat_s = now_s + HEARTBEAT_S
                    self._bus.publish(self._assembler.heartbeat())
                if now_s >= next_retention_s:
                    next_retention_s = now_s + RETENTION_S
                    self._retention.purge(now_s)
            except Exception:
                log.exception("the gateway's clock failed; it goes on")

    def _get_ready(self) -> None:
        """Do ahead what the results of open series will need, so that the last image does not wait for it."""
        open_series = self._journal.all_series(OPEN_STATES)
        for series in open_series:
            self._writer.prepare(series.series_uid)
        if open_series:
            self._delivery.warm_up()

    def _watch_masks(self) -> None:
        """The first mask after completion moves the series on to `segmenting`, for those who watch."""
        while not self._stopping.is_set():
            mask = self._masks.receive(timeout_s=1.0)
            if isinstance(mask, MaskReady):
                self._journal.advance(
                    mask.series_instance_uid, [SeriesState.COMPLETE], SeriesState.SEGMENTING, durable=False
                )

    # --------------------------------------------------------------------------------------------------- requests

    def _replay(self, request: ReplaySeries) -> ReplayedEvents:
        return self._assembler.replay(request.series_instance_uid, request.from_sequence, request.limit)

    def _list_series(self, request: ListSeries) -> SeriesList:
        return SeriesList(tuple(self._assembler.progress(request.open_only)))

    def _accept_segmentation(self, request: SubmitSegmentation) -> Acknowledged:
        result = request.result
        with self._results_lock, series_context(result.series_instance_uid):
            series = self._awaiting(result.series_instance_uid, result.version)
            if series is None:
                return Acknowledged(is_new=False)
            is_study = series.kind is RecordKind.STUDY
            completed = self._desk.completed(series) if is_study else self._assembler.completed(series.series_uid)
            if completed.version != result.version:
                return Acknowledged(is_new=False)  # a newer version was completed just now
            try:
                self._write_results(series, completed, result)
            except (StorageError, RequestRefused):
                raise  # the segmenter hands it over again: disk and configuration can be mended
            except Exception as error:
                log.exception("the results of a series cannot be made")
                sentence = str(error) if isinstance(error, NeuroScanError) else type(error).__name__
                if self._awaiting(series.series_uid, result.version) is not None:
                    self._end(
                        series.series_uid, SeriesState.FAILED, "results", f"The results cannot be made: {sentence}"
                    )
            return Acknowledged()

    def _awaiting(self, series_uid: str, version: int) -> SeriesRecord | None:
        """The series, if a result of this version is awaited; None if it is late or there already."""
        series = self._journal.series(series_uid)
        if series is None:
            raise RequestRefused(
                f"The series {series_uid} is not known.", remedy="It was purged; nothing is to be done."
            )
        return series if series.state in AWAITING_RESULT and series.version == version else None

    def _write_results(self, series: SeriesRecord, completed: SeriesCompleted, result: SegmentationReady) -> None:
        bundle = self._bundles.get(result.model.name)
        if bundle is None:
            raise RequestRefused(
                f"The gateway does not know the model {result.model.name}.",
                remedy="Gateway and segmenter need the same models_dir.",
            )
        crashpoints.reach("results.before-write")
        formats, companions = self._formats(), self._originals.companions(series)
        if self._config.results.seg and not result.segmentation.is_empty:
            segs = self._writer.write_seg(completed, result, bundle.card, formats, companions)
            if series.kind is RecordKind.SERIES:
                self._last_to_result_s.observe(max(0.0, self._clock() - series.last_received_at_s))
            self._commit(series, segs)
            if self._config.destinations:
                self._arrivals.wait_for({seg.sop_uid for seg in segs}, SEG_FIRST_S)
        crashpoints.reach("results.after-write")
        self._commit(
            series, self._writer.write_rest(completed, result, bundle.card, self._originals.pixels_of, companions)
        )
        crashpoints.reach("results.after-journal")
        self._journal.advance(series.series_uid, AWAITING_RESULT, SeriesState.SEGMENTED, version=result.version)
        self._delivery.notify()

    def _commit(self, series: SeriesRecord, results: list[ResultRecord]) -> None:
        """Make results durable and start their delivery."""
        if not results:
            return
        is_new = self._journal.add_results(
            series.series_uid,
            results,
            queue_for(results, self._config.destinations, self._config.results_dir),
            now_s=self._clock(),
        )
        if is_new:
            self._delivery.notify()
            for result in results:
                self._results_total.labels(result.kind).inc()
                log.info("result is written", kind=result.kind, sop=result.sop_uid, summary=result.summary)

    def _formats(self) -> tuple[SegFormat, ...]:
        """The encodings that the destinations want; BINARY where there are none."""
        wanted = [destination.seg_format for destination in self._config.destinations if "SEG" in destination.send]
        return tuple(dict.fromkeys(wanted)) or (SegFormat.BINARY,)

    def _accept_failure(self, request: SubmitFailure) -> Acknowledged:
        failure = request.failure
        series = self._awaiting(failure.series_instance_uid, failure.version)
        if series is None:
            return Acknowledged(is_new=False)
        is_rejection = failure.code in {code.value for code in RejectionCode}
        state = SeriesState.REJECTED if is_rejection else SeriesState.FAILED
        self._end(failure.series_instance_uid, state, failure.code, failure.message)
        return Acknowledged()

    def _end(self, series_uid: str, state: SeriesState, code: str, message: str) -> None:
        """A series ends without a result: for people, in the journal, the audit trail and the log."""
        now_s = self._clock()
        self._journal.record(series_uid, state=state, reason=code, message=message, finished_at_s=now_s)
        self._journal.audit(now_s, "not-segmented", series_uid, code)
        self._desk.note(series_uid)
        log.warning("series is not segmented", series=series_uid, code=code, reason=message)

    def health(self) -> Health:
        """How it is."""
        problems = [*self._scp.problems(), *self._delivery.problems()]
        return Health(not self._scp.problems(), tuple(problems), generate_latest(self.registry).decode())

    # --------------------------------------------------------------------------------------------------- assembly

    def _say(self, event: Event) -> None:
        """Publish an event of a series; what ends it may be what a study waits for."""
        self._bus.publish(event)
        if isinstance(event, SeriesCompleted | SeriesRejected):
            self._desk.note(event.series_instance_uid)

    def _takes_part(self, series_uid: str, header: Dataset) -> bool:
        return self._desk.takes(series_uid, header)

    def _keep_header(self, series_uid: str, header: Dataset) -> None:
        self._headers.add(series_uid, header)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise ConfigurationError(
            f"The folder {folder} cannot be made: {exc.strerror}.",
            remedy="Set state_dir to a folder that this user may write.",
        ) from exc
