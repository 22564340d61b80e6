"""What the list lacks of series that ended before the viewer began: the gateway still has their results."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from neuroscan_core.domain.errors import RequestRefused
from neuroscan_core.domain.requests import GetSegmentation, ListResults
from neuroscan_core.domain.volume import FrameKey
from neuroscan_core.log import get_logger
from neuroscan_core.ports import MessageBus
from neuroscan_core.viewer.board import Board
from neuroscan_core.viewer.cases.fetch import replayed

log = get_logger(__name__)

TIMEOUT_S = 5.0
FINDINGS_AT_ONCE = 5  # the rest of the list follows with the next steps


class Recovery:
    """Completes the list of series, the newest first.

    A finding is a line of text and asked for at once. Number of masks, volume and picture are read from the SEG, and
    the picture's slice has to be looked for among the images: one series with each step, and none while images arrive
    or are segmented.

    Parameters
    ----------
    board : Board
    bus : MessageBus
    """

    def __init__(self, board: Board, bus: MessageBus) -> None:
        self._board, self._bus = board, bus
        self._tried: set[tuple[str, int]] = set()

    def step(self) -> None:
        """Ask for a little of what is lacking.

        Raises
        ------
        BusError
            The gateway does not answer; it is asked again with the next step.
        """
        for uid in self._board.unsummarised(FINDINGS_AT_ONCE):
            results = self._bus.request(ListResults(uid), timeout_s=TIMEOUT_S).results
            self._board.summarise(uid, results[-1].message if results else "")
        wanted = self._board.undrawn(self._tried)
        if wanted is not None:
            self._draw(wanted)

    def _draw(self, wanted: tuple[str, int]) -> None:
        uid, _ = wanted
        try:
            result = self._bus.request(GetSegmentation(uid), timeout_s=TIMEOUT_S).result
            labels_kji = result.segmentation.labels_kji
            k = int(np.count_nonzero(labels_kji, axis=(1, 2)).argmax())
            pixels_ji = self._pixels(uid, result.segmentation.keys[k])
        except RequestRefused as refusal:
            # No SEG was wanted, or it was purged: there will be none the next time either.
            self._tried.add(wanted)
            log.debug("a series stays without a picture", reason=refusal.message)
            return
        if pixels_ji is None and not self._board.is_idle:
            return  # images arrive: it has time
        self._tried.add(wanted)
        self._board.restore(result, pixels_ji, labels_kji[k])

    def _pixels(self, uid: str, wanted: FrameKey) -> npt.NDArray[np.float32] | None:
        """One slice of a series, or of that on whose grid a study was segmented; None where it is not to be had."""
        pages = replayed(self._bus, uid, timeout_s=TIMEOUT_S)
        while self._board.is_idle and (events := next(pages, None)) is not None:
            for event in events.slices:
                if event.key == wanted:
                    return event.pixels_ji
            if events.studies:  # a study has no slices of its own
                return self._pixels(events.studies[-1].reference_source.series_instance_uid, wanted)
        return None
