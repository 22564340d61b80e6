"""Named points of a series' life at which a test can end the process as a power cut would.

`reach` costs one comparison when nothing is armed. Only the command line arms a point (`--crash-at`, hidden).
"""

from __future__ import annotations

import os
import signal

POINTS = (
    "ingest.before-write",
    "ingest.after-write",
    "ingest.after-journal",
    "ingest.after-response",
    "assembly.before-record",
    "assembly.after-record",
    "assembly.after-complete",
    "segmenter.mid-series",
    "segmenter.before-submit",
    "results.before-write",
    "results.after-write",
    "results.after-journal",
    "deliver.before-send",
    "deliver.after-send",
)

# Reached only where studies of several series are configured.
STUDY_POINTS = (
    "study.before-record",
    "study.after-record",
    "segmenter.mid-study",
)

_armed: str | None = None
_countdown = 0


def arm(point: str, *, after: int = 1) -> None:
    """End this process with SIGKILL the `after`-th time that `point` is reached.

    Raises
    ------
    ValueError
        `point` is not one of `POINTS` and `STUDY_POINTS`.
    """
    global _armed, _countdown
    if point not in (*POINTS, *STUDY_POINTS):
        raise ValueError(f"{point} is not one of {', '.join((*POINTS, *STUDY_POINTS))}")
    _armed, _countdown = point, after


def reach(point: str) -> None:
    """Say that `point` is reached."""
    global _countdown
    if point != _armed:
        return
    _countdown -= 1
    if _countdown <= 0:
        os.kill(os.getpid(), signal.SIGKILL)
