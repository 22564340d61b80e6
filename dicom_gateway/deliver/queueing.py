"""Who gets which result, and what an operator sends again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from dicom_gateway.journal import DeliveryState, Journal, ResultRecord, SeriesState
from neuroscan_core.config import DestinationConfig, SegFormat

LABEL_MAP_SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.7"
EVERYTHING = "all"


def queue_for(
    results: Sequence[ResultRecord],
    destinations: Iterable[DestinationConfig],
    results_dir: Path | None = None,
) -> list[tuple[str, str]]:
    """Pairs of (SOP Instance UID, destination): each destination's kinds, and SEG in its format.

    Parameters
    ----------
    results : sequence of ResultRecord
        All results that belong together: the SEG of a series in every format that was made.
    results_dir : Path, optional
        Where results lie; BINARY and FRACTIONAL share a SOP class, so that only the file tells them apart. Without it
        the word FRACTIONAL in the summary does.

    Notes
    -----
    A destination gets every SEG where none is in its format (overlapping labels have no label map): better another
    format than no result.
    """
    formats = {result.sop_uid: seg_format(result, results_dir) for result in results if result.kind == "SEG"}
    pairs = []
    for destination in destinations:
        has_own = destination.seg_format in formats.values()
        for result in results:
            is_other = result.kind == "SEG" and has_own and formats[result.sop_uid] is not destination.seg_format
            if result.kind in destination.send and not is_other:
                pairs.append((result.sop_uid, destination.name))
    return pairs


def seg_format(result: ResultRecord, results_dir: Path | None) -> SegFormat:
    """Encoding of a SEG."""
    if result.sop_class_uid == LABEL_MAP_SEGMENTATION:
        return SegFormat.LABELMAP
    kind = ""
    if results_dir is not None:
        try:
            ds = dcmread(results_dir / result.path, stop_before_pixels=True, specific_tags=["SegmentationType"])
            kind = str(ds.get("SegmentationType", ""))
        except (OSError, InvalidDicomError):
            kind = ""
    is_fractional = "FRACTIONAL" in (kind or result.summary.upper())
    return SegFormat.FRACTIONAL if is_fractional else SegFormat.BINARY


def revive(journal: Journal, selector: str, now_s: float) -> int:
    """Make dead letters, and what waits for its next attempt, due now.

    Parameters
    ----------
    selector : str
        SOP Instance UID of a result, Series Instance UID of a source series, name of a destination, or ``all``.

    Returns
    -------
    int
        How many deliveries are due. Results of purged series are gone and are not among them.
    """
    num_revived = 0
    for delivery in journal.deliveries(states=[DeliveryState.DEAD_LETTER, DeliveryState.QUEUED]):
        if selector not in (EVERYTHING, delivery.sop_uid, delivery.result.series_uid, delivery.destination):
            continue
        series = journal.series(delivery.result.series_uid)
        if series is None or series.state is SeriesState.PURGED:
            continue
        journal.update_delivery(
            delivery.id, state=DeliveryState.QUEUED, attempts=0, next_attempt_at_s=now_s, transaction_uid=""
        )
        journal.advance(series.series_uid, [SeriesState.DEAD_LETTER], SeriesState.DELIVERING)
        num_revived += 1
    if num_revived:
        journal.audit(now_s, "retry", selector, f"{num_revived} deliveries")
    return num_revived
