"""A gateway and a segmenter that say what they are told to, in front of a store of cases."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from neuroscan_core.bus.memory import InMemoryBus
from neuroscan_core.domain.errors import RequestRefused
from neuroscan_core.domain.events import (
    Event,
    MaskReady,
    SegmentationReady,
    SeriesCompleted,
    SeriesOpened,
    SliceReceived,
)
from neuroscan_core.domain.geometry import SliceGeometry, StackGeometry
from neuroscan_core.domain.requests import (
    GetIdentity,
    GetProbabilities,
    GetResultObject,
    GetSegmentation,
    Identity,
    ListResults,
    ListSeries,
    Probabilities,
    ReplayedMasks,
    ReplayMasks,
    ResultList,
    ResultObject,
    SeriesList,
    StoredResult,
    StoredSegmentation,
)
from neuroscan_core.domain.segmentation import ModelIdentity
from neuroscan_core.domain.volume import FrameKey
from neuroscan_core.pipeline.measure import finish_segmentation
from neuroscan_core.viewer.cases.store import CaseStore
from tests.bus.series import FakeGateway
from tests.pipeline.stacks import CARD

SHAPE = (24, 20)
PATIENCE_S = 20.0
MODEL = ModelIdentity("tiny", "1.0", "0" * 64, "cpu")


def geometry(k: int, shape: tuple[int, int] = SHAPE) -> SliceGeometry:
    return SliceGeometry((0.0, 0.0, 2.0 * k), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), (1.0, 1.0), shape, "1.9")


def key(uid: str, k: int) -> FrameKey:
    return FrameKey(f"{uid}.{k}")


def opened(uid: str, num_expected: int | None = None) -> SeriesOpened:
    return SeriesOpened(
        uid, 0, "tiny", slice_spacing_mm=2.0, num_expected=num_expected, modality="MR", description="AX FLAIR"
    )


def slice_in(uid: str, sequence: int, k: int, shape: tuple[int, int] = SHAPE) -> SliceReceived:
    """Slice `k` of the stack, whose pixels are k + 1."""
    return SliceReceived(uid, sequence, key(uid, k), geometry(k, shape), np.full(shape, k + 1, np.float32))


def completed(uid: str, sequence: int, num_slices: int, version: int = 1) -> SeriesCompleted:
    manifest = tuple(key(uid, k) for k in range(num_slices))
    return SeriesCompleted(uid, sequence, manifest, StackGeometry(geometry(0), 2.0, num_slices), version, "count")


def labels(k: int) -> npt.NDArray[np.uint8]:
    """A rectangle that moves with the slice."""
    labels_ji = np.zeros(SHAPE, np.uint8)
    labels_ji[4 + k % 4 : 12, 3:11] = 1
    return labels_ji


def mask_out(uid: str, sequence: int, k: int) -> MaskReady:
    return MaskReady(uid, sequence, key(uid, k), labels(k), 12.0, MODEL)


def result(uid: str, num_slices: int, version: int = 1) -> SegmentationReady:
    """The masks as they were streamed, but for the first slice, of which nothing is left."""
    labels_kji = np.stack([labels(k) for k in range(num_slices)])
    labels_kji[0] = 0
    end = completed(uid, 0, num_slices, version)
    return SegmentationReady(uid, version, finish_segmentation(labels_kji, end.geometry, end.manifest, CARD), MODEL)


class Node(FakeGateway):
    """Keeps masks, results and who the patient is, too."""

    def __init__(self) -> None:
        super().__init__(InMemoryBus())
        self.masks: dict[str, list[MaskReady]] = {}
        self.results: dict[str, list[SegmentationReady]] = {}
        self.states: dict[str, str] = {}
        self.probabilities: Callable[[str], Probabilities] | None = None
        self.asked: list[Any] = []
        self.now_s = 1000.0

    # ---------------------------------------------------------------------------------------------- what it publishes

    def send(self, store: CaseStore | None, *events: Event) -> None:
        """Keep events, and tell a store of them."""
        for event in events:
            if isinstance(event, MaskReady):
                self.masks.setdefault(event.series_instance_uid, []).append(event)
            elif isinstance(event, SegmentationReady):
                self.results.setdefault(event.series_instance_uid, []).append(event)
                self.states[event.series_instance_uid] = "segmented"
            else:
                self.keep(event)  # type: ignore[arg-type]
            if store is not None:
                store.apply(event)

    def whole(self, store: CaseStore | None, uid: str, num_slices: int) -> None:
        """A series from its first image to its result."""
        self.send(store, opened(uid))
        for k in range(num_slices):
            self.send(store, slice_in(uid, k + 1, k))
            self.send(store, mask_out(uid, k, k))
        self.send(store, completed(uid, num_slices + 1, num_slices), result(uid, num_slices))

    # -------------------------------------------------------------------------------------------------- what it answers

    def list_series(self) -> SeriesList:
        listed = []
        for one in self._progress():
            versions = [found.version for found in self.results.get(one.series_instance_uid, [])]
            state = self.states.get(one.series_instance_uid, "receiving")
            listed.append(replace(one, state=state, version=max(versions, default=0), is_open=state == "receiving"))
        return SeriesList(tuple(listed))

    def _list_results(self, request: ListResults) -> ResultList:
        self.asked.append(request)
        uid = request.series_instance_uid
        return ResultList(tuple(
            StoredResult(f"{uid}.{kind}.{one.version}", kind, one.version, "tiny", "", one.version)
            for one in self.results.get(uid, []) for kind in ("SEG", "SR")
        ))  # fmt: skip

    def _segmentation(self, request: GetSegmentation) -> StoredSegmentation:
        self.asked.append(request)
        for one in reversed(self.results.get(request.series_instance_uid, [])):
            if request.version in (0, one.version):
                # As from files: which engine it was is not known any more.
                return StoredSegmentation(replace(one, model=replace(one.model, engine="")))
        raise RequestRefused("There is no segmentation of this series.")

    def _object(self, request: GetResultObject) -> ResultObject:
        self.asked.append(request)
        return ResultObject(np.frombuffer(b"DICM " + request.sop_instance_uid.encode(), np.uint8))

    def _identity(self, request: GetIdentity) -> Identity:
        self.asked.append(request)
        return Identity("DOE^JANE", "4711", "19700101", "F", "20260101")

    def _get_probabilities(self, request: GetProbabilities) -> Probabilities:
        if self.probabilities is None:
            raise RequestRefused("The model of this series gives no probabilities.")
        return self.probabilities(request.series_instance_uid)

    def _replay_masks(self, request: ReplayMasks) -> ReplayedMasks:
        self.asked.append(request)
        masks = self.masks.get(request.series_instance_uid, [])
        return ReplayedMasks(tuple(masks[request.from_sequence : request.from_sequence + request.limit]))

    @contextmanager
    def serving(self) -> Iterator[Node]:  # type: ignore[override]
        with super().serving(), ExitStack() as stack:
            for request_type, handler in (
                (ListResults, self._list_results),
                (GetSegmentation, self._segmentation),
                (GetResultObject, self._object),
                (GetIdentity, self._identity),
                (GetProbabilities, self._get_probabilities),
                (ReplayMasks, self._replay_masks),
            ):
                stack.enter_context(self.bus.serve(request_type, handler))  # type: ignore[arg-type]
            yield self

    @contextmanager
    def store(self, **settings: Any) -> Iterator[CaseStore]:
        """A store that has just begun, and knows the list."""
        with CaseStore(self.bus, {"tiny": CARD}, clock=lambda: self.now_s, **settings) as store:
            store.merge(self.list_series().series)
            yield store


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Poll; loading is the work of another thread."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, f"waited in vain for {what}"
        time.sleep(0.005)


__all__ = ["ListSeries", "Node", "completed", "key", "labels", "mask_out", "opened", "result", "slice_in", "wait_until"]
