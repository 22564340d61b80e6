"""One series in the hands of the service."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.errors import RejectionCode, SeriesRejection
from neuroscan_core.domain.events import SegmentationFailed, SeriesCompleted, SeriesOpened, SliceReceived
from neuroscan_core.domain.model_card import ModelCard, ModelKind
from neuroscan_core.domain.segmentation import Segmentation, Triage
from neuroscan_core.domain.volume import FrameKey, Volume
from neuroscan_core.pipeline.classify import classify_volume, with_opinion
from neuroscan_core.pipeline.streaming import StreamingSegmenter, Window
from neuroscan_core.ports import InferenceEngine

INTERNAL_ERROR = "internal-error"


class SeriesWork:
    """Windows of a series, when their slices arrived, and why it failed if it did.

    Parameters
    ----------
    opened : SeriesOpened
    card : ModelCard or None
        None where the model is not there; the series fails when it completes.
    """

    def __init__(self, opened: SeriesOpened, card: ModelCard | None) -> None:
        self.opened = opened
        self.version = 0
        self.last_received_at_s = 0.0
        self._failure: tuple[str, str] | None = None
        self._arrived_at_s: dict[FrameKey, float] = {}
        self._segmenter: StreamingSegmenter | None = None
        self._pixels: dict[FrameKey, npt.NDArray[np.float32]] = {}
        if card is None:
            self.fail(RejectionCode.NO_RULE.value, f"The segmentation service has no model {opened.model}.")
        else:
            self._segmenter = StreamingSegmenter(card, slice_spacing_mm=opened.slice_spacing_mm)

    @property
    def uid(self) -> str:
        """Series Instance UID."""
        return self.opened.series_instance_uid

    @property
    def segmenter(self) -> StreamingSegmenter | None:
        """What decides about its windows; None once it has failed."""
        return self._segmenter

    @property
    def num_due(self) -> int:
        """Windows that wait for the engine."""
        return self._segmenter.num_due if self._segmenter is not None else 0

    @property
    def rank(self) -> tuple[int, float]:
        """Sort key: higher priority first, then the older one."""
        return (-self.opened.priority, self.opened.opened_at_s)

    @property
    def is_done(self) -> bool:
        """Whether a result can be handed over: the series is complete, and segmented or failed."""
        if self.version == 0:
            return False
        return self._segmenter is None or self._segmenter.is_done

    def add(self, event: SliceReceived, now_s: float) -> None:
        """Take a slice; a failed series ignores it."""
        self.version = 0
        if self._segmenter is not None:
            self._arrived_at_s.setdefault(event.key, now_s)
            self._segmenter.add(event.slice)
            if self.opened.triage:
                self._pixels[event.key] = event.pixels_ji

    def complete(self, event: SeriesCompleted) -> None:
        """Take the manifest.

        Raises
        ------
        SeriesRejection
            The stack cannot be segmented.
        """
        self.version = event.version
        self.last_received_at_s = event.last_received_at_s
        if self._segmenter is not None:
            self._segmenter.complete(event.manifest, event.geometry)

    def fail(self, code: str, message: str) -> None:
        """Give up; the first reason stays."""
        self._failure = self._failure or (code, message)
        self._segmenter = None
        self._arrived_at_s.clear()
        self._pixels.clear()

    def result(self, classifier: InferenceEngine | None) -> Segmentation:
        """The segmentation, with the opinion of a classifier where the series asks for one."""
        assert self._segmenter is not None
        found = self._segmenter.result()
        if not self.opened.triage:
            return found

        def judge() -> Triage:
            if classifier is None or classifier.card.kind is not ModelKind.CLASSIFIER:
                raise SeriesRejection(RejectionCode.NO_RULE, "The segmentation service has no such classifier.")
            volume = Volume(found.geometry, found.keys, np.stack([self._pixels[key] for key in found.keys]))
            return classify_volume(volume, classifier, found)

        return with_opinion(found, self.opened.triage, judge)

    @property
    def failure(self) -> SegmentationFailed | None:
        """Why it failed; None while it has not."""
        if self._failure is None:
            return None
        return SegmentationFailed(self.uid, self.version, *self._failure)

    def latency_ms(self, window: Window, now_s: float) -> float:
        """Time since the last slice that a window needed; since the last of all where that is the whole series."""
        keys: Iterable[FrameKey] = (window.before.key, window.centre.key, window.after.key)
        arrived = [self._arrived_at_s[key] for key in keys if key in self._arrived_at_s]
        return 1000.0 * max(0.0, now_s - max(arrived or self._arrived_at_s.values(), default=now_s))
