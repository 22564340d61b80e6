"""A series of the node, or the segmentation of a study, as a case.

What the bus brings goes in by `take` and the like (`told`); `loader` asks for what is missing. What is given here is
in memory, so nothing but `probabilities`, `sources` and `download` of objects waits for anybody else. Sequences of a
study that are not shown first are brought into memory by `resampled`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.errors import CaseConflict, CaseNotFound, CaseNotReady
from neuroscan_core.domain.events import StudySource
from neuroscan_core.domain.model_card import ModelCard, ModelKind
from neuroscan_core.domain.requests import GetProbabilities, GetResultObject, ListResults
from neuroscan_core.domain.segmentation import ModelIdentity, Segmentation
from neuroscan_core.domain.volume import Volume
from neuroscan_core.ports import MessageBus
from neuroscan_core.viewer.case_ids import series_case_id
from neuroscan_core.viewer.cases.cache import Cache
from neuroscan_core.viewer.cases.case import Case, Download, MaskUpdate, SliceBlock
from neuroscan_core.viewer.cases.describe import SPARE_COLOURS
from neuroscan_core.viewer.cases.fetch import fetch_volume
from neuroscan_core.viewer.cases.files import make_download
from neuroscan_core.viewer.cases.masks import FAILED, FINAL, RUNNING, MaskSet, PackedMap
from neuroscan_core.viewer.cases.resampled import Progress, Resampled
from neuroscan_core.viewer.cases.series_meta import series_meta
from neuroscan_core.viewer.cases.told import ToldSeries

if TYPE_CHECKING:
    from neuroscan_core.pipeline.surface import SurfacePart

ASK_TIMEOUT_S = 10.0
LEAST_FOR_HEAD = 5  # slices
HEAD_STEP = 16  # slices after which the head is computed again while it grows
_OBJECTS = ("SEG", "SR")

Fetch = Callable[[StudySource, Progress], Volume]
ResampledBy = Callable[[Fetch, Callable[[], None]], Resampled]


class SeriesCase(ToldSeries, Case):
    """See `Case` and `ToldSeries`.

    Parameters
    ----------
    uid : str
        SeriesInstanceUID, or the UID of a study's segmentation.
    bus : MessageBus
    cards : mapping of str to ModelCard
        Cards of the models by name.
    next_revision : callable
        Hands out growing numbers.
    resampled_by : callable
        Makes what brings sequences of a study onto one grid, of how a series is fetched and whom to tell.
    """

    def __init__(
        self,
        uid: str,
        bus: MessageBus,
        cards: Mapping[str, ModelCard],
        next_revision: Callable[[], int],
        resampled_by: ResampledBy,
    ) -> None:
        super().__init__(uid, next_revision)
        self._bus, self.cards = bus, cards
        self.resampled = resampled_by(lambda source, progress: fetch_volume(bus, source, progress), self.bump)
        self._id = series_case_id(uid)
        self._cache = Cache()
        self._num_added = 0

    @property
    def id(self) -> str:
        """See `Case`."""
        return self._id

    @property
    def num_bytes(self) -> int:
        """Memory that it takes."""
        return super().num_bytes + self.resampled.num_bytes

    # ------------------------------------------------------------------------------------------------------- arrays

    def meta(self) -> dict[str, Any]:
        """See `Case`."""
        with self.lock:
            return series_meta(self)

    def slices(self, start: int, count: int) -> SliceBlock:
        """See `Case`."""
        with self.lock:
            return self.slice_store.block(start, count)

    def sequence_slices(self, name: str, start: int, count: int) -> SliceBlock:
        """See `Case`."""
        with self.lock:
            study = self.study
            if study is None or name not in self.sequences:
                raise CaseNotFound("There is no such sequence.", remedy="Load the case again.")
            if name == study.reference:
                return self.slices(start, count)
            volume = self.resampled.get(study, name)
            places = {key: k for k, key in enumerate(study.reference_source.manifest)}
            stored_nji = [volume.stored_kji[places[key]] for key in self.slice_store.keys]
            return SliceBlock.of(stored_nji, start, count)

    def masks(self, segmentation_id: str, since: int) -> MaskUpdate:
        """See `Case`."""
        with self.lock:
            store = self.slice_store
            return self.mask_set(segmentation_id).changed(since, store.number_of, store.shape_ji)

    def has_probabilities(self, masks: MaskSet) -> bool:
        """Whether `probabilities` will, sooner or later, have some."""
        card = self.cards.get(masks.model.name) if masks.model else None
        by_segmenter = card is not None and card.kind is ModelKind.SLICE25D and masks.version == self.version
        return masks.state == FINAL and (masks.probabilities is not None or (by_segmenter and self.study is None))

    def probabilities(self, segmentation_id: str) -> npt.NDArray[np.uint8]:
        """See `Case`."""
        masks = self.mask_set(segmentation_id)
        with self.lock:
            packed, may_ask = masks.probabilities, self.has_probabilities(masks)
        if packed is None:
            if not may_ask:
                raise CaseNotFound("There are no probabilities of this segmentation.")
            packed = self._ask_probabilities(masks)
        values_kji = packed.values_kji()
        with self.lock:
            store = self.slice_store
            values_nji = np.zeros((len(store), *values_kji.shape[1:]), np.uint8)
            for key, values_ji in zip(packed.keys, values_kji, strict=True):
                if key in store.number_of:
                    values_nji[store.number_of[key]] = values_ji
        return values_nji

    def _ask_probabilities(self, masks: MaskSet) -> PackedMap:
        reply = self._bus.request(GetProbabilities(self.uid), timeout_s=ASK_TIMEOUT_S)
        if reply.state != "ready":
            raise CaseNotReady("The probabilities are being computed.", progress=reply.progress)
        if reply.version != masks.version:
            raise CaseNotFound("There are no probabilities of this version.", remedy="Choose the newest one.")
        packed = PackedMap.of(reply.keys, reply.probabilities_kji)
        with self.lock:
            masks.probabilities = packed
        return packed

    # ------------------------------------------------------------------------------------------------------ surfaces

    def _labels(self, masks: MaskSet, order: list[int | None]) -> npt.NDArray[np.uint8]:
        keys = [None if number is None else self.slice_store.keys[number] for number in order]
        return masks.labels_kji(keys, self.slice_store.shape_ji)

    def surface(self, segmentation_id: str) -> list[SurfacePart]:
        """See `Case`."""
        with self.lock:
            masks = self.mask_set(segmentation_id)
            geometry, order = self.stack()
            key = ("surface", segmentation_id, masks.revision)

        def make() -> list[SurfacePart]:
            from neuroscan_core.pipeline.surface import label_surfaces

            with self.lock:
                labels_kji = self._labels(masks, order)
            return label_surfaces(labels_kji, geometry)

        return self._cache.get(key, make)

    def head_surface(self) -> list[SurfacePart]:
        """See `Case`."""
        with self.lock:
            if len(self.slice_store) < LEAST_FOR_HEAD:
                return []
            geometry, order = self.stack()
            is_whole = None not in order
            key = ("head", is_whole, len(self.slice_store) // (1 if is_whole else HEAD_STEP))

        def make() -> list[SurfacePart]:
            from neuroscan_core.pipeline.surface import head_surface

            with self.lock:
                values_kji = self.slice_store.values_kji(order)
            part = head_surface(values_kji, geometry)
            return [] if part is None else [part]

        return self._cache.get(key, make)

    # ------------------------------------------------------------------------------------------------ files, models

    def download(self, kind: str, segmentation_id: str | None = None, slice_number: int | None = None) -> Download:
        """See `Case`."""
        if kind in _OBJECTS:
            return self._object(kind, segmentation_id)
        with self.lock:
            geometry, order = self.stack()
            masks = self.mask_set(segmentation_id) if segmentation_id or self.sets else None
            values_kji = self.slice_store.values_kji(order)
            labels_kji = self._labels(masks, order) if masks else None
            window, colours = self.slice_store.window, self._colours(masks)
        k = None
        if slice_number is not None:
            if slice_number not in order:
                raise CaseNotFound("There is no such slice.")
            k = order.index(slice_number)
        elif labels_kji is not None and labels_kji.any():
            k = int(np.argmax(np.count_nonzero(labels_kji, axis=(1, 2))))
        number = None if k is None else order[k]
        return make_download(
            kind, self._id, masks.id if masks else None, geometry, values_kji, labels_kji, window=window,
            colours=colours, k=k, number=number,
        )  # fmt: skip

    def _object(self, kind: str, segmentation_id: str | None) -> Download:
        """An object as the archives have it."""
        version = self.mask_set(segmentation_id).version if segmentation_id else None
        listed = self._bus.request(ListResults(self.uid), timeout_s=ASK_TIMEOUT_S).results
        found = [one for one in listed if one.modality == kind and version in (None, one.version)]
        if not found:
            raise CaseNotFound(
                f"There is no {kind} of this segmentation.", remedy="Nothing was found, or it was purged."
            )
        chosen = max(found, key=lambda one: (one.version, -listed.index(one)))
        reply = self._bus.request(GetResultObject(chosen.sop_instance_uid), timeout_s=ASK_TIMEOUT_S)
        name = f"neuroscan-{self._id}-v{chosen.version}-{kind.lower()}.dcm"
        return Download(name, "application/dicom", reply.object_bytes.tobytes())

    def _colours(self, masks: MaskSet | None) -> dict[int, str]:
        card = self.cards.get(masks.model.name) if masks and masks.model else None
        found = {value: SPARE_COLOURS[(value - 1) % len(SPARE_COLOURS)] for value in range(1, 8)}
        if card is not None:
            found.update({label.value: "#{:02x}{:02x}{:02x}".format(*label.colour_rgb) for label in card.labels})
        return found

    def volume(self) -> Volume:
        """See `Case`."""
        with self.lock:
            if self.completed is None or self.is_reopened:
                raise CaseConflict("The series is not complete.", remedy="Wait until all of its images are there.")
            order = [self.slice_store.number_of.get(key) for key in self.completed.manifest]
            if None in order:
                raise CaseNotReady("The images are being loaded.", remedy="Try again in a moment.")
            return Volume(self.completed.geometry, self.completed.manifest, self.slice_store.values_kji(order))

    @property
    def sequences(self) -> tuple[str, ...]:
        """See `Case`."""
        return tuple(source.sequence_name for source in self.study.sources) if self.study else ()

    def sources(self) -> Mapping[str, Volume]:
        """See `Case`."""
        study = self.study
        if study is None:
            return {}
        first = study.reference_source
        others = [source for source in study.sources if source is not first]
        return {source.sequence_name: fetch_volume(self._bus, source) for source in (first, *others)}

    def announce(self, model: str, version: str) -> str:
        """See `Case`."""
        with self.lock:
            self._num_added += 1
            name = f"c{self._num_added}"
            masks = MaskSet(name, self._next_revision, ModelIdentity(model, version, ""), RUNNING)
            self.sets[name] = masks
            self.bump()
            return name

    def add_segmentation(
        self,
        segmentation: Segmentation,
        identity: ModelIdentity,
        card: ModelCard | None,
        probabilities_kji: npt.NDArray[np.uint8] | None,
        segmentation_id: str,
    ) -> None:
        """See `Case`."""
        with self.lock:
            masks = self.mask_set(segmentation_id)
            masks.finish(segmentation, identity)
            if probabilities_kji is not None:
                masks.probabilities = PackedMap.of(tuple(segmentation.keys), probabilities_kji)
            self.bump()

    def note_added(self, segmentation_id: str, progress: float) -> None:
        """See `Case`."""
        with self.lock:
            if segmentation_id in self.sets:
                self.sets[segmentation_id].progress = progress
                self.bump()

    def fail_added(self, segmentation_id: str, reason: str) -> None:
        """See `Case`."""
        with self.lock:
            if segmentation_id in self.sets:
                self.sets[segmentation_id].state, self.sets[segmentation_id].reason = FAILED, reason
                self.bump()

    def added(self) -> dict[str, MaskSet]:
        """What was added for comparison."""
        with self.lock:
            return {name: masks for name, masks in self.sets.items() if not masks.version and masks.state == FINAL}

    def restore(self, name: str, masks: MaskSet) -> None:
        """Take back what `added` gave, when the case was closed."""
        with self.lock:
            self.sets[name] = masks
            self._num_added = max(self._num_added, int(name[1:]))
            self.bump()
